"""The figures draw the numbers they are given, and nothing in them covers anything else."""

import hashlib
import os
import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from matplotlib.collections import QuadMesh
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dreg_sweep.analysis.figures import (
    clean_vs_noisy,
    critical_difference,
    forest,
    heatmap,
    noise_curves,
    pressure,
    save,
    scarcity_curves,
    seed_strip,
)
from dreg_sweep.analysis.figures import names as font_names
from dreg_sweep.analysis.figures.layout import text_width, wrap
from dreg_sweep.analysis.figures.names import LONGEST, families, shortened
from dreg_sweep.analysis.figures.scales import labelled, shared, signed, ticks
from dreg_sweep.analysis.figures.style import COLOURS, SMALL, styles

METHODS = ["none", "weight_decay", "dropout", "spectral_norm", "igpen", "dreg"]
DATASETS = ["mnist", "fashion_mnist", "cifar10", "gtsrb", "sst2", "trec6", "tweet_emotion", "tweet_offensive"]
FIFTEEN = METHODS + [f"some_other_method_of_25_{place}" for place in range(9)]
THIRTY = DATASETS + [f"a_dataset_with_25_chars{place:02d}" for place in range(22)]
LONG = [f"{'an_endless_name_' * 4}{place}{'_of_a_level' * 5}" for place in range(6)]
LADDER = {"vision: gaussian noise": (0, 0.25, 0.5, 1, 2), "text: typos": (0, 5, 10, 20, 40)}
SIZES = (250, 500, 1000, 2000, 5000)


def draws():
    return np.random.default_rng(7)


def points(datasets=DATASETS, methods=METHODS, missing=0.0):
    values = draws().normal(0.3, 1, (len(datasets), len(methods)))
    values[draws().random(values.shape) < missing] = np.nan
    return pd.DataFrame(values, index=datasets, columns=methods)


def forest_rows(datasets=DATASETS, rivals=METHODS[:5], scale=1.0, total=True):
    random = draws()
    rows = []
    for rival in rivals:
        for dataset in datasets:
            centre = scale * random.normal(0.4, 0.5)
            rows.append((rival, dataset, centre, centre - 0.4 * scale, centre + 0.5 * scale, False))
        if total:
            rows.append((rival, "all datasets", 0.4 * scale, 0.2 * scale, 0.6 * scale, True))
    return pd.DataFrame(rows, columns=["rival", "dataset", "difference", "low", "high", "summary"])


def accuracies(methods=METHODS, spread=1.0, sd=0.3):
    random = draws()
    return pd.DataFrame(
        {
            "clean": 90 + spread * random.normal(size=len(methods)),
            "clean_sd": sd,
            "noisy": 79 + spread * random.normal(size=len(methods)),
            "noisy_sd": sd,
        },
        index=methods,
    )


def in_pairs():
    """Accuracies that two methods each have in common."""
    frame = accuracies()
    return frame.iloc[[0, 0, 2, 2, 4, 4]].set_axis(METHODS)


def curves(methods=METHODS, ladder=LADDER, sd=0.5):
    random = draws()
    rows = [
        (panel, method, severity, 90 - 3 * place - 4 * step + random.normal(), sd)
        for panel, severities in ladder.items()
        for place, method in enumerate(methods)
        for step, severity in enumerate(severities)
    ]
    return pd.DataFrame(rows, columns=["panel", "method", "severity", "accuracy", "sd"])


def sizes(rivals=METHODS[:5], train_sizes=SIZES, scale=1.0):
    random = draws()
    rows = []
    for rival in rivals:
        for step, size in enumerate(train_sizes):
            centre = scale * (1.5 / (step + 1) + random.normal(0, 0.1))
            rows.append((rival, size, centre, centre - 0.4, centre + 0.4))
    return pd.DataFrame(rows, columns=["rival", "train_size", "difference", "low", "high"])


def seeds(methods=METHODS, count=5):
    random = draws()
    rows = [(name, seed, 90 + random.normal()) for name in methods for seed in range(count)]
    return pd.DataFrame(rows, columns=["method", "seed", "value"])


def slopes(activations=("relu", "gelu", "silu", "tanh"), layers=2):
    random = draws()
    rows = [(a, layer, random.random(), -random.random()) for a in activations for layer in range(1, layers + 1)]
    frame = pd.DataFrame(rows, columns=["activation", "layer", "slope", "reduction"])
    return frame.assign(low=frame["reduction"] - 0.1, high=frame["reduction"] + 0.1)


def a_forest(frame, treatment="dreg"):
    return forest(
        frame, treatment=treatment, title="Differences by dataset", xlabel="points", note="Intervals: 95 %."
    )


def a_scarcity(frame):
    return scarcity_curves(
        frame, treatment="dreg", title="Gain by training size", ylabel="dreg minus rival, points"
    )


