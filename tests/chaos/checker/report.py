"""What was found, counted and summed up."""

import dataclasses
import statistics
from collections import Counter

from .facts import Facts

PROMISES = tuple(f"P{number}" for number in range(1, 19))
MAX_EXAMPLES = 20


class Findings:
    """Collects violations while the checks run."""

    def __init__(self) -> None:
        self.violations = dict.fromkeys(PROMISES, 0)
        self.examples: dict[str, list[str]] = {}
        self.checked = dict.fromkeys(PROMISES, 0)

    def violation(self, promise: str, sentence: str) -> None:
        """Something that breaks the promise, in a sentence that names the ids."""
        self.violations[promise] += 1
        examples = self.examples.setdefault(promise, [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(sentence)

    def looked_at(self, promise: str, count: int = 1) -> None:
        """So many things could have broken the promise: a promise with none was not put to the test."""
        self.checked[promise] += count


@dataclasses.dataclass
class Result:
    """What the checks of one folder, or of many, came to."""

    violations: dict[str, int]
    examples: dict[str, list[str]]
    statistics: dict
    recoveries_ms: list[float]

    @property
    def clean(self) -> bool:
        """Nothing was violated."""
        return not any(self.violations.values())

    def as_json(self) -> dict:
        """For a file."""
        return {"violations": self.violations, "examples": self.examples, "statistics": self.statistics}


def _recovery(recoveries_ms: list[float]) -> dict[str, float | None]:
    if not recoveries_ms:
        return {"p50": None, "max": None}
    return {"p50": round(statistics.median(recoveries_ms), 1), "max": round(max(recoveries_ms), 1)}


def _writes(facts: Facts) -> tuple[int, int]:
    """(requests with an OK answer, requests whose answer was lost until it was asked for again at the end)."""
    acknowledged, told, sent = set(), set(), set()
    for attempt in facts.evidence.history:
        if not attempt.token:
            continue
        sent.add(attempt.token)
        if attempt.status == "ok":
            acknowledged.add(attempt.token)
        if attempt.status != "unknown" and attempt.purpose != "resolve":
            told.add(attempt.token)
    return len(acknowledged), len(sent - told)


def make_result(facts: Facts, findings: Findings) -> Result:
    """The findings, and figures of the round."""
    faults = facts.evidence.faults
    recoveries = [(fault.recovered - facts.healed_together(fault)) * 1000 for fault in faults
                  if fault.recovered is not None]
    acknowledged, unknown = _writes(facts)
    figures = {
        "orders": len(facts.evidence.orders),
        "writes_acknowledged": acknowledged,
        "writes_unknown": unknown,
        "events": sum(1 for event in facts.events if not event.chaos),
        "faults": len(faults),
        "faults_in_flight": sum(fault.in_flight for fault in faults),
        "by_kind": dict(sorted(Counter(fault.kind for fault in faults).items())),
        "recovery_ms": _recovery(recoveries),
        "checked": findings.checked,
    }
    return Result(findings.violations, findings.examples, figures, recoveries)


def add_up(results: dict[str, Result]) -> Result:
    """One result of many, by their names, which the examples then begin with."""
    findings = Findings()
    figures: dict = {"orders": 0, "writes_acknowledged": 0, "writes_unknown": 0, "events": 0, "faults": 0,
                     "faults_in_flight": 0, "by_kind": Counter(), "recovery_ms": {}, "checked": Counter()}
    recoveries: list[float] = []
    for name, result in results.items():
        recoveries += result.recoveries_ms
        for promise, count in result.violations.items():
            findings.violations[promise] += count
            for example in result.examples.get(promise, []):
                examples = findings.examples.setdefault(promise, [])
                if len(examples) < MAX_EXAMPLES:
                    examples.append(f"{name}: {example}")
        for figure, value in result.statistics.items():
            if isinstance(value, int):
                figures[figure] += value
        figures["by_kind"].update(result.statistics["by_kind"])
        figures["checked"].update(result.statistics["checked"])
    figures["by_kind"] = dict(sorted(figures["by_kind"].items()))
    figures["checked"] = {promise: figures["checked"][promise] for promise in PROMISES}
    figures["recovery_ms"] = _recovery(recoveries)
    return Result(findings.violations, findings.examples, figures, recoveries)


def summary(result: Result, folders: int) -> str:
    """For people."""
    figures = result.statistics
    lines = [f"{promise}: {sentence}" for promise, examples in result.examples.items() for sentence in examples]
    untested = [promise for promise, count in figures["checked"].items() if count == 0]
    if untested:
        lines.append(f"not put to the test: {', '.join(untested)}")
    lines.append(f"{folders} {'round' if folders == 1 else 'rounds'}, {figures['orders']:,} orders, "
                 f"{figures['writes_acknowledged']:,} acknowledged writes, {figures['writes_unknown']:,} unknown, "
                 f"{figures['events']:,} events, {figures['faults']:,} faults "
                 f"({figures['faults_in_flight']:,} with work in flight)")
    broken = {promise: count for promise, count in result.violations.items() if count}
    lines.append("violations: " + (", ".join(f"{promise} {count:,}" for promise, count in broken.items()) or "none"))
    return "\n".join(lines)
