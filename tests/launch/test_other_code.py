"""A finished run whose code has changed since: said aloud, and not overwritten by a refusal."""

from pathlib import Path

import pytest
from test_replay import bench
from tiny_run import TINY

from bench import records

NET = """import torch
class Net(torch.nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(torch.nn.Conv2d(3, num_classes, 3, padding=1), torch.nn.ReLU())
"""


@pytest.mark.slow
def test_a_finished_run_of_other_code_is_said_and_survives_a_refused_extension(
    tmp_path: Path,
) -> None:
    own = tmp_path / "my_conf"
    (own / "arch").mkdir(parents=True)
    (own / "arch" / "othernet.yaml").write_text("_target_: othernet.Net\n")
    (own / "othernet.py").write_text(NET)
    tiny = [text for text in TINY if not text.startswith("arch")]
    command = ["--config-dir", "my_conf", "arch=othernet", *tiny]
    first = bench(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (run,) = records.run_folders(tmp_path / "runs")
    (own / "othernet.py").write_text(NET + "# a comment\n")
    again = bench(*command, cwd=tmp_path)
    assert "finished before" in again.stdout
    assert "other code" not in again.stdout
    (own / "othernet.py").write_text(NET.replace("ReLU", "GELU"))
    again = bench(*command, cwd=tmp_path)
    assert again.returncode == 0
    assert "with other code than today's (its network); rerun=true" in again.stdout
    before = {p.name: p.read_bytes() for p in run.glob("*.json") if p.name != "progress.json"}
    longer = bench(*command, "max_iterations=8", cwd=tmp_path)
    assert longer.returncode == 1
    assert "accept_changes=true" in longer.stderr
    after = {p.name: p.read_bytes() for p in run.glob("*.json") if p.name != "progress.json"}
    assert before == after
    assert bench(*command, cwd=tmp_path).returncode == 0
