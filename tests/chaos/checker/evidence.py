"""Loads a folder of evidence. What is missing, is no JSON or has not the shape it should have makes the whole folder
unusable: a check of half the evidence would prove nothing."""

import base64
import binascii
import dataclasses
import json
import pathlib
import types
import typing
from collections.abc import Callable, Iterator

EVENT_TOPICS = ("domain", "create", "change", "cancel")
STATUSES = ("ok", "failed", "unknown")
ORDER_WRITES = ("CreateOrder", "UpdateOrder", "CancelOrder")
DELIVERY_CALLS = ("GetDelivery", "DispatchDelivery", "CompleteDelivery")
PURPOSES = ("work", "repeat", "other_body", "resolve", "probe", "read")
COUNTERS = ("consumed", "applied", "stale", "pending", "dead_lettered", "lookups")

Place = tuple[str, int, int]  # topic, partition, offset


class Unusable(Exception):
    """The evidence cannot be judged; says which file, and where it can, which line."""


@dataclasses.dataclass(slots=True)
class Meta:
    """What the round was, and what it is measured by."""

    case: str
    topics: dict
    max_event_bytes: int
    last_heal: float
    converged: float | None
    convergence_limit_seconds: float
    recovery_limit_seconds: float
    probe_limit_seconds: float
    memory_limit_bytes: int
    leader_overlap_seconds: float


@dataclasses.dataclass(slots=True)
class Attempt:
    """One attempt of a client's call."""

    client: str
    attempt: int
    method: str
    request_id: str
    token: str
    body: str
    order_id: int
    min_version: int
    start: float
    end: float
    status: str
    code: str
    reason: str
    version: int
    revision: int
    state: int
    answer: str
    purpose: str


@dataclasses.dataclass(slots=True)
class ApiOrder:
    """An order by ListOrders."""

    order_id: int
    version: int
    status: int
    order: bytes


@dataclasses.dataclass(slots=True)
class TableOrder:
    """An order by SQL."""

    order_id: int
    version: int
    status: int


@dataclasses.dataclass(slots=True)
class OutboxRow:
    """A row of the outbox."""

    sequence: int
    order_id: int
    version: int
    type: int
    snapshot: bytes
    republished: bool


@dataclasses.dataclass(slots=True)
class RelayPlace:
    """Where the relay was at the end."""

    highest: int
    gaps: list


@dataclasses.dataclass(slots=True)
class Delivery:
    """A delivery: the row by SQL, the message by ListDeliveries."""

    order_id: int
    revision: int
    state: int
    order_version: int
    order_status: int
    delivery: bytes


@dataclasses.dataclass(slots=True)
class HistoryRow:
    """A row of delivery_history."""

    order_id: int
    revision: int
    cause: int
    order_version: int | None
    state: int
    change_time: float


@dataclasses.dataclass(slots=True)
class PendingOrder:
    """A row of pending_orders."""

    order_id: int


@dataclasses.dataclass(slots=True)
class DeadLetter:
    """A row of dead_letters."""

    dead_letter_id: int
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: bytes

    @property
    def place(self) -> Place:
        """Where its record stood."""
        return self.topic, self.partition, self.offset


@dataclasses.dataclass(slots=True)
class Record:
    """A record of a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.topic, self.partition, self.offset

    def header(self, name: str) -> bytes | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclasses.dataclass(slots=True)
class RelaySample:
    """The relay's place, and after that the ends of the topics."""

    time: float
    highest: int
    gaps: list
    ends: dict


@dataclasses.dataclass(slots=True)
class LeadersSample:
    """Which replicas said that they lead."""

    time: float
    leaders: dict


@dataclasses.dataclass(slots=True)
class OffsetsSample:
    """The group's offsets, and after that what delivery's database held."""

    time: float
    committed: dict
    versions: dict
    pending: list
    letters: list


