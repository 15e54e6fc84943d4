"""The dense CRF against pydensecrf's numbers, the exact kernels, its laws, and as a command."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import Tensor

from bench import dense_crf as module
from bench.crf.lattice import Lattice, Normalisation, appearance_lattice, smoothness_lattice
from bench.crf.mean_field import dense_crf, mean_field
from bench.dense_crf import main, read_probs

LARGEFOV: dict[str, Any] = {
    "w1": 4.0,
    "sigma_alpha": 121.0,
    "sigma_beta": 5.0,
    "w2": 3.0,
    "sigma_gamma": 3.0,
}
NORMALISATIONS: tuple[Normalisation, ...] = ("after", "symmetric")


def random_case(classes: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random probabilities, and an image of random blocks, so that pixels do share colours."""
    generator = torch.Generator().manual_seed(seed)
    probs = torch.randn(classes, height, width, generator=generator).mul(2).softmax(dim=0)
    blocks = torch.randint(0, 256, (-(-height // 4), -(-width // 4), 3), generator=generator)
    image = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)[:height, :width]
    return probs, (image + torch.randint(0, 4, image.shape, generator=generator)).clamp(
        max=255
    ).byte()


def gaussian_kernel(features: Tensor) -> Tensor:
    """The dense matrix exp(-|f_i - f_j|^2 / 2) that the lattice stands for."""
    return (-0.5 * torch.cdist(features.double(), features.double()) ** 2).exp()


def divided(kernel: Tensor, normalisation: Normalisation) -> Tensor:
    """K / m or m^-1/2 K m^-1/2, with m = K 1."""
    mass = kernel.sum(dim=1, keepdim=True)
    return kernel / mass if normalisation == "after" else kernel / mass.sqrt() / mass.sqrt().T


def relative_error(found: Tensor, expected: Tensor) -> float:
    """The L2 norm of the difference over that of what is expected."""
    return float((found - expected).norm() / expected.norm())


# The lattice


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_lattice_approximates_the_dense_gaussian(
    dimensions: int, normalisation: Normalisation
) -> None:
    """Filtering is close to the product with the dense kernel; a 20 % wider one is 0.23 away."""
    generator = torch.Generator().manual_seed(dimensions)
    features = 3 * torch.rand(1500, dimensions, generator=generator)
    values = (2 * features).sin()
    found = Lattice.build(features).normalised(normalisation).filter(values)
    expected = divided(gaussian_kernel(features), normalisation) @ values.double()
    assert relative_error(found, expected) < 0.12


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    points=st.integers(1, 60),
    dimensions=st.integers(1, 5),
    spread=st.sampled_from([0.0, 0.3, 3.0, 30.0]),
)
def test_weights_of_a_point_are_barycentric(
    seed: int, points: int, dimensions: int, spread: float
) -> None:
    """A point is spread over d + 1 vertices with weights from 0 to 1 that sum to 1."""
    features = torch.randn(points, dimensions, generator=torch.Generator().manual_seed(seed))
    lattice = Lattice.build(features * spread)
    assert lattice.slice_weights.shape == (points, dimensions + 1)
    assert lattice.slice_weights.min() >= -1e-4  # float32, at coordinates of some hundreds
    torch.testing.assert_close(lattice.slice_weights.sum(1), torch.ones(points), atol=1e-4, rtol=0)


def test_points_far_apart_do_not_meet() -> None:
    """Beyond the reach of the kernel the normalised filter returns every value unchanged."""
    features = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0], [-70.0, 20.0]])
    values = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    for normalisation in NORMALISATIONS:
        found = Lattice.build(features).normalised(normalisation).filter(values)
        torch.testing.assert_close(found, values)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), dimensions=st.integers(1, 5))
