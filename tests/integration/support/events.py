"""Kafka records as the tests look at them."""

import dataclasses
import time

import confluent_kafka
from google.protobuf import empty_pb2, unknown_fields
from order.v1 import order_event_pb2, order_operations_pb2

from processes import Kafka, Service
from support import clients

# Field numbers of order.v1.OrderEvent.
TYPE_FIELD, ORDER_FIELD = 2, 6

Mode = tuple[str, str]
MODES: dict[str, Mode] = {
    "full-domain": ("FULL", "DOMAIN"),
    "full-per-event": ("FULL", "PER_EVENT"),
    "zero-domain": ("ZERO", "DOMAIN"),
    "zero-per-event": ("ZERO", "PER_EVENT"),
}


def set_mode(service: Service, mode: Mode) -> None:
    payload, topics = mode
    wanted = order_operations_pb2.EventMode(payload=f"EVENT_PAYLOAD_{payload}", topics=f"EVENT_TOPICS_{topics}")
    answer = clients.order_operations(service).SetEventMode(order_operations_pb2.SetEventModeRequest(mode=wanted))
    assert answer.mode == wanted


@dataclasses.dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]

    @property
    def event(self) -> order_event_pb2.OrderEvent:
        return order_event_pb2.OrderEvent.FromString(self.value or b"")

    @property
    def fields(self) -> set[int]:
        """The numbers of the fields that the value has on the wire, whatever is in them."""
        return {field.field_number for field in unknown_fields.UnknownFieldSet(empty_pb2.Empty.FromString(self.value or b""))}


def _record(message: confluent_kafka.Message) -> Record:
    headers = message.headers() or []
    assert len(dict(headers)) == len(headers), f"a header twice: {headers}"
    return Record(message.topic(), message.partition(), message.offset(), message.key(), message.value(), dict(headers))


def read_topic(kafka: Kafka, topic: str, seconds: float = 30) -> list[Record]:
    """All that a topic holds now, each partition's records in their order."""
    ends = {partition: end for partition, end in kafka.end_offsets(topic).items() if end > 0}
    consumer = kafka.consumer()
    records: list[Record] = []
    deadline = time.monotonic() + seconds
    try:
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in ends])
        while len(records) < sum(ends.values()):
            assert time.monotonic() < deadline, f"{topic}: {len(records)} records of {ends}"
            for message in consumer.consume(1000, 0.2) if ends else []:
                assert message.error() is None, message.error()
                if message.offset() < ends[message.partition()]:
                    records.append(_record(message))
    finally:
        consumer.close()
    return sorted(records, key=lambda record: (record.partition, record.offset))


def produce(kafka: Kafka, topic: str, key: bytes | str | None, value: bytes | None, **options) -> None:
    """Sends one record and waits until it is acknowledged; options as of confluent_kafka.Producer.produce."""
    failures: list[confluent_kafka.KafkaError] = []
    producer = kafka.producer(partitioner="murmur2_random")
    producer.produce(topic, key=key, value=value, on_delivery=lambda error, _: error and failures.append(error), **options)
    assert producer.flush(30) == 0
    assert not failures


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The partition that the Java client's default partitioner gives a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2, 32 bits, with the Java client's seed; unsigned."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    value = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        part = int.from_bytes(data[start:start + 4], "little") * multiplier & mask
        part = (part ^ part >> 24) * multiplier & mask
        value = (value * multiplier & mask) ^ part
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 13) * multiplier & mask
    return value ^ value >> 15
