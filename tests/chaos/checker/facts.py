"""What several checks ask of the evidence, worked out once."""

import bisect
import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator

from .contract import CANCELLED, Event, canonical, order_id_of_key, order_pb2, parse, read_event
from .evidence import EVENT_TOPICS, Attempt, DeadLetter, Evidence, Fault, HistoryRow, OutboxRow, Place, Record

Version = tuple[int, int]  # order id, version


@dataclasses.dataclass(slots=True)
class Change:
    """An outbox row and what its snapshot says."""

    row: OutboxRow
    canonical: bytes  # of the snapshot; empty: it is no order.v1.Order
    digest: str
    order_id: int
    version: int
    status: int
    token: str

    @property
    def key(self) -> Version:
        """Which version of which order."""
        return self.row.order_id, self.row.version

    @property
    def name(self) -> str:
        """For people."""
        return f"order {self.row.order_id} version {self.row.version} (sequence {self.row.sequence})"


def _first_word(text: str) -> str:
    """A token may be followed by a space and padding."""
    return text.split(" ", 1)[0]


def _read_change(row: OutboxRow) -> Change:
    order = parse(order_pb2.Order, row.snapshot)
    if order is None:
        return Change(row, b"", "", 0, 0, 0, "")
    data = canonical(order)
    token = _first_word(order.cancel_reason if order.status == CANCELLED else order.note)
    return Change(row, data, hashlib.sha256(data).hexdigest(), order.order_id, order.version, order.status, token)


def in_ranges(ranges: list[list[int]], number: int) -> bool:
    """Whether one of the ranges, ascending, holds the number."""
    at = bisect.bisect_right(ranges, number, key=lambda item: item[0])
    return at > 0 and ranges[at - 1][1] >= number


def read_after(observations: Iterable[Attempt]) -> Iterator[tuple[Attempt, list[Attempt]]]:
    """Each observation, by ascending start, with those that ended before it started and after the observation
    before it did: who keeps the best of all it was given knows what each must not fall behind."""
    by_start = sorted(observations, key=lambda attempt: attempt.start)
    by_end = sorted(by_start, key=lambda attempt: attempt.end)
    done = 0
    for attempt in by_start:
        first = done
        while done < len(by_end) and by_end[done].end < attempt.start:
            done += 1
        yield attempt, by_end[first:done]


class Facts:
    """The evidence, indexed."""

    def __init__(self, evidence: Evidence):
        self.evidence = evidence
        self.meta = evidence.meta
        self._index_outbox()
        self._index_records()
        self._index_letters()
        self._index_history()
        self.order_ids = {order.order_id for order in evidence.orders}
        self.deliveries = {delivery.order_id: delivery for delivery in evidence.deliveries}
        self.pending = {pending.order_id for pending in evidence.pending_orders}

    def _index_outbox(self) -> None:
        self.changes = [_read_change(row) for row in sorted(self.evidence.outbox, key=lambda row: row.sequence)]
        self.changes_of: dict[int, list[Change]] = defaultdict(list)  # by ascending sequence, with republished ones
        self.change_at: dict[Version, Change] = {}
        self.changes_by_token: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes:
            self.changes_of[change.row.order_id].append(change)
            if not change.row.republished:
                self.change_at.setdefault(change.key, change)
                self.changes_by_token[change.token].append(change)

    def _index_records(self) -> None:
        event_topics = {self.meta.topics[name] for name in EVENT_TOPICS}
        self.record_at: dict[Place, Record] = {record.place: record for record in self.evidence.records}
        self.dead_letter_records = [record for record in self.evidence.records
                                    if record.topic == self.meta.topics["dead_letter"]]
        # By partition and ascending offset.
        self.events: list[Event] = [read_event(record) for record in sorted(
            (record for record in self.evidence.records if record.topic in event_topics),
            key=lambda record: record.place)]
        self.event_at: dict[Place, Event] = {event.record.place: event for event in self.events}
        self.sent: dict[Version, list[Event]] = defaultdict(list)  # by the services
        for event in self.events:
            if event.valid and not event.chaos and event.version:
                self.sent[event.order_id, event.version].append(event)

    def _index_letters(self) -> None:
        self.letters_at: dict[Place, list[DeadLetter]] = defaultdict(list)
        self.lettered: set[int] = set()  # orders that some dead letter is about
        for letter in self.evidence.dead_letters:
            self.letters_at[letter.place].append(letter)
            self.lettered.add(self.letter_order(letter))
        self.lettered.discard(0)

    def letter_order(self, letter: DeadLetter) -> int:
        """The order that a dead letter is about; 0: nobody knows."""
        event = self.event_at.get(letter.place)
        if event is None:
            return order_id_of_key(letter.key) or 0
        return event.order_id if event.valid else 0

    def _index_history(self) -> None:
        self.history_of: dict[int, list[HistoryRow]] = defaultdict(list)  # by ascending revision
        for row in sorted(self.evidence.delivery_history, key=lambda row: (row.order_id, row.revision)):
            self.history_of[row.order_id].append(row)

    def others(self, fault: Fault, start: float, end: float) -> bool:
        """Whether any other fault, until all was known to be well after it, reaches into the time."""
        limit = self.meta.recovery_limit_seconds
        return any(other is not fault and other.start <= end
                   and max(other.healed, other.recovered or other.healed + limit) >= start
                   for other in self.evidence.faults)

    def healed_together(self, fault: Fault) -> float:
        """When the fault, the one that it came with, and those that overlap with one of these were all healed."""
        healed = fault.healed
        for other in sorted(self.evidence.faults, key=lambda other: other.start):
            if other.fault == fault.pair or (other.healed >= fault.start and other.start <= healed):
                healed = max(healed, other.healed)
        return healed