def test_a_far_point_changes_nothing_for_the_others(seed: int, dimensions: int) -> None:
    """One more point out of reach renumbers every vertex and moves no value."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(40, dimensions, generator=generator)
    values = torch.rand(41, 2, generator=generator)
    far = torch.cat([features, torch.full((1, dimensions), 30.0)])
    alone, beside = Lattice.build(features).filter(values[:-1]), Lattice.build(far).filter(values)
    torch.testing.assert_close(beside[:-1], alone)
    # The same on the other side: the features are counted from their lowest value.
    beside = Lattice.build(-far).filter(values)
    torch.testing.assert_close(beside[:-1], Lattice.build(-features).filter(values[:-1]))


def test_the_order_of_points_does_not_matter() -> None:
    """Filtering permuted points permutes the result."""
    generator = torch.Generator().manual_seed(0)
    features, values = torch.randn(300, 5, generator=generator), torch.rand(300, 2)
    order = torch.randperm(300, generator=generator)
    straight = Lattice.build(features).filter(values)
    permuted = Lattice.build(features[order]).filter(values[order])
    torch.testing.assert_close(permuted, straight[order])


def test_symmetric_divides_by_the_root_on_both_sides() -> None:
    """The normalisations are K / m and m^-1/2 K m^-1/2 of the lattice's own K."""
    features = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    values = torch.rand(200, 2, generator=torch.Generator().manual_seed(1))
    lattice = Lattice.build(features)
    mass = lattice.filter(torch.ones(200, 1))
    root = mass.sqrt()
    after, symmetric = lattice.normalised("after"), lattice.normalised("symmetric")
    torch.testing.assert_close(after.filter(values), lattice.filter(values) / mass)
    torch.testing.assert_close(symmetric.filter(values), lattice.filter(values / root) / root)


def test_smoothness_lattice_is_built_once_for_a_size() -> None:
    """Asking again for the same size gives the same object, another size another one."""
    assert smoothness_lattice(9, 11, 3.0) is smoothness_lattice(9, 11, 3.0)
    assert smoothness_lattice(9, 11, 3.0) is not smoothness_lattice(11, 9, 3.0)


def test_image_filters_match_the_dense_kernels() -> None:
    """On a small image both filters are within some per cent of eq. 3 written out."""
    probs, image = random_case(3, 30, 40)
    y, x = torch.meshgrid(torch.arange(30), torch.arange(40), indexing="ij")
    positions = torch.stack([x, y], dim=2).flatten(0, 1).float()
    colours = image.flatten(0, 1).float()
    values = probs.flatten(1).T.contiguous()
    smoothness = divided(gaussian_kernel(positions / 3), "after") @ values.double()
    both = torch.cat([positions / 30, colours / 5], dim=1)
    appearance = divided(gaussian_kernel(both), "after") @ values.double()
    assert relative_error(smoothness_lattice(30, 40, 3.0).filter(values), smoothness) < 0.012
    assert relative_error(appearance_lattice(image, 30, 5).filter(values), appearance) < 0.035


# The inference


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    """24x32 pixels, 4 classes, with what pydensecrf made of them (Q_after and Q_sym)."""
    with np.load(Path(__file__).with_name("dense_crf_tiny.npz")) as fixture:
        names = ("w1", "sigma_alpha", "sigma_beta", "w2", "sigma_gamma", "iterations")
        arrays = {key: torch.from_numpy(fixture[key]) for key in ("Q_after", "Q_sym")}
        return {
            "input": (torch.from_numpy(fixture["probs"]), torch.from_numpy(fixture["image"])),
            "parameters": {name: fixture[name].item() for name in names},
            **arrays,
        }


@pytest.mark.parametrize(("normalisation", "key"), [("after", "Q_after"), ("symmetric", "Q_sym")])
def test_agrees_with_pydensecrf(
    normalisation: Normalisation, key: str, tiny: dict[str, Any]
) -> None:
    """All labels, and the probabilities to 1e-4, are those that pydensecrf computed."""
    refined = dense_crf(*tiny["input"], normalisation=normalisation, **tiny["parameters"])
    assert torch.equal(refined.argmax(0), tiny[key].argmax(0))
    torch.testing.assert_close(refined, tiny[key], atol=1e-4, rtol=0)


