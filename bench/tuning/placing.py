"""A composed configuration with a tuning block becomes that of a trial, or of the chosen run.

Values are placed before references are resolved, so that an architecture's own keys follow.
"""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from bench.config import Config, run_folder
from bench.tuning.checks import check_tuning
from bench.tuning.choice import chosen, standing
from bench.tuning.schema import TRIALS, TuningConfig, counts, flat, is_trial, stops
from bench.tuning.space import Values, candidates
from bench.typed import typed

Resolve = Callable[[DictConfig], Config]


def place(cfg: DictConfig, resolve: Resolve) -> None:
    """Gives a trial its values, or a tuned run those that won among its trials.

    A record's values stand. A dry run, which chooses nothing, has those of the first trial.

    Args:
        cfg: composed and not resolved; changed in place.
        resolve: makes the configuration of a trial from a composed one.

    Raises:
        ValueError: the block cannot work, or trials have no result yet.
    """
    tuning = tuning_of(cfg)
    if tuning.rank is not None and tuning.trial is None:
        trials, folders, ends = _trials(cfg, tuning, resolve)
        alive = standing(folders, trials, ends, tuning.rung)
        tuning.trial = cfg.tuning.trial = alive[tuning.rank]
    if tuning.trial is not None:
        _place_values(cfg, candidates(tuning)[tuning.trial])
        _as_trial(cfg, tuning)
    elif cfg.dry_run and not tuning.tried:
        _place_values(cfg, candidates(tuning)[0])
    elif not tuning.tried:
        trials, folders, ends = _trials(cfg, tuning, resolve)
        cfg.tuning.tried = [folder.name for folder in folders]
        _place_values(cfg, candidates(tuning)[chosen(folders, trials, ends)])


def refuse_given(overrides: Iterable[str], cfg: DictConfig) -> None:
    """Rejects a value given for a key that is tuned.

    Raises:
        ValueError: naming the override.
    """
    if cfg.get("tuning") is None:
        return
    tuned = {f"protocol.{key}" for key in flat(tuning_of(cfg).space)}
    for override in overrides:
        if override.partition("=")[0].lstrip("+~") in tuned:
            raise ValueError(f"{override}: tuning chooses this value; leave it out, or tuning=none")


def trial_sweeps(cfg: DictConfig) -> list[list[str]]:
    """Lists what to add to a sweep's overrides for the sweeps of its trials, stop after stop.

    There are none where nothing is tuned, where a trial is asked for by itself, and where a record
    has its values.
    """
    tuning = tuning_of(cfg) if cfg.get("tuning") is not None else None
    if tuning is None or tuning.tried or is_trial(tuning) or tuning.rank is not None:
        return []
    first, *later = counts(tuning)
    seed = f"seed={tuning.seed}"  # one, whatever the runs have
    return [
        [f"tuning.trial={_numbers(first)}", seed],
        *(
            [f"tuning.rung={rung}", f"tuning.rank={_numbers(count)}", seed]
            for rung, count in enumerate(later, start=1)
        ),
    ]


def _numbers(count: int) -> str:
    return ",".join(map(str, range(count)))


def tuning_of(cfg: DictConfig) -> TuningConfig:
    """Returns the tuning block of a composed configuration, checked.

    Raises:
        ValueError: it cannot work.
    """
    tuning = typed(TuningConfig, OmegaConf.to_container(cfg.tuning, resolve=True), "tuning")
    check_tuning(tuning)
    return tuning


def _trials(
    cfg: DictConfig, tuning: TuningConfig, resolve: Resolve
) -> tuple[list[Config], list[Path], list[int]]:
    """Returns all trials of a network, their folders, and the iterations of their stops."""
    trials = []
    for number in range(tuning.trials):
        twin = copy.deepcopy(cfg)
        twin.tuning.update(trial=number, rung=0, rank=None)
        trials.append(resolve(twin))
    return trials, list(map(run_folder, trials)), stops(tuning, cfg.max_iterations)


def _place_values(cfg: DictConfig, values: Values) -> None:
    for key, value in values.items():
        OmegaConf.update(cfg, f"protocol.{key}", value)


def _as_trial(cfg: DictConfig, tuning: TuningConfig) -> None:
    """Leaves of a run what a trial is: training to a stop, and one score on the split that selects.

    A trial neither reads nor evaluates another split, so it also keeps no picture of one.
    """
    cfg.tuning.rank = None
    cfg.seed = tuning.seed
    cfg.max_iterations = stops(tuning, cfg.max_iterations)[tuning.rung]
    cfg.milestones = []
    cfg.protocol.evaluation_splits = [tuning.select_on]
    cfg.dataset.pictures = []
    cfg.postprocess = {"name": "none"}
    if Path(cfg.runs).name != TRIALS:
        cfg.runs = str(Path(cfg.runs, TRIALS))
    if tuning.rung > 0:
        cfg.rerun = False  # it goes on from the stop before
