"""`python -m bench --from RUN`: the recorded configuration, whatever conf/ says today."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_run import TINY

from bench import records
from bench.command_line import CONF
from bench.config import Config, run_folder, write_config
from bench.launch.replay import FOLLOWING, hydra_arguments
from bench.typed import plain

Compose = Callable[..., dict[str, Any]]
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def bench(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        capture_output=True, text=True, env=ENVIRONMENT, check=False, cwd=cwd,
    )  # fmt: skip


def write_record(config: Config, folder: Path) -> Path:
    """Records a configuration under the name of its run, as one that has finished."""
    run = folder / run_folder(config).name
    run.mkdir(parents=True)
    write_config(run, config)
    end = {"state": "finished", "iteration": 6, "max_iterations": config.max_iterations}
    records.write_json(run / "end.json", end)
    return run


def test_a_replay_is_the_same_run_wherever_it_lies(tiny_config: Compose, tmp_path: Path) -> None:
    config = tiny_config("protocol.lr=0.0123", "arch.width=3", "seed=4")
    run = write_record(replace(config, rerun=True, dry_run=True), tmp_path / "moved")
    again = bench("--from", str(run), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{run.name}: finished before, at iteration 6\n"
    shown = bench("--from", str(run), "--cfg", "job", "--resolve")
    replayed = yaml.safe_load(shown.stdout)
    assert (replayed["rerun"], replayed["dry_run"]) == (False, False)
    for key in ("arch", "dataset", "protocol", "seed", "max_iterations", "milestones"):
        assert replayed[key] == plain(config)[key], key


def test_overrides_are_typed_and_a_different_experiment_is_told(
    tiny_config: Compose, tmp_path: Path
) -> None:
    run = write_record(tiny_config(), tmp_path / "runs")
    elsewhere = bench(
        "--from", str(run), f"runs={tmp_path}/else", "protocol.dropout=0.25", "max_iterations=2"
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert elsewhere.stdout.startswith(
        f"another run than {run.name}: arch.dropout 0.25 (was 0.0), protocol.dropout 0.25 (was 0.0)"
    )
    (other,) = records.run_folders(tmp_path / "else")
    record = records.read_json(other / "config.json")["config"]
    assert record["replay_of"] == str(run)
    assert record["command"].startswith(f"python -m bench --from {run} runs=")
    wrong = bench("--from", str(run), "protocol.lr=many")
    assert wrong.returncode == 1
    assert "Value 'many' of type 'str' could not be converted to Float" in wrong.stderr
    nowhere = bench("--from", "nowhere")
    assert nowhere.returncode == 1
    assert nowhere.stderr == "nowhere/config.json: no such file; is nowhere a run's folder?\n"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Edits the protocol that a run recorded."""
    record = records.read_json(run / "config.json")
    change(record["config"]["protocol"])
    records.write_json(run / "config.json", record)
    return run


def test_an_older_record_is_completed_only_where_that_changes_nothing(
    tiny_config: Compose, tmp_path: Path
) -> None:
    old = edit(write_record(tiny_config(), tmp_path / "a"), lambda p: p.pop("compile"))
    replayed = bench("--from", str(old), "dry_run=true")
    assert replayed.returncode == 0, replayed.stderr
    assert "another run than" not in replayed.stdout
    older = edit(write_record(tiny_config(), tmp_path / "b"), lambda p: p.pop("mirror"))
    with pytest.raises(ValueError, match=r"is older than protocol\.mirror; .*protocol\.mirror=VAL"):
        hydra_arguments(older, [])
    assert hydra_arguments(older, ["protocol.mirror=true"])[-1] == "protocol.mirror=true"


def test_a_record_with_keys_that_only_said_where_data_were_kept_is_replayed(
    tiny_config: Compose, tmp_path: Path
) -> None:
    run = write_record(tiny_config(), tmp_path / "runs")
    record = records.read_json(run / "config.json")
    record["config"]["dataset"] |= {"memory_budget_gb": 4.0, "workers": None}
    records.write_json(run / "config.json", record)
    again = bench("--from", str(run), cwd=tmp_path)
    assert again.stdout == f"{run.name}: finished before, at iteration 6\n"


def test_a_record_of_another_version_is_refused_in_one_sentence(
    tiny_config: Compose, tmp_path: Path
) -> None:
    run = edit(write_record(tiny_config(), tmp_path), lambda p: p.update(nesterov=True))
    with pytest.raises(ValueError, match=r"not of this version: Key 'nesterov' not in .*[^\n]$"):
        hydra_arguments(run, [])


def test_a_users_own_network_is_found_again(tmp_path: Path) -> None:
    own = tmp_path / "my_conf"
    (own / "arch").mkdir(parents=True)
    (own / "arch" / "thin.yaml").write_text("_target_: thin.Thin\n")
    (own / "thin.py").write_text(
        "import torch\nclass Thin(torch.nn.Conv2d):\n"
        "    def __init__(self, num_classes):\n        super().__init__(3, num_classes, 1)\n"
    )
    tiny = [text for text in TINY if not text.startswith("arch")]
    first = bench("--config-dir", "my_conf", "arch=thin", *tiny, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (run,) = records.run_folders(tmp_path / "runs")
    record = records.read_json(run / "config.json")["config"]
    assert record["config_dir"] == str(own)
    assert record["command"].startswith(f"python -m bench --config-dir {own} arch=thin ")
    refused = bench("--from", str(run), "rerun=true")
    assert refused.returncode == 1
    assert "arch._target_ is 'thin.Thin'" in refused.stderr
    assert f"--config-dir PATH (it was {own}), or run it with --trust" in refused.stderr
    again = bench("--from", str(run), "rerun=true", "--trust")
    assert again.returncode == 0, again.stderr
    assert len(records.run_folders(tmp_path / "runs")) == 2
    own.rename(tmp_path / "their_conf")
    lost = bench("--from", str(run), "--trust")
    assert lost.returncode == 1
    assert f"ran with --config-dir {own}, which is no folder here" in lost.stderr
    found = bench("--from", str(run), "--config-dir", str(tmp_path / "their_conf"))
    assert found.returncode == 0, found.stderr
    assert "finished before" in found.stdout


def test_keys_that_follow_others_in_conf_follow_them_in_a_replay() -> None:
    found = {}
    for group in ("arch", "dataset"):
        for path in (CONF / group).glob("*.yaml"):
            for line in path.read_text().splitlines():
                match = re.match(r"( *)(\w+): \$\{((?:protocol|dataset)\.[\w.]+)\}", line)
                if match:
                    inside = "reader." if match[1] else ""
                    found[f"{group}.{inside}{match[2]}"] = match[3]
    assert found == FOLLOWING
