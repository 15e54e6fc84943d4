"""Fixtures that write hand-made runs and cost records into a folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from handmade import configuration, cost_record, write_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes the records of a run, with a share of the pixels right at its last iteration."""

    def make(name: str = "SegNet-Basic", share: float | None = 0.8, **options: Any) -> Path:
        writing = {
            key: options.pop(key)
            for key in ("fingerprint", "state", "spread", "digest", "shares", "runs", "code")
            if key in options
        }
        config = configuration(name, **options)
        shares = writing.pop("shares", None)
        if shares is None:
            shares = {} if share is None else {("test", config["max_iterations"]): share}
        return write_run(writing.pop("runs", tmp_path / "runs"), config, shares, **writing)

    return make


@pytest.fixture
def make_cost(tmp_path: Path) -> Callable[..., Path]:
    """Writes a cost record into the folder of the runs."""

    def make(name: str, forward: Sequence[float], **more: Any) -> Path:
        folder = tmp_path / "runs" / "cost"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(list(folder.iterdir()))}.json"
        path.write_text(json.dumps(cost_record(name, forward, **more)))
        return path

    return make
