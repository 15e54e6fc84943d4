"""From a network to a graph: folded, fixed or open, tidy, and what cannot be exported."""

from pathlib import Path

import numpy as np
import pytest
import torch
from layers import SIZE, Layers
from torch import Tensor, nn

from architectures.basic import SegNetBasic
from bench.deploy.graph import batch_norms, export
from bench.deploy.parity import Deployed, compare
from bench.deploy.precision import half, quantised
from bench.deploy.runtimes import KINDS, Session, open_session

onnx = pytest.importorskip("onnx")
for module in ("onnxscript", "onnxruntime"):
    pytest.importorskip(module)


def opened(model: bytes, folder: Path, runtime: str = "onnxruntime") -> Session:
    pytest.importorskip(runtime)
    path = folder / "network.onnx"
    path.write_bytes(model)
    return open_session(path, runtime, 1)


def images(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    return 5 + 2 * torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def fixed() -> bytes:
    return export(Layers(), SIZE, any_size=False)


@pytest.mark.parametrize("runtime", list(KINDS))
def test_a_graph_gives_the_logits_of_its_network(
    fixed: bytes, tmp_path: Path, runtime: str
) -> None:
    session = opened(fixed, tmp_path, runtime)
    assert session.shape == [1, 3, *SIZE]
    parity = compare(Layers(), Deployed(session), [images(3)])  # one by one: its batch is fixed
    assert parity.agrees, parity
    assert parity.images == 3


@pytest.mark.parametrize("runtime", list(KINDS))
def test_a_graph_for_any_size_takes_any_batch_and_size(tmp_path: Path, runtime: str) -> None:
    session = opened(export(Layers(), SIZE, any_size=True), tmp_path, runtime)
    assert session.shape == [None, 3, None, None]
    parity = compare(Layers(), Deployed(session), [images(1), images(3, (37, 29))])
    assert parity.agrees, parity
    assert parity.images == 4


def test_batch_norm_is_folded_and_nothing_of_this_machine_is_told(fixed: bytes) -> None:
    assert batch_norms(fixed) == 0
    assert str(Path(__file__).parent).encode() not in fixed
    nodes = onnx.load_from_string(fixed).graph.node
    assert [node.op_type for node in nodes] == ["Conv", "Relu", "Conv"]


def test_parity_sees_another_network(fixed: bytes, tmp_path: Path) -> None:
    other = Layers()
    with torch.no_grad():
        next(other.parameters())[0] += 0.01
    parity = compare(other, Deployed(opened(fixed, tmp_path)), [images(2)])
    assert not parity.agrees
    assert not parity.is_near


def test_half_precision_is_near_and_half_as_large(fixed: bytes, tmp_path: Path) -> None:
    model = half(fixed)
    parity = compare(Layers(), Deployed(opened(model, tmp_path)), [images(3)])
    assert 1e-6 < parity.largest_difference < 0.02
    weights = {len(one.raw_data) for one in onnx.load_from_string(model).graph.initializer}
    assert weights == {n // 2 for n in sizes(fixed)}


def sizes(model: bytes) -> set[int]:
    return {len(one.raw_data) for one in onnx.load_from_string(model).graph.initializer}


@pytest.mark.parametrize("runtime", list(KINDS))
def test_eight_bits_stay_near_where_calibration_has_looked(
    fixed: bytes, tmp_path: Path, runtime: str
) -> None:
    """What lies outside the range that calibration saw is cut off."""
    seen = [one[None].numpy() for one in images(8)]
    deployed = Deployed(opened(quantised(fixed, seen), tmp_path, runtime))
    inside = compare(Layers(), deployed, [images(3)])
    outside = compare(Layers(), deployed, [images(3) * 4])
    assert 1e-4 < inside.largest_difference < 0.2
    assert outside.largest_difference > 1


def test_eight_bits_store_no_map_that_unpooling_begins_with() -> None:
    model = export(SegNetBasic(3, width=4), (64, 96), any_size=False)
    small = quantised(model, [torch.randn(1, 3, 64, 96).numpy()])
    assert max(sizes(small)) <= max(sizes(model))


def test_calibration_tells_of_an_image_that_cannot_be_read(fixed: bytes) -> None:
    def broken() -> object:
        raise ValueError("a.png: cannot be read")
        yield np.zeros(())

    with pytest.raises(ValueError, match=r"a\.png"):
        quantised(fixed, broken())  # type: ignore[arg-type]


class Dices(Layers):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + torch.rand(())


class LooksAtNumbers(Layers):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images if images.max() > 3 else 2 * images)


class FixedHead(nn.Module):
    """Knows the size of its image, as a fully connected layer does."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).view(-1, 3, *SIZE) * 2


@pytest.mark.parametrize(
    ("network", "any_size", "words"),
    [
        (Dices(), False, "Dices cannot be exported: its evaluation is random"),
        (LooksAtNumbers(), False, "LooksAtNumbers cannot be exported for 32x48: "),
        (FixedHead(), True, "FixedHead cannot be exported for any size: "),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    network: nn.Module, any_size: bool, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as told:
        export(network, SIZE, any_size=any_size)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 450


@pytest.mark.parametrize("runtime", list(KINDS))
def test_a_broken_file_is_told(fixed: bytes, tmp_path: Path, runtime: str) -> None:
    with pytest.raises(ValueError, match=r"network.onnx: \w+ cannot load it .* --rerun makes"):
        opened(fixed[: len(fixed) // 2], tmp_path, runtime)
    with pytest.raises(ValueError, match=r"no.onnx: no such file"):
        open_session(tmp_path / "no.onnx", runtime, 1)


@pytest.mark.parametrize("runtime", list(KINDS))
def test_a_foreign_file_is_told(tmp_path: Path, runtime: str) -> None:
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    x, y = (helper.make_tensor_value_info(name, kind, [1, 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(ValueError, match="no network exported from a run: it takes x and gives y"):
        opened(model.SerializeToString(), tmp_path, runtime)
