"""Networks in a graph for another runtime: equal pooling, tracing, pickling, and every export."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from architectures import exporting
from architectures.pooling import max_pool, max_pool_values, max_unpool

Build = Callable[..., nn.Module]


Compute = Callable[[Callable[[], Tensor]], Tensor]


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Compute:
    """Computes something as while exporting."""

    def compute(call: Callable[[], Tensor]) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(exporting, "is_exporting", lambda: True)
            return call()

    return compute


def maps(kind: str) -> Tensor:
    """Odd maps (2, 3, 7, 9): random, of ties, or with NaN."""
    random = torch.randn(2, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    if kind == "ties":
        return random.round()
    return random.where(random < 1, torch.nan) if kind == "nan" else random


@pytest.mark.parametrize("kind", ["random", "ties", "nan"])
def test_the_exported_form_puts_values_where_the_bits_put_them(
    exported: Compute, kind: str
) -> None:
    x = maps(kind)

    def there_and_back() -> Tensor:
        pooled, indices = max_pool(x)
        return max_unpool(pooled + 1, indices)

    assert torch.equal(exported(there_and_back).nan_to_num(7), there_and_back().nan_to_num(7))


def test_values_alone_need_no_bits_while_exporting(exported: Compute) -> None:
    """Also where gradients are enabled, as they are by default."""
    x = maps("random").requires_grad_()
    pooled = exported(lambda: max_pool_values(x))
    assert torch.equal(pooled, max_pool_values(x))
    assert "MaxPool2D" in type(pooled.grad_fn).__name__  # the native operator, not ours


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
@pytest.mark.parametrize("name", ["segnet_basic", "fcn_basic", "bilinear_interpolation"])
def test_a_traced_network_gives_the_same_logits_for_other_batches(build: Build, name: str) -> None:
    network = build(name, 5, small=True).eval()
    traced = torch.jit.trace(network, torch.randn(2, 3, 33, 47), check_trace=False)
    images = torch.randn(3, 3, 33, 47)
    torch.testing.assert_close(traced(images), network(images))


def test_a_network_pickles(build: Build, arch: str) -> None:
    with torch.device("meta"):
        network = build(arch, 5, small=True)
    again = pickle.loads(pickle.dumps(network))
    assert again.state_dict().keys() == network.state_dict().keys()
