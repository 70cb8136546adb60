"""Variants of a method: names, what stands in the main tables, and each variant as if it were alone."""

import json

import numpy as np
import pandas as pd
import pytest

from dreg_sweep.analysis.claims.reading import parse_study
from dreg_sweep.analysis.command import main
from dreg_sweep.analysis.figures import variant_claims
from dreg_sweep.analysis.pairing import choose_family
from dreg_sweep.analysis.report.render import csv
from dreg_sweep.analysis.results import compute
from dreg_sweep.analysis.rows.levels import split
from dreg_sweep.analysis.study import read, roles
from dreg_sweep.analysis.tables.variants import Entry, untold
from dreg_sweep.errors import UserError
from tests.grids import REGULARIZERS, made_up

RIVALS = tuple(name for name in REGULARIZERS if name != "dreg")
SHAPE = {"activations": ("gelu",), "seeds": range(2)}
DEFAULTS = {"form": "local", "layers": "hidden", "reduction": "sum"}
# Right answers more than any rival has: above all of them, below all of them, and once this, once that.
GAINS = {
    (): 20,
    ("form=cumulative",): -20,
    ("reduction=mean",): lambda d, a, s: 20 if d in ("mnist", "sst2", "cifar10", "gtsrb") else -20,
    ("form=cumulative", "reduction=mean"): 0,
}
NAMES = ["dreg", "dreg[cumulative]", "dreg[mean]", "dreg[cumulative,mean]"]


def configured(rows, options, **settings):
    """With the configuration that a sweep stores, and with keys that name each option that is not the default."""
    given = dict(text.split("=") for text in options)
    keys = "".join(f"/{text}" for text in options)
    texts = []
    for row in rows.to_dict("records"):
        regularizer = {"name": row["regularizer"], "strength": 0.01}
        if row["regularizer"] == "dreg":
            regularizer |= DEFAULTS | {
                name: json.loads(v) if v[0] in "0123456789tf[" else v for name, v in given.items()
            }
        config = {"regularizer": dict(sorted(regularizer.items())), "seed": row["seed"], **settings}
        texts.append(json.dumps(config, separators=(",", ":")))
    return rows.assign(cell=rows["cell"] + keys, config_hash=rows["config_hash"] + keys, config=texts)


def swept(gains=None, **shape):
    """The five rivals, and dreg under each of the options of `gains`."""
    shape = SHAPE | shape
    parts = [configured(made_up(regularizers=RIVALS, **shape), ())]
    for options, gain in (GAINS if gains is None else gains).items():
        rows = made_up({"dreg": gain}, {"dreg": gain}, regularizers=("dreg",), **shape)
        parts.append(configured(rows, options))
    return pd.concat(parts, ignore_index=True)


def file(tmp_path, rows, name="rows"):
    rows.to_parquet(tmp_path / f"{name}.parquet")
    return tmp_path / f"{name}.parquet"


CLAIMS = """
method: dreg
claims:
  - {id: A, sentence: It is the best., kind: highest, metric: overall}
  - {id: B, sentence: It is the best on messy sets., kind: highest, metric: clean, where: {regime: messy}}
  - {id: E, sentence: It presses on the layers with the largest slope., kind: pressure}
"""


