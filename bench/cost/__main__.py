"""`python -m bench.cost check`: whether measurements on this machine can be believed."""

import argparse
import sys
import textwrap

from bench.command_line import user_errors

WIDTH = 100
VERDICTS = {True: "ok", False: "FAILED", None: "note"}


def main() -> None:
    """Prints what the checks find, and exits with 1 if any of them failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.cost", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="known times, work and memory; noise; the driver")
    check.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    options = parser.parse_args()
    from bench.cost.check import check_machine  # noqa: PLC0415 - imports torch, a typo does not

    failed = False
    with user_errors(parser):
        for finding in check_machine(options.device):
            head = f"{VERDICTS[finding.sound]:<7} {finding.what:<27} "
            lines = textwrap.wrap(finding.text, WIDTH - len(head))
            print(head + ("\n" + " " * len(head)).join(lines), flush=True)
            failed |= finding.sound is False
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
