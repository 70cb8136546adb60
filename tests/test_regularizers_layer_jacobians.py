"""dreg against the Jacobians of layers by torch.func, in float64; convolutions are in test_models_dreg.py."""

import pytest
import torch
from torch.func import jacrev, vmap

from dreg_sweep.activations import ACTIVATIONS
from tests.engine import double_stack
from tests.networks import torchs_own
from tests.regularizer_oracles import oracle


def hidden_functions(stack, cell):
    """For one cell: the functions h_{l-1} → h_l of its layers, output layer last."""
    functions = []
    names = stack.network.weight_names
    for i, name in enumerate(names):
        weight, bias = (stack.parameters[n].detach()[cell] for n in (name, f"bias{i}"))
        coefficients = stack.parameters.get(f"coefficients{i}")
        coefficients = None if coefficients is None else coefficients.detach()[cell : cell + 1]
        value = torchs_own(stack.network.activation) if i < len(names) - 1 else lambda z, _: z

        def layer(h, weight=weight, bias=bias, value=value, coefficients=coefficients):
            return value((h @ weight + bias).view(1, 1, -1), coefficients).view(-1)

        functions.append(layer)
    return functions


def jacobian_norms(stack, x, form, layers):
    """Σ over layers of mean_b ‖J‖_F², and the same divided by the layers' units, by jacrev: ((S,), (S,))."""
    sums, means = [], []
    for cell in range(stack.size):
        functions = hidden_functions(stack, cell)
        functions = functions if layers == "all" else functions[:-1]
        h, total, mean = x[cell].detach(), torch.tensor(0.0), torch.tensor(0.0)
        chain = None
        for function in functions:
            if form == "local":
                jacobians = vmap(jacrev(function))(h)
            else:
                inner = chain
                chain = function if inner is None else (lambda v, f=function, g=inner: f(g(v)))
                jacobians = vmap(jacrev(chain))(x[cell].detach())
            norm = jacobians.square().sum((1, 2)).mean()
            total, mean = total + norm, mean + norm / jacobians.shape[1]
            h = vmap(function)(h)
        sums.append(total)
        means.append(mean)
    return torch.stack(sums), torch.stack(means)


@oracle("dreg")
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("form", ["local", "cumulative"])
@pytest.mark.parametrize("layers", ["hidden", "all"])
def test_dreg_is_the_squared_norm_of_the_layer_jacobians(activation, form, layers):
    for reduction in ("sum", "mean"):
        options = {"form": form, "layers": layers, "reduction": reduction}
        stack, x, y = double_stack("dreg", activation, options=options)
        penalty = stack.penalties(stack.forward(x, y, training=True))[0]
        expected = jacobian_norms(stack, x, form, layers)[0 if reduction == "sum" else 1]
        torch.testing.assert_close(penalty, expected, rtol=1e-10, atol=0)
