"""`python -m bench.doctor arch=mynet`: is a network fit for training, before GPU hours are spent?

Builds the network for small synthetic images and holds it to what the harness relies on: logits of
the input's size, gradients for every parameter, training and evaluation that behave, the same
numbers twice, and that it can memorise two batches. Overrides are those of `python -m bench`.
"""

import argparse
import sys
from pathlib import Path

from bench.command_line import compose_config, user_errors
from bench.doctor.examination import examine
from bench.doctor.patient import admit

DEFAULTS = [
    "dataset=synthetic",
    "protocol=demo",
    "protocol.precision=fp32",
    "protocol.channels_last=false",  # nearly twice as slow on a CPU without AVX-512
    "protocol.image_size=[64,64]",
    "protocol.augmentation={scale: null, crop: null}",
    "protocol.inference={mode: whole, crop: null, stride: null}",
]


def main() -> None:
    """Examines a network and prints what was found; exits with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.doctor", description=__doc__)
    parser.add_argument("overrides", nargs="*", help="arch=NAME and other overrides")
    parser.add_argument("--config-dir", type=Path, help="a folder with your own arch/ YAML files")
    arguments = parser.parse_args()
    with user_errors(parser):
        overrides = [*DEFAULTS, *arguments.overrides]
        patient = admit(compose_config(overrides, arguments.config_dir))
    kinds = []
    for finding in examine(patient):
        kinds.append(finding.kind)
        print(f"{finding.kind:>4}  {finding.text}", flush=True)
    healthy = "no fault found, but not all checked" if "open" in kinds else "fit for training"
    print(f"{kinds.count('bad')} faults" if "bad" in kinds else healthy)
    sys.exit(1 if "bad" in kinds else 0)


if __name__ == "__main__":
    main()
