"""What happens between a sweep's composition and its first job. It imports no torch."""

import sys
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bench.launch.launch import drop_weights
from bench.launch.sweep import begin, is_basic, plan
from bench.launch.sweep_plan import announce, size
from bench.target import users_folder
from bench.tuning.placing import refuse_given, trial_sweeps, tuning_of
from bench.tuning.schema import in_words

tasks: list[TaskFunction] = []  # what executes a job of this process's sweep


class SweepCallback(Callback):
    """Hydra's hook: plans a sweep before its first job, and has trials made before the runs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Says how large the sweep is and what it needs; refuses what cannot work."""
        launcher = str(config.hydra.launcher._target_)
        if config.cost.measure and not is_basic(launcher):
            sys.exit(
                "cost.measure lets its contestants take turns in one process; leave "
                "hydra/launcher at basic"
            )
        users_folder(config.hydra.runtime)
        try:
            if config.cost.measure:
                print(size(plan(config), "contestants"), flush=True)
                return
            make_trials(config)
            begin(config, plan(config))
        except (HydraException, OmegaConfBaseException):
            return  # the sweeper is about to say what is wrong
        except ValueError as error:
            sys.exit(str(error))


def make_trials(config: DictConfig) -> None:
    """Makes the trials of a tuned sweep, stop after stop, before the runs that they decide.

    Each stop is a sweep under the same launcher, of which nothing is started that is done.

    Raises:
        ValueError: a value is given that tuning chooses, or a trial cannot work.
    """
    swept = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    given = [*swept, *config.hydra.overrides.task]
    refuse_given(given, config)
    sweeps, made = trial_sweeps(config), []
    if sweeps and not str(config.hydra.sweeper._target_).endswith("BasicSweeper"):
        raise ValueError("tuning chooses by itself; leave hydra/sweeper at basic")
    if sweeps:
        print(in_words(tuning_of(config)), flush=True)
    for overrides in sweeps:
        jobs = plan(config, overrides)
        made += jobs
        if config.dry_run:
            print(f"first {size(jobs, 'trials')}", flush=True)
            continue
        if all(job.finished() for job in jobs):
            announce(jobs)
            continue
        sweep = begin(config, jobs)
        _sweeper(config).sweep([*config.hydra.overrides.task, *overrides])
        sweep.finish()
        if sweep.stopped():
            sys.exit()
    for job in made:  # halving kept what to go on from
        if job.folder is not None and job.finished():
            drop_weights(job.folder)


def _sweeper(config: DictConfig) -> Sweeper:
    """Returns the sweeper of a command, for a sweep before its own."""
    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(config_loader=loader, callbacks=Callbacks(config))
    return Plugins.instance().instantiate_sweeper(
        hydra_context=context, task_function=tasks[-1], config=config
    )
