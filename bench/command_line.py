"""What the small command-line tools share: user errors as one sentence, and configuration flags."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.composition import resolve
from bench.config import Config
from bench.console import outlive_consoles
from bench.overrides import in_a_sentence, override, quoted
from bench.target import make_importable
from bench.typed import leaves

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

    Modules in the folder of the user's own configuration can be imported from then on.

    Raises:
        ValueError: an override is wrong, or the configuration cannot work.
    """
    if config_dir is not None:
        config_dir = config_dir.expanduser()
        if not config_dir.is_dir():
            raise ValueError(
                f"--config-dir {config_dir}: no such folder; it is the one that holds "
                "arch/mynet.yaml"
            )
        make_importable(config_dir)
    try:
        cfg = _composed([quoted(text) for text in overrides], config_dir)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explanation(error, overrides, config_dir)) from error
    return resolve(cfg, cfg.hydra.runtime.choices.get("arch"))


def explanation(error: Exception, overrides: list[str], config_dir: Path | None = None) -> str:
    """Says in a sentence what Hydra or OmegaConf found wrong with overrides."""

    def known() -> set[str]:
        """Returns the keys of the configuration that the overrides choose, without their values."""
        choices = [text for text in overrides if "." not in text.partition("=")[0]]
        for chosen in (choices, []):
            with contextlib.suppress(HydraException, OmegaConfBaseException):
                cfg = _composed([quoted(text) for text in chosen], config_dir)
                with open_dict(cfg):
                    del cfg.hydra
                return set(leaves(OmegaConf.to_container(cfg, resolve=False)))
        return set()

    return in_a_sentence(error, known)


def _composed(overrides: list[str], config_dir: Path | None) -> DictConfig:
    GlobalHydra.instance().clear()
    search = []
    if config_dir is not None:
        source = override("", f"file://{config_dir.absolute()}").removeprefix("=")
        search = [f"hydra.searchpath=[{source}]"]
    with initialize_config_dir(str(CONF.absolute()), version_base="1.3"):
        return compose("config", [*overrides, *search], return_hydra_config=True)
