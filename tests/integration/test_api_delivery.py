"""delivery.v1.DeliveryService as its clients see it."""

import concurrent.futures
import time

import grpc
import pytest
from delivery.v1.delivery_pb2 import (
    DELIVERY_CAUSE_COMPLETE,
    DELIVERY_CAUSE_DISPATCH,
    DELIVERY_CAUSE_ORDER,
    DELIVERY_STATE_CANCELLED,
    DELIVERY_STATE_DELIVERED,
    DELIVERY_STATE_DISPATCHED,
    DELIVERY_STATE_PREPARING,
    DELIVERY_STATE_RETURNING,
)
from delivery.v1.delivery_service_pb2 import (
    BatchGetDeliveriesRequest,
    CompleteDeliveryRequest,
    DispatchDeliveryRequest,
    GetDeliveryRequest,
    ListDeliveriesRequest,
    WatchDeliveriesRequest,
)

from support import clients, samples
from support.clients import failure
from support.convergence import differences

NO_SUCH_ORDER = 2**62


@pytest.fixture
def orders(shared):
    return clients.order_service(shared.order)


@pytest.fixture
def deliveries(shared):
    return clients.delivery_service(shared.delivery)


@pytest.fixture
def delivered_order(orders, deliveries):
    """A new order that delivery knows."""
    order = samples.create(orders)
    wait_for(deliveries, order)
    return order


def wait_for(deliveries, order, **options):
    request = GetDeliveryRequest(order_id=order.order_id, min_order_version=order.version, **options)
    return deliveries.GetDelivery(request).delivery


def dispatch(deliveries, order_id, **fields):
    given = {"tracking_code": "T-1", **fields}
    return deliveries.DispatchDelivery(DispatchDeliveryRequest(order_id=order_id, **given)).delivery


def complete(deliveries, order_id, **fields):
    return deliveries.CompleteDelivery(CompleteDeliveryRequest(order_id=order_id, **fields)).delivery


# ---- reading ----

def test_who_writes_an_order_reads_its_delivery(orders, deliveries):
    order = samples.create(orders, items=[samples.item(), samples.item(sku="b", quantity=7)],
                           delivery_address=samples.address(lines=["one", "two"], city="Łódź"))
    delivery = wait_for(deliveries, order)
    assert differences(order, delivery) == []
    assert (delivery.state, delivery.revision, delivery.tracking_code) == (DELIVERY_STATE_PREPARING, 1, "")
    assert not delivery.history

    changed = samples.change(orders, order.order_id, items=[samples.item(sku="c")])
    delivery = wait_for(deliveries, changed)
    assert differences(changed, delivery) == []


def test_a_wait_begins_before_the_write_and_ends_with_it(orders, deliveries, delivered_order):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(deliveries.GetDelivery, GetDeliveryRequest(order_id=delivered_order.order_id, min_order_version=2))
                   for _ in range(10)]
        changed = samples.change(orders, delivered_order.order_id)
        for wait in waiting:
            assert differences(changed, wait.result(20).delivery) == []


def test_a_wait_in_vain_ends_with_the_deadline(deliveries, delivered_order):
    for order_id in (delivered_order.order_id, NO_SUCH_ORDER):
        begin = time.monotonic()
        refused = failure(deliveries.GetDelivery, GetDeliveryRequest(order_id=order_id, min_order_version=9), timeout=0.5)
        assert refused.code == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.4 < time.monotonic() - begin < 5


def test_no_delivery_is_not_found_when_nothing_is_waited_for(deliveries):
    refused = failure(deliveries.GetDelivery, GetDeliveryRequest(order_id=NO_SUCH_ORDER))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "DELIVERY_NOT_FOUND")
    assert refused.domain == "delivery.lockstep"


def test_many_are_found_and_missing_apart(orders, deliveries):
    made = [samples.create(orders) for _ in range(4)]
    for order in made:
        wait_for(deliveries, order)
    ids = [order.order_id for order in made]
    answer = deliveries.BatchGetDeliveries(BatchGetDeliveriesRequest(order_ids=[NO_SUCH_ORDER, *reversed(ids), ids[0]]))
    assert [delivery.order_id for delivery in answer.deliveries] == sorted(ids)
    assert list(answer.missing_order_ids) == [NO_SUCH_ORDER]


def listed(deliveries, **query):
    token, found = "", []
    while True:
        page = deliveries.ListDeliveries(ListDeliveriesRequest(page_token=token, **query))
        found.extend(page.deliveries)
        token = page.next_page_token
        if not token:
            return found


def test_pages_hold_all_and_end(orders, deliveries):
    made = [samples.create(orders) for _ in range(5)]
    for order in made:
        wait_for(deliveries, order)
    ids = [delivery.order_id for delivery in listed(deliveries, page_size=2)]
    assert ids == sorted(set(ids))
    assert {order.order_id for order in made} <= set(ids)
    assert ids == [delivery.order_id for delivery in listed(deliveries)]


