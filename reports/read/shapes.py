"""What reports rely on in each record of a run, in the language of bench.sound_files.require.

Records have more than that; a run whose record does not fit is passed over with a sentence.
"""

from typing import Any

from bench.sound_files import Name

CONFIG: dict[str, Any] = {
    "fingerprint": Name,
    "identity?": Name,
    "config": {
        "arch": {"name": Name, "pretraining?": {"data": Name, "labels": Name, "source": Name}},
        "dataset": {"name": Name, "classes": [Name], "note?": str, "sequence?": (None, str)},
        "protocol": {
            "name": Name,
            "image_size": (None, [int]),
            "augmentation?": {"crop?": (None, [int])},
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
        "initialisation?": Name, "loaded_weights?": {"*": str}, "size_multiple?": int,
        "weights_digest?": Name, "pretraining?": {"*": Name},
    },
    "environment.json": {
        "device?": (None, Name), "commit?": (None, Name), "code?": {"*": Name},
    },
    "data.json": {
        "splits?": {"*": {"images": int, "digest": Name, "names?": Name}},
        "class_weights?": (None, [float]),
    },
    "origin.json": {"source": Name, "folder": str},
    "end.json": {
        "state": Name, "reason?": (None, str),
        "iteration?": (None, int), "max_iterations?": (None, int),
    },
    "progress.json": {
        "time?": float, "phase?": Name, "done?": int, "total?": int,
        "details?": {"seconds?": float, "loss?": float},
    },
}  # fmt: skip

_TIMES = {name: [float] for name in ("forward_ms?", "backward_ms?", "optimiser_ms?", "step_ms?")}
_MEMORY = {
    "batch?": (None, int), "state?": (None, Name), "estimate_bytes?": (None, float),
    "readings?": (None, {"nvml_source?": (None, Name), "*": (None, float, Name)}),
    "baselines?": (None, {"*": (None, float)}),
}  # fmt: skip
COST: dict[str, Any] = {
    "state?": Name, "reason?": (None, str),
    "arch": {"name": Name}, "image_size": [int],
    "num_classes?": int, "precision?": (None, Name), "device?": (None, Name),
    "cost?": (None, {"tolerance?": float, "batch_size?": int, "backward?": bool}),
    "protocol?": (None, {
        "inference?": {"mode?": Name, "crop?": (None, [int]), "stride?": (None, [int])},
        "optimiser?": Name, "dice_weight?": float, "*": object,
    }),
    "environment?": (None, {"device?": (None, Name), "commit?": (None, Name), "threads?": int}),
    "arithmetic?": (None, {"*": (bool, Name, None)}),
    "work?": (None, {"*": (None, float)}), "storage?": (None, {"*": (None, float)}),
    "memory?": (None, {"training?": (None, _MEMORY), "inference?": (None, _MEMORY)}),
    "time?": (None, {
        **_TIMES, "batch?": int, "stopped_because?": Name, "dropped_samples?": int,
        "clock?": (None, frozenset({"wall", "device", "process"})),
        "clocks?": (None, {"*": (None, _TIMES)}),
    }),
    "calibration?": (None, {"reason?": (None, str), "*": (None, [float], Name)}),
    "energy?": (None, {"joules_per_image?": (None, float)}),
    "timed_with?": (None, [Name]),
}  # fmt: skip
DEPLOYED: dict[str, Any] = {
    "variant": str, "runtime": Name, "precision": Name, "bytes": int, "split": Name,
    "iteration": int, "image_size": [int], "any_size": bool, "runtime_version": Name,
    "file?": Name, "file_sha256?": Name, "batch_norms?": int, "calibration_images?": (None, int),
    "parity?": {
        "images": int, "largest_difference": float, "largest_logit": float, "labels": float,
        "agrees": bool,
    },
    "state?": Name, "reason?": (None, str),
    "environment?": (None, {"device?": (None, Name), "threads?": int}),
    "time?": (None, {
        **_TIMES, "clock?": (None, frozenset({"wall", "device", "process"})),
        "stopped_because?": Name, "clocks?": (None, {"*": (None, _TIMES)}),
    }),
    "memory?": (None, _MEMORY), "timed_with?": [Name],
}  # fmt: skip
