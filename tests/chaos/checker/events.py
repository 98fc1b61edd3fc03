"""P12 to P14: what becomes of each record of the event topics."""

from collections import defaultdict

from .contract import Event, delivery_operations_pb2, parse, place_name
from .evidence import DeadLetter, OffsetsSample, Place, Record
from .facts import Facts
from .report import Findings

SOURCE = ("lockstep-source-topic", "lockstep-source-partition", "lockstep-source-offset")


def check(facts: Facts, findings: Findings) -> None:
    """All three."""
    _check_effects(facts, findings)
    _check_counters(facts, findings)
    _Letters(facts, findings).check()
    _Offsets(facts, findings).check()


def _has_version(event: Event) -> bool:
    """It is an event that must have had an effect. What is garbage only to the campaign may have had any."""
    return event.valid and event.version > 0 and event.chaos != "garbage"


# --- P12 ---


def _check_effects(facts: Facts, findings: Findings) -> None:
    """Every event was applied, or something newer, or waits, or was given up on."""
    for event in facts.events:
        if not _has_version(event):
            continue
        findings.looked_at("P12")
        delivery = facts.deliveries.get(event.order_id)
        applied = 0 if delivery is None else delivery.order_version
        if applied < event.version and event.order_id not in facts.pending and event.order_id not in facts.lettered:
            findings.violation("P12", f"record {event.name} tells of order {event.order_id} version {event.version}; "
                                      f"its delivery is at {applied}, and it is neither pending nor a dead letter")


# --- P13 ---


def _check_counters(facts: Facts, findings: Findings) -> None:
    for sample in facts.evidence.consumer_samples:
        if sample.kind != "consumer_final":
            continue
        findings.looked_at("P13")
        parts = {name: sample.counters[name] for name in ("applied", "stale", "pending", "dead_lettered")}
        if sample.counters["consumed"] != sum(parts.values()):
            findings.violation("P13", f"{sample.service} (process {sample.pid}) consumed "
                                      f"{sample.counters['consumed']}, which is not "
                                      f"{' + '.join(f'{count} {name}' for name, count in parts.items())}")


def _foreign(headers: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Headers that are not the delivery service's own."""
    return [header for header in headers if not header[0].startswith("lockstep-")]


class _Letters:
    """What cannot be read is a dead letter, in the table and in its topic, and nothing else is."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings

    def _found(self, sentence: str) -> None:
        self.findings.violation("P13", sentence)

    def check(self) -> None:
        """All records that cannot be read, and all dead letters."""
        sent = self._sent()
        for event in self.facts.events:
            if not event.valid:
                self.findings.looked_at("P13")
                if event.record.place not in self.facts.letters_at:
                    self._found(f"record {event.name} is no dead letter, though {event.problem}")
                self._check_sent(event.record, sent.get(event.record.place, []))
        for letter in self.facts.evidence.dead_letters:
            self.findings.looked_at("P13")
            self._check_letter(letter)

    def _sent(self) -> dict[Place, list[Record]]:
        """The dead-letter topic's records by where they come from."""
        found: dict[Place, list[Record]] = defaultdict(list)
        for record in self.facts.dead_letter_records:
            topic, partition, offset = (record.header(name) for name in SOURCE)
            try:
                found[(topic or b"").decode(), int(partition or b""), int(offset or b"")].append(record)
            except ValueError:
                self._found(f"record {place_name(record.place)} does not say where it comes from")
        return found

    def _check_sent(self, source: Record, records: list[Record]) -> None:
        name = place_name(source.place)
        if not records:
            self._found(f"record {name} is not in the dead-letter topic")
        for record in records:
            too_large = record.header("lockstep-value-bytes") == str(len(source.value or b"")).encode()
            if record.value != source.value and not (too_large and record.value is None):
                self._found(f"record {name} has another value in the dead-letter topic, at {place_name(record.place)}")
            if (record.key or b"") != (source.key or b"") or _foreign(record.headers) != _foreign(source.headers):
                self._found(f"record {name} has another key or other headers in the dead-letter topic, at "
                            f"{place_name(record.place)}")

    def _check_letter(self, letter: DeadLetter) -> None:
        name = f"dead letter {letter.dead_letter_id} of {place_name(letter.place)}"
        event = self.facts.event_at.get(letter.place)
        order_id = self.facts.letter_order(letter)
        if letter.offset >= 0 and event is None:
            self._found(f"{name} names no record of the event topics")
        if event is not None:
            self._check_bytes(name, letter, event.record)
        readable = event.valid and event.chaos not in ("garbage", "unknown-order") if event else letter.offset < 0
        if readable and order_id in self.facts.order_ids:
            self._found(f"{name} can be read: it is about order {order_id}, which exists")

    def _check_bytes(self, name: str, letter: DeadLetter, record: Record) -> None:
        if (letter.key, letter.value) != (record.key, record.value):
            self._found(f"{name} has another key or value than the record")
        holder = parse(delivery_operations_pb2.DeadLetter, letter.headers)
        if holder is None or [(header.key, header.value) for header in holder.headers] != record.headers:
            self._found(f"{name} has other headers than the record")


# --- P14 ---


class _Offsets:
    """Each time it was looked: what lies below the committed offsets had its effect by then."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings
        self.events_of: dict[str, list[Event]] = defaultdict(list)  # by ascending offset
        for event in facts.events:
            self.events_of[f"{event.record.topic}/{event.record.partition}"].append(event)
        self.taken: dict[str, int] = defaultdict(int)  # events of each partition that were looked at
        self.versions: dict[int, int] = {}
        self.letters: set[Place] = set()
        self.lettered: set[int] = set()
        self.waiting: list[Event] = []  # below the offsets, excused by a pending order so far

    def check(self) -> None:
        """All samples."""
        for sample in self.facts.evidence.offsets_samples:
            self._take(sample)
            pending = set(sample.pending)
            events, self.waiting = self.waiting + self._passed(sample), []
            for event in events:
                self._check_event(event, pending, sample)

    def _take(self, sample: OffsetsSample) -> None:
        self.versions.update(sample.versions)
        for topic, partition, offset in sample.letters:
            place = topic, partition, offset
            if place not in self.letters:
                self.letters.add(place)
                self.lettered.update(self.facts.letter_order(letter) for letter in self.facts.letters_at.get(place, []))

    def _passed(self, sample: OffsetsSample) -> list[Event]:
        """Events that the offsets cover now and did not before."""
        passed = []
        for name, committed in sample.committed.items():
            events, at = self.events_of.get(name, []), self.taken[name]
            while at < len(events) and events[at].record.offset < committed:
                passed.append(events[at])
                at += 1
            self.taken[name] = at
        return passed

    def _check_event(self, event: Event, pending: set[int], sample: OffsetsSample) -> None:
        self.findings.looked_at("P14")
        if not event.valid:
            if event.record.place not in self.letters:
                self._found(event, sample, f"no dead letter, though {event.problem}")
        elif _has_version(event):
            if self.versions.get(event.order_id, 0) >= event.version or event.record.place in self.letters:
                return
            if event.order_id in pending:
                self.waiting.append(event)
            elif event.order_id not in self.lettered:
                self._found(event, sample, f"of order {event.order_id} version {event.version}, whose delivery was at "
                                           f"{self.versions.get(event.order_id, 0)} then")

    def _found(self, event: Event, sample: OffsetsSample, why: str) -> None:
        self.findings.violation("P14", f"at {sample.time:.3f} the offsets had passed record {event.name}, {why}")
