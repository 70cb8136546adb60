"""The benchmarks that time whole commands: what they compare, and each once as a user runs it, in small."""

import importlib
import importlib.util
import itertools
import json
import os
import runpy
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from sklearn.datasets import load_digits

from dreg_sweep.activations import ACTIVATIONS
from dreg_sweep.config import Naming, cell_from_config
from dreg_sweep.models.mlp import MLP
from dreg_sweep.regularizers import get_regularizer
from dreg_sweep.stack import Method, Stack, seeded_generators
from tests.composing import composed_by_hydra, loader_and_master
from tests.test_bench import SCRIPTS, numbers, tables

PLAIN = SCRIPTS / "bench" / "plain"

needs_joblib = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="needs hydra-joblib-launcher: pip install -e '.[bench]'",
)


@pytest.fixture
def bench(monkeypatch):
    """A module of the benchmarks by its name."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return lambda name: importlib.import_module(f"bench.{name}")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A file of real grey images, 8 × 8."""
    data = load_digits()
    x, y = data.images.astype(np.uint8), data.target.astype(np.int64)
    file = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(file, x_train=x[:1400], y_train=y[:1400], x_test=x[1400:], y_test=y[1400:])
    return file


def run(*arguments, cwd, exit_code=0):
    """What bench.py printed, and the record it kept."""
    command = [sys.executable, str(SCRIPTS / "bench.py"), *map(str, arguments), "--json", "record.json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == exit_code, done.stderr
    return done.stdout, json.loads((cwd / "record.json").read_text())


@needs_joblib
def test_throughput_as_a_user_runs_it(digits, tmp_path):
    printed, record = run(
        "throughput", "--models", "mlp-32", "--data", digits, "--activations", "relu", "--regularizers", "none",
        "--seeds", "2", "--train-size", "1000", "--epochs", "40", "--repeats", "1", cwd=tmp_path,
    )  # fmt: skip
    speed, accuracy = tables(printed)
    ways = ["script, Hydra basic", "script, Hydra joblib", "dreg-sweep", "dreg-sweep, stack_size=1"]
    assert list(speed) == ways
    (model,) = record["models"]
    for way, (seconds,) in model["seconds"].items():
        to_joblib, to_alone = (model["seconds"][other][0] / seconds for other in (ways[1], ways[3]))
        expected = [60 * 2 / seconds] * 3 + [seconds] + [to_joblib] * 3 + [to_alone] * 3
        assert numbers(speed)[way] == pytest.approx(expected, abs=0.051)
    assert list(accuracy) == ["relu, none, clean", "relu, none, noisy"]
    for pair in model["accuracies"]:
        # Far above the tenth that guessing reaches: both have learned.
        assert min(pair["script"], pair["runner"]) > (0.8 if pair["measure"] == "clean_accuracy" else 0.6)
    assert record["cells"] == 2
    assert all(
        f"    {command}" in printed.splitlines() for command in [record["command"], *record["commands_timed"]]
    )


@pytest.mark.parametrize("no_noise", [False, True])
def test_script_and_runner_are_asked_for_the_same_cells(bench, digits, no_noise):
    options = ["--data", str(digits), "--seeds", "3", "--train-size", "100", "--epochs", "7"]
    parser = runpy.run_path(str(SCRIPTS / "bench.py"))["parser"]()
    asked = parser.parse_args(["throughput", *options, *["--no-noise"] * no_noise])
    axes = ["activation=relu,gelu", "seed=0,1,2"]
    basic, joblib, runner, alone = (
        set(way.overrides([5, 4])) for way in bench("throughput").all_ways(asked, axes)
    )
    shared = {*axes, "train_size=100", "epochs=7"}
    assert basic == joblib == shared | {f"data={digits}", "widths=[5,4]"} | ({"noise=[]"} if no_noise else set())
    assert runner == alone
    assert shared | {f"dataset.path={digits}", "model.widths=[5,4]", "device=cpu"} <= runner
    assert ("noise=none" in runner) == no_noise


def test_the_recipe_of_the_script_is_that_of_conf():
    plain = yaml.safe_load((PLAIN / "config.yaml").read_text())
    loader, master = loader_and_master()
    for regularizer, strength in plain["strength"].items():
        job = ["dataset=mnist", f"regularizer={regularizer}", f"train_size={plain['train_size']}"]
        cell = cell_from_config(composed_by_hydra(loader, master, job), Naming())
        assert cell.regularizer.strength == strength
        recipe = cell.recipe
        assert (recipe.epochs, recipe.steps, recipe.batch_size) == (plain["epochs"], None, plain["batch_size"])
        assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.schedule.name) == (
            "adamw",
            plain["lr"],
            "cosine",
        )
        assert list(cell.noise.pixel_sigma) == plain["noise"]


