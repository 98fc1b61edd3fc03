"""What an operator sees and can do."""

import pathlib
import re
import urllib.error
import urllib.request

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import (
    DiscardDeadLetterRequest,
    GetConsumerStateRequest,
    GetDeadLetterRequest,
    ListDeadLettersRequest,
    ListPendingOrdersRequest,
    ReplayAllDeadLettersRequest,
    ReplayDeadLetterRequest,
    ResyncOrdersRequest,
)
from delivery.v1.delivery_service_pb2 import GetDeliveryRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from order.v1 import order_event_pb2
from order.v1.order_operations_pb2 import EventMode, GetEventModeRequest, GetRelayStateRequest, SetEventModeRequest
from order.v1.order_service_pb2 import GetOrderRequest

from support import clients, convergence, events, samples
from support.clients import failure
from support.convergence import differences
from support.events import MODES
from support.workload import Workload

QUICK_RETRIES = {"PENDING_INITIAL_DELAY": "50ms", "PENDING_MAX_DELAY": "200ms", "PENDING_POLL_INTERVAL": "50ms"}
NO_SUCH_ORDER = 2**62


@pytest.fixture
def orders(shared):
    return clients.order_service(shared.order)


@pytest.fixture
def deliveries(shared):
    return clients.delivery_service(shared.delivery)


@pytest.fixture
def operations(shared):
    return clients.delivery_operations(shared.delivery)


def state(operations):
    return operations.GetConsumerState(GetConsumerStateRequest())


def wait_in_step(deliveries, order):
    request = GetDeliveryRequest(order_id=order.order_id, min_order_version=order.version)
    assert differences(order, deliveries.GetDelivery(request).delivery) == []


def forget(stack, order_ids):
    """Delivery loses what it knows of some orders."""
    with stack.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries WHERE order_id = ANY(%s)", [list(order_ids)])
        connection.execute("DELETE FROM delivery_history WHERE order_id = ANY(%s)", [list(order_ids)])


# ---- the mode ----

@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_the_mode_is_the_one_that_was_set(shared, mode):
    events.set_mode(shared.order, mode)
    stub = clients.order_operations(shared.order)
    answer = stub.GetEventMode(GetEventModeRequest())
    assert answer.mode == EventMode(payload=f"EVENT_PAYLOAD_{mode[0]}", topics=f"EVENT_TOPICS_{mode[1]}")
    assert answer.HasField("set_time")


