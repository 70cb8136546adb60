"""The regularizers, each a function of what a forward pass saw."""

from dreg_sweep.regularizers.input_gradients import logit_jacobian
from dreg_sweep.regularizers.layer_jacobians import local_jacobian_norms
from dreg_sweep.regularizers.outputs import dropout
from dreg_sweep.regularizers.registry import REGULARIZERS, Regularizer, get_regularizer, refuse_unfit
from dreg_sweep.regularizers.weights import spectral_norm, weight_decay

__all__ = [
    "REGULARIZERS",
    "Regularizer",
    "dropout",
    "get_regularizer",
    "local_jacobian_norms",
    "logit_jacobian",
    "refuse_unfit",
    "spectral_norm",
    "weight_decay",
]
