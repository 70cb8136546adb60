"""Grids that are more than one cross: unions of crosses, what they leave out, and the command line over both."""

import itertools
from collections import Counter

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from dreg_sweep.axes import jobs
from dreg_sweep.compose import compose_grid
from dreg_sweep.errors import UserError

from .commands import run
from .composing import loader_and_master


def expand(*arguments, params=None, parts=None, exclude=None):
    """The jobs as sets of overrides."""
    made = jobs(OverridesParser.create(), params, parts, exclude, arguments)
    return [frozenset(job) for job in made]


def cells(name, *arguments):
    """The cells of an experiment by key."""
    arguments = [f"experiment={name}", *arguments]
    loader, master = loader_and_master(*arguments)  # which Hydra composes before it comes to the jobs
    sweeper = master.hydra.sweeper
    made = jobs(OverridesParser.create(loader), sweeper.params, sweeper.parts, sweeper.exclude, arguments)
    return {cell.key: cell for cell in compose_grid(loader, master, made).cells}


def test_one_cross_is_the_product_of_its_axes_in_their_order():
    made = jobs(OverridesParser.create(), {"a": "1,2", "b": "x,y"}, None, None, ["seed=range(2)", "b=z"])
    assert made == [[f"a={a}", "b=z", f"seed={seed}"] for a, seed in itertools.product((1, 2), (0, 1))]


def test_parts_are_a_union_of_crosses_with_the_shared_axes():
    parts = [{"method": "none"}, {"method": "p,q", "strength": "0.1,1"}]
    made = expand(params={"seed": "0,1"}, parts=parts)
    plain = [{f"seed={s}", "method=none"} for s in (0, 1)]
    strong = [{f"seed={s}", f"method={m}", f"strength={v}"} for s in (0, 1) for m in "pq" for v in (0.1, 1)]
    assert len(made) == len(set(made)) == len(plain) + len(strong)
    assert set(made) == {frozenset(job) for job in plain + strong}


def test_the_command_line_picks_among_the_levels_of_parts_and_replaces_others():
    grid = {"params": {"seed": "0,1"}, "parts": [{"m": "none"}, {"m": "p", "s": "1e-2,1"}, {"m": "q", "s": "1,2"}]}
    assert set(expand("m=p", "seed=7", **grid)) == {
        frozenset({"seed=7", "m=p", "s=0.01"}),
        frozenset({"seed=7", "m=p", "s=1"}),
    }
    picked = expand("m=p,q", "s=0.01", "seed=7", **grid)  # a level is a number, however it is written
    assert picked == [frozenset({"seed=7", "m=p", "s=0.01"})]
    free = expand("s=5", "seed=0", params=grid["params"], parts=[{"m": "none"}])
    assert free == [frozenset({"seed=0", "m=none", "s=5"})]


def test_a_level_of_no_part_is_refused_with_the_levels_there_are():
    with pytest.raises(UserError, match="m=r is in no part of this experiment's grid; choose of: p, q"):
        expand("m=r", parts=[{"m": "p"}, {"m": "q"}])


def test_a_part_without_a_typed_key_stays_as_it_is():
    parts = [{"m": "none,w"}, {"m": "p", "s": "1,2"}]
    assert expand("s=1", parts=parts) == [frozenset({"m=none"}), frozenset({"m=w"}), frozenset({"m=p", "s=1"})]
    assert expand("m=w", "s=1", parts=parts) == [frozenset({"m=w"})]
    assert len(expand("t=1,2", parts=parts)) == 2 * 4  # of no part: all get it


def test_a_level_of_params_is_picked_beside_the_parts_that_narrow_its_axis():
    grid = {"params": {"seed": "0,1,2,3"}, "parts": [{"m": "a"}, {"m": "b", "seed": "0,1"}]}
    assert expand("seed=3", **grid) == [frozenset({"m=a", "seed=3"})]
    both = [frozenset({"m=a", "seed=1"}), frozenset({"m=a", "seed=3"}), frozenset({"m=b", "seed=1"})]
    assert expand("seed=1,3", **grid) == both
    with pytest.raises(UserError, match=r"seed=4 is in no part of this experiment's grid; choose of: 0, 1, 2, 3 "):
        expand("seed=4", **grid)


