"""The claims of the second study: orders, loopholes, scarcity on one dataset, and what its file says."""

import pandas as pd
import pytest

from dreg_sweep.analysis.audit import audit
from dreg_sweep.analysis.claims.reading import BUILT_IN, KINDS, Claim, Study, built_in, parse_study
from dreg_sweep.analysis.claims.verdicts import Evidence, judge
from dreg_sweep.errors import UserError
from tests.grids import grid_of, loaded, made_up
from tests.histories import METHODS, history_of, one_dataset

ORDER = Claim(
    "C", "", "ordering", "double_backprop", "clean",
    order=(("double_backprop",), ("spectreg", "confidence_penalty"), ("none",)),
)  # fmt: skip


def verdicts(claim, grid, sizes=None, **evidence):
    return judge(Study("", "", (claim,)), Evidence(grid, sizes or {}, **evidence))


def the(frame, unit="seed", side="two-sided", correction="holm"):
    rows = frame[(frame["unit"] == unit) & (frame["side"] == side) & (frame["correction"] == correction)]
    assert len(rows) == 1
    return rows.iloc[0]


def mixed(by):
    """Right answers that are `by` above in half of the seeds and below in the others, by distinct amounts."""
    return lambda d, a, s: by + (s + 1) * (-1) ** s


LEVEL = mixed(30)


def ranked(tmp_path, double_backprop=60, spectreg=30, confidence_penalty=LEVEL):
    effects = {
        "double_backprop": double_backprop,
        "spectreg": spectreg,
        "confidence_penalty": confidence_penalty,
    }
    return grid_of(one_dataset(effects), tmp_path)


def test_an_order_is_reproduced_step_by_step(tmp_path):
    frame = verdicts(ORDER, ranked(tmp_path))
    assert len(frame) == 4 * 2 * 2
    row = the(frame)
    assert row["primary"]
    # five comparisons: two steps down from the first, two down to none, and the pair that is called equal
    assert (row["verdict"], row["observed"]) == ("reproduced", "holds: 4 of 4 steps as claimed")
    assert row["family"] == "Holm's correction over the 5 comparisons of the order"
    assert row["p"] == pytest.approx(5 * 2 / 1024)
    assert row["floor"] == pytest.approx(5 * 2 / 1024)
    assert row["evidence"].startswith(
        "double_backprop > spectreg: +3.00 (p = 0.010); double_backprop > confidence_"
    )
    assert "spectreg = confidence_penalty: +0.0" in row["evidence"]
    assert the(frame, side="one-sided", correction="none")["p"] == 1 / 1024
    assert the(frame, unit="dataset")["verdict"] == "undecided"
    assert not the(frame, unit="dataset")["can_reach"]


def test_equals_that_differ_or_a_step_the_other_way_contradict(tmp_path):
    row = the(verdicts(ORDER, ranked(tmp_path, confidence_penalty=20)))
    assert (row["verdict"], row["decisive"]) == ("contradicted", "spectreg = confidence_penalty")
    row = the(verdicts(ORDER, ranked(tmp_path, double_backprop=10, confidence_penalty=30)))
    assert row["verdict"] == "contradicted"
    assert row["decisive"].startswith("double_backprop > ")
    assert row["observed"].startswith("does not hold: 2 of 4 steps as claimed; not so: double_backprop > spectreg")
    one_sided = the(verdicts(ORDER, ranked(tmp_path, double_backprop=10, confidence_penalty=30)), side="one-sided")
    assert one_sided["verdict"] == "contradicted"


def test_a_step_that_is_not_significant_leaves_the_order_undecided(tmp_path):
    row = the(verdicts(ORDER, ranked(tmp_path, double_backprop=mixed(31))))
    assert (row["verdict"], row["decisive"]) == ("undecided", "double_backprop > spectreg")
    rows = one_dataset({"double_backprop": 60, "spectreg": 30, "confidence_penalty": 30}, seeds=range(5))
    row = the(verdicts(ORDER, grid_of(rows, tmp_path)))
    assert (row["verdict"], row["can_reach"], row["pairs_needed"]) == ("undecided", False, 8)
    without = one_dataset(regularizers=("none", "spectreg"))
    row = the(verdicts(ORDER, grid_of(without, tmp_path)))
    assert row["observed"] == "no result of double_backprop, confidence_penalty"