def test_mean_field_with_dense_kernels_gives_the_same_labels(tiny: dict[str, Any]) -> None:
    """Ten updates with the dense matrices of the paper label 99 % of the pixels alike."""
    probs, image = tiny["input"]
    y, x = torch.meshgrid(torch.arange(24), torch.arange(32), indexing="ij")
    positions = torch.stack([x, y], dim=2).flatten(0, 1).double()
    near = divided(gaussian_kernel(positions / 3), "after")
    alike = torch.cat([positions / 30, image.flatten(0, 1).double() / 5], dim=1)
    similar = divided(gaussian_kernel(alike), "after")
    log_probs = probs.flatten(1).T.double().log()
    marginals = log_probs.exp()
    for _ in range(10):
        marginals = (log_probs + 3 * near @ marginals + 4 * similar @ marginals).softmax(dim=1)
    refined = dense_crf(probs, image, **tiny["parameters"]).argmax(0)
    assert (refined.flatten() == marginals.argmax(1)).double().mean() > 0.99
    assert (refined != probs.argmax(0)).double().mean() > 0.1  # it had work to do


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize(
    ("classes", "height", "width"),
    [(2, 12, 16), (37, 12, 16), (3, 13, 7), (3, 1, 23), (3, 23, 1), (2, 1, 1), (1, 5, 5)],
)
def test_result_is_a_distribution(
    classes: int, height: int, width: int, normalisation: Normalisation
) -> None:
    """Two or 37 classes, odd sizes, one row, one pixel: probabilities that sum to 1."""
    probs, image = random_case(classes, height, width)
    refined = dense_crf(probs, image, normalisation=normalisation, **LARGEFOV)
    assert refined.shape == probs.shape
    assert refined.dtype == torch.float32
    assert refined.min() >= 0
    torch.testing.assert_close(refined.sum(0), torch.ones(height, width))


@pytest.mark.parametrize(("height", "width"), [(17, 31), (1, 40)])
def test_after_filters_leave_constants_alone(height: int, width: int) -> None:
    """Under `after`, both filters of an image map 1 to 1: they are weighted means."""
    _, image = random_case(2, height, width)
    ones = torch.ones(height * width, 2)
    for lattice in (smoothness_lattice(height, width, 3.0), appearance_lattice(image, 121, 5)):
        torch.testing.assert_close(lattice.filter(ones), ones)


@pytest.mark.parametrize("off", [{"w1": 0.0, "w2": 0.0}, {"iterations": 0}])
def test_without_kernels_or_iterations_nothing_changes(off: dict[str, Any]) -> None:
    """The unary term alone returns the probabilities that went in."""
    probs, image = random_case(5, 11, 14)
    torch.testing.assert_close(dense_crf(probs, image, **{**LARGEFOV, **off}), probs)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_undecided_probabilities_stay_undecided(normalisation: Normalisation) -> None:
    """Equal probabilities give every class the same support, whatever the image shows."""
    _, image = random_case(4, 15, 20)
    even = torch.full((4, 15, 20), 0.25)
    refined = dense_crf(even, image, normalisation=normalisation, **LARGEFOV)
    torch.testing.assert_close(refined, even)


def test_classes_are_interchangeable() -> None:
    """Permuting the classes of the input permutes those of the output."""
    probs, image = random_case(6, 14, 18)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    permuted = dense_crf(probs[order], image, **LARGEFOV)
    torch.testing.assert_close(permuted, dense_crf(probs, image, **LARGEFOV)[order])


def test_sharing_lattices_changes_no_number() -> None:
    """A search that builds each lattice once gets what `dense_crf` gives for every weight."""
    probs, image = random_case(3, 14, 18)
    smoothness, appearance = smoothness_lattice(14, 18, 3.0), appearance_lattice(image, 121, 5)
    for w1 in (0.5, 10.0):
        shared = mean_field(probs, [(3, smoothness), (w1, appearance)])
        assert torch.equal(shared, dense_crf(probs, image, **{**LARGEFOV, "w1": w1}))


def test_half_precision_input_is_refined_like_single() -> None:
    """Rounding the probabilities to float16, zeros included, moves the result by little."""
    probs, image = random_case(3, 14, 18)
    probs = torch.cat([probs, torch.full((1, 14, 18), 1e-12)])
    refined = dense_crf(probs.half(), image, **LARGEFOV)
    torch.testing.assert_close(refined, dense_crf(probs, image, **LARGEFOV), atol=5e-3, rtol=0)


