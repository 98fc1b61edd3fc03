"""Looks at both sides while the campaign runs, directly and not by the links that faults cut: what the relay has done,
who leads, what consumers have counted, how far offsets were committed and what the database held then, and memory."""

import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka
import grpc
import psycopg
from delivery.v1 import delivery_operations_pb2, delivery_operations_pb2_grpc
from order.v1 import order_operations_pb2, order_operations_pb2_grpc
from processes import Service

from calls import open_channel
from ground import RoundStack
from history import QUIET, Journal

CALL_SECONDS = 2
RELAY_QUERY = "SELECT highest, gap_first, gap_last FROM outbox_relay"
_COUNTERS = [field.name for field in delivery_operations_pb2.ConsumerCounters.DESCRIPTOR.fields]


def _offsets_of(partitions: list[confluent_kafka.TopicPartition]) -> dict[str, int]:
    for one in partitions:
        if one.error is not None:
            raise confluent_kafka.KafkaException(one.error)
    return {f"{one.topic}/{one.partition}": one.offset for one in partitions if one.offset >= 0}


class _Database:
    """A connection that is made again when it is lost."""

    def __init__(self, connect: Callable[[], psycopg.Connection]) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            self._connection.execute("SET statement_timeout = '5s'")
        return self._connection

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is not None:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Sampler:
    """start() to stop(); final_counters() when all is at rest."""

    def __init__(self, stack: RoundStack, topics: list[str], journal: Journal) -> None:
        self._stack, self._topics, self._journal = stack, topics, journal
        self._stopping = threading.Event()
        # A consumer that never joins its group: it only asks.
        self._kafka = stack.ground.kafka.consumer(group_id=stack.stack.group, logger=QUIET)
        inner = stack.stack
        self._order_database = _Database(inner.order_database_connection)
        self._delivery_database = _Database(inner.delivery_database_connection)
        self._channels = {service.name: open_channel(service.address) for service in inner.services}
        self._versions: dict[int, int] = {}
        looks = ((self._relay, 1.0), (self._leaders, 1.0), (self._consumers, 1.0), (self._memory, 2.0),
                 (self._offsets, 4.0))
        self._threads = [threading.Thread(target=self._repeat, args=look, daemon=True) for look in looks]
        partitions = {name: topic.partitions for name, topic in self._kafka.list_topics(timeout=20).topics.items()}
        self._partitions = [(topic, number) for topic in topics for number in partitions[topic]]

    def start(self) -> "Sampler":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(30)
        self._order_database.close()
        self._delivery_database.close()

    def close(self) -> None:
        self.stop()
        self._kafka.close()
        for channel in self._channels.values():
            channel.close()

    def _repeat(self, look: Callable[[], None], period: float) -> None:
        while not self._stopping.wait(period):
            # What is down cannot be looked at: the next time, then.
            with contextlib.suppress(psycopg.Error, confluent_kafka.KafkaException, grpc.RpcError, OSError):
                look()

    def ends(self) -> dict[str, int]:
        """The end offsets of the topics now, as "topic/partition"."""
        asked = [confluent_kafka.TopicPartition(*place, confluent_kafka.OFFSET_END) for place in self._partitions]
        return _offsets_of(self._kafka.offsets_for_times(asked, CALL_SECONDS))

    def committed(self) -> dict[str, int]:
        """The group's offsets now, by the same names."""
        asked = [confluent_kafka.TopicPartition(*place) for place in self._partitions]
        return _offsets_of(self._kafka.committed(asked, CALL_SECONDS))

    def _relay(self) -> None:
        with self._order_database as connection:
            highest, first, last = connection.execute(RELAY_QUERY).fetchone()
        self._journal.write({"kind": "relay", "highest": highest, "gaps": [list(gap) for gap in zip(first, last)],
                             "ends": self.ends(), "time": time.time()})

    def _leaders(self) -> None:
        request = order_operations_pb2.GetRelayStateRequest()
        asked = {service.name: order_operations_pb2_grpc.OrderOperationsStub(self._channels[service.name])
                 .GetRelayState.future(request, timeout=1) for service in self._stack.orders if service.running()}
        leaders = {}
        for name, future in asked.items():
            with contextlib.suppress(grpc.RpcError):
                leaders[name] = future.result().leader
        self._journal.write({"kind": "leaders", "leaders": leaders, "time": time.time()})

    def _consumers(self) -> None:
        for service in self._stack.stack.deliveries:
            with contextlib.suppress(grpc.RpcError):
                self._counters(service, "consumer", 1)

    def final_counters(self) -> None:
        for service in self._stack.deliveries:
            self._counters(service, "consumer_final", 10)

    def _counters(self, service: Service, kind: str, seconds: float) -> None:
        if not service.running():
            return
        process = service.process.pid
        stub = delivery_operations_pb2_grpc.DeliveryOperationsStub(self._channels[service.name])
        state = stub.GetConsumerState(delivery_operations_pb2.GetConsumerStateRequest(), timeout=seconds)
        self._journal.write({
            "kind": kind, "service": service.name, "pid": process,
            "counters": {name: getattr(state.counters, name) for name in _COUNTERS},
            "paused": any(partition.paused for partition in state.partitions),
            "lag": sum(max(partition.lag, 0) for partition in state.partitions), "time": time.time()})

    def _memory(self) -> None:
        for service in self._stack.stack.services:
            if service.running():
                pages = int(pathlib.Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
                self._journal.write({"kind": "memory", "service": service.name,
                                     "bytes": pages * os.sysconf("SC_PAGE_SIZE"), "time": time.time()})

    def _offsets(self) -> None:
        """Offsets first: what they cover must be in the database by then."""
        committed = self.committed()
        with self._delivery_database as connection, connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            versions = dict(connection.execute("SELECT order_id, order_version FROM deliveries").fetchall())
            pending = [row[0] for row in connection.execute("SELECT order_id FROM pending_orders")]
            letters = [list(row) for row in connection.execute(
                "SELECT source_topic, source_partition, source_offset FROM dead_letters")]
        changed = {str(order_id): version for order_id, version in versions.items()
                   if self._versions.get(order_id) != version}
        self._versions = versions
        self._journal.write({"kind": "offsets", "committed": committed, "versions": changed, "pending": pending,
                             "letters": letters, "time": time.time()})
