"""From what Hydra composed to a configuration that can work. Imports no torch."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.checks import check
from bench.config import Config
from bench.pretraining import KEY, declared
from bench.selection import selected_iteration
from bench.tuning.placing import place
from bench.typed import typed

PATHS = ("dataset.root", "runs", "init_from")  # that may begin with ~, which no shell expands here


def resolve(cfg: DictConfig, arch: str | None) -> Config:
    """Turns a composed configuration into a checked one, every reference resolved.

    Args:
        cfg: as Hydra composed it; what is filled in or replaced is so there too.
        arch: the choice, which names a network whose YAML does not; a record's network has a name.

    Raises:
        ValueError: a key is unknown or missing, refers to nothing, or has a value that cannot work.
    """
    with open_dict(cfg):
        cfg.pop("hydra", None)
        cfg.arch.setdefault("name", arch)
    _refuse_booleans(cfg)
    try:
        if cfg.max_iterations is None:
            cfg.max_iterations = cfg.iterations_by_network.get(cfg.arch.get("name"), "???")
        _expand_home(cfg)
        if cfg.get("tuning") is not None:
            place(cfg, partial(resolve, arch=arch))
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        cause = error.__cause__ or error.__context__  # OmegaConf sets the former where it debugs
        if isinstance(cause, ValueError):  # of a resolver of ours, which names the file
            raise cause from None
        raise ValueError(" ".join(f"configuration: {error}".split())) from error
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ValueError(
            f"{', '.join(missing)}: no value given; set it on the command line or in the YAML file"
        )
    config = typed(Config, OmegaConf.to_container(cfg, enum_to_str=True))
    check(config)
    if declared(config.arch) is None:
        config.arch.pop(KEY, None)  # as records of before have it
    if config.init_from is not None:
        folder = Path(config.init_from).absolute()
        if not folder.is_dir():
            raise ValueError(
                f"init_from={config.init_from} is no folder; give that of a run, and have your "
                "network load a file of weights itself"
            )
        config.init_from = str(folder)
        config.init_iteration = config.init_iteration or selected_iteration(folder)
    return config


def _refuse_booleans(cfg: DictConfig) -> None:
    """Rejects class names of which YAML made booleans, and the schema words again.

    Raises:
        ValueError: naming the first.
    """
    dataset = cfg.dataset
    if OmegaConf.is_missing(dataset, "classes") or OmegaConf.is_interpolation(dataset, "classes"):
        return
    for name in dataset.classes:
        if name in {"True", "False"}:
            words = "yes, on and true" if name == "True" else "no, off and false"
            raise ValueError(
                f"dataset.classes has {name!r}, which is what YAML makes of {words}; put the names "
                "in quotes"
            )


def _expand_home(cfg: DictConfig) -> None:
    """Replaces ~ by the home folder, before references to these keys are resolved."""
    for key in PATHS:
        value = OmegaConf.select(cfg, key)
        if isinstance(value, str) and value.startswith("~"):
            OmegaConf.update(cfg, key, expanded(value))


def expanded(path: str) -> str:
    """Returns a path with ~ replaced by the home folder.

    Raises:
        ValueError: it is that of somebody whom this machine does not know.
    """
    try:
        return str(Path(path).expanduser())
    except RuntimeError as error:
        raise ValueError(
            f"{path}: no home folder is known for {Path(path).parts[0]}; give the whole path"
        ) from error


OmegaConf.register_new_resolver("expanded", expanded, replace=True)
