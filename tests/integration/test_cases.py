"""The four cases: whatever a message carries and however topics are cut, delivery ends up in step."""

import collections

import pytest
from delivery.v1 import delivery_operations_pb2
from order.v1 import order_event_pb2, order_pb2

from support import clients, convergence, events
from support.events import MODES, ORDER_FIELD, TYPE_FIELD
from support.workload import Workload

ORDERS = 1000


def read_events(stack):
    """topic -> its records."""
    return {topic: events.read_topic(stack.kafka, topic) for topic in stack.event_topics}


def check_counters(stack, records):
    """Asserts that what delivery counted adds up, and is no less than what was sent."""
    answers = [clients.delivery_operations(service).GetConsumerState(delivery_operations_pb2.GetConsumerStateRequest())
               for service in stack.deliveries]
    total = collections.Counter()
    for answer in answers:
        total.update({field.name: value for field, value in answer.counters.ListFields()})
        assert answer.problem == ""
        assert answer.pending_orders == answer.dead_letters == 0
    assert total["consumed"] == total["applied"] + total["stale"] + total["pending"] + total["dead_lettered"]
    assert total["consumed"] >= sum(map(len, records.values()))
    assert total["dead_lettered"] == 0
    return total


def check_versions(records, orders):
    """Asserts that each version of each order was sent."""
    sent = collections.defaultdict(set)
    for topic in records.values():
        for record in topic:
            sent[record.event.order_id].add(record.event.version)
    assert sent == {order_id: set(range(1, order.version + 1)) for order_id, order in orders.items()}


def check_first_in_order(records):
    """Asserts that the first copies of one order's versions stand in their order in each topic."""
    for topic in records.values():
        seen = collections.defaultdict(list)
        for record in topic:
            if record.event.version not in seen[record.event.order_id]:
                seen[record.event.order_id].append(record.event.version)
        assert all(versions == sorted(versions) for versions in seen.values())


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_a_thousand_orders_converge(new_stack, mode):
    stack = new_stack(deliveries=2).start()
    events.set_mode(stack.order, mode)
    load = Workload(stack.orders).run(ORDERS)
    convergence.wait_converged(stack)

    orders = convergence.all_orders(stack)
    assert len(orders) == ORDERS
    load.check(orders)
    records = read_events(stack)
    check_versions(records, orders)
    check_first_in_order(records)
    counted = check_counters(stack, records)
    payload, topics = mode
    assert (counted["lookup_ids"] > 0) == (payload == "ZERO")
    check_messages(stack, records, payload, topics)


def check_messages(stack, records, payload, topics):
    domain = stack.topics["DOMAIN_TOPIC"]
    for topic, sent in records.items():
        assert bool(sent) == ((topic == domain) == (topics == "DOMAIN")), f"{len(sent)} messages in {topic}"
        for record in sent:
            assert (TYPE_FIELD in record.fields) == (topics == "DOMAIN")
            assert (ORDER_FIELD in record.fields) == (payload == "FULL")


TYPE_OF_TOPIC = {
    "CREATE_TOPIC": order_event_pb2.ORDER_EVENT_TYPE_CREATED,
    "CHANGE_TOPIC": order_event_pb2.ORDER_EVENT_TYPE_CHANGED,
    "CANCEL_TOPIC": order_event_pb2.ORDER_EVENT_TYPE_CANCELLED,
}


def test_both_cuts_of_topics_say_the_same(new_stack):
    """The type that the message carries in one is the topic in the other."""
    stack = new_stack().start()
    events.set_mode(stack.order, MODES["full-per-event"])
    Workload(stack.orders).run(50)
    convergence.wait_converged(stack)
    for setting, event_type in TYPE_OF_TOPIC.items():
        records = events.read_topic(stack.kafka, stack.topics[setting])
        assert records
        for record in records:
            assert kind(record.event.order) == event_type


def kind(order):
    if order.status == order_pb2.ORDER_STATUS_CANCELLED:
        return order_event_pb2.ORDER_EVENT_TYPE_CANCELLED
    return order_event_pb2.ORDER_EVENT_TYPE_CREATED if order.version == 1 else order_event_pb2.ORDER_EVENT_TYPE_CHANGED


def test_the_mode_is_switched_during_load(new_stack):
    stack = new_stack(orders=2, deliveries=2).start()
    load = Workload(stack.orders).start()
    for turn, mode in enumerate([*MODES.values(), *MODES.values()]):
        load.wait_for_more(100)
        events.set_mode(stack.orders[turn % 2], mode)
    load.wait_for_more(100)
    load.stop()
    convergence.wait_converged(stack)

    orders = convergence.all_orders(stack)
    load.check(orders)
    records = read_events(stack)
    check_versions(records, orders)
    check_counters(stack, records)
    shapes = {(TYPE_FIELD in record.fields, ORDER_FIELD in record.fields) for topic in records.values() for record in topic}
    assert len(shapes) == 4, "messages of all four cases were sent"
