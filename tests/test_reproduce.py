"""scripts/reproduce.sh and what it compares with, as a reader runs them on a checkout of their own."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dreg_sweep.errors import UserError
from tests.commands import NO_NETWORK

ROOT = Path(__file__).parents[1]
SLICE = ["dataset=digits", "activation=relu", "regularizer=none,dreg", "seed=0,1,2", "epochs=20", "stack_size=3"]
CELLS = 6
ANALYSIS = "results/quickstart/analysis"


@pytest.fixture
def scripts(monkeypatch):
    """A module of scripts/ by its name."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A checkout with the scripts, an environment that needs no installing, and one small published sweep."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    commands = root / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name in ("python", "dreg-sweep", "dreg-analyze"):
        real = Path(sys.executable).parent / name
        (commands / name).write_text(f'#!/bin/sh\n[ "$2" = pip ] && exit 9\nexec {real} "$@"\n')
        (commands / name).chmod(0o755)
    digest = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    (root / ".venv" / "installed").write_text(f"{digest}\n")
    (root / "results" / "bench").mkdir(parents=True)  # no sweep: it holds no cells/
    sweep = ["dreg-sweep", "-m", "experiment=quickstart", *SLICE]
    done(root, *sweep, "results_dir=results/quickstart")
    done(root, "dreg-analyze", "results/quickstart")
    shutil.copytree(root / "results" / "quickstart", root / "runs" / "quickstart")
    done(root, "python", "scripts/made_on.py", "results/quickstart", "--minutes", "0.1")
    return root


@pytest.fixture
def checkout(published, tmp_path):
    """A copy to be changed."""
    return shutil.copytree(published, tmp_path / "checkout", symlinks=True)


@pytest.fixture
def rows_only(checkout):
    """One whose run lacks a cell, so that rows are compared and the tables need not be made."""

    doctor(checkout / "runs/quickstart", lambda frame: frame[frame["cell"] != "digits/relu/dreg/s2"])
    return checkout


def call(root, *command):
    """The finished process of a command in a checkout."""
    path = f"{root / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, **NO_NETWORK, "PATH": path, "PYTHON": sys.executable, "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=300, env=environment, check=False
    )


def done(root, *command):
    """What a command printed that ended well."""
    process = call(root, *command)
    assert process.returncode == 0, process.stderr
    return process.stdout


def reproduce(root, *arguments):
    return call(root, "scripts/reproduce.sh", *arguments)


def compare(root, *options):
    return call(root, "python", "scripts/compare_results.py", "runs/quickstart", "results/quickstart", *options)


def doctor(folder, change):
    """Rewrite rows by a function of their frame, which changes it or returns another."""
    (path,) = (folder / "cells").glob("*.parquet")
    frame = pd.read_parquet(path)
    changed = change(frame)
    (frame if changed is None else changed).to_parquet(path)


def doctor_csv(path, change):
    frame = pd.read_csv(path)
    change(frame)
    frame.to_csv(path, index=False)


def one_more_right(frame, by=1):
    row = frame.index[frame["cell"] == "digits/relu/dreg/s1"]
    frame.loc[row, "clean_correct"] += by
    frame.loc[row, "clean_accuracy"] = frame.loc[row, "clean_correct"] / frame.loc[row, "n_test"]


def elsewhere(folder):
    """As if the folder had been made on another processor."""
    path = folder / "made_on.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "processor": "Another, AVX2"}))


def test_a_sweep_run_again_is_bit_identical_and_then_has_nothing_to_train(checkout):
    shutil.rmtree(checkout / "runs")
    first = reproduce(checkout, "quickstart", *SLICE)
    assert first.returncode == 0, first.stdout + first.stderr
    lines = first.stdout.splitlines()
    assert f"cells: {CELLS} compared: {CELLS} identical to the last bit, 0 within tolerance, 0 beyond it" in lines
    (tables,) = (line for line in lines if line.startswith("tables: "))
    count = len(list((checkout / "results/quickstart/analysis").rglob("*.csv")))
    assert tables.startswith(f"tables: {count} files compared, {count} with the same bytes; ")
    assert lines[-1] == "bit-identical"
    files = {path: path.stat().st_mtime_ns for path in (checkout / "runs/quickstart/cells").iterdir()}
    assert reproduce(checkout, "quickstart", *SLICE).returncode == 0
    assert files == {path: path.stat().st_mtime_ns for path in files}


