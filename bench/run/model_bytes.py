"""`python -m bench.run.model_bytes`: counts the bytes of networks' weights, without allocating any.

Standard input is a JSON list of configurations; output is one line for each, in order: bytes, or
null where a network cannot be built here.
"""

import json
import sys

import torch

from bench.config import Config
from bench.pretraining import without_weights
from bench.run.network import build_network, describe_network
from bench.typed import typed


def main() -> None:
    """Counts every network."""
    for content in json.load(sys.stdin):
        config = typed(Config, content)
        config.arch = without_weights(config.arch)
        try:
            with torch.device("meta"):
                size = describe_network(build_network(config))["model_bytes"]
        except Exception:  # noqa: BLE001 - whatever a user's network raises, the run will tell
            size = None
        print(json.dumps(size), flush=True)


if __name__ == "__main__":
    main()
