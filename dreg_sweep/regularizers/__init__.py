"""The regularizers, each a function of what a forward pass saw."""

from dreg_sweep.regularizers.input_gradients import input_gradients, logit_jacobian
from dreg_sweep.regularizers.outputs import dropout
from dreg_sweep.regularizers.registry import REGULARIZERS, Regularizer, discover, get_regularizer, refuse_unfit
from dreg_sweep.regularizers.weights import spectral_norm, weight_decay

__all__ = [
    "REGULARIZERS",
    "Regularizer",
    "dropout",
    "get_regularizer",
    "input_gradients",
    "logit_jacobian",
    "refuse_unfit",
    "spectral_norm",
    "weight_decay",
]

discover(__name__, __path__)  # after all the names above, which these modules may import from here