def test_a_slice_is_compared_by_its_cells_alone(checkout):
    shutil.rmtree(checkout / "runs")
    again = reproduce(checkout, "quickstart", *SLICE, "seed=0", "regularizer=none")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "cells: 1 compared: 1 identical to the last bit, 0 within tolerance, 0 beyond it" in again.stdout
    assert f"not run: {CELLS - 1} published cells, such as digits/relu/dreg/s0\n" in again.stdout
    assert "tables: not compared" in again.stdout


@pytest.mark.parametrize("arguments", [["papper"], [], ["bench"], ["quickstart seeds"], ["seeds "]])
def test_an_unknown_name_is_refused_with_the_choices(checkout, arguments):
    (checkout / "results" / "seeds" / "cells").mkdir(parents=True)
    refused = reproduce(checkout, *arguments)
    assert refused.returncode == 2
    assert refused.stderr.endswith("is no published sweep; choose one of: quickstart, seeds\n")
    assert refused.stderr.count("\n") == 1


def test_a_mistyped_override_is_refused_by_the_sweep(published):
    refused = reproduce(published, "quickstart", "regularizer=dregg")
    assert refused.returncode == 2
    assert "regularizer=dregg is unknown" in refused.stderr


def test_one_more_right_answer_is_a_difference_where_bits_must_agree(rows_only):
    doctor(rows_only / "results/quickstart", one_more_right)
    found = compare(rows_only)
    assert found.returncode == 1
    assert f"{CELLS - 2} identical to the last bit, 0 within tolerance, 1 beyond it" in found.stdout
    assert "  digits/relu/dreg/s1: clean_correct " in found.stdout
    assert found.stdout.splitlines()[-1] == "DIFFERENT from what was published"


def test_a_cell_that_failed_is_one_difference_and_the_others_must_still_agree(rows_only):
    def fail(frame):
        row = frame["cell"] == "digits/relu/dreg/s1"
        frame.loc[row, ["device", "torch_version", "code_fingerprint", "clean_accuracy", "test_loss"]] = None
        frame.loc[row, "status"] = "failed"

    doctor(rows_only / "runs/quickstart", fail)
    found = compare(rows_only)
    assert found.returncode == 1, found.stderr
    assert found.stdout.startswith("the same processor, libraries and code as published")
    assert f"{CELLS - 2} identical to the last bit, 0 within tolerance, 1 beyond it" in found.stdout
    assert "  digits/relu/dreg/s1: status failed, published done" in found.stdout


def test_a_version_beside_a_failed_cell_is_still_a_reason_for_other_bits(rows_only):
    """Another torch, another device, other code: named each, by the cells that name one."""

    def change(frame):
        names = ["torch_version", "device", "code_fingerprint"]
        frame.loc[frame["cell"] == "digits/relu/dreg/s0", names] = None
        frame.loc[frame["cell"] == "digits/relu/dreg/s1", names] = ["1.0", "cuda", "engine=0"]

    doctor(rows_only / "runs/quickstart", change)
    first = compare(rows_only).stdout.splitlines()[0]
    assert first.startswith("bits may differ: trained on cuda; rows of the run were made with torch 1.0, ")
    assert first.endswith("; 1 cells were trained by other code (engine 1 → 0)")


@pytest.mark.parametrize(("by", "code"), [(1, 0), (90, 1)])
def test_made_elsewhere_a_little_is_explained_by_rounding_and_much_is_not(rows_only, by, code):
    """90 of 359 images are more than four standard deviations between seeds, one image is not."""
    elsewhere(rows_only / "results/quickstart")
    doctor(rows_only / "runs/quickstart", lambda frame: one_more_right(frame, by))
    found = compare(rows_only)
    assert found.returncode == code, found.stdout
    assert found.stdout.startswith("bits may differ: processor ")
    assert ("  digits/relu/dreg/s1: clean_accuracy " in found.stdout) == bool(code)
    assert ("no difference beyond tolerance" in found.stdout) == (not code)


def test_a_loss_is_judged_by_its_share(rows_only):
    def inflate(frame):
        frame.loc[0, "test_loss"] *= 20

    doctor(rows_only / "runs/quickstart", inflate)
    found = compare(rows_only, "--tolerance", "4")
    assert found.returncode == 1
    assert ": test_loss " in found.stdout
    assert " %)" in found.stdout


def test_other_data_are_named_before_any_number(rows_only):
    doctor(rows_only / "results/quickstart", lambda frame: frame.__setitem__("data_fingerprint", "0" * 16))
    found = compare(rows_only)
    assert found.returncode == 1
    first = found.stdout.splitlines()[1]
    assert (
        first == f"the data differ: {CELLS - 1} cells of digits are not of the published rows (data_fingerprint)"
    )


