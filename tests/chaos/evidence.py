"""Writes down what a round has left in both databases, in the topics, and behind the public APIs."""

import base64
import json
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import psycopg
from delivery.v1 import delivery_service_pb2, delivery_service_pb2_grpc
from google.protobuf.message import Message
from order.v1 import order_service_pb2, order_service_pb2_grpc
from processes import Kafka, Stack

from calls import open_channel
from sampler import RELAY_QUERY

PAGE = 1000
READ_SECONDS = 120
CALL_SECONDS = 30


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _packed(message: Message) -> str:
    return _text(message.SerializeToString(deterministic=True))


def all_orders(stack: Stack) -> Iterator[Message]:
    with open_channel(stack.order.address) as channel:
        stub, token = order_service_pb2_grpc.OrderServiceStub(channel), ""
        while True:
            request = order_service_pb2.ListOrdersRequest(page_size=PAGE, page_token=token)
            page = stub.ListOrders(request, timeout=CALL_SECONDS)
            yield from page.orders
            token = page.next_page_token
            if not token:
                return


def all_deliveries(stack: Stack) -> Iterator[Message]:
    with open_channel(stack.delivery.address) as channel:
        stub, token = delivery_service_pb2_grpc.DeliveryServiceStub(channel), ""
        while True:
            request = delivery_service_pb2.ListDeliveriesRequest(page_size=PAGE, page_token=token)
            page = stub.ListDeliveries(request, timeout=CALL_SECONDS)
            yield from page.deliveries
            token = page.next_page_token
            if not token:
                return


def _write(path: pathlib.Path, entries: Iterator[dict[str, Any]]) -> int:
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
            count += 1
    return count


def _rows(connection: psycopg.Connection, query: str) -> Iterator[tuple]:
    with connection.transaction(), connection.cursor("evidence") as cursor:
        cursor.itersize = 5000
        yield from cursor.execute(query)


def _has_column(connection: psycopg.Connection, table: str, column: str) -> bool:
    return connection.execute("SELECT 1 FROM information_schema.columns WHERE table_name = %s AND column_name = %s",
                              (table, column)).fetchone() is not None


def dump(stack: Stack, folder: pathlib.Path) -> dict[str, int]:
    """All of it, into files of the folder; returns how many orders and how many records of events there are."""
    orders = _write(folder / "orders.jsonl", (
        {"order_id": order.order_id, "version": order.version, "status": order.status, "order": _packed(order)}
        for order in all_orders(stack)))
    with stack.order_database_connection() as connection:
        _dump_order_side(connection, folder)
    with stack.delivery_database_connection() as connection:
        _dump_delivery_side(stack, connection, folder)
    _write(folder / "records.jsonl", _records(stack.kafka, list(stack.topics.values())))
    with stack.order_database_connection() as connection:
        events = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]
    return {"orders": orders, "events": events}


def _dump_order_side(connection: psycopg.Connection, folder: pathlib.Path) -> None:
    _write(folder / "orders_table.jsonl", (
        {"order_id": order_id, "version": version, "status": status} for order_id, version, status in
        _rows(connection, "SELECT order_id, version, status FROM orders ORDER BY order_id")))
    republished = "republished" if _has_column(connection, "outbox", "republished") else "false"
    _write(folder / "outbox.jsonl", (
        {"sequence": sequence, "order_id": order_id, "version": version, "type": kind, "snapshot": _text(snapshot),
         "republished": again}
        for sequence, order_id, version, kind, snapshot, again in _rows(
            connection,
            f"SELECT sequence, order_id, version, type, snapshot, {republished} FROM outbox ORDER BY sequence")))
    highest, first, last = connection.execute(RELAY_QUERY).fetchone()
    gaps = [list(gap) for gap in zip(first, last)]
    (folder / "relay.json").write_text(json.dumps({"highest": highest, "gaps": gaps}))


def _dump_delivery_side(stack: Stack, connection: psycopg.Connection, folder: pathlib.Path) -> None:
    statuses = dict(connection.execute("SELECT order_id, order_status FROM deliveries").fetchall())
    _write(folder / "deliveries.jsonl", (
        {"order_id": delivery.order_id, "revision": delivery.revision, "state": delivery.state,
         "order_version": delivery.order_version, "order_status": statuses.get(delivery.order_id, 0),
         "delivery": _packed(delivery)} for delivery in all_deliveries(stack)))
    _write(folder / "delivery_history.jsonl", (
        {"order_id": order_id, "revision": revision, "cause": cause, "order_version": version, "state": state,
         "change_time": changed}
        for order_id, revision, cause, version, state, changed in _rows(
            connection, "SELECT order_id, revision, cause, order_version, state, "
            "extract(epoch FROM change_time)::float8 FROM delivery_history ORDER BY order_id, revision")))
    _write(folder / "pending_orders.jsonl", (
        {"order_id": order_id, "min_version": version, "attempts": attempts, "reason": reason}
        for order_id, version, attempts, reason in _rows(
            connection,
            "SELECT order_id, min_version, attempts, reason FROM pending_orders ORDER BY order_id")))
    discarded = "discard_time IS NOT NULL" if _has_column(connection, "dead_letters", "discard_time") else "false"
    _write(folder / "dead_letters.jsonl", (
        {"dead_letter_id": letter, "topic": topic, "partition": partition, "offset": offset, "key": _text(key),
         "value": _text(value), "headers": _text(headers), "reason": reason, "replayed": replayed, "discarded": gone}
        for letter, topic, partition, offset, key, value, headers, reason, replayed, gone in _rows(
            connection,
            "SELECT dead_letter_id, source_topic, source_partition, source_offset, record_key, record_value, "
            f"record_headers, reason, replay_time IS NOT NULL, {discarded} FROM dead_letters ORDER BY dead_letter_id")))


def _records(kafka: Kafka, topics: list[str]) -> Iterator[dict[str, Any]]:
    """All records of the topics up to their ends of now."""
    consumer = kafka.consumer(fetch_wait_max_ms=50)
    try:
        ends = {(topic, partition): end for topic in topics
                for partition, end in kafka.end_offsets(topic).items() if end > 0}
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for topic, partition in ends])
        deadline = time.monotonic() + READ_SECONDS
        while ends:
            if time.monotonic() > deadline:
                raise RuntimeError(f"topics cannot be read to their ends: {ends}")
            for message in consumer.consume(2000, 0.5):
                if message.error() is not None:
                    raise RuntimeError(f"a topic cannot be read: {message.error()}")
                place = (message.topic(), message.partition())
                yield {"topic": place[0], "partition": place[1], "offset": message.offset(),
                       "key": _text(message.key()), "value": _text(message.value()),
                       "headers": [[name, _text(value)] for name, value in message.headers() or []]}
                if message.offset() + 1 >= ends.get(place, 0):
                    ends.pop(place, None)
    finally:
        consumer.close()
