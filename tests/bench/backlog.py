"""Backlogs: orders that wait in the outbox, and their events that wait in Kafka, made by the relay itself."""

import dataclasses
import datetime
import secrets
import time

import confluent_kafka
from google.protobuf import timestamp_pb2
from order.v1 import order_pb2

from processes import Stack, wait_until
from servers import Servers

# order.v1.EventPayload and EventTopics, as outbox_relay and event_modes keep them.
PAYLOADS = {"full": 1, "zero": 2}
DOMAIN_TOPICS = 1

PARTITIONS = 6  # what the services' --create-topics gives a topic

_PLACED, _CREATED, _CHANGED = 1, 1, 2
_MADE = datetime.datetime(2025, 3, 1, 12, tzinfo=datetime.timezone.utc)
_CITIES = (("Lund", "SE"), ("Graz", "AT"), ("Utrecht", "NL"), ("Cádiz", "ES"), ("Bergen", "NO"))


def order_of(order_id: int, version: int = 1) -> order_pb2.Order:
    """The order of that id: two items, an address, about 190 bytes packed."""
    city, country = _CITIES[order_id % len(_CITIES)]
    items = [order_pb2.OrderItem(sku=f"sku-{order_id % 500:03}", quantity=1 + order_id % 9, unit_minor_units=1990),
             order_pb2.OrderItem(sku=f"sku-{order_id % 300:03}-b", quantity=2, unit_minor_units=order_id % 50000)]
    time_made = timestamp_pb2.Timestamp(seconds=int(_MADE.timestamp()))
    return order_pb2.Order(
        order_id=order_id, version=version, status=_PLACED, customer_id=f"customer-{order_id % 1000}",
        delivery_address=order_pb2.Address(recipient=f"Recipient {order_id}", lines=[f"Mill Lane {order_id % 200}"],
                                           postal_code=f"{10000 + order_id % 80000}", city=city, country_code=country),
        items=items, currency_code="EUR", total_minor_units=sum(one.quantity * one.unit_minor_units for one in items),
        note=f"version {version}", create_time=time_made, update_time=time_made)


def fill(stack: Stack, orders: int, versions: int = 1) -> None:
    """Puts orders 1 to `orders` into the order service's database, as they are at version `versions`, and a row into
    the outbox for each version of each: all of version 1, then all of version 2, as if all had changed in turn."""
    with stack.order_database_connection() as connection, connection.cursor() as cursor:
        last = [order_of(order_id, versions) for order_id in range(1, orders + 1)]
        with cursor.copy("COPY orders (order_id, version, status, customer_id, currency_code, total_minor_units, "
                         "recipient, address_lines, postal_code, city, country_code, note, cancel_reason, create_time, "
                         "update_time) FROM STDIN") as copy:
            for one in last:
                address = one.delivery_address
                copy.write_row((one.order_id, one.version, one.status, one.customer_id, one.currency_code,
                                one.total_minor_units, address.recipient, "\n".join(address.lines), address.postal_code,
                                address.city, address.country_code, one.note, "", _MADE, _MADE))
        with cursor.copy("COPY order_items (order_id, line_number, sku, quantity, unit_minor_units) "
                         "FROM STDIN") as copy:
            for one in last:
                for number, item in enumerate(one.items, 1):
                    copy.write_row((one.order_id, number, item.sku, item.quantity, item.unit_minor_units))
        with cursor.copy("COPY outbox (order_id, version, type, occur_time, snapshot) FROM STDIN") as copy:
            for version in range(1, versions + 1):
                for order_id in range(1, orders + 1):
                    one = last[order_id - 1] if version == versions else order_of(order_id, version)
                    copy.write_row((order_id, version, _CREATED if version == 1 else _CHANGED, _MADE,
                                    one.SerializeToString()))
        connection.execute("ANALYZE orders, order_items")


def place_relay(stack: Stack, payload: str, after: int) -> None:
    """Has the relay begin behind row `after` of the outbox, and all rows go out with this payload on the domain topic,
    whatever was sent of them before. No relay may lead meanwhile."""
    with stack.order_database_connection() as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")  # no trigger notes a switch of the mode
        connection.execute("UPDATE outbox_relay SET highest = %s, gap_first = '{}', gap_last = '{}', gap_limit = '{}', "
                           "event_payload = %s, event_topics = %s", (after, PAYLOADS[payload], DOMAIN_TOPICS))
        connection.execute("DELETE FROM event_modes")
        connection.execute("INSERT INTO event_modes VALUES (0, %s, %s)", (PAYLOADS[payload], DOMAIN_TOPICS))