def test_another_configuration_is_named_by_its_keys(checkout):
    shutil.rmtree(checkout / "runs")
    found = reproduce(checkout, "quickstart", *SLICE, "epochs=2", "seed=0", "regularizer=none")
    assert found.returncode == 1
    assert "the configuration differs: epochs in 1 cells" in found.stdout


@pytest.mark.parametrize(("precision", "told"), [(None, ""), ("float32", ""), ("tf32", "precision in 5 cells")])
def test_rows_of_before_a_key_are_what_cells_were_then(rows_only, precision, told):
    """Configurations without `precision` were all of float32."""

    (path,) = (rows_only / "results/quickstart/configs").glob("*.parquet")
    known = pd.read_parquet(path).set_index("config_hash")["config"]

    def older(frame):
        """The rows as they were when each held its configuration."""
        configs = [json.loads(known[one]) for one in frame["config_hash"]]
        for config in configs:
            del config["precision"]
            if precision is not None:
                config["precision"] = precision
        frame["config"] = [json.dumps(config) for config in configs]
        frame["config_hash"] = [f"{number:016}" for number in range(len(frame))]

    doctor(rows_only / "results/quickstart", older)
    found = compare(rows_only, "--tolerance", "4")
    assert found.returncode == bool(told)
    assert ("the configuration differs" in found.stdout) == bool(told)
    assert told in found.stdout


def tables(checkout, module, exact):
    """The report on the tables of a checkout, and its lines, at most three differences one by one."""
    report = module.compare_tables(checkout / "runs/quickstart/analysis", checkout / ANALYSIS, exact)
    return report, module.lines(report, 3)


@pytest.mark.parametrize("exact", [True, False])
def test_a_changed_mean_and_a_changed_verdict_are_named(checkout, scripts, exact):
    def shift(frame):
        frame.loc[frame["regularizer"] == "none", "clean_mean"] += 90

    def overturn(frame):
        frame.loc[frame.index[frame["primary"]][0], "verdict"] = "reproduced"

    doctor_csv(checkout / ANALYSIS / "tables/overall.csv", shift)
    doctor_csv(checkout / ANALYSIS / "claims.csv", overturn)
    (checkout / ANALYSIS / "tables/ranks.csv").unlink()
    report, (counts, verdict, *others) = tables(checkout, scripts("reproduction.tables"), exact)
    assert len(report.differences) == 3
    assert counts.startswith(f"tables: {report.files} files compared, {report.files - 3} with the same bytes; ")
    assert verdict.startswith("  conclusion changed: claims.csv, A1, ")
    assert verdict.endswith(": undecided, published reproduced")
    assert others[0].startswith("  tables/overall.csv, none, clean_mean: ")
    assert others[1] == "  tables/ranks.csv: yes, published no such file"


def test_a_mean_may_move_by_its_standard_deviation(checkout, scripts):
    """Both ways from the published row: 0.9 of the deviation passes, 1.1 does not."""
    path = checkout / ANALYSIS / "tables/overall.csv"
    before = path.read_text()
    for share, beyond in ((0.9, 0), (-0.9, 0), (1.1, 1), (-1.1, 1)):
        path.write_text(before)
        doctor_csv(path, lambda frame, share=share: _move(frame, share))
        report, _ = tables(checkout, scripts("reproduction.tables"), False)
        assert (report.within, len(report.differences)) == (1 - beyond, beyond)


def _move(frame, share):
    assert frame.loc[0, "clean_sd"] > 0.003 * frame.loc[0, "clean_mean"]  # more than the least that is let pass
    frame.loc[0, "clean_mean"] += share * frame.loc[0, "clean_sd"]


def test_p_values_move_with_the_cells_and_are_judged_only_where_bits_must_agree(checkout, scripts):
    doctor_csv(
        checkout / ANALYSIS / "tables/overall.csv",
        lambda frame: frame.__setitem__("clean_p_seed", frame["clean_p_seed"] / 2),
    )
    report, lines = tables(checkout, scripts("reproduction.tables"), True)
    assert len(report.differences) == 1
    assert lines[1].startswith("  tables/overall.csv, none, clean_p_seed: ")
    lenient, _ = tables(checkout, scripts("reproduction.tables"), False)
    assert (lenient.within, len(lenient.differences), lenient.moved) == (0, 0, 1)