def analysed(path, *conditions, treatment=None, claims=CLAIMS):
    data = read(path, conditions=conditions)
    treatment, baseline = roles(data.grid.levels["regularizer"], treatment, None)
    rivals = [level for level in data.grid.levels["regularizer"] if level != treatment]
    return compute(
        data, treatment, baseline, choose_family(None, rivals), claims and parse_study(claims, "a test")
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The sweep of `GAINS` as a file."""
    return file(tmp_path_factory.mktemp("variants"), swept())


@pytest.fixture(scope="module")
def whole(path):
    """What an analysis of it finds."""
    return analysed(path)


def named(tmp_path, rows):
    return list(read(file(tmp_path, rows)).variants.by_level)


def test_the_variant_whose_keys_name_no_option_keeps_the_name_and_the_main_tables(tmp_path):
    data = read(file(tmp_path, swept().sample(frac=1, random_state=0)))
    assert list(data.variants.by_level) == NAMES
    assert data.variants.main == {"dreg": "dreg"}
    assert data.variants.by_level["dreg[cumulative]"].settings == {"form": "cumulative", "reduction": "sum"}
    assert data.grid.levels["regularizer"] == list(REGULARIZERS)
    assert list(data.instead) == NAMES[1:]
    (line,) = data.warnings
    assert "tables are about dreg (form=local, reduction=sum) unless they say otherwise" in line
    assert line.endswith(
        "analyse dreg[cumulative] in its place with --where regularizer.form=cumulative "
        "--where regularizer.reduction=sum"
    )
    assert data.audit.lines()[:2] == [
        "96 of 96 cells done (8 datasets × 1 activation × 6 regularizers × 2 seeds)",
        "dreg[cumulative]: 16 of 16 cells done (8 datasets × 1 activation × 1 regularizer × 2 seeds)",
    ]


def test_the_main_tables_are_those_of_a_sweep_without_the_other_variants(tmp_path, whole):
    alone = analysed(file(tmp_path, swept({(): 20}), "alone"))
    assert {table.name for table in whole.tables} - {table.name for table in alone.tables} == {
        "variants",
        "variants_claims",
    }
    tables = {table.name: csv(table) for table in whole.tables}
    assert {table.name: csv(table) for table in alone.tables}.items() <= tables.items()
    assert whole.verdicts.equals(alone.verdicts)


@pytest.mark.parametrize(
    ("name", "form", "reduction"),
    [
        ("dreg[cumulative]", "cumulative", "sum"),
        ("dreg[mean]", "local", "mean"),
        ("dreg[cumulative,mean]", "cumulative", "mean"),
    ],
)
def test_a_variant_is_what_an_analysis_of_it_alone_finds(path, whole, name, form, reduction):
    alone = analysed(path, f"regularizer.form={form}", f"regularizer.reduction={reduction}")
    assert not alone.variants
    (entry,) = (entry for entry in whole.variants if entry.name == name)
    assert entry.verdicts.equals(alone.verdicts)
    assert entry.tests.equals(alone.tests)
    row = next(t for t in whole.tables if t.name == "variants").values.set_index("variant").loc[name]
    tables = {table.name: table.values for table in alone.tables}
    overall = tables["overall"].set_index("regularizer").loc["dreg"]
    measures = [f"{metric}_{what}" for metric in ("overall", "clean", "noisy") for what in ("mean", "sd")]
    assert row[measures].tolist() == overall[measures].tolist()
    assert (row["rank"], row["ranked"]) == (overall["overall_rank"], 6)
    bootstrap = tables["bootstrap"].set_index(["metric", "rival"]).loc[("overall", "none")]
    assert row[["difference", "low", "high"]].tolist() == bootstrap[["mean_difference", "low", "high"]].tolist()


def test_a_condition_on_an_option_leaves_the_rivals_and_the_other_variants(path):
    data = read(path, conditions=["regularizer.form=cumulative"])
    assert data.grid.levels["regularizer"] == list(REGULARIZERS)
    assert list(data.variants.by_level) == ["dreg", "dreg[mean]"]  # of the cumulative ones
    clean = data.grid.means("clean", ("regularizer", "dataset"))
    assert clean["dreg", "mnist"] - clean["none", "mnist"] == pytest.approx(-0.02)


def written(tmp_path, rows, name="sweep", history=None):
    folder = tmp_path / name
    for kind, frame in {"cells": rows, "history": history}.items():
        if frame is not None:
            (folder / kind).mkdir(parents=True)
            frame.to_parquet(folder / kind / "00000001-aa.parquet")
    return folder


def test_the_command_says_which_variant_a_claim_holds_of(tmp_path, capsys):
    folder = written(tmp_path, swept())
    assert main([str(folder)]) == 0
    said = capsys.readouterr()
    # Eight datasets, all as claimed or all against it: p = 5 · 2/256. dreg gains more on clean inputs than under
    # noise, so it loses more to noise than all rivals; dreg[cumulative] loses less, also than spectral_norm.
    assert "dreg: 5 reproduced, 3 contradicted, 8 undecided\n" in said.out
    assert "dreg[cumulative]: 0 reproduced, 8 contradicted, 8 undecided\n" in said.out
    assert "dreg[mean]: 0 reproduced, 0 contradicted, 16 undecided\n" in said.out
    assert "the chapter Variants has" in said.err
    tables = folder / "analysis" / "tables"
    claims = pd.read_csv(tables / "variants_claims.csv").set_index("claim")
    assert claims.columns.tolist() == ["sentence", *NAMES]
    for claim in ("A1", "A2", "A3", "A4", "C1"):
        assert claims.loc[claim, NAMES].tolist() == ["reproduced", "contradicted", "undecided", "undecided"]
    assert claims.loc["B", NAMES[:2]].tolist() == ["contradicted"] * 2  # first and last, not second
    assert (claims.loc[["D", "E"], NAMES] == "undecided").all(axis=None)
    assert claims.index[-1] == "all"
    assert claims.loc["all"].tolist() == [
        "reproduced / contradicted / undecided", "5 / 3 / 8", "0 / 8 / 8", "0 / 0 / 16", "0 / 0 / 16",
    ]  # fmt: skip
    first = pd.read_csv(folder / "analysis" / "claims.csv").query("primary").set_index("claim")
    assert first["verdict"].tolist() == claims["dreg"].tolist()[:-1]
    means = pd.read_csv(tables / "variants.csv").set_index("variant")
    assert means["difference"].tolist() == pytest.approx([(2 + 2 / 3) / 2, -(2 + 2 / 3) / 2, 0, 0])
    assert means.loc["dreg", ["agreeing", "told"]].tolist() == [9, 12]
    assert means.loc["dreg[cumulative]", ["agreeing", "told"]].tolist() == [0, 12]
    report = (folder / "analysis" / "report.html").read_text()
    assert "<h2" in report
    assert "Variants of dreg" in report
    assert (folder / "analysis" / "figures" / "variants.png").exists()


def pressed(rows):
    """A history in which dreg presses on the layer with the larger slope, and its mean on the other."""
    columns = ["cell", "config_hash", "activation", "regularizer", "dataset", "seed"]
    history = rows[columns].assign(epoch=1, step=1)
    mean = rows["cell"].str.contains("reduction=mean")
    history["slope_sq"] = [[0.9, 0.4]] * len(rows)
    history["jacobian_sq"] = [
        [4.0, 4.0] if name != "dreg" else [3.0, 1.0] if other else [1.0, 3.0]
        for name, other in zip(rows["regularizer"], mean, strict=True)
    ]
    return history


def test_claims_about_layers_are_judged_by_the_history_of_the_variant(tmp_path):
    rows = swept()
    found = analysed(written(tmp_path, rows, history=pressed(rows)))
    verdicts = {
        entry.name: entry.verdicts[entry.verdicts["primary"]].set_index("claim") for entry in found.variants
    }
    assert [verdicts[name].loc["E", "verdict"] for name in NAMES] == [
        "reproduced", "reproduced", "contradicted", "contradicted",
    ]  # fmt: skip
    assert verdicts["dreg"].loc["E", "p"] == 2 / 256


@pytest.mark.parametrize(
    ("gains", "names"),
    [
        ([(), ("steps=3",), ("steps=10",)], ["dreg", "dreg[steps=3]", "dreg[steps=10]"]),
        ([(), ("exact=true",)], ["dreg", "dreg[exact=true]"]),
        ([(), ("layers=none",)], ["dreg", "dreg[layers=none]"]),
        ([(), ("layers=[1, 2]",)], ["dreg", "dreg[layers=[1, 2]]"]),
        (
            [(), ("positions=mean",), ("reduction=mean",), ("positions=mean", "reduction=mean")],
            ["dreg", "dreg[positions=mean]", "dreg[reduction=mean]", "dreg[positions=mean,reduction=mean]"],
        ),
        (
            [(), ("form=cumulative", "layers=all", "reduction=mean"), ("reduction=mean",), ("form=cumulative",)],
            ["dreg", "dreg[cumulative]", "dreg[mean]", "dreg[cumulative,all,mean]"],
        ),
    ],
)
def test_names_are_the_values_that_differ_where_they_cannot_be_misread(tmp_path, monkeypatch, gains, names):
    named_options = {text.split("=")[0] for options in gains for text in options}
    for option, value in (("steps", 1), ("exact", False), ("positions", "sum")):
        if option in named_options:
            monkeypatch.setitem(DEFAULTS, option, value)
    assert named(tmp_path, swept(dict.fromkeys(gains, 0))) == names


def test_without_keys_all_options_are_named_and_the_first_variant_stands_for_all(tmp_path):
    data = read(file(tmp_path, swept().drop(columns=["cell", "config_hash"])))
    names = ["cumulative,mean", "cumulative,sum", "local,mean", "local,sum"]
    assert list(data.variants.by_level) == [f"dreg[{name}]" for name in names]
    assert data.variants.main == {"dreg": "dreg[cumulative,mean]"}
    assert data.grid.levels["regularizer"] == list(REGULARIZERS)
    assert "the first, since no row tells which is the default" in data.warnings[0]
    clean = data.grid.means("clean", ("regularizer",))
    assert clean[("dreg",)] == clean[("none",)]


def test_a_variant_at_several_strengths_has_both_in_its_name(tmp_path):
    parts = [swept({}).assign(strength=0.0)]
    for strength, gain in ((0.01, 5), (0.1, 9)):
        rows = swept({(): gain, ("reduction=mean",): -gain})
        rows = rows[rows["regularizer"] == "dreg"].assign(strength=strength)
        keys = {name: rows[name] + f"/strength={strength:g}" for name in ("cell", "config_hash")}
        parts.append(rows.assign(**keys))
    found = analysed(file(tmp_path, pd.concat(parts, ignore_index=True)), claims=None)
    assert found.treatment == "dreg@0.01"
    assert found.data.grid.levels["regularizer"] == [*RIVALS, "dreg@0.01", "dreg@0.1"]
    names = ["dreg@0.01", "dreg[mean]@0.01"]
    assert [entry.name for entry in found.variants] == names
    assert split(names[1]) == ("dreg[mean]", 0.01)
    table = next(table for table in found.tables if table.name == "variants").values
    assert table["difference"].tolist() == pytest.approx([10 / 30, -10 / 30])


def test_cells_that_a_variant_lacks_are_counted_and_cost_the_others_nothing(tmp_path, capsys):
    rows = swept()
    lacking = rows["cell"].str.endswith("s0/reduction=mean") & rows["dataset"].isin(["mnist", "trec6"])
    folder = written(tmp_path, rows[~lacking])
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    assert main([str(folder), "--claims", str(tmp_path / "claims.yaml")]) == 0
    said = capsys.readouterr().out
    assert "dreg[mean]: 0 reproduced, 0 contradicted, 3 undecided (14 of 16 cells done)\n" in said
    assert "dreg: 1 reproduced, 0 contradicted, 2 undecided\n" in said
    assert "dreg[mean]: missing: 2 (mnist/gelu/dreg/s0, trec6/gelu/dreg/s0)\n" in said
    table = pd.read_csv(folder / "analysis" / "tables" / "variants.csv").set_index("variant")
    assert table["blocks"].tolist() == [16, 16, 14, 16]
    assert table["done"].tolist() == [16, 16, 14, 16]
    assert (table["expected"] == 16).all()
    assert "which are not equally many" in (folder / "analysis" / "tables" / "variants.md").read_text()


def test_a_variant_without_any_result_is_there_with_nothing(tmp_path):
    rows = swept()
    mean = rows["cell"].str.endswith("s0/reduction=mean") | rows["cell"].str.endswith("s1/reduction=mean")
    rows.loc[mean, "status"] = "failed"
    found = analysed(file(tmp_path, rows))
    table = next(table for table in found.tables if table.name == "variants").values.set_index("variant")
    assert table.loc["dreg[mean]", ["done", "expected", "blocks"]].tolist() == [0, 16, 0]
    assert table.loc["dreg[mean]", ["overall_mean", "rank", "difference"]].isna().all()
    assert "no result" in next(e for e in found.variants if e.name == "dreg[mean]").verdicts["observed"].iloc[0]


def test_what_cannot_be_arranged_is_left_out_with_the_reason(tmp_path):
    rows = swept()
    mean = rows["cell"].str.endswith("reduction=mean") & ~rows["cell"].str.contains("form")
    for place in rows.index[mean & (rows["seed"] == 1)]:
        rows.loc[place, "config"] = json.dumps(json.loads(rows.loc[place, "config"]) | {"epochs": 9})
    for place in rows.index[~(mean & (rows["seed"] == 1))]:
        rows.loc[place, "config"] = json.dumps(json.loads(rows.loc[place, "config"]) | {"epochs": 3})
    data = read(file(tmp_path, rows))
    assert list(data.instead) == ["dreg[cumulative]", "dreg[cumulative,mean]"]
    assert any(
        line.startswith("dreg[mean] is left out: epochs has 2 levels for dataset=") for line in data.warnings
    )


def test_options_that_differ_between_datasets_alone_are_refused_as_before(tmp_path):
    rows = swept({(): 0, ("reduction=mean",): 0})
    text = (rows["dataset"] == "sst2") == rows["cell"].str.endswith("=mean")
    with pytest.raises(UserError, match=r"regularizer.reduction has 2 levels for regularizer=dreg \(mean, sum\)"):
        read(file(tmp_path, rows[text | (rows["regularizer"] != "dreg")]))


def test_a_name_that_is_taken_is_refused(tmp_path):
    other = swept({}).query("regularizer == 'igpen'").assign(regularizer="dreg[mean]")
    other["cell"] = other["cell"].str.replace("igpen", "other")
    with pytest.raises(UserError, match=r"dreg under form=local, reduction=mean would be called dreg\[mean\]"):
        read(file(tmp_path, pd.concat([swept(), other], ignore_index=True)))


def test_variants_of_a_method_that_no_claim_is_about_have_means_only(path):
    found = analysed(path, treatment="igpen")
    tables = {table.name: table.values for table in found.tables}
    assert tables["variants"]["variant"].tolist() == NAMES
    assert tables["variants"]["difference"].tolist() == pytest.approx([4 / 3, -4 / 3, 0, 0])
    assert "variants_claims" not in tables
    assert not any(drawing.name == "variants" for chapter in found.chapters for drawing in chapter.drawings)


def test_an_option_that_is_not_there_is_one_line(path, capsys):
    assert main([str(path), "--where", "regularizer.form=lokal"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("dreg-analyze: regularizer.form=lokal is unknown; choose one of: cumulative, local")
    assert said.count("\n") == 1


VERDICTS = pd.DataFrame(
    [["reproduced", "undecided"], ["contradicted", "undecided"]], index=["dreg", "dreg[mean]"], columns=["A", "B"]
)
DIFFERENCES = pd.DataFrame(
    {"variant": ["dreg[mean]", "dreg"], "difference": [-1.0, 2.0], "low": [-2.0, np.nan], "high": [0.5, np.nan]}
)


def test_the_figure_has_a_mark_a_claim_and_a_difference_a_variant():
    figure = variant_claims(VERDICTS, DIFFERENCES, title="x", xlabel="gain")
    claims, gains = figure.axes
    marks = {tuple(map(round, text.get_position())): text.get_text() for text in claims.texts}
    assert marks == {(0, 0): "✓", (1, 0): "?", (0, 1): "✗", (1, 1): "?"}
    grounds = {patch.get_gid(): patch.get_facecolor() for patch in claims.patches}
    assert len(set(grounds.values())) == 3
    assert [label.get_text() for label in claims.get_yticklabels()] == ["dreg", "dreg[mean]"]
    (points,) = (line for line in gains.get_lines() if line.get_gid() == "gains")
    assert points.get_xdata().tolist() == [2.0, -1.0]
    assert points.get_ydata().tolist() == [0, 1]
    assert claims.get_ylim() == gains.get_ylim()
    assert claims.get_position().y0 == pytest.approx(gains.get_position().y0)


def test_the_figure_tells_no_data_from_undecided():
    marked = VERDICTS.assign(D=["no data", "undecided"])
    claims, _ = variant_claims(marked, DIFFERENCES, title="x", xlabel="gain").axes
    marks = {tuple(map(round, text.get_position())): text.get_text() for text in claims.texts}
    assert (marks[2, 0], marks[2, 1]) == ("–", "?")


def test_claims_of_which_the_data_tell_nothing_are_told_apart():
    """One training size says nothing about scarcity (D); equal means say something (A), however little."""
    verdicts = pd.DataFrame(
        {
            "claim": ["A", "A", "D"],
            "primary": [True, False, True],
            "holds": pd.array([False, True, None], dtype="boolean"),
        }
    )
    entry = Entry("dreg", None, "dreg", None, None, verdicts)
    assert untold([entry]).loc["dreg"].to_dict() == {"A": False, "D": True}


def test_the_figure_without_differences_has_verdicts_alone():
    nothing = DIFFERENCES.assign(difference=np.nan, low=np.nan, high=np.nan)
    assert len(variant_claims(VERDICTS, nothing, title="x", xlabel="gain").axes) == 1
    with pytest.raises(ValueError, match="maybe is no verdict"):
        variant_claims(VERDICTS.replace("undecided", "maybe"), nothing, title="x", xlabel="gain")
    with pytest.raises(ValueError, match="no cells"):
        variant_claims(VERDICTS.iloc[:0], nothing, title="x", xlabel="gain")
