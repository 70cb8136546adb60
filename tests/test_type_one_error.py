"""scripts/type_one_error.py, run as a user runs it: what it reports against levels counted by hand."""

import itertools
import math
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "type_one_error.py"
UNITS = ("dataset means, n = 8", "seed means, n = 5", "dataset × activation means, n = 32", "cells, n = 160")
DATASETS, SEEDS, _, CELLS = UNITS
SIMULATIONS = 300
ERRORS = 4.0  # standard errors that a right rate may be off


@pytest.fixture(scope="module")
def main():
    """The command within this process."""
    return runpy.run_path(str(SCRIPT))["main"]


def rows(printed):
    """(scenario, side) → unit → (rate, standard error), from the Markdown table."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    heads, _, *body = [[entry.strip() for entry in line.strip("|").split("|")] for line in lines]
    assert tuple(heads[2:]) == UNITS
    found = {}
    for scenario, side, *values in body:
        found[scenario, side] = {
            unit: tuple(map(float, value.split(" ± "))) for unit, value in zip(UNITS, values, strict=True)
        }
    return found


def level(pairs, tails):
    """The chance of p ≤ 0.05 without an effect or ties, by going through all signs of the ranks."""
    ranks = np.arange(1, pairs + 1)
    sums = np.array(list(itertools.product((0, 1), repeat=pairs))) @ ranks
    above = np.array([(sums >= one).mean() for one in sums])
    p = above if tails == 1 else np.minimum(1, 2 * np.minimum(above, above[::-1]))  # reversed: all signs flipped
    return (p <= 0.05).mean()


def error(rate):
    return math.sqrt(rate * (1 - rate) / SIMULATIONS)


@pytest.fixture(scope="module")
def simulated():
    options = ["--simulations", str(SIMULATIONS), "--seed", "1", "--scenario", "noise,dataset_strong"]
    command = [sys.executable, str(SCRIPT), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("300 simulations of each scenario, seed 1")
    found = rows(done.stdout)
    scenarios = list(dict.fromkeys(scenario for scenario, _ in found))
    assert scenarios == ["noise 0.55", "noise 0.55, dataset 2.7"]
    assert len(found) == 4
    return {(name, side): found[s, side] for s, name in zip(scenarios, "ab", strict=True) for _, side in found}


def test_the_levels_counted_by_hand():
    assert level(5, tails=2) == 0
    assert level(5, tails=1) == 1 / 32
    assert level(8, tails=2) == level(8, tails=1) == 10 / 256


@pytest.mark.parametrize(("side", "tails"), [("two-sided", 2), ("one-sided", 1)])
def test_every_unit_keeps_its_level_under_independent_noise(simulated, side, tails):
    found = simulated["a", side]
    for unit, exact in ((DATASETS, level(8, tails)), (SEEDS, level(5, tails))):
        assert found[unit][0] == pytest.approx(exact, abs=ERRORS * error(exact))
    for unit in UNITS[2:]:
        assert found[unit][0] == pytest.approx(0.05, abs=ERRORS * error(0.05))
    assert (found[SEEDS][0] == 0) == (tails == 2)


@pytest.mark.parametrize(("side", "tails"), [("two-sided", 2), ("one-sided", 1)])
def test_only_dataset_means_keep_it_where_methods_act_differently_on_datasets(simulated, side, tails):
    found = simulated["b", side]
    exact = level(8, tails)
    assert found[DATASETS][0] == pytest.approx(exact, abs=ERRORS * error(exact))
    assert found[CELLS][0] > 0.25
    assert found[SEEDS][0] == 0 if tails == 2 else found[SEEDS][0] > 0.25


def test_standard_errors_are_those_of_a_share(simulated):
    for values in simulated.values():
        for rate, spread in values.values():
            assert spread == pytest.approx(error(rate), abs=1e-4)


def test_a_scenario_depends_on_the_seed_and_not_on_the_others(main, capsys):
    def of(*arguments):
        assert main(["--simulations", "15", *arguments]) == 0
        return rows(capsys.readouterr().out)

    key = (
        "noise 0.55, dataset 0.7, activation 0.5, seed 0.25, dataset × activation 1; effect 1",
        "one-sided",
    )
    alone = of("--scenario", "power_all")[key]
    assert alone == of("--scenario", "power_all,noise")[key] != of("--scenario", "power_all", "--seed", "1")[key]
    assert alone[CELLS][0] > 0.5  # a true effect is found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--simulations", "0"], "--simulations 0: at least 1"),
        (["--simulations", "many"], "argument --simulations: invalid int value: 'many'"),
        (["--seed", "-1"], "--seed -1: not below 0"),
        (["--scenario", "noise,none"], "--scenario none is unknown; choose from: noise, dataset,"),
        (["--estimate", "nowhere"], "nowhere does not exist"),
    ],
)
def test_mistakes_are_told_in_one_line(main, capsys, arguments, said):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"type_one_error: {said}")
    assert printed.err.count("\n") == 1


def test_components_are_recovered_from_many_made_up_differences():
    components = runpy.run_path(str(SCRIPT))["components"]
    rng = np.random.default_rng(3)
    wanted = np.array([0.5, 2.0, 1.0, 0.3, 0.8, 0.4, 0.6])  # in the order of COMPONENTS
    shapes = [(40, 30, 20), (40, 1, 1), (1, 30, 1), (1, 1, 20), (40, 30, 1), (40, 1, 20), (1, 30, 20)]
    differences = sum(rng.normal(0, sd, shape) for sd, shape in zip(wanted, shapes, strict=True))
    assert components(differences) == pytest.approx(wanted, rel=0.35)
    assert components(np.full((3, 2, 2), 7.0)) == [0.0] * 7


def test_estimates_are_printed_for_a_results_folder(main, capsys):
    assert main(["--estimate", str(SCRIPT.parents[1] / "results" / "quickstart")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "overall accuracy, dreg minus each rival, 2 × 4 × 5 blocks: SDs"
    seeds = [line.split("|")[5].strip() for line in lines if line.startswith("| largest")]
    assert seeds == ["0.30"]  # what the statistics page says of it
