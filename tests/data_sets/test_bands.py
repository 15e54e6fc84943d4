"""TIFF of any number of bands: read as stored, measured once, trained on, predicted, or refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
from folders import COLOURS, SIZE, label, save
from numpy.typing import NDArray
from PIL import Image

from architectures.unet import UNet
from bench import records
from bench.band_checks import check_bands
from bench.command_line import compose_config
from bench.config import Config, fingerprint
from bench.cost.work import count_work
from bench.data.__main__ import main as data
from bench.data.augmentation import Augmentation, draws
from bench.data.bands import read_bands, resize_bands, stretched
from bench.data.normalisation import normalise
from bench.data.schema import AugmentationConfig
from bench.data.splits import IMAGE, load_splits
from bench.data.staging import widened
from bench.deploy.graph import require_repeatable
from bench.doctor.patient import admit
from bench.predict import main as predict
from bench.run.network import build_network, network_input
from bench.run.run import run

Configured = Callable[..., Config]
Image5 = NDArray[Any]

BANDS = 5


def scene(seed: int, kind: str) -> tuple[Image5, NDArray[np.uint8]]:
    """Draws a label, and five bands of more than 8 bits in which its classes differ."""
    truth, rng = label(seed), np.random.default_rng(seed)
    levels = 3000 + 9000 * np.arange(BANDS) / BANDS + 12000.0 * truth[..., None]
    image = levels + rng.normal(0, 500, (*SIZE, BANDS))
    return (image / 30000 - 0.3 if kind == "float32" else image).astype(kind), truth


def write_tiff(path: Path, image: Image5, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"planarconfig": "contig"} | options
    tifffile.imwrite(path, image, photometric="minisblack", **options)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set", "uint16")


def write_set(root: Path, kind: str) -> Path:
    for seed, name in enumerate(["train/a", "train/b", "train/c", "val/d", "test/e"]):
        image, truth = scene(seed, kind)
        write_tiff(root / "images" / f"{name}.tif", image)
        save(root / "labels" / f"{name}.png", truth)
    colours = ", ".join(f"class{index}: {list(colour)}" for index, colour in enumerate(COLOURS))
    (root / "classes.yaml").write_text(f"classes: {{{colours}}}\nbands: {BANDS}\n")
    return root


def measure(root: Path) -> None:
    assert data(["bands", "dataset=folder", f"dataset.root='{root}'"]) == 0


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"compression": "zlib", "predictor": True, "tile": (16, 16)},
        {"byteorder": ">"},
        {"planarconfig": "separate"},
        {"planarconfig": None},  # a page for each band
    ],
)
@pytest.mark.parametrize("kind", ["uint8", "uint16", "int16", "float32"])
def test_every_form_of_tiff_gives_the_stored_values(
    tmp_path: Path, kind: str, stored: dict[str, Any]
) -> None:
    image = (scene(0, "float32")[0] * 100).astype(kind)
    by_band = stored.get("planarconfig", "contig") != "contig"
    write_tiff(tmp_path / "a.tif", image.transpose(2, 0, 1) if by_band else image, **stored)
    read = read_bands(tmp_path / "a.tif", BANDS)
    assert read.dtype == np.dtype(kind)  # in the byte order of the machine
    assert (read == image).all()


def test_overviews_of_a_geotiff_are_no_bands(tmp_path: Path) -> None:
    image = scene(0, "uint16")[0]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for step in (1, 2):
            form: dict[str, Any] = {"planarconfig": "contig", "subfiletype": step - 1}
            writer.write(image[::step, ::step], photometric="minisblack", **form)
    assert (read_bands(tmp_path / "a.tif", BANDS) == image).all()


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: write_tiff(path, scene(0, "uint16")[0][..., :4]), "has 4 bands where"),
    (lambda path: write_tiff(path, scene(0, "uint16")[0], planarconfig=None), "planarconfig='con"),
    (lambda path: write_tiff(path, scene(0, "float64")[0]), "values are float64; save them as"),
    (lambda path: write_tiff(path, np.full((4, 4, BANDS), np.nan, np.float32)), "NaN or infinite"),
    (
        lambda path: write_tiff(path, scene(0, "uint16")[0], extratags=[(274, "H", 1, 6, True)]),
        "orientation tag",
    ),
    (lambda path: path.write_bytes(b"no TIFF"), "not a readable TIFF"),
    (lambda _: None, "no such file"),
]


@pytest.mark.parametrize(("write", "reason"), REFUSED)
def test_what_cannot_be_read_without_guessing_is_refused(
    tmp_path: Path, write: Callable[[Path], object], reason: str
) -> None:
    write(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=re.escape(reason)):
        read_bands(tmp_path / "a.tif", BANDS)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, scene(0, "uint16")[0], compression="zlib")
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(ValueError, match=r"a\.tif"):
        read_bands(path, BANDS)


def test_a_band_is_resized_as_grey_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 2), np.uint8)
    for size in ((12, 16), (31, 40)):
        resized = resize_bands(image.astype(np.uint16), *size)
        for band in range(2):
            grey = Image.fromarray(image[..., band]).resize(size[::-1], Image.Resampling.BILINEAR)
            assert abs(resized[..., band].astype(int) - np.asarray(grey)).max() <= 1
    assert resized.dtype == np.uint16


def test_statistics_are_measured_once(root: Path, configured: Configured) -> None:
    measure(root)
    images = np.stack([scene(seed, "uint16")[0] for seed in range(3)]).reshape(-1, BANDS)
    config = configured("folder", root, "protocol.normalisation=bands", "arch=unet")
    assert config.dataset.band_mean == pytest.approx(images.mean(axis=0), rel=1e-8)
    assert config.dataset.band_deviation == pytest.approx(images.std(axis=0), rel=1e-8)
    written = (root / "bands.yaml").read_bytes()
    measure(root)  # finds the same
    write_tiff(root / "images/train/c.tif", scene(9, "uint16")[0])
    with pytest.raises(SystemExit):
        data(["bands", "dataset=folder", f"dataset.root='{root}'"])
    assert (root / "bands.yaml").read_bytes() == written
    (root / "bands.yaml").unlink()
    measure(root)
    other = configured("folder", root, "protocol.normalisation=bands", "arch=unet")
    assert fingerprint(other) != fingerprint(config)


def test_normalised_bands_have_mean_0_and_deviation_1(root: Path, configured: Configured) -> None:
    measure(root)
    config = configured("folder", root, "protocol.normalisation=bands", "arch=unet")
    split = load_splits(config, ["train"])["train"]
    assert split.array(0, IMAGE).dtype == np.uint16
    ((images, _),) = split.batches([np.arange(3)])
    values = network_input(images, config, torch.device("cpu"))
    assert values.shape == (3, BANDS, *SIZE)
    assert values.mean(dim=(0, 2, 3)).abs().max() < 1e-4
    assert torch.allclose(values.std(dim=(0, 2, 3), correction=0), torch.ones(BANDS), atol=1e-4)
    first = normalise(images[:, :1], "bands", *([v[0]] for v in ([1.0], [2.0])))
    assert torch.equal(first, (images[:, :1].float() - 1) / 2)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["arch=fcn_resnet50"], "torchvision_network takes no in_channels"),
        (["protocol.normalisation=imagenet"], "it must be bands, or none, where dataset.bands=5"),
        (["protocol.augmentation.contrast=0.5"], "augmentation.contrast is 0.5; it must be 0"),
        (["postprocess=dense_crf"], "postprocess is dense_crf"),
        (["dataset.bands=4"], "dataset.band_mean is [1.0, 1.0, 1.0, 1.0, 1.0]; it must be 4"),
        (["dataset.band_mean=[]"], "python -m bench.data bands"),
        (["dataset.band_deviation=[1,1,0,1,1]"], "5 numbers above 0"),
        (["dataset.bands=null"], "need dataset.bands"),
        (["dataset.bands=0"], "it must be 1 or more"),
        (["dataset.reader.bands=null"], "use dataset=folder"),
        (["+arch.in_channels=3"], "arch.in_channels is 3"),
    ],
)
def test_what_does_not_fit_bands_is_refused_before_data_are_read(
    tmp_path: Path, configured: Configured, overrides: list[str], reason: str
) -> None:
    (tmp_path / "classes.yaml").write_text("classes: [a, b]\nbands: 5\n")  # and there are no data
    ones = "[1.0,1.0,1.0,1.0,1.0]"
    given = [f"dataset.band_mean={ones}", f"dataset.band_deviation={ones}"]
    normalised = ["arch=unet", "protocol.normalisation=bands", *given]
    assert configured("folder", tmp_path, *normalised).dataset.in_channels == 5
    with pytest.raises(ValueError, match=re.escape(reason)):
        configured("folder", tmp_path, *normalised, *overrides)


def test_the_class_file_declares_bands(tmp_path: Path, configured: Configured) -> None:
    path = tmp_path / "classes.yaml"
    path.write_text("classes: [a, b]\nbands: 1\nmean: [7]\ndeviation: [2.5]\n")
    config = configured("folder", tmp_path, "arch=unet", "protocol.normalisation=bands")
    assert (config.dataset.band_mean, config.dataset.band_deviation) == ([7.0], [2.5])
    for line in ("bands: many", "bands: 0", "bands: 1\nmean: high", "bands: 1\nmean: [.nan]"):
        path.write_text(f"classes: [a, b]\n{line}\n")
        with pytest.raises(ValueError, match=r"classes\.yaml: (bands|mean) is"):
            configured("folder", tmp_path, "arch=unet", "protocol.normalisation=none")


def test_a_network_with_hidden_arguments_is_refused_when_it_is_built(
    tmp_path: Path, configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the source does not tell, the constructor does."""
    (tmp_path / "hidden.py").write_text(
        "import torch\n"
        "def made():\n"
        "    def net(num_classes):\n"
        "        return torch.nn.Conv2d(3, num_classes, 1)\n"
        "    return net\n"
        "Net = made()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "classes.yaml").write_text("classes: [a, b]\nbands: 5\n")
    config = configured("folder", tmp_path, "protocol.normalisation=none", "arch=unet")
    config.arch = {"_target_": "hidden.Net", "name": "hidden"}
    with pytest.raises(ValueError, match=r"hidden\.Net takes no in_channels; give its constructor"):
        build_network(config)


def test_without_bands_nothing_changes(tmp_path: Path, configured: Configured) -> None:
    """The keys are in no fingerprint, and networks get no further argument."""
    (tmp_path / "classes.yaml").write_text("classes: [a, b]\n")
    config = configured("folder", tmp_path)
    older = replace(config.dataset, reader=dict(config.dataset.reader))
    del older.reader["bands"]
    assert fingerprint(config) == fingerprint(replace(config, dataset=older))
    changed = replace(config.dataset, bands=3)
    assert fingerprint(config) != fingerprint(replace(config, dataset=changed))


def test_images_of_two_types_are_refused(root: Path, configured: Configured) -> None:
    write_tiff(root / "images/train/b.tif", scene(1, "float32")[0])
    config = configured("folder", root, "protocol.normalisation=none", "arch=unet")
    with pytest.raises(ValueError, match=r"images are of uint16 \(train/a\) and float32 \(train/b"):
        load_splits(config, ["train"])


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_crops_are_cut_of_bands_as_of_bytes(kind: str) -> None:
    """Of the bytes of RGB the same; around an image the mean of each band."""
    settings = AugmentationConfig(scale=[0.4, 2.0], crop=[16, 20])
    image = np.random.default_rng(0).integers(0, 256, (3, *SIZE), np.uint8)
    bytes_cut = Augmentation(settings, (16, 20), 255)
    bands_cut = replace(bytes_cut, outside=bytes_cut.outside)
    for draw in draws(0, 0, 12):
        expected, truth = bytes_cut.cut(image, label(0), draw)
        cut, found = bands_cut.cut(image.astype(kind), label(0), draw)
        assert (truth == found).all()
        assert abs(cut - expected.astype(float)).max() <= (0.5 if kind == "float32" else 0)
    large = np.full((2, *SIZE), 65535, np.uint16)
    small = Augmentation(AugmentationConfig(scale=[0.1, 0.1], crop=[16, 20]), (16, 20), 255, [7, 9])
    cut, found = small.cut(large, label(0), draws(0, 0, 1)[0])
    assert set(cut[0].ravel().tolist()) >= {7, 65535}
    assert (cut[1][found == 255] == 9).mean() > 0.5
    assert cut.max() == 65535


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_a_batch_of_bands_is_cut_as_each_of_them(kind: str) -> None:
    """To the last bit, so that resident=device changes no number."""
    images = np.stack([scene(seed, kind)[0].transpose(2, 0, 1) for seed in range(4)])
    labels, drawn = np.stack([label(seed) for seed in range(4)]), draws(0, 0, 4)
    settings = AugmentationConfig(scale=[0.5, 2.0], crop=[16, 20])
    augment = Augmentation(settings, (16, 20), 255, [1.0, 2.0, 3.0, 4.0, 5.0])
    batch = (torch.from_numpy(widened(images)), torch.from_numpy(labels))
    cut, truths = augment.cut_batch(*batch, drawn)
    for index in range(4):
        one, truth = augment.cut(images[index], labels[index], drawn[index])
        assert (one == cut[index].numpy()).all()
        assert (truth == truths[index].numpy()).all()


def test_work_counts_the_bands() -> None:
    """Two more bands cost the first 3x3 convolution, of width 4, 2 * 9 * 4 products a pixel."""
    rgb, bands = (
        count_work(UNet(3, 4, in_channels=channels), (32, 32), channels)["multiply_accumulates"]
        for channels in (3, 5)
    )
    assert bands - rgb == 2 * 9 * 4 * 32 * 32


def test_pictures_of_bands_are_stretched() -> None:
    shown = stretched(scene(0, "float32")[0])
    assert (shown.dtype, shown.shape) == (np.uint8, (*SIZE, 3))
    assert (shown.min(), shown.max()) == (0, 255)
    one = stretched(scene(0, "uint16")[0][..., :1])
    assert (one[..., 0] == one[..., 2]).all()
    assert not stretched(np.full((4, 4, 2), 7, np.int16)).any()


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_a_set_of_five_bands_is_trained_on_evaluated_and_predicted(
    tmp_path: Path, kind: str, prepared: Any
) -> None:
    root = write_set(tmp_path / "set", kind)
    measure(root)
    config = compose_config([
        "arch=unet", "arch.width=4", "dataset=folder", f"dataset.root='{root}'", "protocol=demo",
        "dataset.cache=null", f"runs='{tmp_path}/runs'", "protocol.image_size=[24, 32]",
        "protocol.normalisation=bands", "protocol.augmentation.scale=[0.5, 2.0]",
        "protocol.precision=fp32", "protocol.batch_size=2", "max_iterations=2", "threads=1",
        "device=cpu",
    ])  # fmt: skip
    folder, monitor = prepared(config)
    run(folder, monitor)
    (evaluation,) = records.read_evaluations(folder)
    assert np.array(evaluation["confusion"]).sum() == SIZE[0] * SIZE[1]
    predict([str(folder), str(root / "images/test"), str(tmp_path / "out"), "--device", "cpu"])
    with Image.open(tmp_path / "out/e.png") as picture:
        assert picture.size == SIZE[::-1]
    with Image.open(tmp_path / "out/e.overlay.png") as picture:
        assert picture.mode == "RGB"


def test_the_check_shows_the_first_bands(root: Path, tmp_path: Path, capsys: Any) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["check", "dataset=folder", f"dataset.root='{root}'"]
    assert data([*words, "--sheet", str(sheet)]) == 0, capsys.readouterr().out
    assert np.asarray(Image.open(sheet)).std() > 10


def test_a_network_that_takes_no_bands_is_refused_by_its_source(
    tmp_path: Path, configured: Configured
) -> None:
    """Of conf/arch those of torchvision; that all others take bands is in the contract's tests."""
    (tmp_path / "classes.yaml").write_text("classes: [a, b]\nbands: 5\n")
    config = configured("folder", tmp_path, "protocol.normalisation=none", "arch=unet")
    for path in sorted((Path(__file__).parents[2] / "conf/arch").glob("*.yaml")):
        given = replace(config, arch=yaml.safe_load(path.read_text()))
        if not given.arch["_target_"].endswith("torchvision_network"):
            check_bands(given)
            continue
        with pytest.raises(ValueError, match=r"torchvision_network takes no in_channels; give its"):
            check_bands(given)


@pytest.mark.parametrize("arch", ["unet", "segnet_basic", "fcn_basic", "segnet"])
def test_our_networks_take_bands(root: Path, configured: Configured, arch: str) -> None:
    """Built, given the doctor's images, and repeatable for an export."""
    config = configured(
        "folder", root, f"arch={arch}", "arch.width=4", "protocol.normalisation=none", "device=cpu"
    )
    patient = admit(config)
    assert patient.inputs.shape[2] == BANDS
    require_repeatable(patient.network.eval(), (BANDS, *SIZE))
    assert patient.training_pass()[0].shape[1] == 3