@pytest.mark.parametrize("prefix", ["+", "++"])
def test_a_prefix_does_not_go_around_the_parts(prefix):
    grid = {"params": {"seed": "0,1"}, "parts": [{"m": "none"}, {"m": "p", "s": "1,2"}]}
    assert expand(f"{prefix}s=2", "m=p", "seed=0", **grid) == [frozenset({"seed=0", "m=p", f"{prefix}s=2"})]
    assert expand(f"{prefix}seed=7", "m=none", **grid) == [frozenset({f"{prefix}seed=7", "m=none"})]
    with pytest.raises(UserError, match="s=3 is in no part of this experiment's grid; choose of: 1, 2 "):
        expand(f"{prefix}s=3", **grid)


def test_left_out_is_what_has_a_level_of_every_key_of_an_entry():
    grid = {"params": {"data": "a,b", "n": "1,2,3"}, "exclude": [{"data": "a", "n": "2,3"}, {"data": "b", "n": 1}]}
    assert set(expand(**grid)) == {
        frozenset({"data=a", "n=1"}),
        frozenset({"data=b", "n=2"}),
        frozenset({"data=b", "n=3"}),
    }
    assert expand("n=4", "data=a", **grid) == [frozenset({"n=4", "data=a"})]
    with pytest.raises(UserError, match=r"^the grid has no cells: n=3 does not go with data=a; choose n of: 1$"):
        expand("data=a", "n=3", **grid)


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("m=p", "s=3", "seed=7"), "s=3 does not go with m=p seed=7; choose s of: 1, 2"),
        (("s=3", "m=p"), "m=p does not go with s=3; choose m of: none, q"),  # none is without an s
        (("m=r",), "m=r is left out; choose m of: none, p, q"),
        (("m=none,r", "t=1", "dry_run=true"), "t=1 does not go with m=none,r; choose t of: 2"),
        (("m=q", "s=1", "seed=2"), "s=1 does not go with m=q seed=2; choose s of: 2, 3"),
        (("seed=range(0)",), "seed=range(0) has no levels"),
    ],
)
def test_a_pick_that_leaves_no_cells_is_named_with_what_is_left(arguments, refusal):
    parts = [{"m": "none", "t": "2"}, {"m": "p", "s": "1,2"}, {"m": "q", "s": "2,3"}, {"m": "r", "t": "1,2"}]
    with pytest.raises(UserError) as caught:
        expand(*arguments, params={"seed": "0,1"}, parts=parts, exclude=[{"m": "r"}])
    assert str(caught.value) == f"the grid has no cells: {refusal}"


def test_picks_of_which_no_two_go_together_are_named():
    parts = [{"m": m, "s": s, "t": t} for m, s, t in ("a11", "b22", "c33")]
    with pytest.raises(UserError, match="the grid has no cells: none has all of m=a s=2 t=3, or"):
        expand("m=a", "s=2", "t=3", parts=parts)


@pytest.mark.parametrize(
    ("entry", "refusal"),
    [
        ({"dta": "a"}, "dta is no axis of the grid; choose of: data, n, m, s"),
        ({"data": "a", "n": "2,4"}, "n=4 is nowhere in the grid; choose of: 1, 2, null"),
        ({"m": "none", "s": 3}, "s=3 is nowhere in the grid; choose of: 1, 2"),
    ],
)
def test_an_exclusion_of_what_is_not_there_is_refused(entry, refusal):
    grid = {"params": {"data": "a,b", "n": "1,2,null"}, "parts": [{"m": "none"}, {"m": "p", "s": "1,2"}]}
    for narrowed in ((), ("data=b",), ("m=p",)):
        with pytest.raises(UserError, match=f"^hydra.sweeper.exclude: {refusal}$"):
            expand(*narrowed, **grid, exclude=[entry])


