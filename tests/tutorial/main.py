"""What tests/tutorial/run runs: the tutorial, the comparison, and the totals."""

import argparse
import pathlib
import signal
import sys
import traceback

import comparison
import page
from outcome import Outcome


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--only", choices=("tutorial", "comparison"))
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--build-only", action="store_true")
    arguments = parser.parse_args()
    # An end from outside goes the way of an exception, past all that stops processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    outcome = Outcome()
    if arguments.build_only:
        comparison.build(outcome, comparison.Programs(arguments.work, arguments.jobs))
        sys.exit(0 if outcome.good() else 1)
    parts = {
        "tutorial": lambda: page.run(outcome, arguments.work, arguments.build, arguments.jobs),
        "comparison": lambda: comparison.run(outcome, arguments.work, arguments.jobs, arguments.update),
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            try:
                part()
            except Exception:  # one part that breaks is a failure, not the end of the other
                outcome.failed(name, traceback.format_exc())
    print(outcome.total())
    sys.exit(0 if outcome.good() else 1)


main()
