"""What stands in Kafka, and what becomes of what others put there."""

import datetime
import re

import pytest
from delivery.v1 import delivery_operations_pb2
from delivery.v1.delivery_service_pb2 import GetDeliveryRequest
from order.v1 import order_event_pb2, order_operations_pb2
from order.v1.order_service_pb2 import CreateOrderRequest

from support import clients, convergence, events, samples
from support.convergence import differences
from support.events import MODES
from support.workload import Workload

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def orders(shared):
    return clients.order_service(shared.order)


@pytest.fixture
def deliveries(shared):
    return clients.delivery_service(shared.delivery)


def counters(stack):
    operations = clients.delivery_operations(stack.delivery)
    return operations.GetConsumerState(delivery_operations_pb2.GetConsumerStateRequest()).counters


def relay_state(stack):
    return clients.order_operations(stack.order).GetRelayState(order_operations_pb2.GetRelayStateRequest())


def in_step(deliveries, order):
    """Waits for the delivery of an order's version and returns it."""
    request = GetDeliveryRequest(order_id=order.order_id, min_order_version=order.version)
    delivery = deliveries.GetDelivery(request).delivery
    assert differences(order, delivery) == []
    return delivery


def records_of(stack, order_id):
    return [record for topic in stack.event_topics for record in events.read_topic(stack.kafka, topic)
            if record.key == str(order_id).encode()]


# ---- the record ----

@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_every_event_has_its_attributes(shared, orders, deliveries, mode):
    events.set_mode(shared.order, mode)
    placed = samples.create(orders)
    changed = samples.change(orders, placed.order_id)
    cancelled = samples.cancel(orders, placed.order_id)
    in_step(deliveries, cancelled)

    records = sorted(records_of(shared, placed.order_id), key=lambda record: record.event.version)
    assert [record.event.version for record in records] == [1, 2, 3]
    types = ["order.v1.OrderCreated", "order.v1.OrderChanged", "order.v1.OrderCancelled"]
    for record, order, event_type in zip(records, (placed, changed, cancelled), types):
        event = record.event
        text = {name: value.decode() for name, value in record.headers.items()}
        assert text["ce_specversion"] == "1.0"
        assert text["ce_id"] == event.event_id == f"{order.order_id}:{order.version}"
        assert text["ce_source"] == "/lockstep/order"
        assert text["ce_type"] == (event_type if mode[1] == "DOMAIN" else "order.v1.OrderEvent")
        assert text["ce_subject"] == str(order.order_id)
        assert text["content-type"] == "application/protobuf"
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", text["traceparent"])
        assert rfc3339_microseconds(text["ce_time"]) == event.occur_time.ToMicroseconds()
        assert event.occur_time == order.update_time
        assert event.order_id == order.order_id
        if mode[0] == "FULL":
            assert event.order == order


def rfc3339_microseconds(text):
    assert text.endswith("Z")
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e6)


def test_an_event_continues_the_trace_of_its_call(shared, orders, deliveries):
    request = CreateOrderRequest(order=samples.order())
    parent = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
    order = orders.CreateOrder(request, metadata=[("traceparent", parent)]).order
    in_step(deliveries, order)
    (record,) = records_of(shared, order.order_id)
    assert record.headers["traceparent"].decode().split("-")[1] == TRACE_ID


def test_an_order_is_where_the_java_client_would_put_it(shared, orders, deliveries):
    """Same key, same partition as by every client with the usual partitioner."""
    events.set_mode(shared.order, MODES["full-domain"])
    made = [samples.create(orders) for _ in range(30)]
    in_step(deliveries, made[-1])
    topic = shared.topics["DOMAIN_TOPIC"]
    convergence.wait_outbox_empty(shared)
    ids = {order.order_id for order in made}
    records = [record for record in events.read_topic(shared.kafka, topic) if int(record.key) in ids]
    assert len(records) == len(made)
    for record in records:
        assert record.partition == events.murmur2_partition(record.key, 6)

    other = f"{topic}-other"
    shared.kafka.create_topic(other, partitions=6)
    for record in records:
        events.produce(shared.kafka, other, record.key, b"")
    by_client = {record.key: record.partition for record in events.read_topic(shared.kafka, other)}
    shared.kafka.delete_topics([other])
    assert by_client == {record.key: record.partition for record in records}


