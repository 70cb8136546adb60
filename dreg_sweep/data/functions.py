"""Points of a known function, for regression: what a network makes of it between its training points can be seen.

Source: the synthetic data of Varga, Csiszárik & Zombori 2017 (arXiv 1712.09936): 100 points x ~ U[-1, 1] with
y = sin(5x) + N(0, 0.1²), and y = ‖x‖² in two dimensions. Theirs are drawn once; here a pool is, and each seed
draws its training points from it, as from any other dataset. The size of the pool and the test grid are ours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dreg_sweep.data.prepared import VALIDATION_SHARE, Prepared, array_fingerprint
from dreg_sweep.data.seeding import generator
from dreg_sweep.data.spec import DatasetSpec, check_options, real_number, whole_number
from dreg_sweep.data.stratify import Rows
from dreg_sweep.errors import UserError, unknown_level

Floats = npt.NDArray[np.float32]

OPTIONS: dict[str, Any] = {
    "function": "sine",
    "noise": 0.1,  # standard deviation of the training targets around the function
    "n_pool": 2000,
    "n_grid": None,  # test points a dimension; None: the function's own
    "seed": 0,
}
SMALLEST_POOL = 10  # a tenth of it, the validation rows, is one row
MOST_GRID_POINTS = 1_000_000


@dataclass(frozen=True)
class Function:
    """A function of D numbers on [-1, 1]^D; calling it turns (m, D) float32 into (m, 1) float32."""

    dimension: int
    n_grid: int  # test points a dimension by default
    formula: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]  # (m, D) → (m,)

    def __call__(self, x: Floats) -> Floats:
        """Computed in float64, and rounded once."""
        return self.formula(x.astype(np.float64))[:, None].astype(np.float32)


def _sine(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sin(5 * x[:, 0])


def _squared_norm(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.square(x).sum(axis=1)


FUNCTIONS = {"sine": Function(1, 401, _sine), "squared_norm": Function(2, 41, _squared_norm)}


@dataclass(frozen=True)
class FunctionData(Prepared):
    """Training points with noisy targets, and a grid without noise. inputs: part → (n, D) float32.

    targets: part → (n, 1) float32. Whatever draws rows draws them at random.
    """

    task = "regression"

    inputs: Mapping[str, Floats]
    function: Function

    @property
    def n_outputs(self) -> int:
        return int(self.targets["train"].shape[1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.function.dimension,)

    @property
    def least_rows(self) -> tuple[int, str]:
        return 2, "two neighbours"

    def _hold_out(self, rng: np.random.Generator) -> tuple[Rows, Rows]:
        order = rng.permutation(self.n_train)
        size = round(VALIDATION_SHARE * self.n_train)
        return np.sort(order[size:]), np.sort(order[:size])

    def _draw(self, pool: Rows, size: int, rng: np.random.Generator) -> Rows:
        return rng.permutation(pool)[:size]


def function(spec: DatasetSpec) -> FunctionData:
    """A pool of points x ~ U[-1, 1]^D with y = f(x) + N(0, noise²), and f on a regular grid as the test set.

    Options: `function`, a key of `FUNCTIONS`; `noise` of at least 0; `n_pool`, training points that seeds draw
    from; `n_grid`, test points a dimension, both ends included; `seed` of the pool (not the replicate's). The
    inputs do not depend on the noise, and a larger pool begins with the points of a smaller one.
    """
    options = check_options(spec, OPTIONS)
    if spec.modality != "tabular":
        raise UserError(f"dataset.modality={spec.modality} does not fit source {spec.source}; choose tabular")
    name = options["function"]
    if not isinstance(name, str) or name not in FUNCTIONS:
        raise unknown_level("dataset.options.function", name, FUNCTIONS)
    f = FUNCTIONS[name]
    noise = real_number(spec, options, "noise", 0.0)
    n_pool = whole_number(spec, options, "n_pool", SMALLEST_POOL)
    n_grid = f.n_grid if options["n_grid"] is None else whole_number(spec, options, "n_grid", 2)
    if n_grid**f.dimension > MOST_GRID_POINTS:
        raise UserError(
            f"dataset.options.n_grid={n_grid} of {spec.name} makes more than {MOST_GRID_POINTS:,} points in "
            f"{f.dimension} dimensions; choose fewer"
        )
    seed = whole_number(spec, options, "seed", 0)
    x = generator("function", "inputs", name, seed).uniform(-1, 1, (n_pool, f.dimension)).astype(np.float32)
    error = generator("function", "noise", name, seed).standard_normal((n_pool, 1))
    inputs = {"train": x, "test": regular_grid(f.dimension, n_grid)}
    targets = {"train": (f(x) + noise * error).astype(np.float32), "test": f(inputs["test"])}
    return FunctionData(spec, array_fingerprint(inputs, targets), targets, inputs, f)


def regular_grid(dimension: int, n: int) -> Floats:
    """The n^D points of a regular grid over [-1, 1]^D, shape (n^D, D); the last dimension runs fastest."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n)] * dimension, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1).astype(np.float32)


def midpoints(x: Floats) -> Floats:
    """Places between the training points x (n, D), of which at least two are distinct.

    In one dimension the midpoints of neighbours, in ascending order: n - 1 where the points are distinct. In
    more the midpoint of each point and its nearest other point, in the order of the points: n rows, where two
    points that are each other's nearest have theirs twice. Points that coincide count as one.
    """
    distinct, first = np.unique(x, axis=0, return_index=True)
    if x.shape[1] == 1:
        points = distinct.astype(np.float64)
        return ((points[1:] + points[:-1]) / 2).astype(np.float32)
    from scipy.spatial import KDTree

    points = x[np.sort(first)].astype(np.float64)
    _, nearest = KDTree(points).query(points, k=2)  # the nearest of all is the point itself
    return ((points + points[nearest[:, 1]]) / 2).astype(np.float32)
