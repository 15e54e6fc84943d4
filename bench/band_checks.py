"""Whether network, protocol and data set fit images of other bands than 8-bit RGB. No torch."""

import math

from bench.config import Config
from bench.protocol import Normalisation
from bench.signature import parameters


def check_bands(config: Config) -> None:
    """Rejects what cannot be done with the bands of a data set.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    dataset, protocol = config.dataset, config.protocol
    if dataset.bands is None:
        if protocol.normalisation == Normalisation.bands or dataset.band_mean:
            raise ValueError(
                "protocol.normalisation=bands and dataset.band_mean need dataset.bands, the number "
                "of bands; without it images are 8-bit RGB"
            )
        return
    bands = f"dataset.bands={dataset.bands}"
    if dataset.bands < 1:
        raise ValueError(f"dataset.bands is {dataset.bands}; it must be 1 or more, or null")
    if dataset.reader.get("bands") != dataset.bands:
        raise ValueError(
            f"{bands}, but dataset.reader of {dataset.name} does not read them; use dataset=folder"
        )
    _check_network(config)
    _check_statistics(config)
    augmentation = protocol.augmentation
    for name in ("brightness", "contrast", "saturation"):
        if getattr(augmentation, name):
            raise ValueError(
                f"protocol.augmentation.{name} is {getattr(augmentation, name)}; it must be 0 "
                f"where {bands}: it changes the colours of 8-bit RGB"
            )
    if config.postprocess["name"] == "dense_crf":
        raise ValueError(
            f"postprocess is dense_crf; it must be none or test_time_augmentation where {bands}: "
            "its kernel compares the colours of 8-bit RGB"
        )


def takes_no(target: str, argument: str) -> str:
    """Says that a network's constructor lacks an argument that it is given."""
    meaning = {
        "num_classes": "the channels of its last layer",
        "in_channels": "the bands of its input, which dataset.bands declares",
    }
    return (
        f"arch._target_ {target} takes no {argument}; give its constructor that argument, "
        f"{meaning[argument]}"
    )


def _check_network(config: Config) -> None:
    target, bands = config.arch["_target_"], config.dataset.bands
    accepted = parameters(target)
    if accepted is not None and "in_channels" not in accepted:
        raise ValueError(takes_no(target, "in_channels"))
    own = config.arch.get("in_channels", bands)
    if own != bands:
        raise ValueError(f"arch.in_channels is {own}; leave it out: dataset.bands={bands} gives it")


def _check_statistics(config: Config) -> None:
    """Rejects a normalisation made for RGB, and statistics that are not one number a band."""
    dataset, choice = config.dataset, config.protocol.normalisation
    assert dataset.bands is not None
    if choice not in {Normalisation.bands, Normalisation.none}:
        raise ValueError(
            f"protocol.normalisation is {choice}; it must be bands, or none, where "
            f"dataset.bands={dataset.bands}"
        )
    for name in ("band_mean", "band_deviation"):
        values = getattr(dataset, name)
        if not values and choice == Normalisation.none:
            continue
        if not values:
            raise ValueError(
                f"dataset.{name} is not given; declare it, or measure the training split once by "
                f"python -m bench.data bands dataset=folder dataset.root={dataset.root}"
            )
        sound = len(values) == dataset.bands and all(map(math.isfinite, values))
        if not sound or (name == "band_deviation" and min(values) <= 0):
            above = " above 0" if name == "band_deviation" else ""
            raise ValueError(
                f"dataset.{name} is {values}; it must be {dataset.bands} numbers{above}, one a band"
            )