def test_the_partitioner_of_the_tests_is_the_java_clients():
    """The values are those of Apache Kafka's own test of Utils.murmur2."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
             b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}
    assert {key: events.murmur2(key) for key in known} == {key: value & 0xFFFFFFFF for key, value in known.items()}


def test_an_event_larger_than_allowed_goes_without_its_payload(new_stack):
    stack = new_stack(order_settings={"MAX_EVENT_BYTES": "2048"}).start()
    orders, deliveries = clients.order_service(stack.order), clients.delivery_service(stack.delivery)
    small, large = samples.create(orders), samples.create(orders, note="n" * 4000)
    for order, has_payload in ((small, True), (large, False)):
        in_step(deliveries, order)
        (record,) = records_of(stack, order.order_id)
        assert (events.ORDER_FIELD in record.fields) == has_payload
    assert relay_state(stack).oversized_events == 1


def test_an_event_larger_than_the_broker_takes_goes_without_its_payload(new_stack):
    stack = new_stack()
    stack.prepare()
    stack.kafka.delete_topics([stack.topics["DOMAIN_TOPIC"]])
    stack.kafka.create_topic(stack.topics["DOMAIN_TOPIC"], partitions=6, max_message_bytes="3000")
    for service in stack.services:
        service.start()
    orders, deliveries = clients.order_service(stack.order), clients.delivery_service(stack.delivery)
    large, small = samples.create(orders, note="n" * 4000), samples.create(orders)
    for order in (large, small):
        in_step(deliveries, order)
    assert relay_state(stack).oversized_events == 1


# ---- repetition and disorder ----

def test_reading_everything_again_changes_nothing(stack, wait_until):
    for seed, mode in enumerate(MODES.values()):
        events.set_mode(stack.order, mode)
        Workload(stack.orders, seed=seed).run(50)
    convergence.wait_converged(stack)
    before = convergence.all_deliveries(stack)
    sent = sum(len(events.read_topic(stack.kafka, topic)) for topic in stack.event_topics)
    stack.delivery.stop()
    stack.delivery.settings["KAFKA_GROUP_ID"] = f"{stack.group}-again"
    stack.delivery.start()

    wait_until(lambda: counters(stack).consumed == sent, 30, lambda: f"{sent} events are read again: {counters(stack)}")
    assert counters(stack).stale == counters(stack).duplicates == sent
    assert convergence.all_deliveries(stack) == before


def test_older_events_that_come_late_are_overtaken(shared, orders, deliveries, wait_until):
    """Created, changed and cancelled, in the opposite order: nothing revives what was cancelled."""
    events.set_mode(shared.order, MODES["full-domain"])
    placed = samples.create(orders)
    versions = [placed, samples.change(orders, placed.order_id), samples.cancel(orders, placed.order_id)]
    in_step(deliveries, versions[-1])
    foreign = 2**40  # an order that only these events know

    def copy(order):
        event = order_event_pb2.OrderEvent(event_id=f"{foreign}:{order.version}", order_id=foreign, version=order.version,
                                           type=order_event_pb2.ORDER_EVENT_TYPE_CHANGED)
        event.order.CopyFrom(order)
        event.order.order_id = foreign
        return event

    for order in reversed(versions):
        before = counters(shared)
        events.produce(shared.kafka, shared.topics["DOMAIN_TOPIC"], str(foreign), copy(order).SerializeToString())
        wait_until(lambda: counters(shared).consumed == before.consumed + 1, 20, "the event is taken")
        after = counters(shared)
        is_first = order is versions[-1]
        assert after.applied - before.applied == (1 if is_first else 0)
        assert after.overtaken - before.overtaken == (0 if is_first else 1)
        delivery = deliveries.GetDelivery(GetDeliveryRequest(order_id=foreign, include_history=True)).delivery
        assert (delivery.order_version, len(delivery.history)) == (3, 1)

    events.produce(shared.kafka, shared.topics["DOMAIN_TOPIC"], str(foreign), copy(versions[0]).SerializeToString())
    wait_until(lambda: counters(shared).duplicates == after.duplicates + 1, 20, "a repetition counts as one")
    with shared.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries WHERE order_id = %s", [foreign])


def test_a_key_alone_has_an_order_looked_up(shared, orders, deliveries, wait_until):
    order = samples.create(orders)
    in_step(deliveries, order)
    with shared.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries WHERE order_id = %s", [order.order_id])
        connection.execute("DELETE FROM delivery_history WHERE order_id = %s", [order.order_id])
    topics = shared.event_topics
    for value, topic in zip((None, b"", None, b""), topics):
        events.produce(shared.kafka, topic, str(order.order_id), value)
    in_step(deliveries, order)


def test_an_event_without_a_key_is_taken_by_its_value(shared, orders, deliveries):
    order = samples.create(orders)
    in_step(deliveries, order)
    with shared.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries WHERE order_id = %s", [order.order_id])
        connection.execute("DELETE FROM delivery_history WHERE order_id = %s", [order.order_id])
    event = order_event_pb2.OrderEvent(order_id=order.order_id)
    events.produce(shared.kafka, shared.topics["DOMAIN_TOPIC"], None, event.SerializeToString())
    in_step(deliveries, order)


def test_an_event_of_a_later_kind_is_taken_for_what_it_says(shared, orders, deliveries, wait_until):
    """What type an event has is for people: the version says what is to be done."""
    order = samples.create(orders)
    in_step(deliveries, order)
    before = counters(shared)
    event = order_event_pb2.OrderEvent(order_id=order.order_id, version=1)
    event.MergeFromString(b"\x10\x63\xfa\x07\x03new")
    events.produce(shared.kafka, shared.topics["CREATE_TOPIC"], str(order.order_id), event.SerializeToString())
    wait_until(lambda: counters(shared).duplicates == before.duplicates + 1, 20, "it is a duplicate")
    assert counters(shared).dead_lettered == before.dead_lettered
