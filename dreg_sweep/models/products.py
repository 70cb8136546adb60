"""Products of stacked matrices, differentiable any number of times where nothing else is said.

On an x86 processor torch's batched product goes through MKL, which on AMD's processors leaves half of their
registers unused: oneDNN's kernels, which torch carries for its compiler, are twice as fast there. They take one
matrix at a time, so that a cell's numbers cannot depend on its stack, and have a start-up that small products do
not repay.
"""

import platform
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# Multiplications in one product from which oneDNN is taken. On an AMD EPYC (Zen 5): (128×784)·(784×512) in 0.46
# against 1.0 ms, (128×784)·(784×64) 65 against 127 µs, (128×512)·(512×10) 22 against 62, (128×64)·(64×64) 16
# against 12.
_WORTH_ONEDNN = 600_000


def _has_onednn() -> bool:
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    return x86 and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


_ONEDNN = _has_onednn()


def product(a: Tensor, b: Tensor) -> Tensor:
    """a (S, m, k) times b (S, k, n): (S, m, n)."""
    return _Product.apply(a, b) if torch.is_grad_enabled() else _multiply(a, b)


def affine(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """h (S, B, in) times weight (S, in, out), plus bias (S, out): (S, B, out)."""
    return _Affine.apply(h, weight, bias) if torch.is_grad_enabled() else _multiply(h, weight, bias)


def affine_with_squares(h: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """`affine`, and the column sums of the squared weight, (S, out).

    Together they have one gradient in the weight, which is passed over once more instead of four times.
    """
    z, squares = _AffineWithSquares.apply(h, weight, bias)
    return z, squares


def squared_pull_backs(rows: Tensor, weight: Tensor) -> Tensor:
    """‖W r‖² of each row r of rows (S, R, out) with W (S, in, out): (S, R); to be differentiated once.

    The squared norm of a cotangent pulled back through a linear layer, by the shorter of two ways: of W r itself,
    or as rᵀ(WᵀW)r, which makes nothing of the size of the inputs.
    """
    return _SquaredPullBacks.apply(rows, weight)


def _multiply(a: Tensor, b: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """ab + bias; the product without a bias may be written to `out`."""
    size, rows, inner = a.shape
    columns = b.shape[2]
    worth = rows * inner * columns >= _WORTH_ONEDNN
    if not (_ONEDNN and worth and a.dtype == torch.float32 and a.device.type == "cpu"):
        return torch.bmm(a, b, out=out) if bias is None else torch.baddbmm(bias.unsqueeze(1), a, b)
    result = a.new_empty(size, rows, columns) if out is None else out
    for cell in range(size):
        shift = None if bias is None else bias[cell]
        result[cell] = torch.ops.mkldnn._linear_pointwise(a[cell], b[cell].mT, shift, "none", [], "")
    return result


def _gradient_of_right(a: Tensor, b: Tensor, gradient: Tensor) -> Tensor:
    """aᵀg in the memory layout of b, which spares whoever adds to b, or updates it, a transposition.

    No view where that can be: autograd adds the next gradient in place to what owns its memory, and otherwise
    makes a third tensor of the size of the weights.
    """
    if b.stride(-1) == 1:
        return product(a.mT, gradient)
    if torch.is_grad_enabled() or gradient.dtype != b.dtype or torch.is_autocast_enabled(b.device.type):
        return product(gradient.mT, a).mT
    result = torch.empty_like(b)
    _multiply(gradient.mT, a, out=result.mT)
    return result


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _multiply(a, b)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        a, b = ctx.saved_tensors
        of_a, of_b = ctx.needs_input_grad
        return (
            product(gradient, b.mT) if of_a else None,
            _gradient_of_right(a, b, gradient) if of_b else None,
        )


class _Affine(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return _multiply(h, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _gradients_of_affine(ctx, gradient)


class _AffineWithSquares(Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(h, weight)
        return _multiply(h, weight, bias), torch.linalg.vector_norm(weight, dim=1).square_()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_squares: Tensor) -> Any:
        of_h, of_weight, of_bias = _gradients_of_affine(ctx, gradient)
        if of_weight is not None:
            (_, weight), factor = ctx.saved_tensors, (2.0 * of_squares).unsqueeze(1)
            add = torch.addcmul if torch.is_grad_enabled() else Tensor.addcmul_
            # In the weight's precision: under autocast the product has less, and would swallow what is added.
            of_weight = add(of_weight.to(weight.dtype), weight, factor)
        return of_h, of_weight, of_bias


def _gradients_of_affine(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    h, weight = ctx.saved_tensors
    of_h, of_weight, of_bias = ctx.needs_input_grad
    return (
        product(gradient, weight.mT) if of_h else None,
        _gradient_of_right(h, weight, gradient) if of_weight else None,
        gradient.sum(1) if of_bias else None,
    )


class _SquaredPullBacks(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        (count, outputs), inputs = rows.shape[1:], weight.shape[1]
        # Multiplications of the forward and backward pass, per cell and output.
        # Rounded to less than float32, WᵀW would spoil the short directions of W.
        exact = not torch.is_autocast_enabled(rows.device.type)
        ctx.by_gram = exact and 2 * outputs * (inputs + count) < 3 * count * inputs
        image = _multiply(rows, _multiply(weight.mT, weight) if ctx.by_gram else weight.mT)
        ctx.save_for_backward(rows, weight, image)
        return (image * rows).sum(2) if ctx.by_gram else image.square().sum(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        rows, weight, image = ctx.saved_tensors
        factor = (2.0 * gradient).unsqueeze(2)
        if ctx.by_gram:  # the gradient in W is 2 W Σ g r rᵀ
            of_weight = _multiply(_multiply((rows * factor).mT, rows), weight.mT).mT
            return image * factor, of_weight
        scaled = image * factor
        return _multiply(scaled, weight), _multiply(rows.mT, scaled).mT