@pytest.fixture(scope="module")
def plain():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("plain_train", PLAIN / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("regularizer", ["dreg", "igpen"])
def test_the_penalties_of_the_script_are_the_engine_s(plain, regularizer, activation):
    network = MLP(7, (6, 5), 3, ACTIVATIONS[activation])
    parameters = {
        name: (2 * value.double()).requires_grad_()
        for name, value in network.initial([np.random.default_rng(0)]).items()
    }
    model = plain.MLP(7, [6, 5], 3, activation).double()
    with torch.no_grad():
        for number, layer in enumerate([*model.hidden, model.output]):
            layer.weight.copy_(parameters[f"weight{number}"][0].T)
            layer.bias.copy_(parameters[f"bias{number}"][0])
    x, y = torch.randn(8, 7, dtype=torch.float64).requires_grad_(), torch.arange(8) % 3
    logits, preactivations = model(x)
    losses = torch.nn.functional.cross_entropy(logits, y, reduction="none")
    config = OmegaConf.create({"regularizer": regularizer, "activation": activation})
    of_script = plain.penalty(config, model, x, losses, preactivations)
    method = Method(get_regularizer(regularizer, 1.0, {}), torch.ones(1, dtype=torch.float64))
    stack = Stack(network, parameters, [method], seeded_generators([0], torch.device("cpu")))
    trace = stack.forward(x.detach().unsqueeze(0).requires_grad_(), y.unsqueeze(0), training=True)
    (of_engine,) = stack.penalties(trace)
    torch.testing.assert_close(trace.losses[0], losses)
    torch.testing.assert_close(of_engine[0], of_script)


def rows(**accuracies):
    """Rows of one combination a keyword, one a seed; the same accuracy on clean and on noisy rows."""
    return pd.DataFrame(
        [
            {"activation": "relu", "regularizer": regularizer, "clean_accuracy": value, "noisy_accuracy": value}
            for regularizer, values in accuracies.items()
            for value in values
        ]
    )


def test_a_difference_counts_by_the_pooled_variance_between_seeds(bench):
    """By hand: variances 0.0002, 0.0008, 0.0002, 0, mean 0.0003; 4 · sqrt(2 · 0.0003 / 2) = 0.0693."""
    script = rows(none=[0.90, 0.92], dreg=[0.90, 0.94])
    runner = rows(none=[0.97, 0.99], dreg=[0.98, 0.98])
    none, dreg, *noisy = bench("agreement").agreements(script, runner)
    assert (none.bound, dreg.bound) == pytest.approx([0.069282, 0.069282], abs=1e-6)
    assert (none.script, none.runner, dreg.script, dreg.runner) == pytest.approx((0.91, 0.98, 0.92, 0.98))
    assert (none.holds, dreg.holds) == (False, True)
    assert [pair.measure for pair in noisy] == ["noisy_accuracy"] * 2
    assert str(none) == "relu, none, clean: script 0.9100, dreg-sweep 0.9800, more than 0.0693 apart"


def test_one_point_is_let_pass_and_a_measure_that_nobody_took_is_left_out(bench):
    script, runner = rows(none=[0.9, 0.9]), rows(none=[0.909, 0.909])
    script["noisy_accuracy"] = runner["noisy_accuracy"] = None
    (pair,) = bench("agreement").agreements(script, runner)
    assert (pair.bound, pair.holds) == (0.01, True)
    (pair,) = bench("agreement").agreements(script, rows(none=[0.911, 0.911]).assign(noisy_accuracy=None))
    assert not pair.holds


def test_rows_must_be_the_same_to_the_last_bit(bench):
    same_bits = bench("throughput").same_bits
    stacked = pd.DataFrame(
        {"clean_correct": [1, 2], "noisy_correct": [3, 4], "test_loss": [0.1, 0.2], "seconds": 1}
    )
    assert same_bits(stacked, stacked.assign(seconds=2))
    assert not same_bits(stacked, stacked.assign(test_loss=[0.1, np.nextafter(0.2, 1)]))
    assert not same_bits(stacked, stacked.assign(noisy_correct=[3, 5]))


def test_ratios_of_speed_are_taken_within_a_repeat(bench):
    """By hand: 10 cells in 20, 60, 30 s; in the same repeats the other took 60, 60, 120."""
    table = bench("throughput").speed_table({"a": [60, 60, 120], "b": [20, 60, 30]}, 10, ["a"])
    (found,) = tables("\n".join(table))
    assert numbers(found) == {"a": [10, 5, 10, 60, 1, 1, 1], "b": [20, 10, 30, 30, 3, 1, 4]}


def test_what_differs_is_told_with_exit_code_1(bench, monkeypatch, digits, capsys, tmp_path):
    throughput = bench("throughput")

    def train(ways, models, cells, repeats):
        runs = [("mlp-8", way.name) for way in ways]
        seen = {run: rows(none=[0.9, 0.9]).assign(clean_correct=9, noisy_correct=9, test_loss=0.1) for run in runs}
        seen[runs[0]] = seen[runs[1]] = rows(none=[0.8, 0.8]).assign(threads=1)
        seen[runs[3]] = seen[runs[3]].assign(test_loss=0.2)
        return {run: [1.0] for run in runs}, seen

    monkeypatch.setattr(throughput, "train", train)
    monkeypatch.setattr(bench("machine"), "version", lambda package: "1.0")
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(["throughput", "--models", "mlp-8", "--data", str(digits), "--train-size", "100"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "bench: mlp-8: relu, none, clean: script 0.8000, dreg-sweep 0.9000, more than 0.0100 apart",
        "bench: mlp-8: relu, none, noisy: script 0.8000, dreg-sweep 0.9000, more than 0.0100 apart",
        "bench: mlp-8: rows of dreg-sweep and dreg-sweep, stack_size=1 differ",
    ]


def test_more_rows_than_there_are_is_told_before_anything_runs(bench, monkeypatch, digits, capsys):
    monkeypatch.setattr(bench("machine"), "version", lambda package: "1.0")
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(["throughput", "--data", str(digits), "--train-size", "1401"]) == 2
    assert capsys.readouterr().err.startswith(
        "bench: train_size=1401 is more than the 1400 training rows of arrays"
    )


def test_inputs_that_are_no_images_are_refused(bench, monkeypatch, capsys, tmp_path):
    file = tmp_path / "features.npz"
    x, y = np.random.default_rng(0).random((20, 6)), np.arange(20) % 2
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y)
    monkeypatch.setattr(bench("machine"), "version", lambda package: "1.0")
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(["memory", "--data", str(file)]) == 2
    assert capsys.readouterr().err == f"bench: --data={file}: has inputs of shape (6,); grey images are N×H×W\n"


def test_memory_as_a_user_runs_it(digits, tmp_path):
    printed, record = run(
        "memory", "--models", "mlp-8", "--data", digits, "--regularizers", "none", "--seeds", "2", "--train-size",
        "100", "--repeats", "1", cwd=tmp_path,
    )  # fmt: skip
    (found,) = tables(printed)
    ((peak,),) = [stack["repeats"] for stack in record["peaks"]]
    entries = found["mlp-8, none"]
    assert [float(entries[i]) for i in (0, 4, 5)] == pytest.approx(
        [peak[who] / 2**20 for who in ("slot", "server", "runner")], abs=0.51
    )
    assert entries[3] == peak["said"]
    amount, unit = peak["said"].split()
    assert peak["slot"] / {"GiB": 2**30, "MiB": 2**20}[unit] == pytest.approx(float(amount), abs=0.06)
    assert peak["slot"] > 100 * 2**20  # it has imported torch


def test_the_peaks_of_a_process_and_its_descendants_are_told_apart(bench):
    """A parent that holds little, a child that did hold 60 MiB more, and its child that holds 120 MiB."""
    grandchild = "import time; held = b'1' * (120 << 20); print('ready', flush=True); time.sleep(60)"
    child = (
        "import subprocess, sys; held = b'1' * (60 << 20); del held;"
        f"subprocess.run([sys.executable, '-c', {grandchild!r}])"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    peaks = bench("peaks").peaks
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            found = dict(peaks(process.pid))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert sorted(found) == [0, 1, 2]
    assert found[0] < 50 * 2**20
    assert 60 * 2**20 < found[1] < 110 * 2**20
    assert 120 * 2**20 < found[2] < 170 * 2**20


def test_what_a_sweep_says_of_its_slots(bench):
    said_by = bench("memory").said_by
    assert said_by("trained 2 cells in 0.1 s: 2 done; at most 0.4 GiB a slot\n2 of 2 cells complete") == "0.4 GiB"
    assert said_by("nothing to train") == "–"


def test_the_line_through_times_and_how_far_they_lie_off(bench):
    """Medians 3, 5, 9 s at 100, 200, 400 cells lie on 1 s + 20 ms a cell."""
    growth = bench("growth")
    line = growth.Line.through({100: [2, 3, 30], 200: [5, 5, 5], 400: [9, 1, 10]})
    assert (line.slope, line.start, line.largest, line.share) == pytest.approx((0.02, 1, 0, 0), abs=1e-12)
    bent = growth.Line.through({100: [3.0], 200: [5.0], 300: [10.0]})
    # By hand: slope 7/200, middle (200, 6); 2.5, 6, 9.5 against 3, 5, 10.
    assert (bent.slope, bent.start, bent.largest, bent.share) == pytest.approx((0.035, -1, 1.0, 0.2))
    (found,) = tables("\n".join(growth.growth_table({100: [3.0], 200: [5.0], 300: [10.0]}, bent)))
    assert numbers(found) == {"100": [3, 3, 3, 2.5], "200": [5, 5, 5, 6], "300": [10, 10, 10, 9.5]}
    assert str(bent) == "The line: 35.00 ms a cell and -1.00 s to start; at most 1.00 s off, and at most 20.0 %."


@needs_joblib
def test_overhead_as_a_user_runs_it(bench, monkeypatch, capsys, tmp_path):
    """With two cells a seed in place of 48."""
    overhead = bench("overhead")
    factors = {"activation": ("relu",), "regularizer": ("none", "dreg"), "dataset": ("digits",)}
    monkeypatch.setattr(overhead, "FACTORS", factors)
    monkeypatch.setattr(overhead, "CELLS_A_SEED", 2)
    file = tmp_path / "overhead.json"
    main = runpy.run_path(str(SCRIPTS / "bench.py"))["main"]
    assert main(["overhead", "--cells", "3,6", "--repeats", "1", "--json", str(file)]) == 0
    record = json.loads(file.read_text())
    launchers, growth = (numbers(table) for table in tables(capsys.readouterr().out))
    assert record["cells"] == 4
    assert [point["cells"] for point in record["growth"]] == [4, 6]
    reference = record["launchers"][2]["grid_seconds"][0]
    for launcher in record["launchers"]:
        (one,), (grid,) = launcher["one_cell_seconds"], launcher["grid_seconds"]
        ms = 1000 * (grid - one) / 3
        expected = [ms, ms, ms, one, grid, grid / reference]
        assert launchers[launcher["name"]] == pytest.approx(expected, abs=0.051)
    assert record["growth"][0]["seconds"] == [reference]
    for point in record["growth"]:
        assert growth[str(point["cells"])][:3] == pytest.approx(point["seconds"] * 3, abs=0.0051)


def test_scale_as_a_user_runs_it(tmp_path):
    """A grid of 48 cells, 30 of which have copied rows."""
    printed, record = run("scale", "--cells", "40", "--missing", "18", "--repeats", "1", cwd=tmp_path)
    (found,) = tables(printed)
    assert record["cells"] == 48
    assert list(found) == [
        "dry run, empty folder", "dry run", "dreg-status", "dreg-status --json", "resume, 18 cells to train",
        "dreg-status, complete",
    ]  # fmt: skip
    agree_with_the_record(found, record)


def test_the_analysis_of_many_rows_as_a_user_runs_it(tmp_path):
    printed, record = run("analysis", "--rows", "1000", "--repeats", "1", cwd=tmp_path)
    (found,) = tables(printed)
    kinds = [label.rpartition(", ")[0] for label in found]  # then the room on disk
    assert kinds == [
        f"{rows} rows, {kind}" for rows in ("960", "1,152") for kind in ("results folder", "five columns")
    ]
    agree_with_the_record(found, record)


def agree_with_the_record(found, record):
    for one in record["whole_commands"]:
        (repeat,) = one["repeats"]
        assert numbers(found)[one["label"]] == pytest.approx(
            [repeat["seconds"]] * 3 + [repeat["peak"] / 2**20] * 3, abs=0.51
        )
        assert repeat["seconds"] > 0.1
        assert repeat["peak"] > 30 * 2**20


def test_made_up_rows_are_a_balanced_grid_in_which_dreg_is_better(bench):
    rows = pd.DataFrame(itertools.chain.from_iterable(bench("analysis").rows(1920)))
    by_method = rows.groupby("regularizer")["clean_accuracy"].agg(["size", "mean"])
    assert set(by_method["size"]) == {320}
    assert by_method["mean"].idxmax() == "dreg"
    assert not rows["cell"].duplicated().any()


def test_the_peak_of_a_command_is_that_of_its_largest_process(bench, tmp_path):
    child = "import time; held = b'1' * (90 << 20); time.sleep(0.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); sys.exit(4)"
    run = bench("whole_commands").measured([sys.executable, "-c", parent], tmp_path, exit_code=4)
    assert 90 * 2**20 < run.peak < 140 * 2**20
    assert run.seconds > 0.5


def test_a_command_that_fails_ends_the_benchmark(bench, tmp_path):
    commands = bench("commands")
    code = "import sys; print('why it failed', file=sys.stderr); sys.exit(3)"
    with pytest.raises(SystemExit, match=r"^bench: exit code 3 of python -c .*\nwhy it failed"):
        commands.timed([str(commands.BIN / "python"), "-c", code], tmp_path)
    with pytest.raises(SystemExit, match=r"^bench: 3 cells instead of 4 from dreg-sweep -m"):
        commands.expect(3, 4, commands.SWEEP)


def test_a_command_is_timed_and_watched_while_it_runs(bench, tmp_path):
    seen: list[int] = []
    code = "import time, sys; time.sleep(0.3); print('said', file=sys.stderr)"
    started = time.perf_counter()
    seconds, said = bench("commands").timed([sys.executable, "-c", code], tmp_path, seen.append)
    assert 0.3 < seconds <= time.perf_counter() - started
    assert said == "said\n"
    assert len(seen) > 3
    assert len(set(seen)) == 1
