"""What reports rely on in each record of a run, in the language of bench.sound_files.require.

Records have more than that; a run whose record does not fit is passed over with a sentence.
"""

from typing import Any

from bench.sound_files import Name

CONFIG: dict[str, Any] = {
    "fingerprint": Name,
    "version?": int,
    "config": {
        "arch": {"name": Name},
        "dataset": {"name": Name, "classes": [Name], "note?": str, "sequence?": (None, str)},
        "protocol": {
            "name": Name,
            "image_size": [int],
            "validation": {"every": (None, int), "split?": Name, "criterion?": Name},
            "evaluation_splits": [Name],
            "class_weights": (Name, [float]),
        },
        "seed": int,
        "max_iterations": int,
    },
}
SHAPES: dict[str, dict[str, Any]] = {
    "network.json": {
        "parameters?": int, "trainable_parameters?": int, "model_bytes?": int,
        "initialisation?": Name, "loaded_weights?": {"*": str},
    },
    "environment.json": {"device?": (None, Name), "commit?": (None, Name)},
    "data.json": {
        "splits?": {"*": {"images": int, "digest": Name, "names?": Name}},
        "class_weights?": (None, [float]),
    },
    "end.json": {
        "state": Name, "reason?": (None, str), "iteration?": int, "max_iterations?": int,
    },
    "progress.json": {"time?": float, "phase?": Name, "done?": int, "total?": int},
}  # fmt: skip