def split_image() -> tuple[Tensor, Tensor]:
    """Black left of column 20, white from there on; the labels change too early, at column 15."""
    image = torch.zeros(30, 40, 3, dtype=torch.uint8)
    image[:, 20:] = 255
    right = torch.full((30, 40), 0.3)
    right[:, 15:] = 0.7
    return torch.stack([1 - right, right]), image


def test_label_edge_snaps_to_the_colour_edge() -> None:
    """A label edge five pixels beside a colour edge moves onto it."""
    probs, image = split_image()
    labels = dense_crf(probs, image, **LARGEFOV).argmax(0)
    assert torch.equal(labels, (torch.arange(40) >= 20).long().expand(30, -1))


def test_label_edge_stays_without_the_appearance_kernel() -> None:
    """The smoothness kernel knows no colour: a straight edge stays where it is."""
    probs, image = split_image()
    labels = dense_crf(probs, image, **{**LARGEFOV, "w1": 0.0}).argmax(0)
    assert torch.equal(labels, probs.argmax(0))


def test_flat_image_removes_specks() -> None:
    """Where the image shows nothing, a weak speck takes the class of what surrounds it."""
    image = torch.full((21, 21, 3), 128, dtype=torch.uint8)
    other = torch.full((21, 21), 0.2)
    other[10, 10] = 0.8
    labels = dense_crf(torch.stack([1 - other, other]), image, **LARGEFOV).argmax(0)
    assert not labels.any()


def test_a_probability_of_zero_forbids_no_class() -> None:
    """With kernels heavy enough, even a pixel with probability 0 takes its neighbours' class."""
    image = torch.full((21, 21, 3), 128, dtype=torch.uint8)
    other = torch.zeros(21, 21)
    other[10, 10] = 1
    probs = torch.stack([1 - other, other])
    assert dense_crf(probs, image, **LARGEFOV).argmax(0).sum() == 1
    assert not dense_crf(probs, image, **{**LARGEFOV, "w1": 30.0}).argmax(0).any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_cpu() -> None:
    """The same call on a GPU gives the same labels."""
    probs, image = random_case(11, 90, 120)
    on_cpu = dense_crf(probs, image, **LARGEFOV)
    on_gpu = dense_crf(probs.cuda(), image.cuda(), **LARGEFOV)
    assert on_gpu.is_cuda
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-3, rtol=0)


# Input that cannot be right


def spoiled(probs: Tensor, value: float) -> Tensor:
    """The probabilities with one entry replaced."""
    probs = probs.clone()
    probs[0, 0, 0] = value
    return probs


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda p, i: (p[:, :-1], i), "probs are 7x10 but the image is 8x10"),
        (lambda p, i: (spoiled(p, float("nan")), i), "probs contain NaN"),
        (lambda p, i: (p * 0.9, i), "sum to 1"),
        (lambda p, i: (p.log(), i), "apply softmax"),
        (lambda p, i: (3 * p - 2 / 3, i), "the smallest is -"),
        (lambda p, i: (p.argmax(0), i), r"probs must be float \(C, H, W\), not torch.int64"),
        (lambda p, i: (p, i / 255), "image must be uint8.*not torch.float32"),
        (lambda p, i: (p, i.permute(2, 0, 1)), r"image must be uint8 \(H, W, 3\)"),
    ],
)
def test_bad_input_is_named(
    spoil: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], named: str
) -> None:
    """Each kind of wrong input is refused with a message that says what is wrong."""
    with pytest.raises(ValueError, match=named):
        dense_crf(*spoil(*random_case(3, 8, 10)), **LARGEFOV)


