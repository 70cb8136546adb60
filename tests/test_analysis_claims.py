"""Claims read from YAML, and verdicts on grids whose answer is known."""

import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.claims.reading import Claim, Study, built_in, parse_study, read_study
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.analysis.grid import AXES
from dreg_sweep.analysis.pairing import Family, comparisons
from dreg_sweep.errors import UserError
from tests.grids import REGULARIZERS, grid_of, loaded, made_up


def verdicts(grid, *claims, sizes=None, **evidence):
    frame = judge(Study("", "", claims), Evidence(grid, sizes or {}, **evidence))
    assert set(frame["verdict"]) <= {"reproduced", "contradicted", "undecided"}
    return frame


def the(frame, unit="dataset", side="two-sided", correction="holm"):
    rows = frame[(frame["unit"] == unit) & (frame["side"] == side) & (frame["correction"] == correction)]
    assert len(rows) == 1
    return rows.iloc[0]


HIGHEST = Claim("A", "dreg is the highest", "highest", "dreg", "clean")


def test_the_highest_in_every_dataset_is_reproduced_where_the_test_can_speak(tmp_path):
    frame = verdicts(grid_of(made_up({"dreg": lambda d, a, s: 5 + s}), tmp_path), HIGHEST)
    assert len(frame) == 4 * 2 * 2
    row = the(frame)
    assert row["primary"]
    assert (row["verdict"], row["p"], row["pairs"]) == ("reproduced", 10 / 256, 8)
    assert row["observed"] == "holds: place 1 of 6"
    seeds = the(frame, "seed", "one-sided")
    assert (seeds["verdict"], seeds["p"], seeds["can_reach"], seeds["pairs_needed"]) == (
        "undecided",
        5 / 32,
        False,
        7,
    )
    paper = the(frame, "seed", "one-sided", "none")
    assert (paper["verdict"], paper["p"]) == ("reproduced", 1 / 32)
    assert frame["primary"].sum() == 1


def test_one_better_rival_contradicts_and_an_unclear_one_leaves_it_undecided(tmp_path):
    better = {"dreg": 5, "igpen": 9}
    row = the(verdicts(grid_of(made_up(better), tmp_path), HIGHEST))
    assert (row["verdict"], row["decisive"]) == ("contradicted", "igpen")
    assert row["observed"] == "does not hold: place 2 of 6; not so against igpen"
    mixed = {"dreg": 5, "igpen": lambda d, a, s: 9 if d in ("mnist", "sst2", "cifar10") else 2}
    row = the(verdicts(grid_of(made_up(mixed), tmp_path), HIGHEST))
    assert (row["verdict"], row["decisive"]) == ("undecided", "igpen")


def test_higher_asks_about_the_named_rivals_only(tmp_path):
    grid = grid_of(made_up({"dreg": 5, "igpen": 9}), tmp_path)
    claim = Claim("A", "", "higher", "dreg", "clean", rivals=("none", "weight_decay"))
    row = the(verdicts(grid, claim))
    assert row["verdict"] == "reproduced"
    assert "igpen" not in row["evidence"]


def test_placed_second_behind_another(tmp_path):
    claim = Claim("B", "", "placed", "dreg", "noisy", behind=("spectral_norm",))
    grid = grid_of(made_up(None, {"dreg": 5, "spectral_norm": 9}), tmp_path)
    assert the(verdicts(grid, claim))["verdict"] == "reproduced"
    assert the(verdicts(grid, claim))["observed"] == "holds: place 2 of 6"
    assert the(verdicts(grid, claim), side="one-sided")["verdict"] == "reproduced"
    grid = grid_of(made_up(None, {"dreg": 9, "spectral_norm": 5}), tmp_path)
    assert the(verdicts(grid, claim))["verdict"] == "contradicted"


def test_where_limits_the_data_and_says_when_there_are_none(tmp_path):
    only_gelu = {"dreg": lambda d, a, s: 5 if a == "gelu" else -5}
    grid = grid_of(made_up(only_gelu), tmp_path)
    assert the(verdicts(grid, HIGHEST))["verdict"] == "contradicted"  # behind under the other three
    gelu = Claim("C", "", "highest", "dreg", "clean", where={"activation": ("gelu",)})
    assert the(verdicts(grid, gelu))["verdict"] == "reproduced"
    messy = Claim("C", "", "highest", "dreg", "clean", where={"modality": ("vision",), "regime": ("messy",)})
    assert the(verdicts(grid, messy))["pairs"] == 2
    assert not the(verdicts(grid, messy))["can_reach"]
    none = Claim("C", "", "highest", "dreg", "clean", where={"activation": ("cubic",)})
    row = the(verdicts(grid, none))
    assert (row["verdict"], row["observed"]) == ("undecided", "no data where activation=cubic")
    other = Claim("C", "", "higher", "dreg", "clean", rivals=("jacreg",))
    assert the(verdicts(grid, other))["observed"] == "no result of jacreg"


SCARCE = Claim("D", "", "scarcity", "dreg", "clean")