@dataclasses.dataclass(slots=True)
class ConsumerSample:
    """What a consumer had counted."""

    kind: str
    service: str
    pid: int
    time: float
    counters: dict


@dataclasses.dataclass(slots=True)
class MemorySample:
    """What a process kept resident."""

    service: str
    time: float
    bytes: int


@dataclasses.dataclass(slots=True)
class Fault:
    """A fault and what it did."""

    fault: int
    kind: str
    targets: list
    start: float
    heal_begin: float
    healed: float
    in_flight: bool
    pair: int | None
    recovered: float | None
    acknowledged_writes: int
    detail: dict


@dataclasses.dataclass(slots=True)
class Probe:
    """A write and when delivery showed it."""

    start: float
    acknowledged: float | None
    visible: float | None
    order_id: int
    version: int


SAMPLES = {"relay": RelaySample, "leaders": LeadersSample, "offsets": OffsetsSample, "consumer": ConsumerSample,
           "consumer_final": ConsumerSample, "memory": MemorySample}


@dataclasses.dataclass(slots=True)
class Evidence:
    """All that a round left behind."""

    meta: Meta
    history: list[Attempt]
    orders: list[ApiOrder]
    orders_table: list[TableOrder]
    outbox: list[OutboxRow]
    relay: RelayPlace
    deliveries: list[Delivery]
    delivery_history: list[HistoryRow]
    pending_orders: list[PendingOrder]
    dead_letters: list[DeadLetter]
    records: list[Record]
    relay_samples: list[RelaySample]
    leaders_samples: list[LeadersSample]
    offsets_samples: list[OffsetsSample]
    consumer_samples: list[ConsumerSample]
    memory_samples: list[MemorySample]
    faults: list[Fault]
    probes: list[Probe]


# --- Fields ---


def _integer(value: object) -> int:
    if type(value) is not int:
        raise ValueError("is no integer")
    return value


def _number(value: object) -> float:
    if type(value) not in (int, float):
        raise ValueError("is no number")
    return float(typing.cast(float, value))


def _binary(value: object) -> bytes:
    if type(value) is not str:
        raise ValueError("is no base64 text")
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("is no base64 text") from error


def _exactly(wanted: type, name: str) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if type(value) is not wanted:
            raise ValueError(f"is no {name}")
        return value
    return convert


_CONVERTERS: dict[type, Callable] = {
    int: _integer, float: _number, bytes: _binary, str: _exactly(str, "text"),
    bool: _exactly(bool, "truth value"), list: _exactly(list, "list"), dict: _exactly(dict, "object"),
}


def _converter(hint: object) -> Callable[[object], object]:
    if isinstance(hint, types.UnionType):
        inner = _CONVERTERS[next(part for part in typing.get_args(hint) if part is not type(None))]
        return lambda value: None if value is None else inner(value)
    return _CONVERTERS[typing.cast(type, hint)]


class _Shape:
    """Makes rows of one type out of JSON objects. Fields that the type has not are left out."""

    def __init__(self, row: type):
        self.row = row
        self.fields = [(name, _converter(hint)) for name, hint in typing.get_type_hints(row).items()]

    def make(self, value: object) -> typing.Any:
        if type(value) is not dict:
            raise ValueError("no JSON object")
        made = []
        for name, convert in self.fields:
            if name not in value:
                raise ValueError(f"no {name}")
            try:
                made.append(convert(value[name]))
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        return self.row(*made)


# --- What a type alone does not say ---


def _check_ranges(ranges: list) -> None:
    for item in ranges:
        if type(item) is not list or len(item) != 2 or not all(type(end) is int for end in item) or item[0] > item[1]:
            raise ValueError(f"{item} is no range of sequence numbers")


def _check_counts(counts: dict, what: str) -> None:
    for name, count in counts.items():
        if type(count) is not int:
            raise ValueError(f"{what}: {name} is no integer")


