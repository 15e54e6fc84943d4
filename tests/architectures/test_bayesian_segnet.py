"""Bayesian SegNet: several passes with dropout, averaged."""

import pytest
import torch
from torch import Tensor, nn

from architectures.bayesian_segnet import BayesianSegNet


@pytest.fixture
def network() -> BayesianSegNet:
    """A narrow network whose batch norm has seen data, in evaluation mode."""
    torch.manual_seed(0)
    network = BayesianSegNet(4, samples=3, width=4)
    network(torch.randn(4, 3, 40, 40))
    return network.eval()


@torch.no_grad()
def probabilities(network: BayesianSegNet, images: Tensor) -> Tensor:
    """(samples, N, K, H, W), drawn as the network draws them."""
    torch.manual_seed(1)
    passes = [network.logits(images, network.dropout) for _ in range(network.samples)]
    return torch.stack(passes).softmax(dim=2)


@torch.no_grad()
def test_evaluation_is_the_log_of_the_mean(network: BayesianSegNet) -> None:
    """In evaluation the softmax is averaged over the samples; its log has the same argmax."""
    images = torch.randn(2, 3, 37, 41)
    drawn = probabilities(network, images)
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(1)
    logits = network(images)
    torch.testing.assert_close(logits.exp(), drawn.mean(dim=0))
    assert torch.equal(logits.argmax(dim=1), drawn.mean(dim=0).argmax(dim=1))


@torch.no_grad()
def test_uncertainty_is_mean_and_variance(network: BayesianSegNet) -> None:
    """The uncertainty map is the variance over the samples, of each class."""
    images = torch.randn(2, 3, 37, 41)
    drawn = probabilities(network, images)
    torch.manual_seed(1)
    mean, variance = network.uncertainty(images)
    torch.testing.assert_close(mean, drawn.mean(dim=0))
    torch.testing.assert_close(variance, drawn.var(dim=0, correction=0))


@torch.no_grad()
def test_certain_without_dropout() -> None:
    """Where all passes agree the variance is exactly zero."""
    network = BayesianSegNet(4, samples=3, width=4, dropout=0.0).eval()
    images = torch.randn(1, 3, 20, 20)
    mean, variance = network.uncertainty(images)
    assert torch.equal(mean, network.logits(images, 0.0).softmax(dim=1))
    assert not variance.any()


@torch.no_grad()
def test_batch_norm_estimation(network: BayesianSegNet) -> None:
    """While batch norm alone is in training mode, one pass is done with dropout off."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    norm = network.encoder[0][0][1]
    before = int(norm.num_batches_tracked)
    images = torch.randn(2, 3, 40, 40)
    assert torch.equal(network(images), network(images))
    assert int(norm.num_batches_tracked) == before + 2


def test_training_is_segnets(network: BayesianSegNet) -> None:
    """In training it gives plain logits of one pass with dropout."""
    images = torch.randn(2, 3, 40, 40)
    network.train()
    torch.manual_seed(1)
    logits = network(images)
    torch.manual_seed(1)
    assert torch.equal(logits, network.logits(images, 0.5))


def test_no_samples() -> None:
    """Fewer than one pass is refused."""
    with pytest.raises(ValueError, match="samples=0"):
        BayesianSegNet(4, samples=0, width=4)
