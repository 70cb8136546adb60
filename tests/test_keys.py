"""From axes to keys: however the levels of a grid are spelled, a cell has one key and one configuration hash."""

from hypothesis import given, settings
from hypothesis import strategies as st

from dreg_sweep.compose import compose_grid
from dreg_sweep.factors import key_of_before, level_text
from tests.composing import loader_and_master

SPELLINGS = {  # key → its levels, each in ways that mean the same value
    "seed": (("0", "0.0"), ("1", "1.0", "1e0"), ("20", "2e1")),
    "train_size": (("64", "64.0", "6.4e1"), ("500", "5e2"), ("null",)),
    "regularizer.strength": (("1", "1.0", "1e0"), ("0.01", "1e-2"), ("0.5", "5e-1", ".5")),
    "optimizer.lr": (("1", "1.0"), ("0.01", "1e-2")),
    "model.widths": (("[8,8]", "[8.0,8]"), ("[16]", "[16.0]")),
    "batch_size": (("32", "32.0", "3.2e1"), ("64", "64.0")),
}


@st.composite
def grids(draw):
    """Jobs that each set some keys, and how many different combinations of values they ask for."""
    keys = draw(st.lists(st.sampled_from(sorted(SPELLINGS)), min_size=1, max_size=3, unique=True))
    jobs, asked = [], set()
    for _ in range(draw(st.integers(1, 6))):
        levels = {key: draw(st.integers(0, len(SPELLINGS[key]) - 1)) for key in keys}
        jobs.append(
            ["regularizer=dreg"] + [f"{key}={draw(st.sampled_from(SPELLINGS[key][levels[key]]))}" for key in keys]
        )
        asked.add(tuple(levels.items()))
    return jobs, len(asked)


@given(grids())
@settings(deadline=None, max_examples=8)
def test_one_cell_one_key_one_hash(grid):
    jobs, asked = grid
    loader, master = loader_and_master()
    cells = compose_grid(loader, master, jobs).cells
    assert len(cells) == asked
    assert len({cell.key for cell in cells}) == asked
    assert len({cell.config_hash for cell in cells}) == asked
    assert all(key_of_before(cell.key) == cell.key for cell in cells)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(VALUES, VALUES)
@settings(deadline=None, max_examples=500)
def test_the_texts_of_two_levels_are_equal_where_the_levels_are(one, other):
    def kind(value):
        return type(value) if value is None or isinstance(value, bool) else float

    same = kind(one) is kind(other) and one == other
    assert (level_text(one) == level_text(other)) == same