def _check_partitions(offsets: dict, what: str) -> None:
    _check_counts(offsets, what)
    for name in offsets:
        if not name.rpartition("/")[2].isdigit():
            raise ValueError(f'{what}: "{name}" is no topic/partition')


def _finish_meta(meta: Meta) -> None:
    for name in (*EVENT_TOPICS, "dead_letter"):
        if type(meta.topics.get(name)) is not str:
            raise ValueError(f"topics names no {name}")


def _finish_attempt(attempt: Attempt) -> None:
    for value, known in ((attempt.status, STATUSES), (attempt.purpose, PURPOSES),
                         (attempt.method, (*ORDER_WRITES, "GetOrder", *DELIVERY_CALLS))):
        if value not in known:
            raise ValueError(f'"{value}" is none of {", ".join(known)}')


def _finish_record(record: Record) -> None:
    headers = []
    for header in record.headers:
        if type(header) is not list or len(header) != 2 or type(header[0]) is not str:
            raise ValueError("a header is no pair of name and value")
        # A header without a value and one with an empty value are the same to delivery.v1.RecordHeader.
        headers.append((header[0], b"" if header[1] is None else _binary(header[1])))
    record.headers = headers


def _finish_relay(place: RelayPlace | RelaySample) -> None:
    _check_ranges(place.gaps)
    if isinstance(place, RelaySample):
        _check_partitions(place.ends, "ends")


def _finish_leaders(sample: LeadersSample) -> None:
    if not all(type(leads) is bool for leads in sample.leaders.values()):
        raise ValueError("leaders holds something other than truth values")


def _finish_offsets(sample: OffsetsSample) -> None:
    _check_partitions(sample.committed, "committed")
    _check_counts(sample.versions, "versions")
    if not all(name.isdigit() for name in sample.versions):
        raise ValueError("versions: a name is no order id")
    sample.versions = {int(order_id): version for order_id, version in sample.versions.items()}
    if not all(type(order_id) is int for order_id in sample.pending):
        raise ValueError("pending holds something other than order ids")
    for letter in sample.letters:
        if type(letter) is not list or [type(part) for part in letter] != [str, int, int]:
            raise ValueError(f"{letter} is no topic, partition and offset")


def _finish_consumer(sample: ConsumerSample) -> None:
    _check_counts(sample.counters, "counters")
    for name in COUNTERS:
        if name not in sample.counters:
            raise ValueError(f"counters has no {name}")


def _finish_fault(fault: Fault) -> None:
    if not fault.start <= fault.heal_begin <= fault.healed:
        raise ValueError("start, heal_begin and healed are not in this order")
    if fault.kind == "held_transaction":
        for name in ("order_id", "sequence"):
            if type(fault.detail.get(name)) is not int:
                raise ValueError(f"detail: {name} is no integer")
        if fault.detail.get("ends") not in ("commit", "rollback"):
            raise ValueError('detail: ends is neither "commit" nor "rollback"')


_FINISH: dict[type, Callable] = {
    Meta: _finish_meta, Attempt: _finish_attempt, Record: _finish_record, RelayPlace: _finish_relay,
    RelaySample: _finish_relay, LeadersSample: _finish_leaders, OffsetsSample: _finish_offsets,
    ConsumerSample: _finish_consumer, Fault: _finish_fault,
}


def _nothing(row: object) -> None:
    del row


# --- Files ---


