"""One job of the command line: its configuration resolved, its run launched. Imports no torch."""

import shlex

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from bench.composition import resolve
from bench.config import Config
from bench.launch.launch import Outcome, launch
from bench.launch.replay import announce_changes, needs_trust
from bench.records import End, State
from bench.target import users_folder
from bench.tuning.placing import refuse_given


def configuration(cfg: DictConfig) -> Config:
    """Resolves the configuration of the job that Hydra is executing.

    Raises:
        ValueError: it cannot work.
    """
    runtime = HydraConfig.get().runtime
    users = users_folder(runtime)
    refuse_given(HydraConfig.get().overrides.task, cfg)
    config = resolve(cfg, runtime.choices.get("arch"))
    config.config_dir = users
    config.command = _command(config)
    if config.replay_of is not None:
        announce_changes(config)
    return config


def execute(cfg: DictConfig) -> Outcome:
    """Executes a run in its own process and returns how it ended."""
    try:
        return launch(configuration(cfg))
    except ValueError as error:
        return Outcome(End(State.failed, str(error)))


def _command(config: Config) -> str:
    """Returns the command of this job, one of a sweep or the only one."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    flags = [("--from", config.replay_of), ("--config-dir", config.config_dir)]
    given = [word for flag, value in flags if value is not None for word in (flag, value)]
    if config.replay_of is not None and needs_trust(config):
        given.append("--trust")
    return shlex.join(["python", "-m", "bench", *given, *map(str, overrides)])