def config(augmentation, seed):
    return f'{{"augmentation": {{"name": "{augmentation}"}}, "seed": {seed}}}'


def test_a_claim_may_name_a_training_size_and_a_setting(tmp_path):
    rows = one_dataset({"spectreg": 9})
    rows["config"] = [config("none", seed) for seed in rows["seed"]]
    cells = loaded(rows, tmp_path)
    grid = audit(cells).grid

    def judged(sizes=None, **where):
        claim = Claim("A", "", "higher", "spectreg", "clean", rivals=("none",), where=where)
        return the(verdicts(claim, grid, sizes, cells=cells))

    assert judged(train_size=("2000",))["verdict"] == "reproduced"
    assert (
        judged(dataset=("mnist",), train_size=("500",))["observed"]
        == "no data where dataset=mnist, train_size=500"
    )
    assert judged(**{"augmentation.name": ("none",)})["verdict"] == "reproduced"
    assert (
        judged(**{"augmentation.name": ("crop_flip",)})["observed"] == "no data where augmentation.name=crop_flip"
    )
    # of several sizes the grid of the one that is named counts
    worse = grid_of(one_dataset({"spectreg": -9}), tmp_path)
    assert judged({500: worse, 2000: grid}, train_size=("500",))["verdict"] == "contradicted"
    assert judged({500: worse, 2000: grid}, train_size=("2000",))["verdict"] == "reproduced"
    assert judged({500: worse, 2000: grid}, train_size=("1000",))["observed"] == "no data where train_size=1000"


