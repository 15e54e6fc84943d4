"""What this device can do at all: rates of a known convolution, matrix product and copy.

A network's time means little without them: the report gives it as a fraction of these rates. They
are measured in turn with the networks, so that what disturbs the one disturbs the other.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.config import Config
from bench.run.device import has_fast_bf16

REPEATS = 3  # within a sample
LONG_SECONDS = 0.3  # what takes longer once is not repeated


class Calibration:
    """The known pieces of work, prepared on a device in a run's precision and memory format."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """Allocates the operands."""
        protocol = config.protocol
        cuda = device.type == "cuda"
        kind = torch.bfloat16 if protocol.precision == "bf16" else torch.float32
        # A CPU that emulates bfloat16 takes half a minute for what others do in a quarter second.
        emulated = kind == torch.bfloat16 and not cuda and not has_fast_bf16()
        side = 8192 if cuda else 256 if emulated else 1536
        height, width = (36, 48) if emulated else (180, 240)
        self.device = device
        # SegNet-Basic's decoder convolution at 180x240; enough images to fill the device.
        self.images = torch.randn(32 if cuda else 1, 64, height, width, device=device, dtype=kind)
        self.kernel = torch.randn(64, 64, 7, 7, device=device, dtype=kind)
        if protocol.channels_last:
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        self.matrix = torch.randn(side, side, device=device, dtype=kind)
        self.source = torch.zeros(2**26 if cuda else 2**25, device=device)  # 256, 128 MiB
        self.target = torch.zeros_like(self.source)

    def sample(self) -> dict[str, float]:
        """Measures each rate once.

        Returns:
            `convolution_flops`, `matmul_flops` (operations a second, two for each
            multiply-accumulate) and `copy_bytes_per_second` (read and written).
        """
        convolution = self._seconds(lambda: F.conv2d(self.images, self.kernel, padding=3))
        product = self._seconds(lambda: self.matrix @ self.matrix)
        copy = self._seconds(lambda: self.target.copy_(self.source))
        return {
            "convolution_flops": 2 * self.images.numel() * self.kernel[0].numel() / convolution,
            "matmul_flops": 2 * len(self.matrix) ** 3 / product,
            "copy_bytes_per_second": 2 * self.source.nbytes / copy,
        }

    def _seconds(self, work: Callable[[], Tensor]) -> float:
        """Times one piece of work: the mean of a few, after one that counts only if it is long."""
        first = self._mean(work, 1)
        return first if first > LONG_SECONDS else self._mean(work, REPEATS)

    def _mean(self, work: Callable[[], Tensor], repeats: int) -> float:
        self._wait()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        self._wait()
        return (time.perf_counter() - start) / repeats

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
