"""The decoded form of a split: its store is opened, or the split is decoded into one, once."""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import PIL
import tifffile
from numpy.typing import NDArray

from bench.config import Config
from bench.data.ahead import ahead
from bench.data.class_weights import pixel_counts
from bench.data.decoding import Decoder
from bench.data.pairs import Pair
from bench.data.schema import NOT_IN_FINGERPRINT, Residence
from bench.data.store import FOLDER, Store, build, opened
from bench.typed import hashed

log = logging.getLogger("bench")

Progress = Callable[[str, int, int], None]  # phase, done, total

WORTH_BYTES = 32e6  # smaller splits are decoded in less time than their files are looked after


def decoded(config: Config, name: str, pairs: list[Pair], progress: Progress) -> Store:
    """Opens the store of a split, or decodes the split into one."""
    fill, key = partial(_filled, config, name, pairs, progress), _key(config, pairs)
    mapped, known = (key and key.with_suffix(suffix) for suffix in (".store", ".index"))
    places = [(mapped, True), (None, True), (known, False)]
    for path, arrays in places[2 if config.dataset.resident == Residence.files else 0 :]:
        try:
            return (path and opened(path)) or build(path, len(pairs), fill, arrays=arrays)
        except OSError as error:
            log.warning(
                f"{path or 'temporary file'}: {error.strerror}; {name} will be decoded again "
                f"{'next time' if path else 'for every batch'}, unless dataset.cache has room"
            )
    return build(None, len(pairs), fill, arrays=False)


def _filled(
    config: Config, name: str, pairs: list[Pair], progress: Progress, known: dict[str, Any]
) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yields image, label and truth of every pair, and finds out what is known of them."""
    decoder, total = Decoder.of(config), hashlib.sha256()
    digests, pixels = [], []
    for index, (image, truth, digest) in enumerate(ahead(decoder.decode, pairs)):
        progress(f"reading {name}", index, len(pairs))
        digests.append(digest)
        pixels.append(pixel_counts(decoder.label(truth), decoder.num_classes).tolist())
        total.update(f"{pairs[index].name} {digest} {truth.shape}".encode() + truth.tobytes())
        yield image, truth
    size = "{1}x{0}".format(*decoder.size) if decoder.size else "their own size"
    about = f"{config.dataset.name} {name}, {len(pairs)} images at {size}"
    known |= {"about": about, "digests": digests, "pixels": pixels}
    known["digest"] = total.hexdigest()[:16]


def _key(config: Config, pairs: list[Pair]) -> Path | None:
    """Returns a path that stands for all that decides a decoded split; None: it is not kept."""
    dataset = config.dataset
    if dataset.cache is None or not pairs or not all(pair.files for pair in pairs):
        return None
    height, width = config.protocol.image_size or pairs[0].image().shape[:2]
    if 4 * len(pairs) * height * width < WORTH_BYTES:
        return None
    module = importlib.util.find_spec(dataset.reader["_target_"].rpartition(".")[0])
    code = [*sorted(Path(__file__).parent.rglob("*.py"))]
    code += [Path(module.origin)] if module is not None and module.origin is not None else []
    files = list(dict.fromkeys(file for pair in pairs for file in pair.files))
    digests = dict(zip(files, ahead(_file_digest, files), strict=True))
    content = [
        PIL.__version__,
        tifffile.__version__,
        list(map(_file_digest, code)),
        {k: v for k, v in hashed(dataset).items() if k not in NOT_IN_FINGERPRINT},
        config.protocol.image_size,
        [[pair.name, *(digests[file] for file in pair.files)] for pair in pairs],
    ]
    key = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return Path(dataset.cache).expanduser() / FOLDER / key


def _file_digest(path: Path) -> str:
    """Hashes a file, or raises ValueError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
