"""The schema of a run: every key that is ours, its type and its meaning.

Hydra merges conf/ into these dataclasses, so a value of the wrong type is rejected when the
configuration is composed. What types cannot say, bench/checks.py says. This file imports no torch.

Two subtrees define the experiment and are hashed into its fingerprint: `dataset` and `protocol`;
where `tuning` is given, it stands there in the place of the values that it chooses. `arch`, `seed`,
these values and, where it is given, `init_from` complete a run's identity. Every other key says
where and how far to run, or, as `postprocess`, adds rows and changes none.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from bench import records
from bench.cost.schema import CostConfig
from bench.data.schema import GONE, NOT_IN_FINGERPRINT, DatasetConfig, hashed_reader
from bench.protocol import ProtocolConfig, depends_on_end
from bench.sound_files import digest_of
from bench.tuning.schema import TuningConfig, hashed_tuning
from bench.typed import hashed, plain, typed


class WandbMode(StrEnum):
    """Where wandb sends a run."""

    disabled = "disabled"
    offline = "offline"
    online = "online"


@dataclass
class WandbConfig:
    """Weights & Biases; its failure never ends a run."""

    mode: WandbMode = WandbMode.disabled
    project: str = "segbench"


@dataclass
class Config:
    """One run."""

    arch: dict[str, Any] = MISSING
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    protocol: ProtocolConfig = field(default_factory=ProtocolConfig)
    tuning: TuningConfig | None = None  # trials that choose values of the protocol; null: none
    postprocess: dict[str, Any] = field(default_factory=lambda: {"name": "none"})
    cost: CostConfig = field(default_factory=CostConfig)
    seed: int = 0
    max_iterations: int = MISSING
    iterations_by_network: dict[str, int] = field(default_factory=dict)
    milestones: list[int] = MISSING  # evaluated there and at max_iterations
    init_from: str | None = None  # a run's folder: start from its weights, best or else last
    init_iteration: int | None = None  # iteration of those weights; null: the selected one
    runs: str = "runs"  # the folder that holds all runs
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    threads: int | None = None  # CPU threads of each process; null: torch's choice
    processes: int = 1  # that share the run on this machine, one a GPU
    cuda_graph: bool = False  # have a GPU replay training iterations as one launch; same numbers
    start: bool = True  # false: prepare the folder and say how torchrun starts it on several nodes
    checkpoint_minutes: float = 10.0
    silence_minutes: float = 60.0  # a run that gives no sign of life for so long is killed
    dry_run: bool = False  # say what would run, and stop
    rerun: bool = False  # start afresh; an old result is kept under another name
    accept_changes: bool = False  # resume although sources, torch, device or threads changed
    command: str = ""  # filled in by the entry: how the run was called, to call it again
    config_dir: str | None = None  # filled in likewise: the folder of a user's own network
    replay_of: str | None = None  # filled in by --from: the run whose configuration this was
    wandb: WandbConfig = field(default_factory=WandbConfig)


@dataclass
class ComposedConfig(Config):
    """A configuration as Hydra composes it, before `resolve`."""

    # null: what iterations_by_network says of the network
    max_iterations: int | None = MISSING  # type: ignore[assignment]


ConfigStore.instance().store(name="schema", node=ComposedConfig)


def fingerprint(config: Config) -> str:
    """Hashes what a comparison must share: the `dataset` and `protocol` subtrees, and `tuning`.

    And the last iteration, where the learning rate of every iteration depends on it.
    """
    dataset = {k: v for k, v in hashed(config.dataset).items() if k not in NOT_IN_FINGERPRINT}
    dataset["reader"] = hashed_reader(config.dataset.reader)
    protocol = hashed(config.protocol)
    content: dict[str, Any] = {"dataset": dataset, "protocol": protocol}
    if config.tuning is not None:
        content |= hashed_tuning(config.tuning, protocol)
    if depends_on_end(config.protocol):
        content["max_iterations"] = config.max_iterations
    return digest_of(content)[:12]


def identity(config: Config) -> str:
    """Hashes what makes two runs the same run: the fingerprint, the network and the seed.

    And, of a tuned run, the protocol with the values chosen; of a run that starts from another
    one's weights, which: by name, so that it may move. What is said of weights
    (bench/pretraining.py) makes no other run of them.
    """
    arch = {key: value for key, value in config.arch.items() if key != "pretraining"}
    parts = [fingerprint(config), arch, config.seed]
    if config.tuning is not None:
        parts.append(hashed(config.protocol))
    if config.init_from is not None:
        parts.append([Path(config.init_from).name, config.init_iteration])
    return digest_of(parts)[:12]


def variant_of(postprocess: dict[str, Any]) -> str:
    """Names the row of an evaluation in several views by what they are; "" where none is made."""
    if postprocess["name"] != "test_time_augmentation":
        return ""
    scales = "-".join(f"{scale:g}" for scale in postprocess["scales"])
    return f"TTA-{scales}{'-mirrored' if postprocess['mirror'] else ''}"


def run_folder(config: Config) -> Path:
    """Returns the folder that belongs to a run: readable parts, then its identity."""
    parts = [config.dataset.name, config.protocol.name, config.arch["name"]]
    readable = "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)
    name = f"{readable}-seed{config.seed}-{identity(config)}"
    return Path(config.runs).absolute() / name.lower()


def write_config(folder: Path, config: Config) -> None:
    """Writes what a run is to do, before it begins."""
    content = {
        "fingerprint": fingerprint(config),
        "identity": identity(config),
        "config": plain(config),
    }
    records.write_json(folder / "config.json", content)


def read_config(folder: Path) -> Config:
    """Reads the configuration of a recorded run.

    Raises:
        ValueError: the folder is no run, or its record is not of this version.
    """
    try:
        return typed(Config, recorded(folder))
    except ValueError as error:
        path = folder / "config.json"
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is not the record of a run: {error}") from error


def recorded(folder: Path) -> dict[str, Any]:
    """Reads a run's configuration as it was written, but for keys of old that changed no result.

    Raises:
        ValueError: the folder is no run.
    """
    path = folder / "config.json"
    config = records.read_json(path).get("config")
    if not isinstance(config, dict):
        raise ValueError(f"{path}: not the record of a run")
    dataset = config.get("dataset")
    if isinstance(dataset, dict):
        config["dataset"] = {key: value for key, value in dataset.items() if key not in GONE}
    return config
