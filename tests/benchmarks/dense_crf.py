"""Measures the dense CRF: milliseconds for one 360x480 image with 11 classes on one core.

    python -m tests.benchmarks.dense_crf [IMAGE]

Without IMAGE it takes random blocks of colour with noise, which touch some 100,000 vertices; a
street scene touches 10,000 to 40,000. One thread, the minimum of several repetitions, after one
that is not counted; prints JSON. `search` is what one more value of w1 costs in a grid search.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bench.crf.lattice import appearance_lattice, smoothness_lattice
from bench.crf.mean_field import dense_crf, mean_field
from bench.data.images import read_image

HEIGHT, WIDTH, CLASSES, REPETITIONS = 360, 480, 11, 5


def minimum_ms(call: Callable[[], object]) -> float:
    """Milliseconds of the fastest repetition."""
    call()
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return round(1000 * min(times), 1)


def blocks() -> torch.Tensor:
    """Colour blocks of 20 pixels with noise, (HEIGHT, WIDTH, 3) uint8."""
    colours = torch.randint(10, 246, (HEIGHT // 20, WIDTH // 20, 3))
    image = colours.repeat_interleave(20, 0).repeat_interleave(20, 1)
    return (image + 4 * torch.randn(image.shape)).clamp(0, 255).byte()


def main() -> None:
    """Measure and print."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    image = torch.tensor(read_image(Path(sys.argv[1]))) if len(sys.argv) > 1 else blocks()
    height, width, _ = image.shape
    probs = torch.randn(CLASSES, height, width).softmax(dim=0)
    smoothness, appearance = (
        smoothness_lattice(height, width, 3.0),
        appearance_lattice(image, 121, 5),
    )
    result = {
        "height": height,
        "width": width,
        "appearance_vertices": appearance.blur_vertices.shape[1] - 1,
        "smoothness_vertices": smoothness.blur_vertices.shape[1] - 1,
        "appearance_lattice_ms": minimum_ms(lambda: appearance_lattice(image, 121, 5)),
        "smoothness_lattice_ms": minimum_ms(
            lambda: smoothness_lattice.__wrapped__(height, width, 3.0)
        ),
        "search_ms": minimum_ms(lambda: mean_field(probs, [(3, smoothness), (4, appearance)])),
        "dense_crf_ms": minimum_ms(
            lambda: dense_crf(
                probs, image, w1=4, sigma_alpha=121, sigma_beta=5, w2=3, sigma_gamma=3
            )
        ),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
