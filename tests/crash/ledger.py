"""What Kafka holds, read on from point to point, and what must be true of it whatever died.

Records that a test sent by itself bear the header MARK, with the KIND of what they are. Replayed ones keep it.
"""

import collections
import time
from collections.abc import Iterator

import confluent_kafka
from confluent_kafka.admin import OffsetSpec
from order.v1.order_event_pb2 import OrderEvent

from processes import Stack
from support.events import Record

MARK = "crash-test"
GARBAGE, AHEAD, POKE = b"garbage", b"ahead", b"poke"

Place = tuple[str, int, int]  # topic, partition, offset

_OUTBOX_PROBLEMS = """
    SELECT order_id, o.version, r.versions, r.lowest, r.highest FROM orders o FULL JOIN
           (SELECT order_id, count(*) AS count, array_agg(DISTINCT version) AS versions,
                   min(version) AS lowest, max(version) AS highest FROM outbox WHERE NOT republished
             GROUP BY order_id) r USING (order_id)
     WHERE (r.count, cardinality(r.versions)::bigint, r.lowest, r.highest)
           IS DISTINCT FROM (o.version, o.version, 1::bigint, o.version)
"""


def place_of(record: Record) -> Place:
    return record.topic, record.partition, record.offset


class Ledger:
    """The records of a stack's topics. The mode must not change: all events of one order go to the same topics."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._admin = stack.kafka.admin()
        # In the delivery services' group, so that it can ask for its offsets; it never joins.
        self._consumer = stack.kafka.consumer(group_id=stack.group)
        topics = self._admin.list_topics(timeout=20).topics
        self._next = {(name, number): 0 for name in stack.topics.values() for number in topics[name].partitions}
        self._consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for topic, number in self._next])
        self.events: list[Record] = []
        self._decoded: dict[Place, OrderEvent] = {}  # of those that hold one
        self.letters: list[Record] = []  # of the dead-letter topic

    def close(self) -> None:
        self._consumer.close()

    def read(self, seconds: float = 30) -> None:
        """Reads on to the end."""
        ends = self._ends()
        deadline = time.monotonic() + seconds
        while any(self._next[place] < end for place, end in ends.items()):
            assert time.monotonic() < deadline, f"the topics cannot be read: {self._next} of {ends}"
            for message in self._consumer.consume(1000, 0.05):
                assert message.error() is None, message.error()
                self._add(message)

    def committed(self) -> dict[tuple[str, int], int]:
        """Up to where the delivery services' group says that all is done."""
        asked = [confluent_kafka.TopicPartition(topic, number) for topic, number in self._next
                 if topic in self._stack.event_topics]
        return {(one.topic, one.partition): one.offset for one in self._consumer.committed(asked, 20)}

    def garbage(self) -> dict[Place, Record]:
        return {place_of(record): record for record in self.events if record.headers.get(MARK) == GARBAGE}

    # ---- what must be true ----

    def problems(self) -> Iterator[str]:
        """What is wrong when all is at rest."""
        yield from self._outbox_problems()
        yield from self._event_problems()
        yield from self.offset_problems()

    def _outbox_problems(self) -> Iterator[str]:
        with self._stack.order_database_connection() as connection:
            for row in connection.execute(_OUTBOX_PROBLEMS).fetchall():
                yield f"order {row[0]} is at version {row[1]}, the outbox has {row[2]}"

    def _event_problems(self) -> Iterator[str]:
        """Every row of the outbox is in Kafka, and nothing else is; in the domain topic it came in order."""
        with self._stack.order_database_connection() as connection:
            rows = set(connection.execute("SELECT order_id, version FROM outbox").fetchall())
        sent: set[tuple[int, int]] = set()
        highest: collections.Counter[int] = collections.Counter()
        for record in self._own_events():
            event = self._decoded[place_of(record)]
            if record.topic == self._stack.topics["DOMAIN_TOPIC"] and event.version > highest[event.order_id] + 1:
                yield f"order {event.order_id}: version {event.version} came after {highest[event.order_id]}"
            highest[event.order_id] = max(highest[event.order_id], event.version)
            sent.add((event.order_id, event.version))
        yield from (f"version {version} of order {order_id} was never sent"
                    for order_id, version in sorted(rows - sent))
        yield from (f"version {version} of order {order_id} was sent and is not there"
                    for order_id, version in sorted(sent - rows))

    def offset_problems(self) -> Iterator[str]:
        """Committed offsets that are ahead of what is in delivery's database. Also true while all is not at rest,
        if nobody consumes: the offsets are read first."""
        committed = self.committed()
        self.read()
        with self._stack.delivery_database_connection() as connection:
            applied = dict(connection.execute("SELECT order_id, order_version FROM deliveries").fetchall())
            pending = {row[0] for row in connection.execute("SELECT order_id FROM pending_orders").fetchall()}
            letters = set(connection.execute(
                "SELECT source_topic, source_partition, source_offset FROM dead_letters").fetchall())
        for record in self.events:
            if record.offset >= committed[record.topic, record.partition] or place_of(record) in letters:
                continue
            if record.headers.get(MARK) == GARBAGE:
                yield f"garbage at {place_of(record)} was passed and is no dead letter"
            elif event := self._decoded.get(place_of(record)):
                if applied.get(event.order_id, 0) < event.version and event.order_id not in pending:
                    yield (f"version {event.version} of order {event.order_id} at {place_of(record)} was passed, "
                           "not applied")

    def letter_problems(self) -> Iterator[str]:
        """Garbage that is not a dead letter yet, or not as it came: once in the database, at least once in Kafka."""
        with self._stack.delivery_database_connection() as connection:
            rows = connection.execute("SELECT source_topic, source_partition, source_offset, record_key, record_value "
                                      "FROM dead_letters").fetchall()
        kept = collections.Counter(row[:3] for row in rows)
        contents = {row[:3]: row[3:] for row in rows}
        told = {(record.headers["lockstep-source-topic"].decode(), int(record.headers["lockstep-source-partition"]),
                 int(record.headers["lockstep-source-offset"])): (record.key, record.value) for record in self.letters}
        for place, record in self.garbage().items():
            wanted = (record.key, record.value)
            if kept[place] != 1:
                yield f"garbage at {place} is {kept[place]} dead letters"
            elif contents[place] != wanted:
                yield f"garbage at {place} is kept as {contents[place]}, not as {wanted}"
            elif told.get(place) != wanted:
                yield f"garbage at {place} is {told.get(place)} in the dead-letter topic, not {wanted}"

    # ---- reading ----

    def _ends(self) -> dict[tuple[str, int], int]:
        asked = {confluent_kafka.TopicPartition(topic, number): OffsetSpec.latest() for topic, number in self._next}
        return {(one.topic, one.partition): future.result(20).offset
                for one, future in self._admin.list_offsets(asked).items()}

    def _add(self, message: confluent_kafka.Message) -> None:
        record = Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(),
                        dict(message.headers() or []))
        self._next[record.topic, record.partition] = record.offset + 1
        if record.topic not in self._stack.event_topics:
            self.letters.append(record)
            return
        self.events.append(record)
        if record.value is not None and record.headers.get(MARK) != GARBAGE:
            self._decoded[place_of(record)] = record.event

    def _own_events(self) -> Iterator[Record]:
        """Those that the order services sent, each partition's in their order."""
        return (record for record in self.events if MARK not in record.headers)

