"""`python -m bench.data COMMAND`: look at a data set, fetch it, turn it into another form.

check dataset=NAME [dataset.root=PATH ...]   inspect before training
download camvid [--root PATH]                fetch CamVid from the authors' repository
prepare sunrgbd ROOT OUT                     any set, as plain folders at one size, once
bands dataset=folder dataset.root=PATH        measure mean and deviation of each band, once
cache [--prune [DAYS]]                       list the decoded splits on disk, or remove them
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.command_line import compose_config, user_errors
from bench.data import store
from bench.data.band_statistics import write_statistics
from bench.data.camvid import fetch
from bench.data.check import inspect
from bench.data.pairs import pairs_of
from bench.data.prepare import prepare
from bench.data.schema import DatasetConfig
from bench.overrides import override

# No network and no normalisation is concerned here. These suit a set of any bands, whose statistics
# may be unknown yet.
UNCONCERNED = ["arch=unet", "protocol.normalisation=none"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 1 where a check found something wrong."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with user_errors(parser):
        return int(options.run(options))
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="inspect a data set before training")
    check.add_argument("overrides", nargs="+", help="dataset=NAME, dataset.root=PATH, ...")
    used = "default: protocol.train_split, val and protocol.evaluation_splits"
    check.add_argument("--splits", nargs="+", default=[], help=used)
    check.add_argument("--sheet", type=Path, default=Path("contact_sheet.png"))
    check.add_argument("--config-dir", type=Path, help="a folder with your own dataset/ YAML files")
    check.set_defaults(run=_check)

    download = commands.add_parser("download", help="fetch a data set")
    download.add_argument("name", choices=["camvid"])
    download.add_argument("--root", type=Path, default=Path("data/camvid"))
    download.add_argument("--url", default=fetch.URL, help="of the folder to fetch from")
    download.set_defaults(run=_download)

    turn = commands.add_parser("prepare", help="turn a data set into plain folders at one size")
    turn.add_argument("name", help="of a data set in conf/dataset, such as sunrgbd")
    turn.add_argument("root", help="where it lies")
    turn.add_argument("out", type=Path, help="the folder to write")
    turn.add_argument("overrides", nargs="*", help="dataset.KEY=VALUE")
    turn.add_argument("--size", type=int, nargs=2, default=[360, 480], metavar=("H", "W"))
    turn.add_argument("--splits", nargs="+", default=["train", "test"])
    turn.add_argument("--threads", type=int, help="default: one a core")
    turn.set_defaults(run=_prepare)

    cache = commands.add_parser("cache", help="list the decoded splits on disk, or remove them")
    cache.add_argument("--folder", default=DatasetConfig.cache, help="dataset.cache")
    cache.add_argument(
        "--prune",
        type=float,
        nargs="?",
        const=0.0,
        metavar="DAYS",
        help="remove those unused for so many days; without a number, all",
    )
    cache.set_defaults(run=_cache)

    bands = commands.add_parser("bands", help="measure mean and deviation of each band, once")
    bands.add_argument("overrides", nargs="+", help="dataset=folder, dataset.root=PATH, ...")
    bands.set_defaults(run=_bands)

    return parser


def _with_neutral(overrides: list[str]) -> list[str]:
    given = {text.partition("=")[0] for text in overrides}
    return [text for text in UNCONCERNED if text.partition("=")[0] not in given] + overrides


def _check(options: argparse.Namespace) -> int:
    # `--splits train dataset=...` is meant as it looks.
    overrides = [*options.overrides, *(word for word in options.splits if "=" in word)]
    splits = [word for word in options.splits if "=" not in word]
    config = compose_config(_with_neutral(overrides), options.config_dir)
    protocol = config.protocol
    used = dict.fromkeys([protocol.train_split, "val", *protocol.evaluation_splits])
    problems = inspect(config, splits or list(used), options.sheet)
    print(f"{len(problems)} problems" if problems else "no problem found")
    return 1 if problems else 0


def _download(options: argparse.Namespace) -> int:
    count = fetch.download(options.root, options.url)
    print(f"{count} files fetched; CamVid is complete: dataset.root={options.root}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    height, width = options.size
    size = f"protocol.image_size=[{height},{width}]"
    root = override("dataset.root", options.root)
    config = compose_config([f"dataset={options.name}", root, size, *options.overrides])
    pairs = {split: pairs_of(config.dataset, split) for split in options.splits}
    count = prepare(config, pairs, options.out, options.threads)
    total = sum(map(len, pairs.values()))
    print(
        f"{count} of {total} pairs written; use dataset={options.name} dataset.root={options.out}"
    )
    return 0


def _bands(options: argparse.Namespace) -> int:
    config = compose_config(_with_neutral(options.overrides))
    path = write_statistics(config.dataset, config.protocol.train_split)
    print(f"{path}: mean and deviation of each band of {config.protocol.train_split}")
    return 0


def _cache(options: argparse.Namespace) -> int:
    folder = Path(options.folder).expanduser() / store.FOLDER
    removed = [] if options.prune is None else store.prune(folder, options.prune)
    stores, total = store.stores(folder), 0
    for path in stores:
        size, days = path.stat().st_size, store.unused_days(path)
        print(f"{size / 1e6:>8.0f} MB, unused for {days:.1f} days: {store.describe(path)}")
        total += size
    print(f"{folder}: {len(stores)} files, {total / 1e6:.0f} MB; {len(removed)} removed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
