"""Experiments: each composes, for each of its contestants, to what the paper says."""

import csv
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from bench.command_line import CONF, compose_config

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PUBLISHED = Path(__file__).parent.parent / "reports" / "published.csv"


def contestants(experiment: str) -> list[str]:
    content = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    swept = OmegaConf.select(content, "hydra.sweeper.params.arch", default="segnet")
    return [name.strip() for name in swept.split(",")]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_composes_for_each_contestant(experiment: str) -> None:
    for arch in contestants(experiment):
        config = compose_config([f"+experiment={experiment}", f"arch={arch}"])
        assert config["max_iterations"] >= 1


def test_table_1_has_its_eight_rows() -> None:
    with PUBLISHED.open() as file:
        rows = {line["row"] for line in csv.DictReader(file) if line["table"] == "1"}
    names = {
        compose_config(["+experiment=table1", f"arch={arch}"])["arch"]["name"]
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
        assert config["max_iterations"] == float(printed[config["arch"]["name"]])
        assert config["milestones"] == milestones


def test_a_users_own_limit_wins() -> None:
    config = compose_config(["+experiment=table3_camvid", "arch=fcn", "max_iterations=7"])
    assert config["max_iterations"] == 7


def test_a_network_without_a_limit_of_its_own_must_be_given_one() -> None:
    with pytest.raises(ValueError, match="max_iterations: no value given"):
        compose_config(["+experiment=table3_camvid", "arch=unet"])
