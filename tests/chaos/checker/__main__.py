"""The command: see --help."""

import argparse
import json
import pathlib
import sys

from . import Result, Unusable, add_up, check_folder
from .report import summary


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check", description="Judges the evidence that rounds of the fault campaign left behind: whether any of "
        "the promises P1 to P18 was broken. Exit status: 0 none was, 1 one was, 2 the evidence cannot be judged.")
    parser.add_argument("folders", nargs="+", type=pathlib.Path, metavar="EVIDENCE_FOLDER",
                        help="a round's evidence; those of many are summed up")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="write the result there and a summary to standard output (default: the result itself)")
    return parser.parse_args()


def _check(folders: list[pathlib.Path]) -> tuple[dict[str, Result], int]:
    """(results by folder, how many folders could not be judged)."""
    results, unusable = {}, 0
    for folder in folders:
        try:
            results[str(folder)] = check_folder(folder)
        except Unusable as error:
            print(error, file=sys.stderr)
            unusable += 1
    return results, unusable


def main() -> int:
    """The exit status."""
    arguments = _arguments()
    results, unusable = _check(arguments.folders)
    if not results:
        return 2
    total = next(iter(results.values())) if len(arguments.folders) == 1 else add_up(results)
    text = json.dumps(total.as_json(), indent=2) + "\n"
    if arguments.json is None:
        sys.stdout.write(text)
    else:
        arguments.json.write_text(text, encoding="utf-8")
        print(summary(total, len(results)))
    if unusable:
        return 2
    return 0 if total.clean else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as failure:
        print(f"check: {failure}", file=sys.stderr)
        sys.exit(2)