@pytest.mark.parametrize("request_, field", [
    (SetEventModeRequest(), "mode"),
    (SetEventModeRequest(mode=EventMode(topics="EVENT_TOPICS_DOMAIN")), "mode.payload"),
    (SetEventModeRequest(mode=EventMode(payload="EVENT_PAYLOAD_FULL")), "mode.topics"),
    (SetEventModeRequest(mode=EventMode(payload=9, topics="EVENT_TOPICS_DOMAIN")), "mode.payload"),
], ids=["nothing", "no payload", "no topics", "unknown payload"])
def test_every_rule_of_the_mode_is_kept(shared, request_, field):
    refused = failure(clients.order_operations(shared.order).SetEventMode, request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refused.fields.keys() == {field}


def test_the_relay_tells_what_it_does(shared, orders, deliveries):
    stub = clients.order_operations(shared.order)
    before = stub.GetRelayState(GetRelayStateRequest())
    for _ in range(10):
        last = samples.create(orders)
    wait_in_step(deliveries, last)
    convergence.wait_outbox_empty(shared)
    after = stub.GetRelayState(GetRelayStateRequest())
    assert after.leader
    assert after.produced_events - before.produced_events == 10
    assert after.produced_bytes - before.produced_bytes > 10 * 100
    assert after.highest_sequence >= before.highest_sequence + 10
    assert (after.failed_sends, after.gap_count, after.problem) == (0, 0, "")
    assert not after.HasField("oldest_waiting_age")


# ---- the consumer ----

def test_the_consumer_tells_what_it_does(shared, orders, deliveries, operations, wait_until):
    events.set_mode(shared.order, MODES["zero-domain"])
    before = state(operations).counters
    order = samples.create(orders)
    wait_in_step(deliveries, order)
    wait_until(lambda: state(operations).counters.consumed == before.consumed + 1, 20, "the event is counted")
    now = state(operations)
    after = now.counters
    assert after.applied == before.applied + 1
    assert (after.lookups, after.lookup_ids) == (before.lookups + 1, before.lookup_ids + 1)
    assert after.consumed == after.applied + after.stale + after.pending + after.dead_lettered
    assert {(partition.topic, partition.partition) for partition in now.partitions} == {
        (topic, partition) for topic in shared.event_topics for partition in range(6)}
    assert not any(partition.paused for partition in now.partitions)
    wait_until(lambda: all(partition.lag == 0 for partition in state(operations).partitions), 30,
               lambda: f"no lag: {state(operations).partitions}")


# ---- dead letters ----

GARBAGE = {
    "not protobuf": (b"1", b"\xff\xfe garbage"),
    "cut off": (b"1", b"\x0a\x7f"),
    "no order id as key": (b"not a number", None),
    "no key and no value": (None, None),
    "a key with a leading zero": (b"007", b""),
    "a negative key": (b"-1", None),
    "a key beyond 64 bits": (b"9" * 19, None),
    "another id than the key's": (b"1", b"\x18\x02"),
    "10,000 deep": (b"1", b"\x32\x80\x04" + b"\x0a\x7e" * 256),
    "NUL in the event id": (b"1", b"\x0a\x03a\0b"),
}


@pytest.mark.parametrize("key, value", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_event_becomes_a_dead_letter_as_it_came(shared, orders, deliveries, operations, wait_until, key, value):
    topic, given = shared.topics["DOMAIN_TOPIC"], [("a", b"\x00\xff"), ("a", b"again"), ("b", b"")]
    before = state(operations)
    events.produce(shared.kafka, topic, key, value, headers=given, partition=3)
    wait_until(lambda: state(operations).counters.dead_lettered == before.counters.dead_lettered + 1, 20, "it is a dead letter")
    assert state(operations).dead_letters == before.dead_letters + 1

    letter = letters(operations)[-1]
    came, gone = record_at(shared, letter), dead_record_of(shared, letter)
    headers = came.headers()  # as this client shows them
    assert (letter.topic, letter.partition) == (topic, 3)
    assert (letter.key, letter.value) == (key or b"", value or b"")
    assert [(header.key, header.value) for header in letter.headers] == given
    assert letter.reason
    assert letter.HasField("create_time") and not letter.HasField("replay_time")

    assert (gone.key(), gone.value()) == (key, value)
    assert gone.headers()[:3] == headers
    assert dict(gone.headers()[3:]) == {
        "lockstep-reason": letter.reason.encode(), "lockstep-source-topic": topic.encode(),
        "lockstep-source-partition": b"3", "lockstep-source-offset": str(letter.offset).encode()}


def letters(operations, **query):
    token, found = "", []
    while True:
        page = operations.ListDeadLetters(ListDeadLettersRequest(page_token=token, **query))
        found.extend(page.dead_letters)
        token = page.next_page_token
        if not token:
            return found


def everything_in(stack, topic):
    return stack.kafka.read(topic, sum(stack.kafka.end_offsets(topic).values()))


def record_at(stack, letter):
    """The record that the letter is about, where it came from."""
    return next(message for message in everything_in(stack, letter.topic)
                if (message.partition(), message.offset()) == (letter.partition, letter.offset))


def dead_record_of(stack, letter):
    """The record about it in the dead-letter topic."""
    source = ("lockstep-source-offset", str(letter.offset).encode())
    (record,) = [message for message in everything_in(stack, stack.topics["DEAD_LETTER_TOPIC"]) if source in message.headers()]
    return record


def test_the_partition_goes_on_behind_a_dead_letter(shared, orders, deliveries, operations, wait_until):
    made = [samples.create(orders) for _ in range(20)]
    for order in made:
        wait_in_step(deliveries, order)
    forget(shared, [order.order_id for order in made])
    before = state(operations).counters.dead_lettered
    for order in made:
        key = str(order.order_id)
        events.produce(shared.kafka, shared.topics["DOMAIN_TOPIC"], key, b"\xff")
        events.produce(shared.kafka, shared.topics["DOMAIN_TOPIC"], key, None)
    for order in made:
        wait_in_step(deliveries, order)
    wait_until(lambda: state(operations).counters.dead_lettered == before + len(made), 20, "all garbage is set aside")


def test_a_dead_letter_is_replayed(new_stack, wait_until):
    """An event of an order that did not exist, and now does."""
    stack = new_stack(delivery_settings={**QUICK_RETRIES, "PENDING_MAX_ATTEMPTS": "2"},
                      order_settings={"WRITE_THREADS": "1"}).start()
    orders, operations = clients.order_service(stack.order), clients.delivery_operations(stack.delivery)
    first = samples.create(orders)
    coming = first.order_id + 1
    events.produce(stack.kafka, stack.topics["CANCEL_TOPIC"], str(coming), None, headers=[("x", b"y")])
    wait_until(lambda: state(operations).dead_letters == 1, 30, "it is given up on")
    assert state(operations).counters.pending_given_up == 1
    assert state(operations).pending_orders == 0
    (letter,) = letters(operations)
    assert (letter.key, letter.topic) == (str(coming).encode(), stack.topics["CANCEL_TOPIC"])
    assert letter.reason == "the order service has no such order"

    order = samples.create(orders)
    assert order.order_id == coming, "ids of one thread follow each other"
    convergence.wait_converged(stack)
    forget(stack, [coming])
    answer = operations.ReplayDeadLetter(ReplayDeadLetterRequest(dead_letter_id=letter.dead_letter_id)).dead_letter
    assert answer.HasField("replay_time")
    convergence.wait_converged(stack)
    replayed = events.read_topic(stack.kafka, stack.topics["CANCEL_TOPIC"])[-1]
    assert (replayed.key, replayed.value) == (str(coming).encode(), None)
    assert replayed.headers == {"x": b"y", "lockstep-replay-of": str(letter.dead_letter_id).encode()}
    assert letters(operations) == []
    assert letters(operations, include_replayed=True) == [answer]
    assert state(operations).dead_letters == 0

    again = operations.ReplayDeadLetter(ReplayDeadLetterRequest(dead_letter_id=letter.dead_letter_id)).dead_letter
    assert again.replay_time.ToNanoseconds() >= answer.replay_time.ToNanoseconds()


def test_all_dead_letters_are_replayed(new_stack, wait_until):
    stack = new_stack().start()
    operations = clients.delivery_operations(stack.delivery)
    for n in range(25):
        events.produce(stack.kafka, stack.event_topics[n % 4], b"1", b"\xff%d" % n)
    wait_until(lambda: state(operations).dead_letters == 25, 20, "all are dead letters")
    assert operations.ReplayAllDeadLetters(ReplayAllDeadLettersRequest()).replayed == 25
    # They are as bad as before: each comes back as another one.
    wait_until(lambda: state(operations).counters.dead_lettered == 50, 20, "all come back")
    assert len(letters(operations, page_size=7)) == 25
    assert len(letters(operations, page_size=7, include_replayed=True)) == 50


def test_a_dead_letter_is_shown_and_set_aside_for_good(new_stack, wait_until):
    stack = new_stack().start()
    operations = clients.delivery_operations(stack.delivery)
    for value in (b"\xff", b"\xfe", b"\xfd"):
        events.produce(stack.kafka, stack.topics["DOMAIN_TOPIC"], "1", value)
    wait_until(lambda: state(operations).dead_letters == 3, 20, "all are dead letters")
    first, second, third = operations.ListDeadLetters(ListDeadLettersRequest()).dead_letters
    shown = operations.GetDeadLetter(GetDeadLetterRequest(dead_letter_id=first.dead_letter_id)).dead_letter
    assert shown == first and not shown.HasField("discard_time")

    request = DiscardDeadLetterRequest(dead_letter_id=first.dead_letter_id, reason="a test of the producer")
    discarded = operations.DiscardDeadLetter(request).dead_letter
    assert discarded.HasField("discard_time") and discarded.discard_reason == "a test of the producer"
    request.reason = "another"
    assert operations.DiscardDeadLetter(request).dead_letter == discarded, "what was said first stays"
    assert operations.GetDeadLetter(GetDeadLetterRequest(dead_letter_id=first.dead_letter_id)).dead_letter == discarded
    assert state(operations).dead_letters == 2

    def listed(**query):
        return [letter.dead_letter_id for letter in operations.ListDeadLetters(ListDeadLettersRequest(**query)).dead_letters]

    ids = [letter.dead_letter_id for letter in (first, second, third)]
    assert listed() == listed(include_replayed=True) == ids[1:]
    assert listed(include_discarded=True) == ids
    operations.ReplayDeadLetter(ReplayDeadLetterRequest(dead_letter_id=second.dead_letter_id))
    wait_until(lambda: state(operations).dead_letters == 2, 20, "it is given up on again")
    assert first.dead_letter_id not in listed(include_replayed=True)
    assert operations.ReplayAllDeadLetters(ReplayAllDeadLettersRequest()).replayed == 2


@pytest.mark.parametrize("reason", ["", "x" * 481])
def test_a_dead_letter_is_discarded_for_a_reason(operations, reason):
    refused = failure(operations.DiscardDeadLetter, DiscardDeadLetterRequest(dead_letter_id=1, reason=reason))
    assert (refused.code, list(refused.fields)) == (grpc.StatusCode.INVALID_ARGUMENT, ["reason"])


@pytest.mark.parametrize("method, request_", [
    ("GetDeadLetter", GetDeadLetterRequest(dead_letter_id=2**60)),
    ("DiscardDeadLetter", DiscardDeadLetterRequest(dead_letter_id=2**60, reason="none")),
])
def test_what_is_not_there_is_not_found(operations, method, request_):
    assert failure(getattr(operations, method), request_).code == grpc.StatusCode.NOT_FOUND


def test_no_dead_letter_is_not_found(operations):
    refused = failure(operations.ReplayDeadLetter, ReplayDeadLetterRequest(dead_letter_id=2**60))
    assert refused.code == grpc.StatusCode.NOT_FOUND


# ---- pending orders ----

def test_a_failed_lookup_waits_beside_the_stream(new_stack, wait_until):
    stack = new_stack(delivery_settings=QUICK_RETRIES, order_settings={"WRITE_THREADS": "1"}).start()
    orders, operations = clients.order_service(stack.order), clients.delivery_operations(stack.delivery)
    events.set_mode(stack.order, MODES["zero-domain"])
    first = samples.create(orders)
    missing = [first.order_id + 1, NO_SUCH_ORDER]
    for order_id in missing:
        events.produce(stack.kafka, stack.topics["DOMAIN_TOPIC"], str(order_id), None)

    def retried():
        pending = operations.ListPendingOrders(ListPendingOrdersRequest()).pending_orders
        is_so = [one.order_id for one in pending] == missing and min(one.attempts for one in pending) >= 2
        return list(pending) if is_so else None

    for one in wait_until(retried, 20, "both are retried"):
        assert one.reason
        assert one.HasField("next_attempt_time") and one.HasField("create_time")
    assert state(operations).pending_orders == 2
    assert state(operations).counters.pending == 2

    order = samples.create(orders)
    assert order.order_id == missing[0], "ids of one thread follow each other"
    convergence.wait_converged(stack)
    wait_until(lambda: [one.order_id for one in operations.ListPendingOrders(ListPendingOrdersRequest()).pending_orders]
               == [NO_SUCH_ORDER], 20, "the one that exists now is no longer pending")
    page = operations.ListPendingOrders(ListPendingOrdersRequest(page_size=1))
    assert (len(page.pending_orders), page.next_page_token) == (1, "")


def test_a_version_that_is_not_there_yet_is_waited_for(new_stack, wait_until):
    stack = new_stack(delivery_settings=QUICK_RETRIES).start()
    orders, operations = clients.order_service(stack.order), clients.delivery_operations(stack.delivery)
    order = samples.create(orders)
    convergence.wait_converged(stack)
    event = order_event_pb2.OrderEvent(order_id=order.order_id, version=2)
    events.produce(stack.kafka, stack.topics["DOMAIN_TOPIC"], str(order.order_id), event.SerializeToString())
    wait_until(lambda: state(operations).pending_orders == 1, 20, "version 2 is pending")
    (pending,) = operations.ListPendingOrders(ListPendingOrdersRequest()).pending_orders
    assert pending.min_version == 2
    samples.change(orders, order.order_id)
    wait_until(lambda: state(operations).pending_orders == 0, 20, "version 2 is there")
    convergence.wait_converged(stack)


# ---- resync ----

def test_one_order_is_brought_back(shared, orders, deliveries, operations):
    made = [samples.create(orders) for _ in range(3)]
    for order in made:
        wait_in_step(deliveries, order)
    forget(shared, [order.order_id for order in made])
    ids = [order.order_id for order in made]
    assert operations.ResyncOrders(ResyncOrdersRequest(order_ids=[*ids, ids[0]])).scheduled == 3
    for order in made:
        wait_in_step(deliveries, order)


def test_all_orders_are_brought_back(new_stack):
    stack = new_stack(deliveries=2).start()
    orders = clients.order_service(stack.order)
    Workload(stack.orders).run(1500)
    late = samples.create(orders)
    convergence.wait_converged(stack)
    forget(stack, convergence.all_orders(stack))
    answer = clients.delivery_operations(stack.delivery).ResyncOrders(ResyncOrdersRequest(all=True))
    assert answer.scheduled == 0
    convergence.wait_converged(stack)
    wait_in_step(clients.delivery_service(stack.deliveries[1]), late)


@pytest.mark.parametrize("request_", [ResyncOrdersRequest(), ResyncOrdersRequest(all=True, order_ids=[1]),
                                      ResyncOrdersRequest(order_ids=range(1, 1002)), ResyncOrdersRequest(order_ids=[0])],
                         ids=["nothing", "all and some", "too many", "zero"])
def test_every_rule_of_resync_is_kept(operations, request_):
    refused = failure(operations.ResyncOrders, request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields)[0].startswith("order_ids")


@pytest.mark.parametrize("method, request_", [
    ("ListPendingOrders", ListPendingOrdersRequest(page_token="invented")),
    ("ListDeadLetters", ListDeadLettersRequest(page_token="invented")),
    ("ListPendingOrders", ListPendingOrdersRequest(page_size=-1)),
    ("ListDeadLetters", ListDeadLettersRequest(page_size=-1)),
    ("ReplayDeadLetter", ReplayDeadLetterRequest()),
    ("GetDeadLetter", GetDeadLetterRequest()),
    ("DiscardDeadLetter", DiscardDeadLetterRequest(reason="none")),
])
def test_every_other_rule_is_kept(operations, method, request_):
    refused = failure(getattr(operations, method), request_)
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert len(refused.fields) == 1


# ---- health ----

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = {"order": {"", "liveness", "order.v1.OrderService", "order.v1.OrderOperations"},
         "delivery": {"", "liveness", "delivery.v1.DeliveryService", "delivery.v1.DeliveryOperations"}}


@pytest.mark.parametrize("side", NAMES)
def test_health_tells_of_each_service(shared, side):
    health = health_pb2_grpc.HealthStub(getattr(shared, side).channel)
    for name in NAMES[side]:
        assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == SERVING
    statuses = health.List(health_pb2.HealthListRequest(), timeout=10).statuses
    assert {name: answer.status for name, answer in statuses.items()} == {name: SERVING for name in NAMES[side]}
    unknown = failure(health.Check, health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
    assert unknown.code == grpc.StatusCode.NOT_FOUND
    stream = health.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
    assert next(stream).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    stream.cancel()


def http_status(service, path):
    try:
        with urllib.request.urlopen(f"http://{service.metrics_address}{path}", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_readiness_follows_the_database_and_liveness_does_not(new_stack, wait_until):
    stack = new_stack().start()
    watches = []
    for service in stack.services:
        health = health_pb2_grpc.HealthStub(service.channel)
        watches.append(health.Watch(health_pb2.HealthCheckRequest(), timeout=90))
        assert next(watches[-1]).status == SERVING
        assert [http_status(service, path) for path in ("/healthz", "/readyz")] == [200, 200]
    stack.postgres.kill()
    for service, watch in zip(stack.services, watches):
        assert next(watch).status == NOT_SERVING
        alive = health_pb2_grpc.HealthStub(service.channel).Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=10)
        assert alive.status == SERVING
        assert [http_status(service, path) for path in ("/healthz", "/readyz")] == [200, 503]
    stack.postgres.start()
    for service, watch in zip(stack.services, watches):
        assert next(watch).status == SERVING
        assert http_status(service, "/readyz") == 200


def test_they_start_before_what_they_need(new_stack):
    """Neither Kafka nor PostgreSQL nor the order service need be there first."""
    stack = new_stack()
    stack.prepare()
    stack.kafka.stop()
    stack.postgres.stop()
    for service in reversed(stack.services):
        service.start(wait=False)
        service.wait_log('"message":"[a-z]+-service serves"')
        assert not service.serving()
    stack.postgres.start()
    for service in stack.services:
        service.wait_serving()
    samples.create(clients.order_service(stack.order))
    stack.kafka.start()
    convergence.wait_converged(stack)


# ---- metrics ----

ORDER_METRICS = {
    "lockstep_outbox_waiting_rows", "lockstep_outbox_oldest_waiting_seconds", "lockstep_outbox_events_produced_total",
    "lockstep_outbox_bytes_produced_total", "lockstep_outbox_failed_sends_total", "lockstep_outbox_oversized_events_total",
    "lockstep_outbox_relay_leader", "lockstep_outbox_gaps", "process_resident_memory_bytes", "process_cpu_seconds_total",
}
DELIVERY_METRICS = {
    *(f"lockstep_delivery_events_{name}_total" for name in (
        "consumed", "applied", "stale", "overtaken", "duplicate", "coalesced", "pending", "dead_lettered")),
    "lockstep_delivery_lookups_total", "lockstep_delivery_lookup_ids_total", "lockstep_delivery_pending_resolved_total",
    "lockstep_delivery_pending_given_up_total", "lockstep_delivery_consumer_lag",
    "process_resident_memory_bytes", "process_cpu_seconds_total",
}


def test_metrics_tell_what_is_promised(shared, orders, deliveries, operations, wait_until):
    order = samples.create(orders)
    failure(orders.GetOrder, GetOrderRequest(order_id=NO_SUCH_ORDER))
    wait_in_step(deliveries, order)
    wait_until(lambda: "lockstep_delivery_consumer_lag{" in shared.delivery.metrics_text(), 20, "the lag is measured")
    for service, promised in ((shared.order, ORDER_METRICS), (shared.delivery, DELIVERY_METRICS)):
        names = {series.split("{")[0] for series in service.metrics()}
        assert promised <= names
    calls = {"grpc_service": "order.v1.OrderService", "grpc_method": "GetOrder"}
    assert shared.order.metric("grpc_server_handled_total", **calls, grpc_code="NOT_FOUND") >= 1
    assert shared.order.metric("grpc_server_handling_seconds_count", **calls) >= 1
    assert shared.delivery.metric("grpc_server_handled_total", grpc_method="GetDelivery", grpc_code="OK") >= 1
    counted = state(operations).counters
    for name in ("consumed", "applied", "stale", "overtaken", "coalesced", "pending", "dead_lettered"):
        assert shared.delivery.metric(f"lockstep_delivery_events_{name}_total") == getattr(counted, name)


SAMPLE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\.)*",?)*\})? '
                    r"([+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf)|NaN)")


@pytest.mark.parametrize("side", ["order", "delivery"])
def test_metrics_can_be_scraped(shared, side):
    service = getattr(shared, side)
    described, last = set(), ""
    for line in service.metrics_text().splitlines():
        if line.startswith("# TYPE "):
            last = line.split()[2]
            assert last not in described
            described.add(last)
        elif not line.startswith("# HELP "):
            assert SAMPLE.fullmatch(line), line
            assert line.startswith(last), f"{line} does not stand with {last}"
    assert http_status(service, "/nothing") == 404


def test_the_backlog_is_measured(new_stack, wait_until):
    stack = new_stack().start()
    stack.kafka.kill()
    orders = clients.order_service(stack.order)
    for _ in range(10):
        samples.create(orders)
    stub = clients.order_operations(stack.order)

    def waiting():
        answer = stub.GetRelayState(GetRelayStateRequest())
        return answer if answer.waiting_rows == 10 and answer.oldest_waiting_age.ToMilliseconds() > 0 else None

    wait_until(waiting, 20, "ten rows wait")
    wait_until(lambda: stack.order.metric("lockstep_outbox_waiting_rows") == 10, 20, "the gauge says so")
    assert stack.order.metric("lockstep_outbox_oldest_waiting_seconds") > 0
    stack.kafka.start()
    convergence.wait_converged(stack)
    wait_until(lambda: stack.order.metric("lockstep_outbox_waiting_rows") == 0, 20, "the gauge falls")


# ---- what is kept for repeated requests ----

def test_answers_are_forgotten_by_the_databases_clock_alone(new_stack, wait_until):
    """Old ones go; a replica whose clock is days ahead takes nothing else with them."""
    library = max(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), default=None)
    assert library is not None, "no libfaketime: run deploy/local/dependencies --test"
    stack = new_stack().prepare()
    stack.order.settings.update(LD_PRELOAD=str(library), FAKETIME="+10d", DONT_FAKE_MONOTONIC="1",
                                FAKETIME_DONT_FAKE_MONOTONIC="1")
    with stack.order_database_connection() as connection:
        connection.execute("""INSERT INTO order_requests (request_id, order_id, fingerprint, response, create_time)
                              SELECT 'request-' || age, 1, repeat('x', 32)::bytea, '', now() - age * interval '1 hour'
                              FROM unnest(ARRAY[1, 47, 49, 500]) AS age""")
        stack.order.start()

        def left():
            return [row[0] for row in connection.execute("SELECT request_id FROM order_requests ORDER BY create_time DESC")]

        wait_until(lambda: left() == ["request-1", "request-47"], 20, lambda: f"the old ones are gone, and only these: {left()}")