def test_exclusions_outlive_what_the_command_line_replaces_and_adds():
    grid = {"params": {"data": "a,b", "n": "1,2,null"}, "exclude": [{"data": "a", "n": None}]}
    assert expand("data=b", "n=null", **grid) == [frozenset({"data=b", "n=null"})]
    assert expand("data=c", "n=3", **grid) == [frozenset({"data=c", "n=3"})]
    assert expand("data=a", "n=3,null", **grid) == [frozenset({"data=a", "n=3"})]
    typed = expand("seed=0,1", "data=a,b", exclude=[{"seed": 1, "data": "a"}])
    assert len(typed) == 3


@pytest.mark.parametrize("entries", ["dreg", [3], [{}]])
def test_parts_and_exclusions_that_are_no_axes_are_refused(entries):
    for name in ("parts", "exclude"):
        with pytest.raises(UserError, match=f"hydra.sweeper.{name} must be a list of axes"):
            expand(**{name: entries})


def test_seeds_has_the_cells_of_paper_cpu():
    paper, seeds = cells("paper_cpu"), cells("seeds")
    assert (len(paper), len(seeds)) == (960, 2 * 6 * 8 * 20)
    shared = [key for key in paper if "/relu/" in key or "/gelu/" in key]
    assert [seeds[key].config_hash for key in shared] == [paper[key].config_hash for key in shared]


def test_readings_has_the_rivals_once_and_dreg_in_every_reading():
    made = cells("readings")
    assert len(made) == 8 * 5 * (5 + 2 * 2 * 2)
    plain = cells("paper_cpu", "model.widths=[64,64]", "activation=gelu")
    hashes = {cell.config_hash for cell in made.values()}
    assert len(hashes) == len(made)
    assert {cell.config_hash for cell in plain.values()} < hashes
    local = cells("readings", "regularizer.form=local")
    assert len(local) == 8 * 5 * (5 + 2 * 2)
    assert {cell.config_hash for cell in local.values()} < hashes


def test_scarcity_has_every_size_that_a_dataset_has():
    keys = cells("scarcity")
    assert len(keys) == 2 * 6 * 5 * (8 * 6 - 1)
    assert not any(key.startswith("tweet_emotion/") and "train_size=4000" in key for key in keys)
    assert len(cells("scarcity", "dataset=tweet_emotion")) == 2 * 6 * 5 * 5


def test_strength_has_every_method_at_strengths_of_its_own_the_default_among_them():
    made = cells("strength")
    strengths = {"none": 1, "weight_decay": 9, "dropout": 9, "spectral_norm": 7, "igpen": 9, "dreg": 9}
    assert Counter(cell.regularizer.name for cell in made.values()) == {
        name: 8 * 3 * 2 * count for name, count in strengths.items()
    }
    paper = cells("paper_cpu", "activation=gelu", "seed=0,1,2")
    assert {key: made[key].config_hash for key in paper} == {k: c.config_hash for k, c in paper.items()}
    one = cells("strength", "regularizer=dreg", "dataset=mnist", "seed=0", "evaluate_on=test")
    assert sorted(cell.regularizer.strength for cell in one.values()) == pytest.approx(
        [10 ** (half / 2) for half in range(-8, 1)], rel=0.06
    )


def test_the_command_line_says_what_cannot_be_picked(tmp_path):
    arguments = ["-m", "experiment=strength", "regularizer=frobreg", "results_dir=r"]
    done = run("dreg-sweep", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "dreg-sweep: regularizer=frobreg is in no part of this experiment's grid; choose of: none, weight_decay, "
        "dropout, spectral_norm, igpen, dreg (hydra.sweeper.parts=null does without the parts)"
    ]
    assert not (tmp_path / "r").exists()