@pytest.mark.parametrize(
    ("parameter", "value", "named"),
    [
        ("sigma_beta", 0.001, "sigma_beta=0.001: the lattice is too fine"),
        ("sigma_beta", 0.0, "sigma_beta=0.0: the lattice is too fine"),
        ("sigma_beta", 0.05, "sigma_beta=0.05: the lattice is too fine"),  # keys beyond int64
        ("sigma_gamma", 1e-6, "sigma_gamma=1e-06: the lattice is too fine"),  # beyond float32
        ("w1", -1.0, r"weights of the kernels \[3.0, -1.0\]"),
        ("w2", float("nan"), r"weights of the kernels \[nan, 4.0\]"),
        ("iterations", -1, "iterations=-1"),
        ("normalisation", "before", "normalisation='before' is unknown"),
    ],
)
def test_bad_parameter_is_named(parameter: str, value: float | str, named: str) -> None:
    """Each parameter out of its range is refused by name, a too fine lattice among them."""
    probs, _ = random_case(3, 8, 10)
    image = torch.randint(0, 256, (8, 10, 3), generator=torch.Generator().manual_seed(0)).byte()
    image[0, 0], image[-1, -1] = 0, 255
    with pytest.raises(ValueError, match=named):
        dense_crf(probs, image, **{**LARGEFOV, parameter: value})


# The command


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """PROBS with a .npz and a .npy, IMAGES with a .png and a .jpg, and OUT, which is not there."""
    probs_folder, images = tmp_path / "probs", tmp_path / "images"
    probs_folder.mkdir()
    images.mkdir()
    for seed, name in enumerate(("a", "b")):
        probs, image = random_case(3, 12, 16, seed)
        if name == "a":
            np.savez_compressed(probs_folder / "a.npz", probs=probs.half().numpy())
        else:
            np.save(probs_folder / "b.npy", probs.numpy())
        suffix = {"a": "png", "b": "jpg"}[name]
        Image.fromarray(image.numpy()).save(images / f"{name}.{suffix}")
    return probs_folder, images, tmp_path / "out"


def command(*arguments: object) -> None:
    """Run the command in this process, one image at a time."""
    main([str(argument) for argument in arguments] + ["--processes", "1"])


def test_command_writes_labels_and_probabilities(folders: tuple[Path, Path, Path]) -> None:
    """OUT holds, for each pair, the labels and on demand the probabilities, and nothing else."""
    probs_folder, images, out = folders
    command(*folders, "--probs", "--w1", 2)
    assert sorted(path.name for path in out.iterdir()) == ["a.npz", "a.png", "b.npz", "b.png"]
    for probs_name, image_name in (("a.npz", "a.png"), ("b.npy", "b.jpg")):
        image = torch.from_numpy(np.array(Image.open(images / image_name)))
        refined = dense_crf(read_probs(probs_folder / probs_name), image, **{**LARGEFOV, "w1": 2.0})
        labels = Image.open(out / f"{Path(image_name).stem}.png")
        assert labels.mode == "L"
        assert np.array_equal(np.asarray(labels), refined.argmax(0).numpy())
        written = read_probs(out / f"{Path(image_name).stem}.npz")
        torch.testing.assert_close(written, refined.half().float())