def test_a_list_can_be_of_one_state(orders, deliveries):
    cancelled = samples.cancel(orders, samples.create(orders).order_id)
    wait_for(deliveries, cancelled)
    found = listed(deliveries, state=DELIVERY_STATE_CANCELLED, page_size=1)
    assert cancelled.order_id in [delivery.order_id for delivery in found]
    assert {delivery.state for delivery in found} == {DELIVERY_STATE_CANCELLED}


def test_a_page_token_of_another_query_is_refused(orders, deliveries):
    for _ in range(2):
        wait_for(deliveries, samples.create(orders))
    token = deliveries.ListDeliveries(ListDeliveriesRequest(page_size=1)).next_page_token
    for request in (ListDeliveriesRequest(page_token=token, state=DELIVERY_STATE_PREPARING),
                    ListDeliveriesRequest(page_token="invented"), ListDeliveriesRequest(page_token=token[:-1] + "*")):
        refused = failure(deliveries.ListDeliveries, request)
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert refused.fields.keys() == {"page_token"}


# ---- a delivery's life ----

def test_a_delivery_is_dispatched_and_completed(deliveries, delivered_order):
    order_id = delivered_order.order_id
    gone = dispatch(deliveries, order_id, tracking_code="T-77")
    assert (gone.state, gone.revision, gone.tracking_code) == (DELIVERY_STATE_DISPATCHED, 2, "T-77")
    done = complete(deliveries, order_id)
    assert (done.state, done.revision) == (DELIVERY_STATE_DELIVERED, 3)

    history = deliveries.GetDelivery(GetDeliveryRequest(order_id=order_id, include_history=True)).delivery.history
    assert [(entry.revision, entry.cause, entry.order_version, entry.state) for entry in history] == [
        (1, DELIVERY_CAUSE_ORDER, 1, DELIVERY_STATE_PREPARING),
        (2, DELIVERY_CAUSE_DISPATCH, 0, DELIVERY_STATE_DISPATCHED),
        (3, DELIVERY_CAUSE_COMPLETE, 0, DELIVERY_STATE_DELIVERED)]
    times = [entry.change_time.ToNanoseconds() for entry in history]
    assert times == sorted(times)


def test_repetitions_change_nothing(deliveries, delivered_order):
    order_id = delivered_order.order_id
    gone = dispatch(deliveries, order_id)
    assert dispatch(deliveries, order_id) == gone
    done = complete(deliveries, order_id)
    assert complete(deliveries, order_id) == done
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(answer == done for answer in pool.map(lambda _: complete(deliveries, order_id), range(32)))


def test_concurrent_dispatches_make_one_revision(deliveries, delivered_order):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: dispatch(deliveries, delivered_order.order_id), range(32)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].revision == 2


@pytest.mark.parametrize("act", [dispatch, complete])
def test_what_does_not_exist_is_not_found(deliveries, act):
    assert failure(act, deliveries, NO_SUCH_ORDER).code == grpc.StatusCode.NOT_FOUND


def test_a_wrong_revision_is_aborted(deliveries, delivered_order):
    order_id = delivered_order.order_id
    refused = failure(dispatch, deliveries, order_id, expected_revision=2)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
    dispatch(deliveries, order_id, expected_revision=1)
    refused = failure(complete, deliveries, order_id, expected_revision=1)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
    assert complete(deliveries, order_id, expected_revision=2).revision == 3


def test_a_delivery_in_another_state_stays_there(orders, deliveries, delivered_order):
    order_id = delivered_order.order_id
    assert failure(complete, deliveries, order_id).reason == "DELIVERY_STATE"
    dispatch(deliveries, order_id)
    refused = failure(dispatch, deliveries, order_id, tracking_code="another")
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "DELIVERY_STATE")

    cancelled = samples.cancel(orders, samples.create(orders).order_id)
    wait_for(deliveries, cancelled)
    for act in (dispatch, complete):
        assert failure(act, deliveries, cancelled.order_id).reason == "DELIVERY_STATE"


@pytest.mark.parametrize("steps, state", [
    ([], DELIVERY_STATE_CANCELLED),
    ([dispatch], DELIVERY_STATE_RETURNING),
    ([dispatch, complete], DELIVERY_STATE_RETURNING),
], ids=["preparing", "dispatched", "delivered"])
def test_a_cancelled_order_ends_its_delivery(orders, deliveries, delivered_order, steps, state):
    for step in steps:
        step(deliveries, delivered_order.order_id)
    cancelled = samples.cancel(orders, delivered_order.order_id)
    ended = wait_for(deliveries, cancelled)
    assert (ended.state, ended.revision) == (state, 2 + len(steps))
    assert failure(dispatch, deliveries, delivered_order.order_id, tracking_code="later").reason == "DELIVERY_STATE"
    assert failure(complete, deliveries, delivered_order.order_id).reason == "DELIVERY_STATE"


