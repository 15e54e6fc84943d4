"""Every network of conf/arch can be exported for any batch and size, or says why not."""

from pathlib import Path

import pytest

from bench.command_line import CONF, compose_config
from bench.doctor.__main__ import DEFAULTS
from bench.doctor.examination import check_export
from bench.doctor.patient import admit

for module in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(module)

NEEDS = {"smp": "segmentation_models_pytorch", "segformer": "transformers"}
SMALL = {"width": 8, "fc_width": 8, "samples": 2}
ARCHS = sorted(path.stem for path in Path(CONF / "arch").glob("*.yaml"))


@pytest.mark.slow  # 3 to 15 seconds each
@pytest.mark.parametrize("arch", ARCHS)
def test_a_network_is_exported_for_any_size(arch: str) -> None:
    needed = NEEDS.get(arch.split("_", maxsplit=1)[0])
    if needed:
        pytest.importorskip(needed)
    chosen = [*DEFAULTS, f"arch={arch}", "protocol.dropout=0.5"]
    known = compose_config(chosen).arch
    small = [f"arch.{key}={value}" for key, value in SMALL.items() if key in known]
    found = list(check_export(admit(compose_config([*chosen, *small]))))
    texts = [finding.text for finding in found]
    if arch == "bayesian_segnet":
        (text,) = texts
        assert "its evaluation is random" in text
        return
    assert [finding.kind for finding in found] == ["good"], texts