def a_pressure(frame):
    return pressure(frame, title="Slopes", xlabel="mean σ'² without dreg", ylabel="log ratio, dreg to none")


def a_diagram(ranks, cd, methods=None):
    names = methods or FIFTEEN[: len(ranks)]
    return critical_difference(pd.Series(ranks, index=names), cd, blocks=40, title="Mean ranks, Nemenyi's test")


def scarred(frame, column, rows, value=np.nan):
    """A copy of a frame with a value put into some rows of a column."""
    frame = frame.copy()
    frame.loc[frame.index[rows], column] = value
    return frame


def open_ended():
    """A forest with every kind of gap: no value, no interval, no finite end, no row."""
    frame = scarred(forest_rows(), ["difference", "low", "high"], [3])
    frame = scarred(scarred(frame, "low", [4]), "high", [5], np.inf)
    frame = scarred(scarred(frame, "low", [6], -np.inf), ["low", "high"], [8])
    return frame.drop(index=[20])


USUAL = {
    "heatmap": lambda: heatmap(points(), title="Overall accuracy minus none"),
    "forest": lambda: a_forest(forest_rows()),
    "clean_vs_noisy": lambda: clean_vs_noisy(accuracies(), title="Mean accuracy"),
    "critical_difference": lambda: a_diagram([4.6, 4.4, 3.1, 5.0, 2.6, 1.3], 1.19),
    "noise_curves": lambda: noise_curves(curves(), title="Accuracy under corruption"),
    "scarcity_curves": lambda: a_scarcity(sizes()),
    "seed_strip": lambda: seed_strip(seeds(), title="By seed", xlabel="accuracy, %"),
    "pressure": lambda: a_pressure(slopes()),
}
HARD = {
    "heatmap, many": lambda: heatmap(points(THIRTY, FIFTEEN, missing=0.2), title="Overall"),
    "heatmap, one": lambda: heatmap(points(["mnist"], ["dreg"]), title="A title " * 9, label="points of accuracy"),
    "heatmap, long": lambda: heatmap(points(["x"], FIFTEEN[-1:]), title="x"),
    "heatmap, empty": lambda: heatmap(points(missing=1.1), title="x"),
    "heatmap, large": lambda: heatmap(points() * 1234, title="x"),
    "forest, many": lambda: a_forest(forest_rows(THIRTY, FIFTEEN[3:]), "a_treatment_of_25_letters"),
    "forest, one": lambda: a_forest(forest_rows(["mnist"], ["none"], total=False)),
    "forest, summary only": lambda: a_forest(forest_rows([], ["none"])),
    "forest, scales": lambda: a_forest(
        pd.concat([forest_rows(rivals=["none"], scale=50), forest_rows(rivals=["x"])])
    ),
    "forest, equal": lambda: a_forest(forest_rows().assign(difference=0.0, low=0.0, high=0.0)),
    "forest, gaps": lambda: a_forest(open_ended()),
    "scatter, many": lambda: clean_vs_noisy(accuracies(FIFTEEN), title="x"),
    "scatter, crowd": lambda: clean_vs_noisy(accuracies(FIFTEEN, spread=0.1, sd=2.0), title="x"),
    "scatter, ties": lambda: clean_vs_noisy(accuracies(spread=0.0), title="x"),
    "scatter, pairs": lambda: clean_vs_noisy(in_pairs(), title="x"),
    "scatter, many ties": lambda: clean_vs_noisy(accuracies(FIFTEEN, spread=0.0), title="x"),
    "scatter, one": lambda: clean_vs_noisy(accuracies(["dreg"], sd=np.nan), title="x"),
    "scatter, gaps": lambda: clean_vs_noisy(scarred(accuracies(), "clean", [2]), title="x"),
    "ranks, many": lambda: a_diagram(list(np.linspace(2, 14, 15)), 2.8),
    "ranks, close": lambda: a_diagram(list(8 + np.linspace(-0.1, 0.1, 15)), 0.02),
    "ranks, ties": lambda: a_diagram([3.0] * 5 + [8.0] * 5 + [13.0] * 5, 3.4),
    "ranks, all tied": lambda: a_diagram([8.0] * 15, 3.4),
    "ranks, two": lambda: a_diagram([1.0, 2.0], 1.96),
    "ranks, wide": lambda: a_diagram([4.6, 4.4, 3.1, 5.0, 2.6, 1.3], 7.5),
    "curves, many": lambda: noise_curves(
        curves(FIFTEEN, {**LADDER, "a panel of many words: and_a_dataset": (0, 1, 3), "b": (0, 1), "c": (1,)}),
        title="x",
    ),
    "curves, steps": lambda: noise_curves(curves(["dreg"], {"a": range(40)}, sd=np.nan), title="x"),
    "curves, gaps": lambda: noise_curves(scarred(curves(), "accuracy", [1, 2, *range(5, 10)]), title="x"),
    "curves, equal": lambda: noise_curves(curves().assign(accuracy=50.0), title="x"),
    "scarcity, many": lambda: a_scarcity(sizes(FIFTEEN[3:], (*SIZES, 5050, 10000, 60000))),
    "scarcity, one": lambda: a_scarcity(sizes(["none"], (2000,))),
    "scarcity, scales": lambda: a_scarcity(pd.concat([sizes(["none"], scale=50), sizes(["x"])])),
    "scarcity, gaps": lambda: a_scarcity(scarred(scarred(sizes(), "difference", [2]), "low", [8], -np.inf)),
    "seeds, many": lambda: seed_strip(seeds(FIFTEEN, 50), title="x", xlabel="accuracy, %"),
    "seeds, one": lambda: seed_strip(seeds(["dreg"], 1), title="x", xlabel="accuracy, %"),
    "seeds, gaps": lambda: seed_strip(scarred(seeds(), "value", [0, *range(5, 10)]), title="x", xlabel="%"),
    "seeds, equal": lambda: seed_strip(seeds().assign(value=90.0), title="x", xlabel="accuracy, %"),
    "pressure, many": lambda: a_pressure(
        slopes(["relu", *(f"an_activation_of_25_char{i}" for i in range(9))], 12)
    ),
    "pressure, one": lambda: a_pressure(slopes(["relu"], 1).drop(columns=["low", "high"])),
    "heatmap, endless": lambda: heatmap(points(LONG, LONG), title=LONG[0]),
    "forest, endless": lambda: a_forest(forest_rows(LONG, LONG[1:]), LONG[0]),
    "scatter, endless": lambda: clean_vs_noisy(scarred(accuracies(LONG), "clean", [2]), title=LONG[0]),
    "ranks, endless": lambda: a_diagram([4.6, 4.4, 3.1, 5.0, 2.6, 1.3], 1.19, LONG),
    "curves, endless": lambda: noise_curves(scarred(curves(LONG), "accuracy", range(5)), title=LONG[0]),
    "scarcity, endless": lambda: scarcity_curves(sizes(LONG[1:]), treatment=LONG[0], title="x", ylabel=LONG[0]),
    "seeds, endless": lambda: seed_strip(seeds(LONG), title=LONG[0], xlabel="%"),
    "pressure, endless": lambda: a_pressure(slopes(LONG)),
    "pressure, gaps": lambda: a_pressure(scarred(scarred(slopes(), "slope", [1]), "low", [2])),
}


