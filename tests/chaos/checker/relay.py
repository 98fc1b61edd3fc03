"""P4 to P8: how what is in the outbox reaches the topics."""

import bisect
import itertools
import math
from collections import defaultdict

from .contract import Event
from .evidence import Fault, LeadersSample
from .facts import Change, Facts, in_ranges
from .report import Findings

HELD_GRACE_SECONDS = 3  # so long the relay may take to pass the number of a transaction that is held


def check(facts: Facts, findings: Findings) -> None:
    """All five."""
    _Sending(facts, findings).check()
    _check_done(facts, findings)
    _check_order(facts, findings)
    _check_partitions(facts, findings)
    for fault in facts.evidence.faults:
        if fault.kind == "held_transaction":
            findings.looked_at("P6")
            _check_passed(fault, facts, findings)
            _check_held_row(fault, facts, findings)
    for gap in facts.evidence.relay.gaps:
        findings.violation("P6", f"the gap {gap[0]} to {gap[1]} is left at the end")
    _check_leaders(facts, findings)
    _check_sizes(facts, findings)


# --- P4, and P8 of orders with a version that is too large to be sent whole ---


class _Sending:
    """Which rows were in a topic by when, and by when the relay said so."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings
        self.samples = facts.evidence.relay_samples
        self.large_from: dict[int, int] = {}  # sequence of the first large version of each order that has one
        for change in facts.changes:
            if len(change.row.snapshot) > facts.meta.max_event_bytes:
                self.large_from.setdefault(change.row.order_id, change.row.sequence)

    def check(self) -> None:
        """Every row is in a topic, and was before the relay had it done."""
        done, ends = self._done_at(), self._ends()
        rows: dict[tuple[int, int], list[Change]] = defaultdict(list)
        for change in self.facts.changes:
            rows[change.key].append(change)
        for key, changes in rows.items():
            seen = sorted(self._sample_of(event, ends) for event in self.facts.sent.get(key, []))
            # A version that was republished has a row, and a record, for each time.
            for change, sample in itertools.zip_longest(changes, seen[:len(changes)]):
                self._check_row(change, sample, done.get(change.row.sequence))

    def _check_row(self, change: Change, sample: int | None, done: int | None) -> None:
        promise = "P8" if change.row.sequence >= self.large_from.get(change.row.order_id, math.inf) else "P4"
        self.findings.looked_at(promise)
        if sample is None:
            self.findings.violation(promise, f"{change.name} is in no topic")
        elif done is not None and done < sample:
            self.findings.violation(promise, f"{change.name} was done for the relay at {self.samples[done].time:.3f}, "
                                             "but not in a topic then")

    def _done_at(self) -> dict[int, int]:
        """By sequence number: the first sample in which the relay had the row done."""
        done: dict[int, int] = {}
        waiting: list[int] = []
        numbers = [change.row.sequence for change in self.facts.changes]
        at = 0
        for index, sample in enumerate(self.samples):
            end = bisect.bisect_right(numbers, sample.highest, lo=at)
            waiting += numbers[at:end]
            at = max(at, end)
            gaps = sorted(sample.gaps)
            open_ones = []
            for number in waiting:
                if number > sample.highest or in_ranges(gaps, number):
                    open_ones.append(number)
                else:
                    done[number] = index
            waiting = open_ones
        return done

    def _ends(self) -> dict[str, list[int]]:
        """By partition: its end in each sample."""
        names = {name for sample in self.samples for name in sample.ends}
        ends: dict[str, list[int]] = {name: [] for name in names}
        for name, found in ends.items():
            end = 0
            for sample in self.samples:
                end = max(end, sample.ends.get(name, 0))
                found.append(end)
        return ends

    @staticmethod
    def _sample_of(event: Event, ends: dict[str, list[int]]) -> int:
        """The first sample at which the record was in its topic."""
        record = event.record
        return bisect.bisect_right(ends.get(f"{record.topic}/{record.partition}", []), record.offset)


def _check_done(facts: Facts, findings: Findings) -> None:
    """At the end nothing waits."""
    place = facts.evidence.relay
    gaps = sorted(place.gaps)
    for change in facts.changes:
        if change.row.sequence > place.highest:
            findings.violation("P4", f"{change.name} waits at the end: the relay is at {place.highest}")
        elif in_ranges(gaps, change.row.sequence):
            findings.violation("P4", f"{change.name} waits at the end: it is in a gap of the relay")


# --- P5 ---


def _check_order(facts: Facts, findings: Findings) -> None:
    """In the domain topic versions come for the first time in their order. Events are by partition and offset."""
    newest: dict[tuple[int, int], Event] = {}
    seen: set[tuple[int, int]] = set()
    for event in facts.events:
        key = event.order_id, event.version
        if (event.record.topic != facts.meta.topics["domain"] or not event.valid or event.chaos or not event.version
                or key in seen):
            continue
        seen.add(key)
        findings.looked_at("P5")
        before = newest.get((event.record.partition, event.order_id))
        if before is not None and before.version > event.version:
            findings.violation("P5", f"order {event.order_id} version {event.version} is at {event.name} for the first "
                                     f"time, after version {before.version} at {before.name}")
        else:
            newest[event.record.partition, event.order_id] = event


def _check_partitions(facts: Facts, findings: Findings) -> None:
    """In each topic an order is always in one partition."""
    first: dict[tuple[str, int], Event] = {}
    told = set()
    for event in facts.events:
        if event.chaos or not event.valid or event.record.header("lockstep-replay-of") is not None:
            continue
        key = event.record.topic, event.order_id
        before = first.setdefault(key, event)
        if before.record.partition != event.record.partition and key not in told:
            told.add(key)
            findings.violation("P5", f"order {event.order_id} is in two partitions: {before.name} and {event.name}")


# --- P6 ---


def _check_passed(fault: Fault, facts: Facts, findings: Findings) -> None:
    """The relay goes on while a transaction is held, if there was something to go on with and nothing else the
    matter."""
    if facts.others(fault, fault.start, fault.heal_begin):
        return
    held = fault.detail["sequence"]
    committed = min((attempt.end for attempt in facts.evidence.history
                     if attempt.status == "ok" and fault.start <= attempt.end <= fault.heal_begin
                     and _sequence(facts, attempt.order_id, attempt.version) > held), default=None)
    if committed is None:
        return
    samples = [sample for sample in facts.evidence.relay_samples
               if committed + HELD_GRACE_SECONDS < sample.time <= fault.heal_begin]
    if samples and all(sample.highest <= held for sample in samples):
        findings.violation("P6", f"fault {fault.fault}: while the transaction with sequence {held} was held, the relay "
                                 f"did not go beyond it, though a higher one was committed by {committed:.3f}")


def _sequence(facts: Facts, order_id: int, version: int) -> int:
    change = facts.change_at.get((order_id, version))
    return 0 if change is None else change.row.sequence


def _check_held_row(fault: Fault, facts: Facts, findings: Findings) -> None:
    """What was committed late is there, and sent."""
    if fault.detail["ends"] != "commit":
        return
    held = fault.detail["sequence"]
    change = next((change for change in facts.changes_of.get(fault.detail["order_id"], [])
                   if change.row.sequence == held), None)
    if change is None:
        # A fault of something else may have ended the transaction before its commit.
        if not facts.others(fault, fault.start, fault.healed):
            findings.violation("P6", f"fault {fault.fault}: sequence {held} was committed and is not in the outbox")
    elif change.key not in facts.sent:
        findings.violation("P6", f"fault {fault.fault}: {change.name} was committed late and is in no topic")


# --- P7 ---


def _check_leaders(facts: Facts, findings: Findings) -> None:
    limit, run = facts.meta.leader_overlap_seconds, list[LeadersSample]()
    for sample in facts.evidence.leaders_samples:
        findings.looked_at("P7")
        if sum(sample.leaders.values()) < 2:
            run = []
            continue
        run.append(sample)
        if run[-1].time - run[0].time > limit:
            names = " and ".join(name for name, leads in sorted(sample.leaders.items()) if leads)
            findings.violation("P7", f"{names} both led from {run[0].time:.3f} to {sample.time:.3f}, longer than "
                                     f"{limit:g} s")
            run = []


# --- P8 ---


def _check_sizes(facts: Facts, findings: Findings) -> None:
    limit = facts.meta.max_event_bytes
    for event in facts.events:
        if not event.chaos and len(event.record.value or b"") > limit:
            findings.violation("P8", f"record {event.name} has a value of {len(event.record.value or b'')} bytes, "
                                     f"more than {limit}")
