"""Faults of the topics: what is in them, and how far they were read."""

import random
import threading

import confluent_kafka
import grpc
from confluent_kafka.admin import AdminClient
from delivery.v1 import delivery_operations_pb2, delivery_operations_pb2_grpc
from order.v1 import order_event_pb2
from processes import Kafka, wait_until
from support import samples

from calls import open_channel
from faults import DELIVERIES, Fault, Scene
from history import QUIET

KAFKA_SECONDS = 30
UNKNOWN_ORDERS_BEGIN = 8_000_000_000_000_000_000


class OffsetsDeleted(Fault):
    """The group is deleted while it has no members."""

    kind = "offsets_deleted"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = DELIVERIES
        self.touches = frozenset({*DELIVERIES, "group"})
        # Offsets are Kafka's to change, for a group that nobody is in; leaving it in order takes both servers.
        self.needs = frozenset({"kafka", "postgres", "delivery-4", "links"})

    def inject(self, scene: Scene) -> None:
        threads = [threading.Thread(target=scene.stack.stop_service, args=(service,))
                   for service in scene.stack.deliveries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def hold(self, scene: Scene) -> None:
        self._change(scene, scene.ground.kafka.admin(logger=QUIET))

    def _change(self, scene: Scene, admin: AdminClient) -> None:
        group = scene.stack.stack.group
        _retried(lambda: admin.delete_consumer_groups([group], request_timeout=10)[group].result(10))

    def heal(self, scene: Scene) -> None:
        for service in scene.stack.deliveries:
            service.start(wait=False)
        for service in scene.stack.deliveries:
            scene.stack.start_service(service)


class OffsetsRewound(OffsetsDeleted):
    """The group is set back to the beginning of its partitions, or somewhere before where it was."""

    kind = "offsets_rewound"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.detail = {"share": source.choice((0.0, 0.0, 0.5, 0.9))}

    def _change(self, scene: Scene, admin: AdminClient) -> None:
        group = scene.stack.stack.group
        asked = confluent_kafka.ConsumerGroupTopicPartitions(group)
        found = admin.list_consumer_group_offsets([asked], request_timeout=10)[group].result(10).topic_partitions
        moved = [confluent_kafka.TopicPartition(one.topic, one.partition, int(one.offset * self.detail["share"]))
                 for one in found if one.offset > 0]
        if moved:
            wanted = confluent_kafka.ConsumerGroupTopicPartitions(group, moved)
            _retried(lambda: admin.alter_consumer_group_offsets([wanted], request_timeout=10)[group].result(10))


def _retried(change) -> None:
    """A group that was left a moment ago may still count its members."""
    def done() -> bool:
        try:
            change()
        except confluent_kafka.KafkaException as error:
            if error.args[0].code() == confluent_kafka.KafkaError.GROUP_ID_NOT_FOUND:
                return True
            raise AssertionError(str(error)) from error
        return True

    wait_until(done, KAFKA_SECONDS, "the group's offsets are changed")


class Reproduce(Fault):
    """Old records once more, in any order."""

    kind = "reproduce"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.needs = frozenset({"kafka"})
        self.seconds = source.uniform(0.2, 1)
        self._count = source.randint(100, 600)

    def prepare(self, scene: Scene) -> None:
        self._records = _old_records(scene, self._count)
        scene.source.shuffle(self._records)

    def inject(self, scene: Scene) -> None:
        sent = _Sent(scene.ground.kafka)
        for record in self._records:
            sent.add(record.topic(), record.key(), record.value(),
                     [*(record.headers() or []), ("chaos", b"duplicate")], partition=record.partition())
        self.detail["records"] = len(sent.flush())


def _old_records(scene: Scene, count: int) -> list[confluent_kafka.Message]:
    """From one to four places of the event topics; without what a campaign produced."""
    kafka, source = scene.ground.kafka, scene.source
    consumer = kafka.consumer(logger=QUIET)
    try:
        ends = [(topic, partition, end) for topic in scene.stack.stack.event_topics
                for partition, end in kafka.end_offsets(topic).items() if end > 0]
        chosen = source.sample(ends, min(len(ends), source.randint(1, 4)))
        consumer.assign([confluent_kafka.TopicPartition(topic, partition, source.randrange(end))
                         for topic, partition, end in chosen])
        found: list[confluent_kafka.Message] = []
        while chosen and len(found) < count:
            messages = [message for message in consumer.consume(count, 0.5) if message.error() is None]
            if not messages:
                break
            found += [message for message in messages if "chaos" not in dict(message.headers() or [])]
        return found[:count]
    finally:
        consumer.close()


class Garbage(Fault):
    """Records that nobody can read, some that tell of orders that do not exist, and some that only say: look."""

    kind = "garbage"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.needs = frozenset({"kafka"})
        self.seconds = source.uniform(0.5, 2)
        self._count = source.randint(10, 60)

    def inject(self, scene: Scene) -> None:
        topics, source = scene.stack.stack.event_topics, scene.source
        sent = _Sent(scene.ground.kafka)
        for _ in range(self._count):
            key, value = source.choice(_GARBAGE)(source)
            sent.add(source.choice(topics), key, value, [("chaos", b"garbage"), ("extra", bytes([0, 255]))])
        self.detail["records"] = sent.flush()
        others = _Sent(scene.ground.kafka)
        for _ in range(source.randint(1, 3)):
            order_id = UNKNOWN_ORDERS_BEGIN + source.randrange(10**15)
            event = order_event_pb2.OrderEvent(event_id=f"{order_id}:1", order_id=order_id, version=1)
            others.add(source.choice(topics), str(order_id).encode(), event.SerializeToString(),
                       [("chaos", b"unknown-order")])
        for order_id in source.sample(scene.prober.order_ids, min(3, len(scene.prober.order_ids))):
            value = source.choice((None, b"", order_event_pb2.OrderEvent(order_id=order_id).SerializeToString()))
            others.add(source.choice(topics), str(order_id).encode(), value, [("chaos", b"poke")])
        others.flush()


def _event(order_id: int, version: int, **fields) -> bytes:
    return order_event_pb2.OrderEvent(event_id=f"{order_id}:{version}", order_id=order_id, version=version,
                                      **fields).SerializeToString()


def _with_order(order_id: int, version: int, order_of: int, version_of: int) -> bytes:
    order = samples.order(order_id=order_of, version=version_of, status=1)
    return _event(order_id, version, order=order)


# Each gives a key and a value that no consumer can make sense of.
_GARBAGE = (
    lambda source: (b"1", b"\x07" + source.randbytes(source.randint(1, 300))),
    lambda source: (None, b"\xff" * source.randint(1, 30)),
    lambda source: (None, None),
    lambda source: (b"no number", None),
    lambda source: (b"no number", b""),
    lambda source: (b"007", _event(7, 1)),
    lambda source: (b"-5", _event(5, 1)),
    lambda source: (b"99999999999999999999", b""),
    lambda source: (b"", None),
    lambda source: (b"\x00\xff\xfe", _event(1, 1)),
    lambda source: (b"2", _event(3, 1)),
    lambda source: (b"2", _event(2, -1)),
    lambda source: (b"4", _event(4, 1)[:-1] + b"\xff"),
    lambda source: (b"5", _with_order(5, 1, 6, 1)),
    lambda source: (b"5", _with_order(5, 1, 5, 2)),
)


class _Sent:
    """Records on their way to Kafka."""

    def __init__(self, kafka: Kafka) -> None:
        self._producer = kafka.producer(partitioner="murmur2_random", message_timeout_ms=KAFKA_SECONDS * 1000,
                                        logger=QUIET)
        self._places: list[list] = []
        self._failures: list[confluent_kafka.KafkaError] = []

    def add(self, topic: str, key: bytes | None, value: bytes | None, headers: list, partition: int = -1) -> None:
        self._producer.produce(topic, key=key, value=value, headers=headers, partition=partition,
                               on_delivery=self._on_delivery)

    def _on_delivery(self, error: confluent_kafka.KafkaError | None, message: confluent_kafka.Message) -> None:
        if error is not None:
            self._failures.append(error)
        else:
            self._places.append([message.topic(), message.partition(), message.offset()])

    def flush(self) -> list[list]:
        """Where they are, when all are acknowledged."""
        self._producer.flush(KAFKA_SECONDS + 5)
        if self._failures:
            raise RuntimeError(f"a record could not be produced: {self._failures[0]}")
        return self._places


class LettersReplayed(Fault):
    kind = "letters_replayed"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.needs = frozenset({"kafka", "postgres", "links", *DELIVERIES})  # it goes through all of these

    def inject(self, scene: Scene) -> None:
        def done() -> bool:
            service = scene.source.choice(scene.stack.deliveries)
            with open_channel(service.address) as channel:
                stub = delivery_operations_pb2_grpc.DeliveryOperationsStub(channel)
                try:
                    request = delivery_operations_pb2.ReplayAllDeadLettersRequest()
                    answer = stub.ReplayAllDeadLetters(request, timeout=20)
                except grpc.RpcError as error:
                    raise AssertionError(f"{error.code().name} {error.details()}") from error
            self.detail["replayed"] = answer.replayed
            return True

        wait_until(done, 60, "the dead letters are replayed")
