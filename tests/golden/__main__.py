"""Compare the golden rows with the code as it is; with --write store them anew where versions were raised.

Exit codes: 0 stored numbers and code agree; 1 they do not.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from dreg_sweep.launch.slots import ARITHMETIC

os.environ.update(ARITHMETIC)  # before torch is imported

from tests.golden.cells import golden_cells
from tests.golden.rows import compute, stored, this_environment, unannounced, without_numbers, write


def main() -> int:
    """The command; its exit code."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="store the numbers of this machine")
    write_them = parser.parse_args().write
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        now = compute(golden_cells(Path(folder)), Path(folder))
    kept, here = stored(), this_environment()
    lines = unannounced(now, here, kept) + ([] if write_them else without_numbers(now, kept))
    if write_them and not lines:
        print(f"wrote {write(here, now)}")
        for other, rows in kept.items():
            current = {name: one for name, one in rows.items() if name in now and now[name].code == one.code}
            if other != here and current != rows:
                print(f"wrote {write(other, current)} without the cells of raised versions")
    print("\n".join(lines) or f"{len(now)} golden cells agree", file=sys.stderr if lines else sys.stdout)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
