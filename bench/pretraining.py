"""Pretraining as a declared condition of a contestant: what its weights were learned from.

`arch.pretraining` is `none`, or says it of the weights that the network loads:

    pretraining: {data: ImageNet-1k, labels: 1000 classes, source: timm, normalisation: imagenet}

It is no argument of the network, and no part of a run's identity: that has the keys that name the
weights. Imports no torch.
"""

from pathlib import Path
from typing import Any

from bench import records
from bench.config import Config, read_config
from bench.protocol import Normalisation
from bench.sound_files import Name, require
from bench.typed import refuse_unknown

KEY = "pretraining"
NONE = "none"
PARTS = ("data", "labels", "source", "normalisation")
EXAMPLE = "{data: ImageNet-1k, labels: 1000 classes, source: timm, normalisation: imagenet}"
# Arguments of our networks that name weights to load; null loads none.
WEIGHTS = ("weights", "weights_backbone", "encoder_weights", "pretrained")


def declared(arch: dict[str, Any]) -> Any:
    """Returns what a contestant says of its pretraining; None: it starts from scratch."""
    said = arch.get(KEY)
    return None if said == NONE else said


def without_weights(arch: dict[str, Any]) -> dict[str, Any]:
    """Returns a network's arguments for building it alone; its sizes stay what they are.

    A checkpoint of transformers says the sizes too, and is left.
    """
    return {key: None if key in WEIGHTS[:-1] else value for key, value in arch.items()}


def check_pretraining(config: Config) -> None:
    """Rejects a declaration that lacks a part, or whose weights expect other images.

    Raises:
        ValueError: naming the key, its value and the remedy.
    """
    said = declared(config.arch)
    if said is None:
        return
    if config.init_from is not None:
        raise ValueError(
            f"arch.{KEY} is given; it must be {NONE} where init_from gives the weights"
        )
    if not isinstance(said, dict):
        raise ValueError(f"arch.{KEY} is {said!r}; it must be {NONE}, or such as {EXAMPLE}")
    refuse_unknown(said, PARTS, f"arch.{KEY}")
    for part in PARTS:
        if not isinstance(said.get(part), str) or not said[part].isprintable() or not said[part]:
            raise ValueError(
                f"arch.{KEY}.{part} is {said.get(part)!r}; it must be text, as in {EXAMPLE}"
            )
    known, ours = list(Normalisation), config.protocol.normalisation
    if said["normalisation"] not in known:
        raise ValueError(
            f"arch.{KEY}.normalisation is {said['normalisation']}; it must be one of "
            f"{', '.join(known)}"
        )
    if said["normalisation"] != ours and config.dataset.bands is None:
        raise ValueError(
            f"arch.{KEY}.normalisation is {said['normalisation']}, which the weights of "
            f"{config.arch['name']} expect, but protocol.normalisation is {ours}; set that to "
            f"{said['normalisation']}, for all contestants"
        )


def check_loaded(config: Config, loaded: dict[str, str]) -> None:
    """Holds a declaration to what a network says it loaded.

    Raises:
        ValueError: it loaded weights and nothing is declared, or the other way round.
    """
    said, name = declared(config.arch), config.arch["name"]
    if loaded and said is None:
        raise ValueError(
            f"arch {name} loads weights ({next(iter(loaded.values()))}) and arch.{KEY} does not "
            f"say what they were learned from; give it, such as '++arch.{KEY}={EXAMPLE}'"
        )
    if said is not None and not loaded:
        raise ValueError(
            f"arch.{KEY} says {said['data']}, but {name} has loaded no weights (its loaded_weights "
            f"is empty); give it weights, or arch.{KEY}={NONE}"
        )


def of_run(config: Config) -> Any:
    """Says what a run starts from: its declaration, or that of the run in `init_from`.

    A run on another data set is a pretraining on that.

    Raises:
        ValueError: the record of that run is damaged.
    """
    if config.init_from is None:
        return declared(config.arch) or NONE
    folder = Path(config.init_from)
    source = read_config(folder)
    path = folder / "network.json"
    network = records.read_json(path)
    require(path, network, {f"{KEY}?": dict.fromkeys(PARTS, Name)})
    before = network.get(KEY, NONE)
    if source.dataset.name == config.dataset.name:
        return before
    first = "" if before == NONE else f", after {before['data']}"
    return {
        "data": f"{source.dataset.name}{first}",
        "labels": f"{len(source.dataset.classes)} classes",
        "source": folder.name,
        "normalisation": str(source.protocol.normalisation),
    }