def _text(file: pathlib.Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{file}: is no UTF-8 text") from error


def _json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unusable(f"{where}: is no JSON: {error}") from error


def _one(file: pathlib.Path, row: type) -> typing.Any:
    value = _json(_text(file), str(file))
    try:
        made = _Shape(row).make(value)
        _FINISH[row](made)
        return made
    except ValueError as error:
        raise Unusable(f"{file}: {error}") from error


def _lines(file: pathlib.Path) -> Iterator[tuple[str, object]]:
    """(file and line, the line's value) of each line."""
    # Not splitlines(): a text may hold separators of lines that JSON does not escape.
    for number, line in enumerate(_text(file).split("\n"), 1):
        if line:
            where = f"{file}:{number}"
            yield where, _json(line, where)


def _rows(file: pathlib.Path, row: type) -> list:
    shape, finish, made = _Shape(row), _FINISH.get(row, _nothing), []
    for where, value in _lines(file):
        try:
            made.append(shape.make(value))
            finish(made[-1])
        except ValueError as error:
            raise Unusable(f"{where}: {error}") from error
    return made


def _samples(file: pathlib.Path) -> dict[type, list]:
    shapes = {kind: _Shape(row) for kind, row in SAMPLES.items()}
    found: dict[type, list] = {row: [] for row in SAMPLES.values()}
    for where, value in _lines(file):
        kind = value.get("kind") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in shapes:
            raise Unusable(f"{where}: kind is none of {', '.join(SAMPLES)}")
        try:
            sample = shapes[kind].make(value)
            _FINISH.get(type(sample), _nothing)(sample)
        except ValueError as error:
            raise Unusable(f"{where}: {error}") from error
        found[type(sample)].append(sample)
    for samples in found.values():
        samples.sort(key=lambda sample: sample.time)
    return found


def _check_unique(file: pathlib.Path, rows: list, key: Callable, what: str) -> None:
    seen = set()
    for row in rows:
        if key(row) in seen:
            raise Unusable(f"{file}: {what} {key(row)} is there twice")
        seen.add(key(row))


def _check_whole(folder: pathlib.Path, evidence: Evidence) -> None:
    """What only all rows together show."""
    topics = set(evidence.meta.topics.values())
    foreign = next((record.topic for record in evidence.records if record.topic not in topics), None)
    if foreign is not None:
        raise Unusable(f'{folder / "records.jsonl"}: topic "{foreign}" is not among those of meta.json')
    for name, rows, key, what in (
            ("records", evidence.records, lambda record: record.place, "record"),
            ("orders", evidence.orders, lambda order: order.order_id, "order"),
            ("orders_table", evidence.orders_table, lambda order: order.order_id, "order"),
            ("outbox", evidence.outbox, lambda row: row.sequence, "sequence number"),
            ("deliveries", evidence.deliveries, lambda delivery: delivery.order_id, "delivery"),
            ("faults", evidence.faults, lambda fault: fault.fault, "fault")):
        _check_unique(folder / f"{name}.jsonl", rows, key, what)
    if not any(attempt.status == "ok" and attempt.token for attempt in evidence.history):
        raise Unusable(f"{folder}: nothing to check: no write was acknowledged")
    if not evidence.records:
        raise Unusable(f"{folder}: nothing to check: there are no records")


def load(folder: pathlib.Path) -> Evidence:
    """All of a folder; raises Unusable."""
    if not folder.is_dir():
        raise Unusable(f"{folder}: is no folder")

    def rows(name: str, row: type) -> list:
        return _rows(folder / f"{name}.jsonl", row)

    samples = _samples(folder / "samples.jsonl")
    evidence = Evidence(
        meta=_one(folder / "meta.json", Meta),
        history=rows("history", Attempt),
        orders=rows("orders", ApiOrder),
        orders_table=rows("orders_table", TableOrder),
        outbox=rows("outbox", OutboxRow),
        relay=_one(folder / "relay.json", RelayPlace),
        deliveries=rows("deliveries", Delivery),
        delivery_history=rows("delivery_history", HistoryRow),
        pending_orders=rows("pending_orders", PendingOrder),
        dead_letters=rows("dead_letters", DeadLetter),
        records=rows("records", Record),
        relay_samples=samples[RelaySample],
        leaders_samples=samples[LeadersSample],
        offsets_samples=samples[OffsetsSample],
        consumer_samples=samples[ConsumerSample],
        memory_samples=samples[MemorySample],
        faults=rows("faults", Fault),
        probes=rows("probes", Probe))
    _check_whole(folder, evidence)
    return evidence
