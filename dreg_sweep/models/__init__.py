"""Networks whose parameters carry a leading stack dimension S, one slice a cell."""

from dreg_sweep.models.registry import MODELS, build_network
from dreg_sweep.models.trace import (
    Buffers,
    LayerTrace,
    LinearTrace,
    Network,
    Parameters,
    Trace,
    as_matrix,
)

__all__ = [
    "MODELS",
    "Buffers",
    "LayerTrace",
    "LinearTrace",
    "Network",
    "Parameters",
    "Trace",
    "as_matrix",
    "build_network",
]
