"""Experiments: each composes, for each of its contestants, to what the paper says."""

import csv
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from bench.command_line import CONF, compose_config
from bench.launch.sweep import plan
from bench.launch.sweep_plan import Job
from bench.tuning.placing import trial_sweeps

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PUBLISHED = Path(__file__).parent.parent / "reports" / "read" / "published.csv"


def contestants(experiment: str) -> list[str]:
    content = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    swept = OmegaConf.select(content, "hydra.sweeper.params.arch", default="segnet")
    return [name.strip() for name in swept.split(",")]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_for_each_contestant(experiment: str) -> None:
    for arch in contestants(experiment):
        config = compose_config([f"+experiment={experiment}", f"arch={arch}", "dry_run=true"])
        assert config.max_iterations >= 1


def test_table_1_has_its_eight_rows() -> None:
    with PUBLISHED.open() as file:
        rows = {line["row"] for line in csv.DictReader(file) if line["table"] == "1"}
    names = {
        compose_config(["+experiment=table1", f"arch={arch}"]).arch["name"]
        for arch in contestants("table1")
    }
    assert names == rows


@pytest.mark.parametrize(
    ("table", "experiment", "milestones"),
    [("3", "table3_camvid", [40_000, 80_000]), ("4", "table4", [80_000, 140_000])],
)
def test_networks_are_trained_as_long_as_in_the_paper(
    table: str, experiment: str, milestones: list[int]
) -> None:
    with PUBLISHED.open() as file:
        printed = {
            line["row"]: line["number"]
            for line in csv.DictReader(file)
            if line["table"] == table and line["column"] == "Max iter"
        }
    for arch in contestants(experiment):
        config = compose_config([f"+experiment={experiment}", f"arch={arch}"])
        assert config.max_iterations == float(printed[config.arch["name"]])
        assert config.milestones == milestones


def test_a_users_own_limit_wins() -> None:
    config = compose_config(["+experiment=table3_camvid", "arch=fcn", "max_iterations=7"])
    assert config.max_iterations == 7


def test_a_network_without_a_limit_of_its_own_must_be_given_one() -> None:
    with pytest.raises(ValueError, match="max_iterations: no value given"):
        compose_config(["+experiment=table3_camvid", "arch=unet"])


def planned(*overrides: str) -> list[Job]:
    """Plans a sweep as the command line does."""
    return planned_after_trials(*overrides)[-1]


def planned_after_trials(*overrides: str) -> list[list[Job]]:
    """Plans the sweeps of trials, where something is tuned, and then that of the runs."""
    with initialize_config_dir(str(CONF.absolute()), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)
        return [plan(config, further) for further in [*trial_sweeps(config), []]]


# How many runs each has, its milestones, and values that hold for all of its runs.
LARGE = {"batch_size": 5, "lr": 1e-3, "dropout": 0.5, "class_weights": "none"}
SWEEPS = [
    ("table1", 16, [], {"batch_size": 12, "lr": 0.1, "normalisation": "lcn", "dropout": 0.0,
                        "evaluation_splits": ["test", "train"]}),
    ("table3", 5, [40_000, 80_000], LARGE),
    ("table3_camvid", 5, [40_000, 80_000], LARGE),
    ("table4", 4, [80_000, 140_000], LARGE | {"batch_size": 4}),
    ("table4_median", 1, [80_000, 140_000],
     LARGE | {"batch_size": 4, "class_weights": "median_frequency"}),
    ("table6", 4, [40_000, 80_000], {"deterministic": False}),
    ("learning_rate", 12, [], {"batch_size": 4}),
    ("modern", 5, [], {"optimiser": "adamw", "schedule": "poly", "batch_size": 8}),
]  # fmt: skip


@pytest.mark.parametrize(("experiment", "count", "milestones", "protocol"), SWEEPS)
def test_an_experiment_is_the_sweep_that_the_paper_describes(
    experiment: str, count: int, milestones: list[int], protocol: dict[str, object]
) -> None:
    jobs = planned(f"+experiment={experiment}")
    assert len(jobs) == count
    for job in jobs:
        assert job.config is not None
        assert job.config.milestones == milestones
        assert {key: getattr(job.config.protocol, key) for key in protocol} == protocol


def test_table_1_has_both_weightings_selects_by_validation_and_leaves_generic_decoders_out() -> (
    None
):
    jobs = planned("+experiment=table1")
    configs = [job.config for job in jobs if job.config is not None]
    assert {c.protocol.class_weights for c in configs} == {"median_frequency", "none"}
    assert {c.max_iterations for c in configs} == {10_000}
    validation = configs[0].protocol.validation
    assert (validation.every, validation.criterion) == (1000, "G")
    generic = {"replication", "fixed_indices", "no_pooling"}
    assert not generic & {job.overrides["arch"] for job in jobs}
    assert len(planned("+experiment=table1", "arch=replication,fixed_indices,no_pooling")) == 6


def test_learning_rates_are_swept_for_each_network() -> None:
    rates = [
        (job.overrides["arch"], job.config.protocol.lr)
        for job in planned("+experiment=learning_rate")
        if job.config is not None
    ]
    assert len(set(rates)) == 12
    assert {rate for _, rate in rates} == {0.01, 0.03, 0.1, 0.3}


def test_tuned_networks_of_table_1_share_their_trials(tmp_path: Path) -> None:
    """Seven rates for each network and weighting, whatever seeds the runs have."""
    asked = ["+experiment=table1_tuned", "arch=segnet_basic,fcn_basic", f"runs={tmp_path}"]
    trials, runs = planned_after_trials(*asked, "seed=0,1,2", "dry_run=true")
    assert (len(trials), len(runs)) == (2 * 2 * 7, 2 * 2 * 3)
    configs = [job.config for job in trials if job.config is not None]
    assert {c.seed for c in configs} == {0}
    rates: dict[tuple[str, str], list[float]] = {}
    for c in configs:
        rates.setdefault((c.arch["name"], c.protocol.class_weights), []).append(c.protocol.lr)
    assert len(rates) == 4
    assert all(one == [0.001, 0.003162, 0.01, 0.03162, 0.1, 0.3162, 1] for one in rates.values())
    short = compose_config(["+experiment=table1_tuned_short", "tuning.trial=3"])
    assert (short.max_iterations, short.protocol.name) == (650, "short")


@pytest.mark.parametrize("experiment", [sweep[0] for sweep in SWEEPS])
def test_an_experiment_is_narrowed_from_the_command_line(experiment: str) -> None:
    given = ["arch=segnet", "seed=0,1,2", "max_iterations=7", "protocol.lr=0.5"]
    if experiment == "table1":
        given.append("protocol.class_weights=none")
    if experiment == "modern":
        given.append("protocol.warm_up_iterations=1")
    jobs = planned(f"+experiment={experiment}", *given)
    assert len(jobs) == 3
    for seed, job in enumerate(jobs):
        assert job.config is not None
        assert (job.config.arch["name"], job.config.seed) == ("SegNet", seed)
        assert (job.config.max_iterations, job.config.protocol.lr) == (7, 0.5)
