"""An exported graph in the place of a network, and how far its logits are from the network's."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.deploy.runtimes import Session

# fp32 rounds differently in another order of additions; what is further apart is another network.
LOGITS = 1e-4  # of the largest logit where that is above 1
LABELS = 0.9999  # of the pixels


class Deployed(nn.Module):
    """A graph of another runtime as a network, so that the same evaluation scores it."""

    def __init__(self, session: Session, size_multiple: int = 1) -> None:
        super().__init__()
        self.session, self.size_multiple = session, size_multiple

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to logits (N, K, H, W); one by one where the graph's batch is 1.

        Raises:
            ValueError: the graph is for images of another size.
        """
        size, _, height, width = self.session.shape
        _, _, rows, columns = images.shape
        if height is not None and (height, width) != (rows, columns):
            raise ValueError(
                f"an image or window of {rows}x{columns} does not fit a graph "
                f"for {height}x{width}; export it with --any-size"
            )
        size = size or len(images)
        batches = torch.split(images.float().contiguous(), size)
        return torch.cat([torch.tensor(self.session.run(batch.numpy())) for batch in batches])


@dataclass(frozen=True)
class Parity:
    """How a graph's answers compare with those of the network, in fp32, on real images.

    Attributes:
        images: how many.
        largest_difference: of two logits.
        largest_logit: by its absolute value.
        labels: the part of the pixels that have the same class.
    """

    images: int
    largest_difference: float
    largest_logit: float
    labels: float

    @property
    def is_near(self) -> bool:
        """Whether the logits differ by rounding alone."""
        return self.largest_difference <= LOGITS * max(1.0, self.largest_logit)

    @property
    def agrees(self) -> bool:
        """Whether the labels do too, which needs a network that has learnt to tell classes."""
        return self.is_near and self.labels >= LABELS

    def __str__(self) -> str:
        """Says it in words."""
        return (
            f"logits within {self.largest_difference:.1e} of PyTorch's, which reach "
            f"{self.largest_logit:.1f}, and {100 * self.labels:.3f} % of the labels the same, on "
            f"{self.images} images"
        )


@torch.inference_mode()
def compare(network: nn.Module, deployed: nn.Module, batches: Iterable[Tensor]) -> Parity:
    """Compares a network with its graph.

    Args:
        network: in evaluation mode, on the CPU.
        deployed: the graph.
        batches: normalised images (N, 3, H, W).
    """
    images = pixels = same = 0
    difference = logit = 0.0
    for batch in batches:
        expected, actual = network(batch).float(), deployed(batch)
        images += len(batch)
        difference = max(difference, (actual - expected).abs().max().item())
        logit = max(logit, expected.abs().max().item())
        equal = actual.max(dim=1).indices == expected.max(dim=1).indices
        same, pixels = same + int(equal.sum()), pixels + equal.numel()
    return Parity(images, difference, logit, same / pixels)
