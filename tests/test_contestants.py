"""`python -m bench.contestants`: what the paper counts, counted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.contestants import as_table, configured, count

UNIT = 172_800  # bytes of one fp32 map of 180x240


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("segnet_basic", 4),
        ("segnet_basic_encoder_addition", 68),
        ("fcn_basic", 11),
        ("fcn_basic_no_dim_reduction", 64),
        ("fcn_basic_no_addition", 0),
        ("bilinear_interpolation", 0),
    ],
)
def test_storage_is_counted_as_in_table_1(name: str, units: int) -> None:
    assert count(name, 11, [360, 480])["retained_bytes_first_level"] == units * UNIT


def test_a_row_has_the_figures_of_the_paper_beside_ours() -> None:
    row = count("segnet", 11, [360, 480])
    assert row["row"] == "SegNet"
    assert row["parameters"] == 29_449_355
    assert row["gmac"] == pytest.approx(106.7, abs=0.1)
    assert row["published_model_mb"] == 117
    assert row["model_mb"] == pytest.approx(117, rel=0.015)
    table = as_table([row, {"name": "x", "error": "not installed"}])
    assert "117 MB (+0.7%)" in table
    assert "x: not installed" in table
    assert max(map(len, table.splitlines())) <= 115


def test_a_network_that_cannot_be_built_says_so_in_its_row(tmp_path: Path) -> None:
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "mine.yaml").write_text(
        "_target_: architectures.segnet.SegNet\nweights: missing.pt\n"
    )
    row = count("mine", 11, [360, 480], tmp_path)
    assert "missing.pt" in row["error"]
    assert row["parameters"] is None


def test_an_unknown_network_is_an_error() -> None:
    with pytest.raises(ValueError, match="segnit"):
        count("segnit", 11, [360, 480])


def test_a_users_folder_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "mine.yaml").write_text(
        "_target_: architectures.unet.UNet\nname: Mine\nwidth: 4\n"
    )
    assert {"mine", "segnet"} <= set(configured(tmp_path))
    command = [sys.executable, "-m", "bench.contestants", "mine", "--json", "--config-dir"]
    answer = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=True)
    (row,) = json.loads(answer.stdout)
    assert (row["name"], row["row"]) == ("mine", "Mine")
    with pytest.raises(ValueError, match=r"holds no arch/\*\.yaml"):
        configured(tmp_path / "arch")
