"""scripts/bench.py: what it measures, with made-up clocks, and once as a user runs it."""

import importlib
import itertools
import json
import runpy
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dreg_sweep.regularizers import REGULARIZERS

SCRIPTS = Path(__file__).parents[1] / "scripts"
COMPOSITE = "double_backprop+confidence_penalty"


@pytest.fixture
def bench(monkeypatch):
    """A module of the benchmarks by its name."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture
def penalties(bench):
    return bench("penalties")


@pytest.fixture
def steps(bench):
    return bench("steps")


def main(*arguments):
    """The exit code of bench.py in this process."""
    return runpy.run_path(str(SCRIPTS / "bench.py"))["main"](list(arguments))


def tables(printed):
    """Each Markdown table: first entry of a line → the others."""
    found: list[dict[str, list[str]]] = []
    before = ""
    for line in printed.splitlines():
        entries = [entry.strip() for entry in line.strip("|").split("|")]
        if line.startswith("|") and not before.startswith("|"):
            found.append({})
        elif line.startswith("|") and entries[0] != ":---":
            found[-1][entries[0]] = entries[1:]
        before = line
    return found


def numbers(table):
    """A table of numbers alone."""
    return {name: [float(entry) for entry in entries] for name, entries in table.items()}


def test_penalties_as_a_user_runs_it(tmp_path):
    options = ["--models", "mlp-64-64", "--steps", "2", "--repeats", "1", "--regularizers", f"dreg,{COMPOSITE}"]
    command = [sys.executable, str(SCRIPTS / "bench.py"), "penalties", *options, "--json", "times.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found, products = (numbers(table) for table in tables(done.stdout))
    assert list(found) == ["none", "dreg", COMPOSITE]  # the baseline is measured unasked
    assert found["none"][3:] == [1.0, 1.0, 1.0]
    record = json.loads((tmp_path / "times.json").read_text())
    assert record["command"].startswith("python scripts/bench.py penalties --models mlp-64-64 --steps 2 ")
    assert f"    {record['command']}" in done.stdout.splitlines()
    assert torch.__version__.startswith(record["environment"]["torch"])
    (model,) = record["models"]
    assert (model["name"], model["stack"]) == ("mlp-64-64", 5)
    for level, (ms,) in model["ms_a_step"].items():
        assert ms > 0
        assert found[level][:3] == pytest.approx([ms] * 3, abs=0.0051)  # one repeat: median and both ends
    (base,) = model["ms_a_step"]["none"]
    for name, (rate,) in model["gflops_of_products"].items():
        share = 100 * 5 * 256 * (2 * 784 * 64 + 3 * 64 * 64 + 3 * 64 * 10) / (base / 1000) / (rate * 1e9)
        assert products[name] == pytest.approx([rate] * 3 + [share] * 3, rel=0.01, abs=0.06)
    assert len(products) == 2
    assert done.stderr.count("\n") == 5
    assert "5 of 5, 0 s left: " in done.stderr


def test_torch_is_imported_after_the_environment_is_set():
    """Its libraries read the number of threads when they are loaded."""
    names = "gpu, bench.memory, bench.overhead, bench.penalties, bench.throughput"
    code = f"import sys, bench.{names}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, timeout=60, check=False).returncode == 0


def test_all_levels_are_known_and_the_baseline_comes_first(penalties):
    found = penalties.levels()
    assert found[0] == "none"
    assert len(set(found)) == len(found)
    assert set(found) >= {*REGULARIZERS, COMPOSITE, "spectreg+confidence_penalty"}


def test_ratios_are_taken_within_a_repeat(penalties):
    """By hand: 3/1, 4/4 and 10/2 have the median 3, and that of the times themselves is 4."""
    printed = penalties.penalty_table({"none": [1.0, 4.0, 2.0], "dreg": [3.0, 4.0, 10.0]})
    (found,) = tables("\n".join(printed))
    assert numbers(found) == {"none": [2, 1, 4, 1, 1, 1], "dreg": [4, 3, 10, 3, 1, 5]}


def test_shares_of_the_product_rate_are_taken_within_a_repeat(penalties):
    """By hand: 4 GFLOP in 20, 50, 40 ms are 200, 80, 100 GFLOP/s; of 250, 400, 200 that is 80, 20, 50 %."""
    (found,) = tables(
        "\n".join(penalties.product_table({"mm": [250.0, 400.0, 200.0]}, [20.0, 50.0, 40.0], 4 * 10**9))
    )
    assert numbers(found) == {"mm": [250, 200, 400, 50, 20, 80]}


@pytest.mark.parametrize("model", ["mlp-512-512", "mlp-64-64"])
def test_the_arithmetic_of_a_step_is_that_of_the_same_network_in_torch(bench, penalties, model):
    """Counted by torch itself on one cell; at 512 units it is 411 million operations."""
    setting = penalties.SETTINGS[model]
    pairs = itertools.pairwise(setting.sizes)
    layers = [part for pair in pairs for part in (torch.nn.Linear(*pair), torch.nn.GELU())][:-1]
    with FlopCounterMode(display=False) as counter:
        torch.nn.Sequential(*layers)(torch.rand(setting.batch, setting.sizes[0])).sum().backward()
    counted = bench("products").flops_a_step(setting.sizes, setting.batch)
    assert counted == counter.get_total_flops()
    assert model != "mlp-512-512" or round(counted / 1e6) == 411


def test_a_product_rate_is_its_operations_over_their_time(bench, monkeypatch):
    """Each product takes 4 s on this clock: two of 2·3·4·5·6 operations in 8 s, three where 9 s are asked."""
    products = bench("products")
    now = itertools.count(0, 4.0)
    monkeypatch.setattr(products.time, "perf_counter", lambda: next(now))
    assert products.Product(3, 4, 5, 6).rate(8.0) == pytest.approx(2 * 3 * 4 * 5 * 6 * 2 / 8 / 1e9)
    assert products.Product(3, 4, 5, 6).rate(9.0) == pytest.approx(2 * 3 * 4 * 5 * 6 * 3 / 12 / 1e9)


def test_everything_is_measured_before_the_next_repeat_and_the_rest_is_foretold(bench, capsys):
    """a takes 10 s and b 30 s: after the first a nothing else is known, later each counts by itself."""
    clock, asked = [0.0], []

    def measure(name):
        asked.append(name)
        clock[0] += {"a": 10, "b": 30}[name]
        return len(asked)

    values = bench("repeats").interleaved(["a", "b"], 2, measure, "{}: {}".format, lambda: clock[0])
    assert asked == ["a", "b", "a", "b"]
    assert values == {"a": [1, 3], "b": [2, 4]}
    assert capsys.readouterr().err.splitlines() == [
        "1 of 4, 30 s left: a: 1",
        "2 of 4, 40 s left: b: 2",
        "3 of 4, 30 s left: a: 3",
        "4 of 4, 0 s left: b: 4",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(89.4, "89 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_in_words(bench, seconds, said):
    assert bench("repeats").duration(seconds) == said


@pytest.mark.parametrize(
    ("model", "level", "weights", "batch"),
    [
        ("mlp-512-512", "dreg", [(5, 784, 512), (5, 512, 512), (5, 512, 10)], (7, 5, 128)),
        ("mlp-64-64", COMPOSITE, [(5, 784, 64), (5, 64, 64), (5, 64, 10)], (7, 5, 128)),
        (
            "lenet",
            "none",
            [(1, 6, 1, 5, 5), (1, 16, 6, 5, 5), (1, 256, 120), (1, 120, 84), (1, 84, 10)],
            (7, 1, 50),
        ),
    ],
)
def test_the_training_is_that_of_the_level(penalties, steps, model, level, weights, batch):
    setting = penalties.SETTINGS[model]
    cells = steps.seeds_of([*setting.all_overrides, f"regularizer={level}"], setting.seeds)
    course = steps.training(cells, 7)
    assert [tuple(weight.shape) for weight in course.stack.weights] == weights
    assert tuple(course.rows.shape) == batch
    assert len({tuple(order.flatten().tolist()) for order in course.rows.unbind(1)}) == setting.seeds
    penalized = [method.regularizer.function for method in course.stack.methods]
    assert penalized == [REGULARIZERS[name].function for name in level.split("+")]
    course.run_until(1)
    assert course.loss_sum.tolist() == pytest.approx([2.3] * setting.seeds, abs=0.3)  # log 10: labels are random


def test_strengths_are_those_of_conf(penalties, steps):
    overrides = penalties.SETTINGS["mlp-64-64"].all_overrides
    cells = steps.seeds_of([*overrides, f"regularizer={COMPOSITE}"], 2)
    methods = steps.training(cells, 1).stack.methods
    assert [method.strength.tolist() for method in methods] == [[50.0, 50.0], [0.5, 0.5]]


class Course:
    """A training whose first three steps take 100 s each on its clock, all others 4 ms."""

    def __init__(self, diverged=0):
        self.now, self.step, self.diverged_at = 0.0, 0, torch.tensor([0, diverged])

    def run_until(self, end):
        while self.step < end:
            self.now += 100.0 if self.step < 3 else 0.004
            self.step += 1


@pytest.mark.parametrize(("timed", "wanted"), [(1, 4.0), (10, 4.0)])
def test_warm_up_does_not_count(steps, monkeypatch, timed, wanted):
    course = Course()
    monkeypatch.setattr(steps, "training", lambda cells, count: course)
    monkeypatch.setattr(steps.time, "perf_counter", lambda: course.now)
    assert steps.milliseconds_a_step([], 3, timed) == pytest.approx(wanted)
    assert course.step == 3 + timed


def test_a_training_that_diverges_is_not_reported(steps, monkeypatch):
    monkeypatch.setattr(steps, "training", lambda cells, count: Course(diverged=2))
    with pytest.raises(SystemExit, match="mnist/gelu/dreg/s0 diverged"):
        steps.milliseconds_a_step([SimpleNamespace(key="mnist/gelu/dreg/s0")], 1, 1)


@dataclass(frozen=True)
class Ladder:
    """As much of a split as the stopwatch looks at."""

    severities: tuple[float, ...]


def test_the_stopwatch_tells_clean_rows_from_the_ladder(bench):
    """A pass over clean rows takes 2 s on this clock, one over a severity 3 s."""
    clock = [100.0]
    watch = bench("parts").Stopwatch(lambda: clock[0])

    def count(stack, splits):
        clock[0] += 2 + 3 * len(splits[0].severities)
        return stack, splits

    splits = [Ladder((0.5, 1.0)), Ladder((0.5, 1.0))]
    assert watch.counted(count)("stack", splits) == ("stack", splits)
    watch.timed("steps", count)("stack", splits[:1])
    assert {part: seconds for part, seconds in watch.seconds.items() if seconds} == {
        "clean": 2.0, "noisy": 6.0, "again": 2.0, "steps": 8.0,
    }  # fmt: skip


def test_parts_add_up_to_the_whole_cell(bench):
    """By hand, a stack of two cells over ten times its epochs: what is done once counts once."""
    parts = bench("parts")
    seconds = {"splitting": 1, "steps": 4, "probe": 2, "looks": 0.2, "clean": 3, "noisy": 5, "again": 3}
    found = parts.parts_of(seconds, 20.0, cells=2, scale=10)
    expected = {"splitting": 0.5, "steps": 20, "history": 2, "clean": 1.5, "noisy": 2.5, "other": 0.9}
    assert asdict(found) == pytest.approx(expected)
    assert found.total == pytest.approx(27.4)
    assert found.added == pytest.approx(4.5 / 22.9)


def test_the_table_has_the_parts_of_the_median_repeat(bench):
    parts = bench("parts")
    repeats = [parts.Parts(0, steps, 1, 0, 1, 0) for steps in (8.0, 2.0, 4.0)]
    (found,) = tables("\n".join(parts.parts_table({"cell": repeats})))
    assert numbers(found)["cell"] == [6, 4, 1, 1, 0, 0, 0, 50, 25, 100]


def test_parts_as_a_user_runs_it(bench, monkeypatch, capsys, tmp_path):
    """On few rows: at the real sizes it takes half a minute."""
    parts = bench("parts")
    parts.random_images.cache_clear()
    monkeypatch.setattr(parts, "ROWS", {"train": 300, "test": 100})
    monkeypatch.setattr(parts, "COURSES", (parts.Course(100, 2), parts.Course(None, 1, scale=10)))
    file = tmp_path / "parts.json"
    assert main("penalties", "--parts", "--models", "mlp-64-64", "--repeats", "1", "--json", str(file)) == 0
    parts.random_images.cache_clear()
    (found,) = tables(capsys.readouterr().out)
    assert list(found) == ["none, 100 rows × 2 epochs", "none, 300 rows × 10 epochs"]
    (model,) = json.loads(file.read_text())["models"]
    for name, (seconds,) in model["seconds_a_cell"].items():
        # The ladder's time is a difference, and on so few rows within the noise of the clock.
        assert all(own > 0 for part, own in seconds.items() if part != "noisy")
        whole, *own = (float(entry) for entry in found[name][:7])
        assert whole == pytest.approx(sum(own), abs=0.004)
        assert sum(seconds.values()) == pytest.approx(whole, abs=0.0006)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["penalties", "--steps", "0"], "argument --steps: 0 must be a whole number of at least 1"),
        (["penalties", "--repeats", "few"], "argument --repeats: few must be a whole number of at least 1"),
        (
            ["penalties", "--models", "mlp"],
            "--models=mlp is unknown; choose one of: lenet, mlp-512-512",
        ),
        (["penalties", "--regularizers", "dreg,drag"], "--regularizers=drag is unknown; choose one of: "),
        (["penalties", "--json", "no/such/file"], "argument --json: no/such/file must be a file in a folder"),
        (["overhead", "--cells", "48,0"], "argument --cells: 0 must be a whole number of at least 1"),
        (["throughput", "--models", "mlp-512,512"], "argument --models: 512 must be named after its widths"),
        (["throughput", "--seeds", "1"], "argument --seeds: 1 must be a whole number of at least 2"),
        (["throughput", "--activations", "silu"], "--activations=silu is unknown; choose one of: gelu, relu"),
        (["throughput", "--regularizers", "dropout"], "--regularizers=dropout is unknown; choose one of: "),
        (["throughput", "--data", "no.npz"], "no.npz: there is no such file"),
        (["memory", "--regularizers", "drag"], "--regularizers=drag is unknown; choose one of: "),
        (["memory", "--data", "no.npz"], "no.npz: there is no such file"),
        (["penalty"], "argument benchmark: invalid choice: 'penalty'"),
        ([], "the following arguments are required: benchmark"),
    ],
)
def test_mistakes_are_told_in_one_line(bench, monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench("machine"), "version", lambda package: "1.0")  # all packages are there
    assert main(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("bench: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_a_package_that_is_missing_is_named(bench, monkeypatch, capsys):
    def version(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(bench("machine"), "version", version)
    assert main("penalties") == 2
    assert capsys.readouterr().err == "bench: torch is not installed: pip install torch\n"
