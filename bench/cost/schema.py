"""The schema of `cost`: what is measured of a network, and how long. Imports no torch."""

from dataclasses import dataclass


@dataclass
class CostConfig:
    """How time and memory are measured, at the size (of an image or a crop) of `protocol`."""

    measure: bool = False  # measure what networks cost instead of training them
    batch_size: int = 1  # of the timed iterations
    backward: bool = True  # whole training iterations; false: inference alone
    samples: int = 10  # at least so many of each time
    tolerance: float = 0.02  # more, until each median is known to this fraction of itself
    seconds: float = 60.0  # but, after three, no longer than this for one network with its warm-up
    training_batch: int | None = 4  # of training memory; null: not measured
    inference_batch: int | None = 1  # of inference memory; null: not measured


def check_cost(cost: CostConfig) -> None:
    """Rejects values whose type is right and whose meaning is not.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    for key in ("batch_size", "samples", "training_batch", "inference_batch"):
        value = getattr(cost, key)
        if value is not None and value < 1:
            raise ValueError(f"cost.{key} is {value}; it must be 1 or more")
    for key in ("tolerance", "seconds"):
        if getattr(cost, key) <= 0:
            raise ValueError(f"cost.{key} is {getattr(cost, key)}; it must be above 0")
