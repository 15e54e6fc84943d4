"""From what Hydra composed to a configuration that can work. Imports no torch."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.checks import check
from bench.config import Config
from bench.selection import selected_iteration
from bench.typed import typed


def resolve(cfg: DictConfig) -> Config:
    """Turns a composed configuration into a checked one, every reference resolved.

    Raises:
        ValueError: a key is unknown or missing, refers to nothing, or has a value that cannot work.
    """
    try:
        if cfg.max_iterations is None:
            cfg.max_iterations = cfg.iterations_by_network.get(cfg.arch.get("name"), "???")
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        raise ValueError(" ".join(f"configuration: {error}".split())) from error
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ValueError(
            f"{', '.join(missing)}: no value given; set it on the command line or in the YAML file"
        )
    config = typed(Config, OmegaConf.to_container(cfg, enum_to_str=True))
    check(config)
    if config.init_from is not None:
        folder = Path(config.init_from).expanduser().absolute()
        if not folder.is_dir():
            raise ValueError(
                f"init_from={config.init_from} is no folder; give that of a run, and have your "
                "network load a file of weights itself"
            )
        config.init_from = str(folder)
        config.init_iteration = config.init_iteration or selected_iteration(folder)
    return config