def test_the_last_digits_of_a_number_are_its_printer_s(checkout, scripts):
    path = checkout / ANALYSIS / "tables/overall.csv"
    doctor_csv(path, lambda frame: frame.__setitem__("clean_mean", frame["clean_mean"] * (1 + 1e-12)))
    report, _ = tables(checkout, scripts("reproduction.tables"), True)
    assert (report.identical, report.differences) == (report.files - 1, [])


def test_many_differences_are_counted_by_file(checkout, scripts):
    doctor_csv(checkout / ANALYSIS / "tables/tests.csv", lambda frame: frame.__setitem__("pairs", 77))
    _, lines = tables(checkout, scripts("reproduction.tables"), True)
    rows = len(pd.read_csv(checkout / ANALYSIS / "tables/tests.csv"))
    assert lines[-1] == f"  tables/tests.csv: {rows - 3} more"


def test_an_analysis_that_was_not_published_is_refused(checkout, scripts):
    shutil.rmtree(checkout / ANALYSIS)
    with pytest.raises(UserError, match="holds no tables"):
        tables(checkout, scripts("reproduction.tables"), True)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "cells"), "holds no rows"),
        (lambda folder: (folder / "made_on.json").write_text("[]"), "is no record of scripts/made_on.py"),
        (lambda folder: next((folder / "cells").iterdir()).write_text("rows"), "cannot be read"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(checkout, spoil, said):
    spoil(checkout / "results/quickstart")
    refused = compare(checkout)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_a_tolerance_is_a_number_above_0(published, value):
    refused = compare(published, f"--tolerance={value}")
    assert refused.returncode == 2
    said = f"argument --tolerance: {value} must be a number above 0; see compare_results.py --help"
    assert refused.stderr == f"compare_results.py: {said}\n"


def test_the_record_says_what_made_the_folder(published):
    record = json.loads((published / "results/quickstart/made_on.json").read_text())
    (torch,) = set(pd.read_parquet(published / "results/quickstart/cells")["torch_version"])
    assert record["torch"] == torch
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["command"] == "dreg-sweep -m experiment=quickstart"
    assert (record["minutes"], record["analysis"]) == (0.1, [])


def test_the_record_is_refused_away_from_where_the_rows_were_made(checkout):
    doctor(checkout / "results/quickstart", lambda frame: frame.__setitem__("torch_version", "1.0"))
    refused = call(checkout, "python", "scripts/made_on.py", "results/quickstart", "--minutes", "1")
    assert refused.returncode == 2
    assert "has rows made with torch 1.0; here it is" in refused.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "1", "--analysis", "--metric 'clean"], "--metric 'clean is no part of a command line ("),
        (["--minutes", "1", "--analysis", "--lower-is-better"], "expected one argument"),
        *(
            (["--minutes", minutes], f"{minutes} must be a number above 0")
            for minutes in ("nan", "inf", "0", "ten")
        ),
    ],
)
def test_a_record_with_a_mistake_is_refused_in_one_line(scripts, monkeypatch, capsys, tmp_path, options, said):
    monkeypatch.setattr(sys, "argv", ["made_on.py", str(tmp_path), *options])
    assert scripts("made_on").main() == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"made_on.py: argument {options[-2]}: {said}")
    assert printed.endswith("; see made_on.py --help\n")
    assert printed.count("\n") == 1


def test_options_of_the_analysis_stand_behind_an_equals_sign_as_the_usage_says(scripts):
    parser = scripts("made_on").parser()
    assert "--analysis=--lower-is-better" in parser.format_help()
    for text, words in (("--lower-is-better", ["--lower-is-better"]), ("--metric 'clean'", ["--metric", "clean"])):
        assert parser.parse_args(["folder", "--minutes", "1", f"--analysis={text}"]).analysis == words
    assert parser.parse_args(["folder", "--minutes", "1"]).analysis == []


def rows(accuracies, loss=0.1, regularizer="none", train_size=1):
    """Made-up cells: one a seed, of one combination."""
    frame = pd.DataFrame({"clean_accuracy": accuracies, "seed": range(len(accuracies))})
    frame.index = pd.Index([f"digits/relu/{regularizer}/s{seed}" for seed in frame["seed"]], name="cell")
    columns = {"dataset": "digits", "config": "{}", "config_hash": "a", "data_fingerprint": "b", "status": "done"}
    counts = dict.fromkeys(("steps", "n_test", "n_noisy", "clean_correct", "noisy_correct", "strength"), 1)
    texts = dict.fromkeys(("activation", "regularizer", "modality", "regime", "model", "evaluated_on"), "x")
    return frame.assign(
        **columns,
        **counts,
        **texts,
        train_size=train_size,
        noisy_accuracy=None,
        train_accuracy=1.0,
        test_loss=loss,
    )