# ---- reading a figure back


def texts(figure):
    """Every text that is seen, tick labels and legends included."""
    return [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def words(figure):
    return [text.get_text() for text in texts(figure)]


def corners(text, renderer):
    """The corners of a text's box, turned as the text is."""
    outer = Text.get_window_extent(text, renderer)  # an annotation's own would take in its line
    angle = text.get_rotation()
    text.set_rotation(0)
    flat = Text.get_window_extent(text, renderer)
    text.set_rotation(angle)
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    half = np.array([flat.width, flat.height]) / 2
    centre = [(outer.x0 + outer.x1) / 2, (outer.y0 + outer.y1) / 2]
    return np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half @ matrix + centre


def overlap(one, other):
    """Whether two convex quadrangles share area: no side of either separates them (by half a pixel)."""
    for shape in (one, other):
        for start, end in zip(shape, np.roll(shape, -1, axis=0), strict=True):
            normal = np.array([end[1] - start[1], start[0] - end[0]])
            normal = normal / (np.hypot(*normal) or 1.0)
            if (one @ normal).max() <= (other @ normal).min() + 0.5:
                return False
            if (other @ normal).max() <= (one @ normal).min() + 0.5:
                return False
    return True


def crossing_texts(figure):
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), corners(text, renderer)) for text in texts(figure)]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if overlap(one, other)]


def marks(axes, marker=None):
    """(x, y) of all lines with markers, or with that marker."""
    lines = [line for line in axes.get_lines() if line.get_marker() not in ("None", None, "|", "_", "")]
    chosen = [line for line in lines if marker is None or line.get_marker() == marker]
    return np.concatenate([np.column_stack(line.get_data()) for line in chosen])


def by_gid(axes, gid):
    return [line for line in axes.get_lines() if (line.get_gid() or "").split(" ")[0] == gid]


# ---- all figures


@pytest.mark.parametrize("name", [*USUAL, *HARD])
def test_texts_neither_cross_nor_leave_the_canvas(name):
    figure = {**USUAL, **HARD}[name]()
    assert crossing_texts(figure) == []
    width, height = figure.get_size_inches()
    drawn = figure.get_tightbbox(figure.canvas.get_renderer())
    assert drawn.x0 >= 0
    assert drawn.y0 >= 0
    assert drawn.x1 <= width
    assert drawn.y1 <= height
    assert min(text.get_fontsize() for text in texts(figure)) >= SMALL


