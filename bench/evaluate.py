"""`python -m bench.evaluate RUN [dataset=...] [split=...]`: a trained network on other data.

Overrides are those of `python -m bench` that describe data: dataset=NAME, dataset.root=PATH and so
on; without them the run's own data set is read. The evidence is written to
RUN/elsewhere/DATASET-SPLIT-FINGERPRINT/evaluations, the predictions beside it.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from bench import records
from bench.command_line import compose_config, user_errors
from bench.composition import expanded
from bench.config import Config, fingerprint, write_config
from bench.data.schema import DatasetConfig
from bench.data.splits import load_splits
from bench.metrics.regions import region_scores, summed
from bench.overrides import value_of
from bench.run.evaluation import evaluate
from bench.run.monitor import Monitor
from bench.run.trained import Trained, add_arguments, load_trained
from bench.words import figures


def main() -> None:
    """Evaluates, writes the evidence and prints the scores."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluate", description=__doc__)
    add_arguments(parser)
    parser.add_argument("overrides", nargs="*", help="dataset=..., dataset.root=..., split=...")
    arguments = parser.parse_args()
    with user_errors(parser):
        trained = load_trained(arguments)
        split, overrides = split_of(arguments.overrides)
        dataset = dataset_config(trained, overrides, arguments.config_dir)
        config = replace(trained.config, dataset=dataset)
        out = evaluate_elsewhere(arguments.run, trained, config, split)
    print(f"written to {out}")


def split_of(overrides: list[str]) -> tuple[str, list[str]]:
    """Takes split=NAME out of the overrides; test where it is not given."""
    given = [text.removeprefix("split=") for text in overrides if text.startswith("split=")]
    rest = [text for text in overrides if not text.startswith("split=")]
    return (given or ["test"])[-1], rest


def dataset_config(
    trained: Trained, overrides: list[str], config_dir: Path | None
) -> DatasetConfig:
    """Returns the data set to evaluate on.

    Raises:
        ValueError: an override is wrong, or the classes are not those the network knows.
    """
    known = trained.config.dataset
    foreign = [text for text in overrides if text.split("=")[0].split(".")[0] != "dataset"]
    if foreign:
        raise ValueError(
            f"{foreign[0]}: only dataset=..., dataset.KEY=... and split=... can be chosen; "
            "the rest belongs to the run"
        )
    if not any(text.startswith("dataset=") for text in overrides):
        changed = {text.partition("=")[0]: str(value_of(text)) for text in overrides}
        unknown = changed.keys() - {"dataset.root"}
        if unknown:
            raise ValueError(f"{unknown.pop()}: give dataset=NAME with it")
        root = changed.get("dataset.root")
        return known if root is None else replace(known, root=expanded(root))
    dataset = compose_config(overrides, config_dir).dataset
    if dataset.classes != known.classes:
        raise ValueError(
            f"dataset {dataset.name} has the classes {', '.join(dataset.classes)}, but the "
            f"network was trained for {', '.join(known.classes)}"
        )
    return dataset


def evaluate_elsewhere(run: Path, trained: Trained, config: Config, split: str) -> Path:
    """Evaluates, writes evidence and predictions, prints the scores; returns the folder."""
    readable = "".join(c if c.isalnum() else "_" for c in f"{config.dataset.name}-{split}")
    name = f"{readable}-{fingerprint(config)}".lower()
    out = run / "elsewhere" / name
    pictures = out / "predictions" / records.evaluation_name(split, trained.iteration)
    pictures.mkdir(parents=True, exist_ok=True)
    data = load_splits(config, [split])[split]
    evidence = evaluate(
        trained.network,
        data,
        config,
        device=trained.device,
        monitor=Monitor(out),
        pictures=pictures,
    )
    write_config(out, config)
    if (run / "network.json").exists():  # what the weights were learned from before, for reports
        records.write_json(out / "network.json", records.read_json(run / "network.json"))
    summary = {"split": split, "iteration": trained.iteration, "images": len(data.names)}
    records.write_evaluation(out, summary, evidence)
    scores = figures(region_scores(summed(evidence["confusion"])), 1, scale=100)
    print(
        f"{config.arch['name']}, iteration {trained.iteration}, {config.dataset.name} "
        f"{split}, {len(data.names)} images: {scores} (percent)"
    )
    return out


if __name__ == "__main__":
    main()