def test_the_bound_is_four_standard_deviations_between_seeds(scripts):
    """By hand: 0.80, 0.82, 0.84 have the standard deviation 0.02, four of them are 0.08."""
    cells = scripts("reproduction.cells")
    published = rows([0.80, 0.82, 0.84])
    assert cells.compare_cells(rows([0.879, 0.82, 0.84]), published, 4).within == 1
    beyond = cells.compare_cells(rows([0.881, 0.82, 0.84]), published, 4)
    assert (beyond.identical, beyond.within, beyond.beyond) == (2, 0, 1)
    assert str(beyond.differences[0]) == (
        "digits/relu/none/s0: clean_accuracy 0.881, published 0.8 (may differ by 0.0800)"
    )
    assert cells.compare_cells(rows([0.81, 0.82, 0.84]), published, None).beyond == 1


@pytest.mark.parametrize("train_size", [100, None])  # None: all rows
def test_a_combination_that_collapses_loosens_its_own_bound_and_no_other(scripts, train_size):
    """By hand: standard deviations 0.01, 0.02 and 0.4; the median is 0.02, four of them are 0.08, and 1.6.

    A combination of another training size is in none of them: 0.03, so 0.12.
    """
    cells = scripts("reproduction.cells")
    settings = {
        "steady": ([0.81, 0.82, 0.83], train_size),
        "usual": ([0.80, 0.82, 0.84], train_size),
        "collapsing": ([0.1, 0.5, 0.9], train_size),
        "scarce": ([0.47, 0.50, 0.53], 10),
    }
    published = pd.concat([rows(values, regularizer=name, train_size=n) for name, (values, n) in settings.items()])
    bounds = {"steady": 0.08, "usual": 0.08, "collapsing": 1.6, "scarce": 0.12}
    for share, beyond in ((0.99, False), (1.01, True)):
        run = published.copy()
        for name, bound in bounds.items():
            run.loc[[f"digits/relu/{name}/s{seed}" for seed in range(3)], "clean_accuracy"] += share * bound
        found = cells.compare_cells(run, published, 4)
        assert (found.within, found.beyond) == (0, 12) if beyond else (12, 0)


def test_one_seed_has_no_spread_and_the_spread_of_the_others_is_taken(scripts):
    """By hand: four times 0.02 also for the lone cell; where all are alone, a point."""
    cells = scripts("reproduction.cells")
    lone = rows([0.5], regularizer="dreg")
    for published, bound in ((pd.concat([rows([0.80, 0.82, 0.84]), lone]), 0.08), (lone, 0.01)):
        for share, beyond in ((0.99, 0), (1.01, 1)):
            run = published.copy()
            run.loc["digits/relu/dreg/s0", "clean_accuracy"] += share * bound
            assert cells.compare_cells(run, published, 4).beyond == beyond


def test_where_seeds_do_not_differ_a_point_is_let_pass(scripts):
    cells = scripts("reproduction.cells")
    published = rows([0.5, 0.5])
    assert cells.compare_cells(rows([0.5, 0.509]), published, 4).beyond == 0
    assert cells.compare_cells(rows([0.5, 0.511]), published, 4).beyond == 1
    assert cells.compare_cells(rows([0.5, 0.5], loss=0.1009), published, 4).beyond == 0
    assert cells.compare_cells(rows([0.5, 0.5], loss=0.102), published, 4).beyond == 2


@pytest.mark.parametrize(("run", "within", "beyond"), [(0.0, 0, 0), (1e-8, 2, 0), (0.1, 0, 2)])
def test_a_loss_of_0_is_compared_like_any_other(scripts, run, within, beyond):
    """1e-8 is less than float32 tells from 0 beside 1; where bits are demanded, it is a difference."""
    cells = scripts("reproduction.cells")
    ours, published = rows([0.5, 0.6], loss=run), rows([0.5, 0.6], loss=0.0)
    found = cells.compare_cells(ours, published, 4)
    assert (found.within, found.beyond) == (within, beyond)
    assert cells.compare_cells(ours, published, None).beyond == within + beyond


def test_no_rounding_changes_a_count_of_steps(scripts):
    cells = scripts("reproduction.cells")
    published = rows([0.5, 0.6])
    found = cells.compare_cells(published.assign(steps=2), published, 4)
    assert (found.within, found.beyond) == (0, 2)