def by_size(tmp_path, gain):
    """Grids at 100, 200, 400, 800 training rows; gain(size) right answers more for dreg."""
    sizes = (100, 200, 400, 800)
    return {
        size: grid_of(made_up({"dreg": lambda d, a, s, size=size: gain(size, d)}, seeds=range(3)), tmp_path)
        for size in sizes
    }


def test_an_advantage_that_falls_with_size_is_reproduced(tmp_path):
    grids = by_size(tmp_path, lambda size, d: 4000 // size)
    frame = verdicts(grids[800], SCARCE, sizes=grids)
    row = the(frame, side="one-sided")
    assert row["verdict"] == "reproduced"
    assert row["p"] == pytest.approx(
        5 * (1 / 24) ** 8
    )  # every dataset in the one order of 4! that is most extreme
    assert row["primary"]
    assert row["observed"] == "holds: positive and falling with size against 5 of 5 rivals"


def test_an_advantage_that_grows_contradicts_and_one_size_cannot_tell(tmp_path):
    grids = by_size(tmp_path, lambda size, d: size // 50)
    assert the(verdicts(grids[800], SCARCE, sizes=grids), side="one-sided")["verdict"] == "contradicted"
    grids = by_size(tmp_path, lambda size, d: -4000 // size)  # behind, and less so with more data
    assert the(verdicts(grids[800], SCARCE, sizes=grids), side="one-sided")["verdict"] == "contradicted"
    row = the(verdicts(grids[800], SCARCE), side="one-sided")
    assert (row["verdict"], row["observed"]) == (
        "undecided", "the data have one training size a dataset; a trend needs three",
    )  # fmt: skip


def test_a_rival_without_a_block_at_every_size_leaves_the_trend_undecided(tmp_path):
    grids = by_size(tmp_path, lambda size, d: 4000 // size)
    rows = made_up({"dreg": 5}, seeds=range(3))
    rows = rows[(rows["regularizer"] != "igpen") | (rows["dataset"] == "mnist")]
    other = made_up({"dreg": 5}, seeds=range(3))
    other = other[(other["regularizer"] != "igpen") | (other["dataset"] == "sst2")]
    grids |= {400: grid_of(rows, tmp_path), 800: grid_of(other, tmp_path)}
    row = the(verdicts(grids[800], SCARCE, sizes=grids), side="one-sided")
    assert (row["verdict"], row["observed"]) == ("undecided", "no block has every training size against igpen")
    named = Claim("D", "", "scarcity", "dreg", "clean", rivals=("none", "dropout"))
    row = the(verdicts(grids[800], named, sizes=grids), side="one-sided")
    assert row["observed"].endswith("against 2 of 2 rivals")
    assert row["family"].startswith("Holm's correction over 2 rivals (none, dropout)")


def history_of(rows, press):
    """Two hidden layers, the second with the larger σ'²; press(layer) = ‖J‖² under dreg, 1 under the others."""
    frame = rows[["cell", "config_hash", *AXES]].copy()
    frame["epoch"] = 3
    frame["slope_sq"] = [[0.2, 0.6]] * len(frame)
    frame["jacobian_sq"] = [
        [press(0), press(1)] if regularizer == "dreg" else [1.0, 1.0] for regularizer in frame["regularizer"]
    ]
    return pd.concat([frame.assign(epoch=1, jacobian_sq=[[9.0, 9.0]] * len(frame)), frame], ignore_index=True)


@pytest.mark.parametrize(
    ("press", "verdict"), [((0.9, 0.5), "reproduced"), ((0.5, 0.9), "contradicted"), ((0.5, 0.5), "undecided")]
)
def test_pressure_on_the_layer_with_the_larger_slope(tmp_path, press, verdict):
    rows = made_up()
    cells = loaded(rows, tmp_path)
    grid = audit(cells).grid
    claim = Claim("E", "", "pressure", "dreg")
    known = {"cells": cells, "history": history_of(rows, lambda layer: press[layer])}
    frame = verdicts(grid, claim, **known)
    row = the(frame, correction="none")
    assert row["primary"]
    assert row["verdict"] == verdict
    if verdict != "undecided":
        assert row["p"] == 2 / 256
    assert the(verdicts(grid, claim), correction="none")["observed"].startswith("the history has no layer norms")
    # the claim's own method, baseline and part of the data count, whatever the command compares
    other = Claim("E", "", "pressure", "igpen", baseline="dropout")
    assert the(verdicts(grid, other, **known), correction="none")["verdict"] == "undecided"
    nowhere = Claim("E", "", "pressure", "dreg", where={"dataset": ("emnist",)})
    assert the(verdicts(grid, nowhere, **known), correction="none")["observed"] == "no data where dataset=emnist"


def test_a_test_counts_in_the_direction_of_its_ranks(tmp_path):
    """dreg is behind on 13 datasets and far ahead on one: the mean is above, the ranks say below."""
    names = [f"d{number:02}" for number in range(14)]
    gain = {"dreg": lambda d, a, s: 300 if d == "d00" else -1 - int(d[1:]), "igpen": 0}
    rows = made_up(gain, datasets=names, regularizers=("none", "igpen", "dreg"))
    row = the(verdicts(grid_of(rows, tmp_path), HIGHEST))
    assert row["p"] <= 0.05
    assert row["observed"].startswith("holds")
    assert row["verdict"] == "undecided"


def test_the_highest_of_all_asks_for_a_result_of_all(tmp_path):
    rows = made_up({"dreg": lambda d, a, s: 5 + s})
    rows.loc[rows["regularizer"] == "igpen", "status"] = "failed"
    row = the(verdicts(grid_of(rows, tmp_path), HIGHEST))
    assert (row["verdict"], row["observed"]) == ("undecided", "no result of igpen")
    two = grid_of(made_up({"dreg": 5}, regularizers=("none", "dreg")), tmp_path)
    study = built_in("dreg", "none", ["overall", "clean", "noisy"])
    frame = judge(study, Evidence(two, {}))
    assert set(frame.loc[frame["claim"] == "A1", "observed"]) == {
        "no result of weight_decay, dropout, spectral_norm, igpen"
    }


def test_claims_share_the_declared_family_where_it_covers_them(tmp_path):
    grid = grid_of(made_up({"dreg": lambda d, a, s: 5 + s}, {"dreg": 9}), tmp_path)
    rivals = tuple(name for name in REGULARIZERS if name != "dreg")
    together = Family(rivals, across_metrics=True)
    tests = comparisons(grid, "dreg", together)
    row = the(verdicts(grid, HIGHEST, family=together, treatment="dreg", tests=tests))
    assert row["p"] == pytest.approx(15 * 2 / 256)
    assert row["verdict"] == "undecided"
    named = Claim("A", "", "higher", "dreg", "clean", rivals=("none", "igpen"))
    assert the(verdicts(grid, named, family=Family(rivals)))["p"] == 5 * 2 / 256
    row = the(verdicts(grid, named, family=Family(("none",))))
    assert row["p"] == 2 * 2 / 256
    assert row["family"].startswith("Holm's correction over 2 rivals (none, igpen)")
    seeds = the(verdicts(grid, named), "seed", correction="none")
    assert (seeds["can_reach"], seeds["pairs_needed"]) == (False, 6)


def test_the_built_in_study_has_every_sentence_and_others_get_the_obvious_claims():
    study = built_in("dreg", "none", ["overall", "clean", "noisy"])
    assert [claim.id for claim in study.claims] == [
        "A1", "A2", "A3", "A4", "A2b", "A4b", "B", "B2", "B3", "C1", "C2", "C3", "D", "E", "E-vision", "E-text",
    ]  # fmt: skip
    assert study.claims[2].rivals == ("none", "weight_decay", "igpen")
    general = built_in("mine", "none", ["clean"])
    assert [(claim.kind, claim.method, claim.rivals) for claim in general.claims] == [
        ("highest", "mine", ()),
        ("higher", "mine", ("none",)),
    ]


def test_a_study_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "study: Mine\nmethod: dropout\nclaims:\n"
        "  - {id: 1, sentence: It wins., kind: highest, metric: clean, where: {seed: [0, 1], regime: messy}}\n"
    )
    (claim,) = read_study(path).claims
    assert (claim.id, claim.method, claim.where) == ("1", "dropout", {"seed": (0, 1), "regime": ("messy",)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("claims: []", "has no list `claims`"),
        ("titel: x\nclaims: [{}]", "unknown key titel; choose from: study, source, method, rivals, claims"),
        ("claims: [3]", "claim 1 is not a mapping"),
        (
            "claims: [{id: a, sentence: s, kind: best, method: m}]",
            "kind best is unknown; choose from: highest, higher",
        ),
        ("claims: [{id: a, kind: highest, method: m}]", "claim 1 has no sentence"),
        ("claims: [{id: a, sentence: s, kind: highest}]", "has no method, and the study names none"),
        ("claims: [{id: a, sentence: s, kind: higher, method: m}]", "kind higher needs rivals"),
        ("claims: [{id: a, sentence: s, kind: highest, method: m, wo: 1}]", "unknown key wo; choose from: id"),
        ("claims: [{id: a, sentence: s, kind: highest, method: m, where: {x: 1}}]", "where takes dataset, activ"),
        ("claims: [{id: a, sentence: s, kind: higher, method: m, rivals: [no]}]", "put the name in quotes"),
        ("claims: [{id: a, sentence: s, kind: highest, method: m, metric: [x]}]", "metric is ['x'], not a name"),
        (
            "claims: [{id: a, sentence: s, kind: placed, method: m, behind: [m]}]",
            "m cannot be compared with itself",
        ),
        ("claims: [{id: a, sentence: s, kind: highest, method: m, where: {seed: x}}]", "a seed is a whole number"),
        (
            "method: m\nclaims: [{id: a, sentence: s, kind: highest}, {id: a, sentence: t, kind: highest}]",
            "two claims have the id a",
        ),
    ],
)
def test_a_study_that_cannot_be_understood_is_one_line(text, message):
    with pytest.raises(UserError) as caught:
        parse_study(text, "mine.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
