"""The benchmark: trains, measures and records networks for semantic segmentation."""

from bench.memory_limits import tell_refused_memory

tell_refused_memory()
