"""Runs the fault campaign; started by tests/chaos/run, which says what the options mean."""

import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time
import traceback

CHAOS = pathlib.Path(__file__).resolve().parent
PROMISES = [f"P{number}" for number in range(1, 19)]
CASES = ("full-domain", "full-per-event", "zero-domain", "zero-per-event")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/chaos/run", add_help=False)
    parser.add_argument("--faults", type=_positive, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", choices=(*CASES, "all"), default="all")
    parser.add_argument("--orders", type=int, default=0)
    parser.add_argument("--faults-per-round", type=_positive, default=30)
    parser.add_argument("--kinds", default="")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--evidence", type=pathlib.Path, required=True)
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


class Campaign:
    """All rounds, and what they come to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options, self._folder = options, options.evidence
        self._kept: list[pathlib.Path] = []
        self._violations: collections.Counter[str] = collections.Counter()
        self._figures: collections.Counter[str] = collections.Counter()
        self._by_kind: collections.Counter[str] = collections.Counter()
        self._recoveries: list[float] = []
        self.problems: list[str] = []

    def run(self) -> None:
        import all_faults
        import faults
        import ground
        import rounds

        options = self._options
        kinds = all_faults.chosen(options.kinds)
        base = ground.Ground(options.work)
        try:
            possible = []
            for kind in kinds:
                reason = kind.unavailable(base)
                if reason:
                    print(f"left out: {kind.kind}: {reason}")
                else:
                    possible.append(kind)
            if not possible:
                raise SystemExit("none of these faults is possible here")
            self._run_rounds(base, rounds, faults.schedule(possible, options.seed, options.faults))
        finally:
            base.close()

    def _run_rounds(self, base, rounds, slots: list) -> None:
        cases = CASES if self._options.case == "all" else (self._options.case,)
        done = number = 0
        while slots:
            share: list = []
            while slots and sum(map(len, share)) < self._options.faults_per_round:
                share.append(slots.pop(0))
            case = cases[number % len(cases)]
            number += 1
            folder = self._folder / f"round-{number}"
            print(f"round {number}, {case}, {sum(map(len, share))} faults", flush=True)
            one = rounds.Round(base, folder, case, self._options.seed, number, share, done, self._options.orders)
            done += sum(map(len, share))
            try:
                one.run()
            except Exception as error:
                self._fail(one, error)
                base.mend()
            else:
                self._judge(one)

    def _fail(self, one, error: Exception) -> None:
        """A round that could not be brought to its end is a failure, and the next one may tell more."""
        (one.folder / "error.txt").write_text(traceback.format_exc())
        self.problems += [f"{one.folder.name} could not be finished: {error!r}", *one.problems]
        self._kept.append(one.folder)
        print(f"  problem: {self.problems[-1 - len(one.problems)]}", flush=True)

    def _judge(self, one) -> None:
        result_file = one.folder / "result.json"
        checked = subprocess.run([CHAOS / "checker/check", "--json", result_file, one.folder], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, check=False)
        print("  " + checked.stdout.strip().replace("\n", "\n  "), flush=True)
        for problem in one.problems:
            print(f"  problem: {problem}", flush=True)
        self.problems += one.problems
        if not result_file.exists():
            self.problems.append(f"the evidence of round {one.folder.name} cannot be judged")
        else:
            result = json.loads(result_file.read_text())
            self._violations.update(result["violations"])
            for name in ("orders", "writes_acknowledged", "writes_unknown", "events"):
                self._figures[name] += result["statistics"][name]
        for fault in one.happened:
            self._by_kind[fault.fault.kind] += 1
            self._figures["faults"] += 1
            self._figures["faults_in_flight"] += fault.in_flight
            if fault.recovery_seconds is not None:
                self._recoveries.append(fault.recovery_seconds * 1000)
        if checked.returncode != 0 or one.problems or self._options.keep:
            self._kept.append(one.folder)
        else:
            shutil.rmtree(one.folder)

    def result(self, seconds: float) -> dict:
        figures = self._figures
        return {
            "seed": self._options.seed, "faults": figures["faults"], "faults_in_flight": figures["faults_in_flight"],
            "by_kind": dict(sorted(self._by_kind.items())), "orders": figures["orders"],
            "writes_acknowledged": figures["writes_acknowledged"], "writes_unknown": figures["writes_unknown"],
            "events": figures["events"],
            "violations": {promise: self._violations[promise] for promise in PROMISES},
            "recovery_ms": {"p50": round(statistics.median(self._recoveries), 1) if self._recoveries else None,
                            "max": round(max(self._recoveries), 1) if self._recoveries else None},
            "seconds": round(seconds, 1), "problems": self.problems}

    @property
    def kept(self) -> list[pathlib.Path]:
        return self._kept


def _summary(result: dict, campaign: Campaign) -> bool:
    """Prints it; whether all is well."""
    recovery = result["recovery_ms"]
    print(f"\nseed {result['seed']}: {result['faults']} faults, {result['faults_in_flight']} with work in flight; "
          f"{result['orders']:,} orders, {result['writes_acknowledged']:,} acknowledged writes, "
          f"{result['writes_unknown']:,} unknown, {result['events']:,} events; "
          f"back after {recovery['p50']} ms (p50), {recovery['max']} ms (max); took {result['seconds']:.0f} s")
    broken = {promise: count for promise, count in result["violations"].items() if count}
    if broken:
        print("violations: " + ", ".join(f"{promise} {count}" for promise, count in broken.items()))
    for problem in campaign.problems:
        print(f"problem: {problem}")
    for folder in campaign.kept:
        print(f"evidence: {folder}")
    # What is no promise's failed too: the campaign as a whole is the test of that.
    failed = len(broken) + bool(campaign.problems)
    print(f"{len(PROMISES) + 1 - failed} passed, {failed} failed")
    return failed == 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    options = _arguments()
    # Started in the background by a script, it would ignore an interrupt.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    begin = time.monotonic()
    schemas_folder = options.work / "schemas"
    schemas_folder.mkdir()
    sys.path[1:1] = [str(schemas_folder), str(CHAOS.parent / "integration")]
    from support import schemas
    schemas.generate(schemas_folder)
    if options.list:
        import all_faults
        print("\n".join(kind.kind for kind in all_faults.KINDS))
        return 0
    campaign = Campaign(options)
    try:
        campaign.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        for folder in campaign.kept:
            print(f"evidence: {folder}", file=sys.stderr)
        for folder in set(options.evidence.iterdir()) - set(campaign.kept):
            shutil.rmtree(folder, ignore_errors=True)
        return 130
    result = campaign.result(time.monotonic() - begin)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if _summary(result, campaign) else 1


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    os._exit(exit_code)  # client libraries' threads are no reason to wait
