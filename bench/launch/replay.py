"""`python -m bench --from RUN [overrides]`: a recorded configuration once more. Imports no torch.

The record becomes the configuration that Hydra composes in place of conf/, so overrides are typed
by the same schema, and sweeps and launchers work as ever.
"""

import argparse
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.command_line import CONF
from bench.config import ComposedConfig, Config, identity, read_config, recorded
from bench.data.schema import NOT_IN_FINGERPRINT
from bench.trust import is_harmless, require_harmless, without_places
from bench.typed import leaves, plain

NAME = "recorded"
# Said about one start of a run, not about the run.
ONCE = ("command", "rerun", "dry_run", "accept_changes", "start")
# Records hold resolved values; these follow another key in conf/, and do again in a replay.
FOLLOWING = {
    "arch.dropout": "protocol.dropout",
    "arch.batch_norm_eps": "protocol.batch_norm.eps",
    "arch.input_size": "protocol.image_size",
    "dataset.reader.bands": "dataset.bands",
    "dataset.reader.classes": "dataset.classes",
    "dataset.reader.colours": "dataset.colours",
    "dataset.reader.void": "dataset.void",
    "dataset.reader.names": "dataset.classes",
}


def hydra_arguments(folder: Path, arguments: list[str], *, trusted: bool = False) -> list[str]:
    """Makes a run's configuration known to Hydra, and returns the arguments that choose it.

    Args:
        folder: the recorded run.
        arguments: all others of the command line, overrides among them.
        trusted: whether the record may call any code, see bench/trust.py.

    Raises:
        ValueError: the folder is no run, its record is not one of this version, or it would call
            code that is neither ours nor the user's.
    """
    config = recorded(folder)
    if not trusted:
        require_harmless(config, folder, _config_dir(arguments))
        config = without_places(config)
    entry = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(entry, DictConfig)
    given = {argument.partition("=")[0].lstrip("+") for argument in arguments}
    content = {
        "defaults": [
            default
            for default in entry.defaults
            if default in {"schema", "_self_"} or str(next(iter(default))).startswith("override ")
        ],
        "hydra": entry.hydra,
        **_completed(config, folder, given),
        # Beside the recorded run, where the same run is found finished; it may have moved.
        "runs": str(folder.absolute().parent),
        "replay_of": str(folder.absolute()),
    }
    ConfigStore.instance().store(name=NAME, node=OmegaConf.create(content))
    chosen = ["--config-name", NAME]
    users = config.get("config_dir") if trusted else None
    if users is not None and "--config-dir" not in given:
        if not Path(users).is_dir():
            raise ValueError(
                f"{folder.name} ran with --config-dir {users}, which is no folder here; "
                "give --config-dir PATH"
            )
        chosen += ["--config-dir", users]
    return [*chosen, *arguments]


def _config_dir(arguments: list[str]) -> Path | None:
    """Returns what Hydra will take for --config-dir."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    folder: Path | None = parser.parse_known_args(arguments)[0].config_dir
    return folder


def _completed(config: dict[str, Any], folder: Path, given: set[str]) -> dict[str, Any]:
    """Fits a record to today's schema, and lets keys follow others as conf/ has them do.

    Raises:
        ValueError: it has a key that is none today, or lacks one that could change a result.
    """
    record = {key: value for key, value in config.items() if key not in ONCE}
    try:
        merged = OmegaConf.merge(OmegaConf.structured(ComposedConfig), record)
    except OmegaConfBaseException as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{folder}/config.json is not of this version: {reason}; replay it with the version "
            "that its environment.json names"
        ) from error
    missing = OmegaConf.missing_keys(merged)
    unknown = sorted(missing - given - set(ONCE))
    if unknown:
        raise ValueError(
            f"{folder}/config.json is older than {', '.join(unknown)}; say with which value it is "
            f"to be replayed, as in {unknown[0]}=VALUE"
        )
    for key, source in FOLLOWING.items():
        value = OmegaConf.select(merged, key)
        if value is not None and value == OmegaConf.select(merged, source):
            OmegaConf.update(merged, key, f"${{{source}}}")
    content = OmegaConf.to_container(merged, enum_to_str=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key not in ONCE}


def needs_trust(config: Config) -> bool:
    """Says whether the record that a configuration came from calls code of its own."""
    assert config.replay_of is not None
    users = config.config_dir
    return not is_harmless(recorded(Path(config.replay_of)), Path(users) if users else None)


def announce_changes(config: Config) -> None:
    """Says which keys make a replay another run than the recorded one, if any do."""
    assert config.replay_of is not None
    folder = Path(config.replay_of)
    before = read_config(folder)
    if identity(config) == identity(before):
        return
    then, now = leaves(_of_identity(before)), leaves(_of_identity(config))
    changes = [
        f"{key} {now.get(key, 'absent')} (was {then.get(key, 'absent')})"
        for key in sorted(then.keys() | now.keys())
        if then.get(key, "absent") != now.get(key, "absent")
    ]
    print(f"another run than {folder.name}: {', '.join(changes)}", flush=True)


def _of_identity(config: Config) -> dict[str, Any]:
    content = plain(config)
    return {
        **{key: content[key] for key in ("protocol", "arch", "seed", "init_iteration", "tuning")},
        "dataset": {k: v for k, v in content["dataset"].items() if k not in NOT_IN_FINGERPRINT},
        "init_from": Path(config.init_from).name if config.init_from else None,
    }
