"""Linear layers through oneDNN equal PyTorch's own, gradients too."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from counterpoint.engine import linear
from counterpoint.engine.linear import available, product, through_onednn

pytestmark = pytest.mark.skipif(not available(), reason="this build of PyTorch has no oneDNN")


@pytest.fixture(autouse=True)
def _on_any_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "preferred", lambda: True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_values_and_gradients(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    if kind == "linear":
        module: nn.Module = nn.Linear(12, 20, bias=bias)
    else:
        module = Conv1D(20, 12)
    module.requires_grad_(False)
    hidden = torch.randn(3, 5, 12, requires_grad=True)
    expected = module(hidden)
    (slope,) = torch.autograd.grad(expected.sin().sum(), hidden)
    with through_onednn([module]):
        found = module(hidden)
        with torch.no_grad():
            plain = module(hidden)
    (found_slope,) = torch.autograd.grad(found.sin().sum(), hidden)
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(plain, expected, atol=1e-6)
    assert torch.allclose(found_slope, slope, atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 5])
def test_several_gradients_at_once_are_those_of_each(rows: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 7)).requires_grad_(False)
    hidden = torch.randn(3, rows, 12, requires_grad=True)
    weights = torch.randn(4, 3, rows, 7)
    expected = module(hidden)
    slopes = [torch.autograd.grad(expected, hidden, one, retain_graph=True)[0] for one in weights]
    with through_onednn(module):
        found = module(hidden)
        (together,) = torch.autograd.grad(found, hidden, weights, is_grads_batched=True)
    assert torch.allclose(together, torch.stack(slopes), atol=1e-5)


def test_modules_are_left_as_they_were() -> None:
    module = nn.Linear(4, 4)
    with pytest.raises(RuntimeError, match="inside"), through_onednn([module]):
        assert "forward" in vars(module)
        raise RuntimeError("inside")
    assert "forward" not in vars(module)


def test_nothing_is_replaced_where_mkl_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    module = nn.Linear(4, 4)
    monkeypatch.setattr(linear, "preferred", lambda: False)
    with through_onednn([module]):
        assert "forward" not in vars(module)


def test_only_plain_float32_layers_are_taken() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    others = [Scaled(4, 4), nn.Linear(4, 4, dtype=torch.float64), nn.LayerNorm(4)]
    with through_onednn(others):
        assert all("forward" not in vars(module) for module in others)


@pytest.mark.parametrize("rows", [1, 24, 300])
@pytest.mark.parametrize("kind", ["linear", "conv1d"])
def test_packed_weights_give_the_same(kind: str, rows: int) -> None:
    torch.manual_seed(0)
    module: nn.Module = nn.Linear(64, 96) if kind == "linear" else Conv1D(96, 64)
    module.requires_grad_(False)
    hidden = torch.randn(1, rows, 64, requires_grad=True)
    expected = module(hidden)
    (slope,) = torch.autograd.grad(expected.sin().sum(), hidden)
    with through_onednn([module], packed=True):
        found = module(hidden)
        with torch.no_grad():
            assert torch.allclose(module(hidden), expected, atol=1e-5)
    (found_slope,) = torch.autograd.grad(found.sin().sum(), hidden)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found_slope, slope, atol=1e-5)


def test_a_block_inside_another_changes_nothing() -> None:
    module = nn.Linear(4, 4)
    with through_onednn([module], packed=True):
        packed = module.forward
        with through_onednn([module]):
            assert module.forward is packed
        assert module.forward is packed
    assert "forward" not in vars(module)


@pytest.mark.parametrize("lead", [(), (3,), (2, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_with_a_table(lead: tuple[int, ...], dtype: torch.dtype) -> None:
    hidden, weight = torch.randn(*lead, 12, dtype=dtype), torch.randn(70, 12, dtype=dtype)
    torch.testing.assert_close(product(hidden, weight), hidden @ weight.T)
    # With a gradient where one is asked for.
    hidden.requires_grad_()
    (found,) = torch.autograd.grad(product(hidden, weight).sum(), hidden)
    torch.testing.assert_close(found, weight.sum(0).expand_as(hidden))


@pytest.mark.parametrize("lead", [(3,), (2, 3)])
def test_what_a_layer_returns_may_be_changed_in_place(lead: tuple[int, ...]) -> None:
    """OLMo clips its queries, keys and values in place."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 6).requires_grad_(False)
    hidden = torch.randn(*lead, 8, requires_grad=True)
    (expected,) = torch.autograd.grad((layer(hidden).clamp(-0.3, 0.3) ** 2).sum(), hidden)
    with through_onednn([layer]):
        clipped = layer(hidden)
        clipped.clamp_(-0.3, 0.3)
    (found,) = torch.autograd.grad((clipped**2).sum(), hidden)
    assert torch.allclose(found, expected, atol=1e-6)