@pytest.mark.parametrize("name", USUAL)
def test_usual_figures_fit_a_page(name):
    assert USUAL[name]().get_size_inches()[0] <= 7.2


SCRIPT = """
import hashlib, pathlib, sys
from tests.test_analysis_figures import USUAL, save
for name, figure in USUAL.items():
    for path in save(figure(), pathlib.Path(sys.argv[1], name)):
        print(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
print(sorted({"torch", "hydra", "matplotlib.pyplot"} & set(sys.modules)))
"""


def test_equal_input_gives_equal_bytes_whatever_the_process_and_matplotlibrc(tmp_path):
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)]
    other = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    lines = []
    (tmp_path / "here").mkdir()
    theirs = {"font.size": 20, "axes.grid": True, "pdf.fonttype": 3, "lines.linewidth": 9, "legend.frameon": True}
    for name, figure in USUAL.items():
        with matplotlib.rc_context(theirs):
            paths = save(figure(), tmp_path / "here" / name)
        assert [path.name for path in paths] == [f"{name}.png", f"{name}.pdf"]
        lines += [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
    assert other == [*lines, "[]"]


def test_a_saved_figure_has_the_stated_resolution_and_keeps_its_text(tmp_path):
    figure = heatmap(points(["sst2"], ["igpen"]), title="x")
    png, pdf = save(figure, tmp_path / "a figure, λ=0.5")
    assert (png.name, pdf.name) == ("a figure, λ=0.5.png", "a figure, λ=0.5.pdf")
    header = png.read_bytes()[16:24]
    pixels = [int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")]
    assert pixels == pytest.approx(figure.get_size_inches() * 180, abs=1)
    content = pdf.read_bytes()
    assert b"/CIDFontType2" in content  # TrueType
    assert b"/Type3" not in content
    assert b"CreationDate" not in content
    assert save(figure, tmp_path / "again")[0].read_bytes() == png.read_bytes()  # saving changes nothing


def test_saving_to_a_folder_that_is_not_there_raises_oserror(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save(heatmap(points(["sst2"], ["igpen"]), title="x"), tmp_path / "nowhere" / "figure")


def test_the_papers_methods_keep_their_style_whatever_else_is_in_the_data():
    alone = {name: styles([name])[name] for name in METHODS}
    assert styles(METHODS) == alone
    together = styles([*reversed(FIFTEEN), "a"])
    assert {name: together[name] for name in METHODS} == alone
    assert len({(style.colour, style.marker) for style in together.values()}) == 16
    assert len({style.marker for style in styles(FIFTEEN[:13]).values()}) == 13  # told apart without colour
    assert len({str(style.dashes) for style in alone.values()}) == 6
    assert {style.colour for style in together.values()} <= set(COLOURS)


def test_a_method_looks_the_same_in_every_figure():
    style = styles(["dropout"])["dropout"]
    methods = ["dropout", "zzz", "aaa"]
    panels = [
        clean_vs_noisy(accuracies(methods), title="x").axes[0],
        noise_curves(curves(methods), title="x").axes[0],
        seed_strip(seeds(methods), title="x", xlabel="x").axes[0],
        a_forest(forest_rows(rivals=methods)).axes[0],
        a_scarcity(sizes(methods)).axes[0],
        a_diagram([1.0, 2.0, 3.0], 1.0, methods).axes[0],
    ]
    for axes in panels:
        assert {line.get_color() for line in axes.get_lines() if line.get_marker() == style.marker} == {
            style.colour
        }


@pytest.mark.parametrize(
    ("draw", "frame"),
    [
        (a_forest, forest_rows()),
        (lambda frame: clean_vs_noisy(frame, title="x"), accuracies()),
        (lambda frame: noise_curves(frame, title="x"), curves()),
        (a_scarcity, sizes()),
        (lambda frame: seed_strip(frame, title="x", xlabel="x"), seeds()),
        (a_pressure, slopes()),
    ],
)
def test_a_frame_that_cannot_be_drawn_is_refused_in_words(draw, frame):
    column = frame.columns[2]
    with pytest.raises(ValueError, match=f"lacks {column}"):
        draw(frame.drop(columns=column))
    with pytest.raises(ValueError, match="no rows"):
        draw(frame.iloc[:0])
    if draw is not a_pressure:  # which may well have several points for one activation and layer
        with pytest.raises(ValueError, match="more than one row for"):
            draw(pd.concat([frame, frame.iloc[:1]]))


@pytest.mark.parametrize("name", [name for name in HARD if name.endswith("endless")])
def test_endless_names_are_cut_and_stay_distinct(name):
    figure = HARD[name]()
    assert figure.get_size_inches()[0] <= 10
    said = shortened(LONG)
    assert not set(words(figure)) & set(LONG[1:])
    if name.startswith(("heatmap", "forest")):
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()][:6] == list(said.values())


def test_short_names_stay_and_cut_ones_differ():
    assert shortened(["dreg", 0.5, "x" * LONGEST]) == {"dreg": "dreg", 0.5: "0.5", "x" * LONGEST: "x" * LONGEST}
    said = shortened([*LONG, "a" * 60 + "b" * 60, f"{'a' * 20}…{'b' * 19}"])
    assert len(set(said.values())) == len(said)
    assert {len(text) for text in said.values()} == {LONGEST}
    assert list(said.values())[-2:] == [f"{'a' * 19}…2…{'b' * 18}", f"{'a' * 20}…{'b' * 19}"]


CHINESE = ["中文", "无", "dreg"]


def test_characters_without_a_glyph_are_no_warning(tmp_path):
    save(heatmap(points(["\U000f0000"], CHINESE), title="x"), tmp_path / "figure")  # warnings are errors here


@pytest.fixture
def chinese_font(tmp_path, monkeypatch):
    """An installed font that has squares for the Chinese characters above and nothing else."""
    font = FontBuilder(1000, isTTF=True)
    pen = TTGlyphPen(None)
    for step, corner in ((pen.moveTo, (100, 0)), (pen.lineTo, (100, 700)), (pen.lineTo, (800, 700))):
        step(corner)
    pen.closePath()
    square = pen.glyph()
    font.setupGlyphOrder([".notdef", "square"])
    font.setupCharacterMap({ord(character): "square" for character in "中文无"})
    font.setupGlyf({".notdef": square, "square": square})
    font.setupHorizontalMetrics({".notdef": (900, 100), "square": (900, 100)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Squares CJK", "styleName": "Regular", "psName": "Squares"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "squares.ttf")
    monkeypatch.setattr(font_names.fontManager, "ttflist", [*font_names.fontManager.ttflist])
    font_names.fontManager.addfont(tmp_path / "squares.ttf")
    monkeypatch.setattr(font_names, "_WELCOME", ("squares cjk",))
    font_names._others.cache_clear()
    yield "Squares CJK"
    font_names._others.cache_clear()


def test_another_script_is_drawn_in_an_installed_font(tmp_path, chinese_font):
    assert families(["dreg", "0 … λ"]) == families([]) == ["DejaVu Sans"]
    assert families(CHINESE) == ["DejaVu Sans", chinese_font]
    figure = heatmap(points(["mnist"], CHINESE), title="x")
    labels = figure.axes[0].get_xticklabels()
    assert [label.get_fontfamily() for label in labels] == [["DejaVu Sans", chinese_font]] * 3
    png, pdf = save(figure, tmp_path / "figure")
    assert b"Squares" in pdf.read_bytes()
    assert [path.read_bytes() for path in save(figure, tmp_path / "again")] == [png.read_bytes(), pdf.read_bytes()]
    dark = np.array(figure.canvas.buffer_rgba())[..., 0] < 128
    box = Text.get_window_extent(labels[0])  # two triangles: half of it, and a frame for no glyph would be less
    inside = dark[::-1][int(box.y0) : int(box.y1) + 1, int(box.x0) : int(box.x1) + 1]
    assert inside.mean() > 0.2
    usual = heatmap(points(["mnist"], ["dreg"]), title="x")
    assert {tuple(text.get_fontfamily()) for text in texts(usual)} == {("DejaVu Sans",)}


def test_a_dollar_sign_is_a_dollar_sign():
    figure = heatmap(points(["$x_1$", "y"], ["$\\frac$"]), title="$a$ and $b")
    assert {"$x_1$", "$\\frac$", "$a$ and $b"} <= set(words(figure))


# ---- each figure


def test_heatmap_prints_and_colours_its_values():
    frame = pd.DataFrame({"a": [1.0, -2.0], "b": [np.nan, -0.001], "c": [0.5, np.inf]}, index=["one", "two"])
    axes = heatmap(frame, title="x").axes[0]
    (mesh,) = (artist for artist in axes.collections if isinstance(artist, QuadMesh))
    assert np.ma.filled(mesh.get_array(), np.nan).ravel().tolist()[:1] == [1.0]
    np.testing.assert_array_equal(np.isnan(np.ma.filled(mesh.get_array(), np.nan)), ~np.isfinite(frame))
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-2.0, 2.0)
    printed = {tuple(text.get_position()): text.get_text() for text in axes.texts}
    assert printed == {(0, 0): "+1.00", (1, 0): "–", (2, 0): "+0.50", (0, 1): "−2.00", (1, 1): "0.00", (2, 1): "–"}
    hatched = [patch.get_xy() for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert hatched == [(0.5, -0.5), (1.5, 0.5)]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "c"]
    assert axes.yaxis_inverted()
    blue, red = mesh.to_rgba(2.0), mesh.to_rgba(-2.0)
    assert blue[2] > blue[0]
    assert red[0] > red[2]


def test_heatmap_refuses_a_frame_without_cells():
    with pytest.raises(ValueError, match="no cells"):
        heatmap(pd.DataFrame(index=["mnist"]), title="x")


def test_forest_draws_points_intervals_and_diamonds():
    frame = forest_rows()
    figure = a_forest(frame)
    assert len(figure.axes) == 5
    for axes, (rival, own) in zip(figure.axes, frame.groupby("rival", sort=False), strict=True):
        single = own[~own["summary"]]
        np.testing.assert_allclose(marks(axes, styles([rival])[rival].marker)[:, 0], single["difference"])
        bars = [line.get_xdata() for line in axes.get_lines() if line.get_linewidth() == 1.3]
        np.testing.assert_allclose([bar[1] for bar in bars[::2]], single["low"])
        np.testing.assert_allclose([bar[1] for bar in bars[1::2]], single["high"])
        (diamond,) = (patch for patch in axes.patches if isinstance(patch, Polygon))
        np.testing.assert_allclose(diamond.get_xy()[:3, 0], [0.2, 0.4, 0.6])
        assert diamond.get_xy()[0, 1] > len(single) - 0.5  # below the datasets, apart
        assert {rival, f"←\N{NO-BREAK SPACE}{rival} better"} <= {text.get_text() for text in axes.texts}
    first = [(label.get_text(), label.get_fontweight()) for label in figure.axes[0].get_yticklabels()]
    assert first == [*((name, "normal") for name in DATASETS), ("all datasets", "bold")]
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    low, high = figure.axes[0].get_xlim()
    assert low < 0 < high


def test_forest_says_when_scales_differ():
    figure = HARD["forest, scales"]()
    assert len({axes.get_xlim() for axes in figure.axes}) == 2
    assert any("scales differ" in word for word in words(figure))
    assert not any("scales differ" in word for word in words(USUAL["forest"]()))


def test_forest_shows_gaps_for_what_they_are():
    figure = a_forest(open_ended())
    axes = figure.axes[0]
    (gap,) = (text for text in axes.texts if text.get_text() == "no value")
    assert gap.get_position() == (0, 3)
    drawn = {line.get_ydata()[0] for line in axes.get_lines() if line.get_linewidth() == 1.3}
    assert drawn == {0, 1, 2, 5, 6, 7}  # row 4 has a point without its interval
    assert [line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == ">"] == [5]
    assert [line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == "<"] == [6]
    assert not [patch for patch in axes.patches if isinstance(patch, Polygon)]
    missing_row = figure.axes[2]
    assert [text.get_position() for text in missing_row.texts if text.get_text() == "no value"] == [(0, 2)]
    assert any("no finite end" in word for word in words(figure))


def test_a_diamond_without_width_is_seen():
    axes = HARD["forest, equal"]().axes[0]
    assert marks(axes, "d").tolist() == [[0.0, pytest.approx(len(DATASETS) + 0.4)]]
    assert not [line for line in USUAL["forest"]().axes[0].get_lines() if line.get_marker() == "d"]


def test_clean_vs_noisy_draws_means_and_bars_and_names_them():
    frame = accuracies()
    axes = clean_vs_noisy(frame, title="x").axes[0]
    means = np.array([container.lines[0].get_xydata()[0] for container in axes.containers])
    np.testing.assert_allclose(means, frame[["clean", "noisy"]])
    across, upright = axes.containers[0].lines[2]
    np.testing.assert_allclose(np.ptp(across.get_segments()[0], axis=0), [0.6, 0], atol=1e-9)
    np.testing.assert_allclose(np.ptp(upright.get_segments()[0], axis=0), [0, 0.6], atol=1e-9)
    assert sorted(text.get_text() for text in axes.texts) == sorted(METHODS)


@pytest.mark.parametrize("frame", [accuracies(), accuracies(FIFTEEN), in_pairs()])
def test_names_in_the_scatter_cover_no_marker(frame):
    figure = clean_vs_noisy(frame, title="x")
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    labels = [text for text in axes.texts if text.get_text() in frame.index]
    assert len(labels) == len(frame)
    for x, y in axes.transData.transform(frame[["clean", "noisy"]].to_numpy()):
        mark = Bbox([(x - 8, y - 8), (x + 8, y + 8)])
        assert not [text.get_text() for text in labels if Text.get_window_extent(text, renderer).overlaps(mark)]


def test_clean_vs_noisy_without_seeds_or_values():
    frame = scarred(scarred(accuracies(), ["clean_sd", "noisy_sd"], range(6)), "noisy", [1])
    figure = clean_vs_noisy(frame, title="x")
    assert not any(bars for container in figure.axes[0].containers for bars in container.lines[2])
    assert len(figure.axes[0].containers) == 5
    assert "No value: weight_decay." in words(figure)


def test_names_that_find_no_room_go_to_a_legend():
    figure = HARD["scatter, many ties"]()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == FIFTEEN


def test_critical_difference_places_methods_and_groups():
    ranks = [4.6, 4.4, 3.1, 5.0, 2.6, 1.3]
    axes = a_diagram(ranks, 1.19).axes[0]
    (axis,) = by_gid(axes, "axis")
    left, right = axis.get_xdata()
    unit = (right - left) / 5

    def rank(x):
        return 6 - (x - left) / unit

    stems = {line.get_gid().removeprefix("stem "): rank(line.get_xdata()[0]) for line in by_gid(axes, "stem")}
    assert stems == pytest.approx(dict(zip(METHODS, ranks, strict=True)))
    (bar,) = by_gid(axes, "cd")
    assert np.ptp(bar.get_xdata()) / unit == pytest.approx(1.19)
    overhang = 0.035 / unit
    groups = sorted((rank(line.get_xdata()[1]), rank(line.get_xdata()[0])) for line in by_gid(axes, "group"))
    expected = [(2.6 - overhang, 3.1 + overhang), (4.4 - overhang, 5.0 + overhang)]
    np.testing.assert_allclose(groups, expected)
    assert {"1.30  dreg", "spectral_norm  5.00"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize(
    ("ranks", "cd", "spans"),
    [
        ([1, 2, 3, 4], 1.0, [(1, 2), (2, 3), (3, 4)]),  # exactly cd apart is not further apart
        ([1, 2, 3, 4], 0.9, []),
        ([1, 2, 3, 4], 2.5, [(1, 3), (2, 4)]),
        ([1, 2, 3, 4], 5.0, [(1, 4)]),
        ([1.5, 1.5, 3, 4], 0.5, [(1.5, 1.5)]),
        ([2.5, 2.5, 2.5, 2.5], 0.1, [(2.5, 2.5)]),
    ],
)
def test_groups_are_maximal(ranks, cd, spans):
    axes = a_diagram([float(rank) for rank in ranks], cd).axes[0]
    (axis,) = by_gid(axes, "axis")
    left, right = axis.get_xdata()
    unit = (right - left) / 3
    bars = by_gid(axes, "group")
    found = sorted(
        tuple(4 - (x - left) / unit for x in (bar.get_xdata()[1] - 0.035, bar.get_xdata()[0] + 0.035))
        for bar in bars
    )
    np.testing.assert_allclose(np.array(found).reshape(-1, 2), np.array(spans, dtype=float).reshape(-1, 2))
    for one, other in combinations(bars, 2):  # no two bars of one height meet
        if one.get_ydata()[0] == other.get_ydata()[0]:
            first, second = sorted([tuple(one.get_xdata()), tuple(other.get_xdata())])
            assert first[1] < second[0]


def test_methods_of_one_mean_rank_stand_on_one_side():
    axes = HARD["ranks, ties"]().axes[0]
    sides: dict[float, set[float]] = {}
    for line in by_gid(axes, "stem"):
        sides.setdefault(round(line.get_xdata()[0], 6), set()).add(line.get_xdata()[-1])
    assert [len(side) for side in sides.values()] == [1, 1, 1]


def test_lines_of_close_ranks_do_not_join_from_side_to_side():
    axes = HARD["ranks, close"]().axes[0]
    heights = [line.get_ydata()[-1] for line in by_gid(axes, "stem")]
    assert len({round(height, 6) for height in heights}) == 15


@pytest.mark.parametrize(
    ("ranks", "cd", "complaint"),
    [
        ([1.0], 1.0, "at least two"),
        ([1.0, np.nan], 1.0, "between 1 and 2"),
        ([1.0, 3.0], 1.0, "between 1 and 2"),
        ([1.0, 2.0], 0.0, "positive"),
        ([1.0, 2.0], np.nan, "positive"),
    ],
)
def test_critical_difference_refuses_what_are_no_ranks(ranks, cd, complaint):
    with pytest.raises(ValueError, match=complaint):
        a_diagram(ranks, cd)


def test_noise_curves_draw_accuracies_at_the_ranks_of_geometric_severities():
    frame = curves()
    figure = noise_curves(frame, title="x")
    for axes, (panel, own) in zip(figure.axes, frame.groupby("panel", sort=False), strict=True):
        assert [text.get_text() for text in axes.texts] == [panel]
        lines = {line.get_label(): line for line in axes.get_lines()}
        assert list(lines) == METHODS
        for name, line in lines.items():
            np.testing.assert_allclose(line.get_xdata(), range(5))
            np.testing.assert_allclose(line.get_ydata(), own[own["method"] == name]["accuracy"])
        assert len(axes.collections) == 6
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == ["0", "0.25", "0.5", "1", "2"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == METHODS


def test_noise_curves_keep_equal_steps_at_their_values_and_gaps_open():
    frame = scarred(curves(["none", "dreg"], {"a": (0, 10, 20, 30)}, sd=np.nan), "accuracy", [1, *range(4, 8)])
    figure = noise_curves(frame, title="x")
    line = figure.axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [0, 10, 20, 30]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False, False]
    assert "No value: dreg." in words(figure)
    with pytest.raises(ValueError, match="severity"):
        noise_curves(scarred(frame, "severity", [0]), title="x")


def test_scarcity_draws_differences_and_bands_with_ticks_at_the_sizes():
    frame = sizes()
    figure = a_scarcity(frame)
    for axes, (rival, own) in zip(figure.axes, frame.groupby("rival", sort=False), strict=True):
        assert axes.get_xscale() == "log"
        assert axes.get_xticks().tolist() == list(SIZES)
        assert axes.get_xticks(minor=True).size == 0
        found = marks(axes, styles([rival])[rival].marker)
        np.testing.assert_allclose(found, own[["train_size", "difference"]])
        low_high = [segment[:, 1] for segment in axes.collections[1].get_segments()]
        np.testing.assert_allclose(low_high, own[["low", "high"]])
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        "250",
        "500",
        "1,000",
        "2,000",
        "5,000",
    ]
    with pytest.raises(ValueError, match="positive"):
        a_scarcity(scarred(frame, "train_size", [0], 0))
    with pytest.raises(ValueError, match="positive"):
        a_scarcity(scarred(frame.astype({"train_size": float}), "train_size", [0]))


def test_seed_strip_draws_every_seed_at_its_place_and_the_means():
    frame = scarred(seeds(count=5), "value", [0, *range(5, 10)])
    figure = seed_strip(frame, title="x", xlabel="x")
    axes = figure.axes[0]
    heights = []
    for row, (name, own) in enumerate(frame.groupby("method", sort=False)):
        (line,) = (line for line in axes.get_lines() if line.get_label() == name)
        np.testing.assert_allclose(line.get_xdata(), own["value"])
        heights.append(line.get_ydata() - row)
    np.testing.assert_allclose(heights, [heights[0]] * 6)  # a seed has its height in every row
    means = frame.groupby("method", sort=False)["value"].mean().dropna()
    np.testing.assert_allclose([bar.get_xdata()[0] for bar in by_gid(axes, "mean")], means)
    assert [text.get_text() for text in axes.texts] == ["4 of 5", "0 of 5"]
    joined = np.array([line.get_xdata() for line in by_gid(axes, "seed")])
    np.testing.assert_allclose(joined.T, frame["value"].to_numpy().reshape(6, 5))


def test_pressure_draws_points_by_activation_and_layer():
    frame = scarred(slopes(layers=2), "slope", [0])
    figure = a_pressure(frame)
    axes = figure.axes[0]
    there = frame.dropna()
    np.testing.assert_allclose(np.concatenate([marks(axes, "o"), marks(axes, "s")]).shape, (7, 2))
    for layer, marker in ((1, "o"), (2, "s")):
        np.testing.assert_allclose(marks(axes, marker), there[there["layer"] == layer][["slope", "reduction"]])
    activations, layers = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert (activations, layers) == (["relu", "gelu", "silu", "tanh"], ["1", "2"])
    assert any("1 of 8 points" in word for word in words(figure))
    fills = {line.get_fillstyle() for line in axes.get_lines() if line.get_marker() == "s"}
    assert len(fills) == 4  # told apart without colour
    with pytest.raises(ValueError, match="whole number"):
        a_pressure(frame.assign(layer=0))


# ---- parts


def test_numbers_are_written_with_as_many_decimals_as_they_need():
    assert labelled([-0.5, 0, 0.5]) == ["−0.5", "0.0", "0.5"]
    assert labelled([0, 10, 20]) == ["0", "10", "20"]
    assert labelled([90.00001, 90.00002]) == ["90.00001", "90.00002"]
    assert labelled([250000]) == ["2.5e+05"]
    assert [signed(value, 2) for value in (1.005, -0.004, -3)] == ["+1.00", "0.00", "−3.00"]


def test_ticks_stand_apart():
    for limits in [(0, 1), (-2.1, 14.9), (89.99, 90.01), (-1e-5, 1e-5), (0, 123456)]:
        places, labels = ticks(limits, 1.2)
        room = np.diff(places) / (limits[1] - limits[0]) * 1.2
        assert limits[0] <= places[0] <= places[-1] <= limits[1]
        assert (room > max(map(text_width, labels))).all()
        assert len(set(labels)) == len(places)


def test_panels_share_a_scale_unless_that_squeezes_one():
    assert shared([(0, 1), (0.5, 3)]) == [(0, 3), (0, 3)]
    assert shared([(0, 1), (-20, 3)]) == [(0, 1), (-20, 3)]


def test_wrapped_lines_fit_and_lose_nothing():
    text = "a_method_of_many_many_letters better and some\N{NO-BREAK SPACE}words"
    lines = wrap(text, 1.0).split("\n")
    assert max(map(text_width, lines)) <= 1.0
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