def new_topic(stack: Stack, kind: str) -> str:
    """A topic like the services make one, but that its records bear the time at which the broker appended them."""
    name = f"bench-{kind}-{secrets.token_hex(4)}"
    stack.kafka.create_topic(name, PARTITIONS, message_timestamp_type="LogAppendTime")
    return name


@dataclasses.dataclass
class Appended:
    """Records that a topic got: how many, and when the broker appended the first and the last, in seconds."""

    count: int
    first: float
    last: float


class Topic:
    """Watches a topic of new_topic grow."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.name = name
        # A fetch that waits for more at one partition's end would hold up the next partition's.
        self._consumer = stack.kafka.consumer(fetch_wait_max_ms=10)
        self._begin = self._ends()

    def _ends(self) -> list[int]:
        return [self._consumer.get_watermark_offsets(confluent_kafka.TopicPartition(self.name, number), 20)[1]
                for number in range(PARTITIONS)]

    def grown(self) -> int:
        """By how many records, so far."""
        return sum(self._ends()) - sum(self._begin)

    def appended(self) -> Appended:
        """What came since this was made."""
        end = self._ends()
        places = [(number, offset) for number in range(PARTITIONS) if end[number] > self._begin[number]
                  for offset in (self._begin[number], end[number] - 1)]
        times = [self._append_time(number, offset) for number, offset in places]
        return Appended(sum(end) - sum(self._begin), min(times), max(times))

    def _append_time(self, partition: int, offset: int) -> float:
        self._consumer.assign([confluent_kafka.TopicPartition(self.name, partition, offset)])
        messages = self._consumer.consume(1, 20)
        if not messages or messages[0].error():
            raise RuntimeError(f"{self.name} [{partition}] {offset} cannot be read")
        kind, milliseconds = messages[0].timestamp()
        if kind != confluent_kafka.TIMESTAMP_LOG_APPEND_TIME:
            raise RuntimeError(f"{self.name} does not say when its records were appended")
        return milliseconds / 1000

    def close(self) -> None:
        self._consumer.close()


def relay_all(stack: Stack, servers: Servers, topic: str, payload: str, after: int, count: int) -> Appended:
    """Has the relay send the `count` rows of the outbox behind row `after`, alone. The order service does not run
    before or afterwards."""
    place_relay(stack, payload, after)
    watched = Topic(stack, topic)
    stack.order.settings["DOMAIN_TOPIC"] = topic
    try:
        with servers.relay_at_rest(stack):
            stack.order.start()
        wait_until(lambda: watched.grown() >= count, 120, f"the relay has sent {count} records")
        # Its place is written down, so that it does not send them again.
        wait_until(lambda: relay_place(stack) == after + count, 20, "the relay has noted its place")
        stack.order.stop()
        sent = watched.appended()
    finally:
        stack.order.kill()
        watched.close()
    if sent.count != count:
        raise RuntimeError(f"the relay sent {sent.count} records for {count} rows")
    return sent


def relay_place(stack: Stack) -> int:
    """The number of the last row that is done, with all before it; -1 while there are gaps."""
    with stack.order_database_connection() as connection:
        highest, gaps = connection.execute("SELECT highest, cardinality(gap_first) FROM outbox_relay").fetchone()
    return highest if gaps == 0 else -1


class Backlog:
    """A stack, services not running, whose outbox holds `rows` rows, one for each order, all done; and topics in which
    their events wait."""

    def __init__(self, servers: Servers, rows: int, progress) -> None:
        begin = time.monotonic()
        self.servers, self.rows = servers, rows
        self.stack = servers.stack("backlog").prepare()
        fill(self.stack, rows)
        place_relay(self.stack, "full", rows)
        self._topics: dict[str, str] = {}
        progress(f"{rows} orders and outbox rows made in {time.monotonic() - begin:.1f} s")

    def topic(self, payload: str) -> str:
        """One in which the events of all rows wait, made when first asked for."""
        if payload not in self._topics:
            name = new_topic(self.stack, payload)
            relay_all(self.stack, self.servers, name, payload, 0, self.rows)
            self._topics[payload] = name
        return self._topics[payload]