def test_a_change_after_dispatch_leaves_the_state(orders, deliveries, delivered_order):
    dispatch(deliveries, delivered_order.order_id, tracking_code="T-9")
    changed = samples.change(orders, delivered_order.order_id, delivery_address=samples.address(city="Elsewhere"))
    delivery = wait_for(deliveries, changed)
    assert (delivery.state, delivery.tracking_code) == (DELIVERY_STATE_DISPATCHED, "T-9")
    assert delivery.address.city == "Elsewhere"


# ---- following ----

def test_a_follower_sees_the_state_now_and_each_newer_one(orders, deliveries, delivered_order):
    order_id = delivered_order.order_id
    stream = deliveries.WatchDeliveries(WatchDeliveriesRequest(order_ids=[order_id]), timeout=30)
    assert next(stream).delivery.state == DELIVERY_STATE_PREPARING
    assert next_state(stream, lambda: dispatch(deliveries, order_id)) == DELIVERY_STATE_DISPATCHED
    assert next_state(stream, lambda: complete(deliveries, order_id)) == DELIVERY_STATE_DELIVERED
    assert next_state(stream, lambda: samples.cancel(orders, order_id)) == DELIVERY_STATE_RETURNING
    stream.cancel()


def next_state(stream, act):
    act()
    return next(stream).delivery.state


def test_a_delivery_that_does_not_exist_is_followed_until_it_does(orders, deliveries, delivered_order):
    first = delivered_order.order_id
    coming = range(first + 1, first + 1000)
    stream = deliveries.WatchDeliveries(WatchDeliveriesRequest(order_ids=[first, *coming]), timeout=30)
    assert next(stream).delivery.order_id >= first
    order = next(order for order in (samples.create(orders) for _ in range(1000)) if order.order_id in coming)
    found = next(answer.delivery for answer in stream if answer.delivery.order_id == order.order_id)
    assert differences(order, found) == []
    stream.cancel()


# ---- rules ----

VIOLATIONS = {
    "get no id": ("GetDelivery", GetDeliveryRequest(), "order_id"),
    "get a negative id": ("GetDelivery", GetDeliveryRequest(order_id=-1), "order_id"),
    "get a negative version": ("GetDelivery", GetDeliveryRequest(order_id=1, min_order_version=-1), "min_order_version"),
    "batch of none": ("BatchGetDeliveries", BatchGetDeliveriesRequest(), "order_ids"),
    "batch too large": ("BatchGetDeliveries", BatchGetDeliveriesRequest(order_ids=range(1, 1002)), "order_ids"),
    "batch with a zero": ("BatchGetDeliveries", BatchGetDeliveriesRequest(order_ids=[1, 0]), "order_ids[1]"),
    "negative page size": ("ListDeliveries", ListDeliveriesRequest(page_size=-1), "page_size"),
    "list of an unknown state": ("ListDeliveries", ListDeliveriesRequest(state=99), "state"),
    "dispatch no id": ("DispatchDelivery", DispatchDeliveryRequest(), "order_id"),
    "dispatch a negative revision": (
        "DispatchDelivery", DispatchDeliveryRequest(order_id=1, expected_revision=-1), "expected_revision"),
    "tracking code too long": ("DispatchDelivery", DispatchDeliveryRequest(order_id=1, tracking_code="x" * 65), "tracking_code"),
    "complete no id": ("CompleteDelivery", CompleteDeliveryRequest(), "order_id"),
    "complete a negative revision": (
        "CompleteDelivery", CompleteDeliveryRequest(order_id=1, expected_revision=-1), "expected_revision"),
}


@pytest.mark.parametrize("method, request_, field", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_every_rule_is_kept(deliveries, method, request_, field):
    refused = failure(getattr(deliveries, method), request_)
    assert (refused.code, refused.reason, refused.domain) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "delivery.lockstep")
    assert refused.fields.keys() == {field}


@pytest.mark.parametrize("ids", [[], range(1, 1002), [1, 0]], ids=["none", "too many", "zero"])
def test_every_rule_of_following_is_kept(deliveries, ids):
    refused = failure(lambda: list(deliveries.WatchDeliveries(WatchDeliveriesRequest(order_ids=ids), timeout=10)))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields)[0].startswith("order_ids")


@pytest.mark.parametrize("request_", [b"\x08", b"\x0b" * 10_000, b"\x0a\x00", b"\x80" * 100],
                         ids=["cut off", "groups", "a wrong wire type", "an endless tag"])
def test_a_malformed_message_is_refused_and_the_server_lives_on(shared, deliveries, request_):
    refused = failure(clients.raw_call, shared.delivery, "delivery.v1.DeliveryService/GetDelivery", request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert failure(deliveries.GetDelivery, GetDeliveryRequest(order_id=NO_SUCH_ORDER)).code == grpc.StatusCode.NOT_FOUND


def test_a_nul_in_a_string_is_refused(deliveries):
    refused = failure(deliveries.ListDeliveries, ListDeliveriesRequest(page_token="a\0b"))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
