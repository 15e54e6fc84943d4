"""How many files of ours a run executes: what a newcomer would have to read to follow one."""

import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from bench.config import Config
from bench.run.__main__ import execute
from bench.run.monitor import Monitor
from bench.run.network import build_network

ROOT = Path(__file__).parents[2]
# Another file is a decision, not an accident: what is off is not executed.
MOST = 49


def test_a_tiny_run_executes_few_files(
    tiny_config: Callable[..., Config], prepared: Callable[..., tuple[Path, Monitor]]
) -> None:
    config = tiny_config("max_iterations=2", "dataset.cache=null")
    folder, _ = prepared(config)
    build_network(config)  # to import is not to execute, whichever test came first
    executed = set()

    def called(frame: FrameType, event: str, _: Any) -> None:
        # Functions alone: whether a module's own lines run depends on who imported it before.
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            executed.add(frame.f_code.co_filename)

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        assert execute(folder) == 0
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    rooms = tuple(f"{ROOT / name}/" for name in ("architectures", "bench", "reports"))
    ours = sorted(
        Path(name).relative_to(ROOT).as_posix() for name in executed if name.startswith(rooms)
    )
    assert "bench/run/run.py" in ours
    assert "bench/run/training.py" in ours
    assert not [name for name in ours if name.startswith(("reports/", "bench/crf/", "bench/cost/"))]
    assert len(ours) <= MOST, ours
