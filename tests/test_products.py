"""Products of stacked matrices against plain ones, in float64 and in the float32 of training."""

import pytest
import torch

from dreg_sweep.models import products
from dreg_sweep.models.products import affine, affine_with_squares, product, squared_pull_backs

ONEDNN = (40, 300, 96)  # rows, inner, columns: a product large enough for oneDNN, where there is one
SMALL = (7, 5, 3)
LAYOUTS = {"by rows": lambda matrix: matrix, "by columns": lambda matrix: matrix.mT.contiguous().mT}


def matrices(shape, size=3, dtype=torch.float32, layout="by rows", seed=0):
    """a (S, rows, inner), b (S, inner, columns) in the layout, bias (S, columns)."""
    rows, inner, columns = shape
    torch.manual_seed(seed)
    a, b, bias = (torch.randn(size, *dims, dtype=dtype) for dims in ((rows, inner), (inner, columns), (columns,)))
    return a, LAYOUTS[layout](b), bias


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [SMALL, ONEDNN], ids=str)
def test_products_agree_with_float64(shape, layout):
    a, b, bias = matrices(shape, layout=layout)
    exact = a.double() @ b.double()
    torch.testing.assert_close(product(a, b).double(), exact, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(affine(a, b, bias).double(), exact + bias.double()[:, None], rtol=1e-5, atol=1e-4)
    z, squares = affine_with_squares(a, b, bias)
    assert torch.equal(z, affine(a, b, bias))
    torch.testing.assert_close(squares.double(), b.double().square().sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [SMALL, ONEDNN], ids=str)
def test_gradients_of_training_agree_with_plain_autograd(shape):
    """In float32, where products take their own ways, and for a weight stored either way."""
    for layout in LAYOUTS:
        a, b, bias = (tensor.requires_grad_() for tensor in matrices(shape, layout=layout))
        z, squares = affine_with_squares(a, b, bias)
        ours = torch.autograd.grad((z.square().sum((1, 2)) + 0.3 * squares.sum(1)).sum(), (a, b, bias))
        assert ours[1].stride() == b.stride()
        exact = [tensor.detach().double().requires_grad_() for tensor in (a, b, bias)]
        z = exact[0] @ exact[1] + exact[2][:, None]
        squares = exact[1].square().sum(1)
        wanted = torch.autograd.grad((z.square().sum((1, 2)) + 0.3 * squares.sum(1)).sum(), exact)
        for found, expected in zip(ours, wanted, strict=True):
            torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_derivatives_of_any_order_in_float64(layout):
    a, b, bias = (tensor.requires_grad_() for tensor in matrices(SMALL, 2, torch.float64, layout))
    for function in (
        lambda a, b, bias: product(a, b).sin(),
        lambda a, b, bias: affine(a, b, bias).sin(),
        lambda a, b, bias: sum(part.sin().sum() for part in affine_with_squares(a, b, bias)),
    ):
        assert torch.autograd.gradcheck(function, (a, b, bias))
        assert torch.autograd.gradgradcheck(function, (a, b, bias))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(9, 8, 2), (3, 4, 20)], ids=["by Gram", "by image"])
def test_squared_pull_backs(rows, inputs, outputs, layout):
    """Both ways to ‖W r‖², with the gradient."""
    torch.manual_seed(1)
    r = torch.randn(2, rows, outputs, dtype=torch.float64).requires_grad_()
    weight = LAYOUTS[layout](torch.randn(2, inputs, outputs, dtype=torch.float64)).requires_grad_()
    assert (2 * outputs * (inputs + rows) < 3 * rows * inputs) == (outputs == 2)  # the case is what it says
    found = squared_pull_backs(r, weight)
    torch.testing.assert_close(found, (r @ weight.mT).square().sum(2))
    assert torch.autograd.gradcheck(squared_pull_backs, (r, weight))
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert gradient.stride() == weight.stride() or layout == "by rows"


@pytest.mark.parametrize("shape", [SMALL, ONEDNN, (128, 512, 10), (10, 128, 512)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_cells_product_does_not_depend_on_its_stack(shape, layout):
    a, b, bias = matrices(shape, size=5, layout=layout)
    whole = affine(a, b, bias), product(a.mT.contiguous().mT, b)
    for chosen in ([0, 1], [4, 2], [3, 0, 4]):
        part = affine(a[chosen], b[chosen], bias[chosen]), product(a.mT.contiguous().mT[chosen], b[chosen])
        for ours, theirs in zip(part, whole, strict=True):
            assert torch.equal(ours, theirs[chosen])


def test_large_products_go_through_onednn_where_torch_has_it(monkeypatch):
    if not products._ONEDNN:
        pytest.skip("this torch has no oneDNN for this processor")
    asked, bmm = [], torch.bmm

    def noted(a, b, out=None):
        asked.append(a.shape)
        return bmm(a, b, out=out)

    monkeypatch.setattr(torch, "bmm", noted)
    for shape in (ONEDNN, SMALL):
        a, b, _ = matrices(shape)
        product(a, b)
        product(a.double(), b.double())
    assert asked == [(3, *ONEDNN[:2]), (3, *SMALL[:2]), (3, *SMALL[:2])]  # float64, and both small ones