def test_command_is_the_same_on_all_cores(folders: tuple[Path, Path, Path]) -> None:
    """Two processes write what one writes, started as a user starts them, and print nothing."""
    probs_folder, images, out = folders
    command(*folders)
    parallel = out.with_name("parallel")
    arguments = [str(path) for path in (probs_folder, images, parallel)] + ["--processes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.dense_crf", *arguments],
        cwd=Path(module.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in ("a.png", "b.png"):
        assert np.array_equal(
            np.asarray(Image.open(parallel / name)), np.asarray(Image.open(out / name))
        )


def remove_image(probs: Path, images: Path) -> None:
    """An image is missing."""
    (images / "b.jpg").unlink()


def double_a_name(probs: Path, images: Path) -> None:
    """Two images share a name."""
    Image.new("RGB", (16, 12)).save(images / "a.jpg")


def write_nan(probs: Path, images: Path) -> None:
    """One file holds NaN."""
    np.save(probs / "b.npy", np.full((3, 12, 16), np.nan, np.float32))


def forget_the_key(probs: Path, images: Path) -> None:
    """The key `probs` is missing."""
    np.savez(probs / "a.npz", logits=np.zeros((3, 12, 16), np.float32))


def truncate_probs(probs: Path, images: Path) -> None:
    """A file is cut short."""
    (probs / "a.npz").write_bytes((probs / "a.npz").read_bytes()[:200])


def break_image(probs: Path, images: Path) -> None:
    """A file is no image."""
    (images / "a.png").write_bytes(b"not an image")


def write_a_scalar(probs: Path, images: Path) -> None:
    """A file holds a single number."""
    np.save(probs / "b.npy", np.float32(1))


def empty_the_folder(probs: Path, images: Path) -> None:
    """There is nothing to refine."""
    for path in probs.iterdir():
        path.unlink()


def too_many_classes(probs: Path, images: Path) -> None:
    """There are more classes than 8 bits can number."""
    np.save(probs / "b.npy", np.full((257, 12, 16), 1 / 257, np.float32))


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (remove_image, "images: nothing pairs with"),
        (double_a_name, "share one name"),
        (write_nan, "b.npy: probs contain NaN"),
        (forget_the_key, "a.npz: neither"),
        (truncate_probs, "a.npz: neither"),
        (break_image, "a.png"),
        (write_a_scalar, "b.npy: probs must be float"),
        (empty_the_folder, "probs: holds no .npy, .npz file"),
        (too_many_classes, "b.npy: 257 classes"),
    ],
)
def test_command_answers_a_mistake_in_one_sentence(
    spoil: Callable[[Path, Path], None],
    named: str,
    folders: tuple[Path, Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a user got wrong ends with status 2 and one line that names the file."""
    spoil(*folders[:2])
    with pytest.raises(SystemExit) as ended:
        command(*folders)
    message = capsys.readouterr().err
    assert ended.value.code == 2
    assert named in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("taken", [0, 1])
def test_command_never_writes_over_its_input(
    taken: int, folders: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """OUT may be PROBS or IMAGES only where no file there has the name of a result."""
    before = {path: path.read_bytes() for path in folders[taken].iterdir()}
    with pytest.raises(SystemExit) as ended:
        command(*folders[:2], folders[taken], "--probs")
    assert ended.value.code == 2
    assert "OUT" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folders[taken].iterdir()} == before


def test_missing_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that is not there is named, without a traceback."""
    with pytest.raises(SystemExit) as ended:
        command(tmp_path / "nowhere", tmp_path, tmp_path / "out")
    assert ended.value.code == 2
    assert "nowhere" in capsys.readouterr().err


# Real images


def edge_strength(image: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Mean colour gradient of the image along the boundaries between labels."""
    grey = gaussian_filter(image.mean(axis=2), 1)
    gradient = np.hypot(*np.gradient(grey))
    boundary = np.zeros(labels.shape, bool)
    boundary[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    boundary[:-1] |= labels[:-1] != labels[1:]
    return float(gradient[binary_dilation(boundary)].mean())


def test_boundaries_move_to_image_edges_on_camvid(camvid_root: Path) -> None:
    """Labels known only in blocks of 16 pixels get boundaries along the edges of the image."""
    for path in sorted((camvid_root / "test").glob("*.png"))[:200:100]:
        image = np.array(Image.open(path))
        truth = np.array(Image.open(camvid_root / "testannot" / path.name))
        classes = torch.from_numpy(truth).long()
        one_hot = torch.nn.functional.one_hot(classes, 12).permute(2, 0, 1)[None].float()
        coarse = torch.nn.functional.avg_pool2d(one_hot, 16, ceil_mode=True)
        probs = torch.nn.functional.interpolate(coarse, size=truth.shape, mode="bilinear")[0]
        probs = (probs + 0.01) / (probs + 0.01).sum(dim=0)
        refined = dense_crf(probs, torch.from_numpy(image), **LARGEFOV)
        before, after = probs.argmax(0).numpy(), refined.argmax(0).numpy()
        assert edge_strength(image, after) > 1.15 * edge_strength(image, before)
        assert (after == truth).mean() > 0.9 * (before == truth).mean()