def test_scarcity_on_one_dataset_is_told_by_its_seeds(tmp_path):
    grids = {size: grid_of(one_dataset({"spectreg": 4000 // size}), tmp_path) for size in (500, 1000, 2000)}
    claim = Claim("B", "", "scarcity", "spectreg", "clean", rivals=("none",))
    row = the(verdicts(claim, grids[2000], grids), side="one-sided")
    assert row["primary"]
    assert (row["verdict"], row["pairs"]) == ("reproduced", 10)
    assert row["p"] == pytest.approx((1 / 6) ** 10)


LOOPHOLE = Claim("D", "", "no_loophole", "spectreg")


def loophole(tmp_path, near, test, claim=LOOPHOLE, wobble=0.05):
    cells = loaded(one_dataset(), tmp_path)
    lower = {"train": 4.0, "near": near, "test": test}
    history = history_of(
        one_dataset(), lambda name, place: lower[place] if name == "spectreg" else 1.0, wobble=wobble
    )
    return verdicts(claim, audit(cells).grid, cells=cells, history=history)


def test_a_gradient_that_is_lower_off_the_training_points_too_is_no_loophole(tmp_path):
    frame = loophole(tmp_path, 3.0, 2.0)
    row = the(frame)
    assert row["primary"]
    assert (row["verdict"], row["pairs"]) == ("reproduced", 10)
    assert row["p"] == pytest.approx(2 * 2 / 1024)
    assert row["observed"] == "holds: lower at 2 of 2 places off the training points"
    assert the(frame, side="one-sided", correction="none")["p"] == 1 / 1024
    exact = the(loophole(tmp_path, 3.0, 2.0, wobble=0.0))
    assert exact["evidence"] == "near: 3 times lower (p = 0.004); test: 2 times lower (p = 0.004)"
    other = Claim("D", "", "no_loophole", "spectreg", measure="input_gradient")
    assert the(loophole(tmp_path, 3.0, 2.0, other))["verdict"] == "reproduced"


def test_a_gradient_that_is_higher_off_the_training_points_is_one(tmp_path):
    row = the(loophole(tmp_path, 3.0, 0.5))
    assert (row["verdict"], row["decisive"]) == ("contradicted", "test")
    assert row["observed"] == "does not hold: lower at 1 of 2 places off the training points"
    assert the(loophole(tmp_path, 3.0, 0.5), side="one-sided")["verdict"] == "contradicted"
    row = the(loophole(tmp_path, 3.0, 1.0))
    assert (row["verdict"], row["decisive"]) == ("undecided", "test")


def test_a_history_without_such_measures_leaves_it_undecided(tmp_path):
    cells = loaded(one_dataset(), tmp_path)
    grid = audit(cells).grid
    history = history_of(one_dataset(), lambda name, place: 1.0)
    old = history.drop(columns=[name for name in history if "near" in name or "_test" in name or "_train" in name])
    empty = history.assign(logit_jacobian_near=pd.NA)
    for known in (None, old, empty):
        row = the(verdicts(LOOPHOLE, grid, cells=cells, history=known))
        assert row["verdict"] == "undecided"
        assert row["observed"].startswith("the history has no logit Jacobian off the training points of spectreg")


def test_the_file_of_the_study_speaks_of_clean_accuracy_and_of_methods_that_choose_it():
    studies = [built_in(method, "none", ["clean"]) for method, file in BUILT_IN.items() if file == "gradreg.yaml"]
    assert len({study.title for study in studies}) == 1
    claims = studies[0].claims
    assert all(study.claims == claims for study in studies)
    assert {claim.metric for claim in claims} == {"clean"}
    assert {claim.method for claim in claims} <= set(BUILT_IN)
    assert {claim.kind for claim in claims} == {"higher", "scarcity", "ordering", "no_loophole"}
    assert set(METHODS) == {name for claim in claims for place in claim.order for name in place}
    assert built_in("spectreg", "none", ["overall", "clean", "noisy"]).claims == claims
    assert built_in("spectreg", "none", ["test_loss"]).source == "no published claims were given"
    assert built_in("dreg", "none", ["clean"]).source == "no published claims were given"


def test_the_whole_study_on_data_that_follow_it(tmp_path):
    effects = {
        "double_backprop+confidence_penalty": 80,
        "double_backprop": 60,
        "spectreg+confidence_penalty": mixed(60),
        "spectreg": 40,
        "confidence_penalty": 20,
    }
    cells = loaded(one_dataset(effects), tmp_path)
    history = history_of(one_dataset(), lambda name, place: 2.0 if "b" in name or "reg" in name else 1.0)
    study = built_in("double_backprop", "none", ["clean"])
    frame = judge(study, Evidence(audit(cells).grid, {}, cells=cells, history=history))
    first = frame[frame["primary"]].set_index("claim")
    assert first["verdict"].to_dict() == {
        **dict.fromkeys(("A1", "A2", "A3", "A4", "C1", "D1", "D2"), "reproduced"),
        **dict.fromkeys(("B1", "B2", "C2"), "undecided"),
    }
    assert set(first["unit"]) == {"seed"}
    assert first.at["C2", "observed"].startswith(
        "no data where dataset=cifar10, train_size=2000, augmentation.name="
    )
    # several datasets: the claims about all of them are by dataset again
    several = judge(study, Evidence(grid_of(made_up(regularizers=METHODS), tmp_path), {}))
    units = several[several["primary"]].set_index("claim")["unit"]
    assert (units["A1"], units["C1"]) == ("dataset", "seed")


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ("kind: ordering", "kind ordering needs order, best first, such as [[a], [b, c], [d]]"),
        ("kind: ordering, order: [[a]]", "two places or more"),
        ("kind: ordering, order: [[a], [b, a]]", "no method twice"),
        ("kind: ordering, order: [[a], []]", "each with a method"),
        (
            "kind: no_loophole, method: m, measure: loss",
            "measure loss is unknown; choose from: logit_jacobian, input_g",
        ),
        (
            "kind: scarcity, method: m, where: {train_size: 5}",
            "takes a train_size for the kinds highest, higher, pl",
        ),
        ("kind: highest, method: m, where: {train_size: [5, 6]}", "takes one size, not 5, 6"),
        ("kind: highest, method: m, where: {x: 1}", "or a setting such as augmentation.name"),
        ("kind: order, method: m", f"choose from: {', '.join(KINDS)}"),
    ],
)
def test_a_claim_that_cannot_be_understood_is_one_line(claim, message):
    with pytest.raises(UserError) as caught:
        parse_study(f"claims: [{{id: a, sentence: s, {claim}}}]", "mine.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_best_of_an_order_is_the_method_it_praises():
    (claim,) = parse_study(
        "method: x\nclaims: [{id: a, sentence: s, kind: ordering, order: [a, [b, c]]}]", ""
    ).claims
    assert (claim.method, claim.order) == ("a", (("a",), ("b", "c")))
