"""The metrics stay far faster than the usual way, and need no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_ratios_of_the_speed_benchmark(camvid_root):
    """About half of what was measured is asked for, to leave room for other machines."""
    output = subprocess.run(
        [sys.executable, "tests/benchmarks/metrics.py", camvid_root / "testannot", "--images=10"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ratios = json.loads(output.splitlines()[-1])
    assert ratios["torchmetrics_g_c_miou / confusion"] > 20
    assert ratios["torchmetrics_confusion / confusion"] > 8
    assert ratios["sklearn_confusion / confusion"] > 8
    assert ratios["distance_transforms / tolerance"] > 15
    assert ratios["distance_transforms / both_readings"] > 1.5
    assert ratios["both_readings_37_classes / both_readings"] < 37 / 11


@pytest.mark.parametrize(
    "module",
    ["regions", "boundaries", "scores", "uncertainty"],
)
def test_metrics_import_numpy_and_scipy_only(module):
    """Neither torch nor anything of the harness comes along but what `import bench` itself does."""
    code = (
        f"import sys, bench.metrics.{module}\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'pandas', 'hydra')"
        " or m.startswith('bench.')"
        " and not m.startswith(('bench.metrics', 'bench.memory_limits'))])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "[]"


def test_scoring_folders_imports_no_torch():
    """`python -m bench.score` answers at once."""
    code = "import sys, bench.score; print('torch' in sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert output.strip() == "False"
