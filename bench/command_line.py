"""What the small command-line tools share: user errors as one sentence, and configuration flags."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.composition import resolve
from bench.config import Config
from bench.console import outlive_consoles

CONF = Path(__file__).parent.parent / "conf"


@contextlib.contextmanager
def user_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Ends the program with exit code 2 and one sentence when a ValueError passes."""
    outlive_consoles(essential=True)
    try:
        yield
        sys.stdout.flush()
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: stopped; what was written is complete\n")


def compose_config(overrides: list[str], config_dir: Path | None = None) -> Config:
    """Composes a configuration as `python -m bench` would, from overrides such as arch=segnet.

    Raises:
        ValueError: an override is wrong, or the configuration cannot work.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ValueError(
            f"--config-dir {config_dir}: no such folder; it is the one that holds arch/mynet.yaml"
        )
    search = [] if config_dir is None else [f"hydra.searchpath=[file://{config_dir.absolute()}]"]
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF.absolute()), version_base="1.3"):
            cfg = compose("config", [*overrides, *search], return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        causes = [error] if error.__cause__ is None else [error, error.__cause__]
        raise ValueError(" ".join(" ".join(map(str, causes)).split())) from error
    chosen = cfg.hydra.runtime.choices["arch"]
    with open_dict(cfg):
        del cfg.hydra
        cfg.arch.setdefault("name", chosen)  # a user's YAML may leave it out
    return resolve(cfg)
