"""order.v1.OrderService as its clients see it."""

import concurrent.futures
import socket
import time

import grpc
import pytest
from google.protobuf import field_mask_pb2
from order.v1 import order_pb2, order_service_pb2
from order.v1.order_service_pb2 import (
    BatchGetOrdersRequest,
    CancelOrderRequest,
    CreateOrderRequest,
    GetOrderRequest,
    ListOrdersRequest,
    UpdateOrderRequest,
    WatchOrdersRequest,
)

from support import clients, samples
from support.clients import failure

NO_SUCH_ORDER = 2**62


@pytest.fixture
def orders(shared):
    return clients.order_service(shared.order)


# ---- creating ----

def test_a_new_order_is_what_was_asked_for(orders):
    before = time.time()
    wanted = samples.order(note="ring twice", items=[samples.item(quantity=3, unit_minor_units=250), samples.item(sku="b")])
    created = orders.CreateOrder(CreateOrderRequest(request_id=samples.new_request_id(), order=wanted)).order

    assert created.order_id >= 1
    assert (created.version, created.status) == (1, order_pb2.ORDER_STATUS_PLACED)
    assert created.total_minor_units == 3 * 250 + 2 * 1999
    assert before - 1 <= created.create_time.ToMicroseconds() / 1e6 <= time.time() + 1
    assert created.update_time == created.create_time
    for field in ("customer_id", "delivery_address", "items", "currency_code", "note"):
        assert getattr(created, field) == getattr(wanted, field)
    assert orders.GetOrder(GetOrderRequest(order_id=created.order_id)).order == created


def test_text_of_every_script_comes_back_as_it_was(orders):
    text = "Žofie 山田 \U0001f69a \t'\"\\{}%s"
    created = samples.create(orders, note=text, delivery_address=samples.address(recipient=text, lines=[text, "}{,NULL"]),
                             items=[samples.item(sku=text)])
    assert orders.GetOrder(GetOrderRequest(order_id=created.order_id)).order == created
    assert created.note == created.delivery_address.lines[0] == created.items[0].sku == text


def test_limits_are_within_what_may_be_asked_for(orders):
    largest = samples.order(
        customer_id="c" * 64, note="n" * 4096, items=[samples.item(sku="s" * 64, quantity=1_000_000)] * 200,
        delivery_address=samples.address(recipient="r" * 200, lines=["l" * 200] * 4, postal_code="p" * 32, city="c" * 100))
    created = orders.CreateOrder(CreateOrderRequest(request_id="x" * 64, order=largest)).order
    assert created.items == largest.items
    free = samples.create(orders, items=[samples.item(quantity=1, unit_minor_units=0)],
                          delivery_address=samples.address(postal_code=""))
    assert free.total_minor_units == 0


def test_the_largest_total_is_the_largest_total(orders):
    most = [samples.item(quantity=9000, unit_minor_units=10**12)]
    assert samples.create(orders, items=most).total_minor_units == 9 * 10**15
    refused = failure(samples.create, orders, items=[*most, samples.item(quantity=1, unit_minor_units=1)])
    assert refused.fields.keys() == {"order.items"}


# ---- request_id ----

def test_a_repeated_request_is_done_once_and_answered_the_same(orders):
    request = CreateOrderRequest(request_id=samples.new_request_id(), order=samples.order())
    first = orders.CreateOrder(request).order
    samples.change(orders, first.order_id)
    assert orders.CreateOrder(request).order == first


def test_an_id_of_another_request_is_refused(orders):
    request = CreateOrderRequest(request_id=samples.new_request_id(), order=samples.order())
    orders.CreateOrder(request)
    refused = failure(orders.CreateOrder, CreateOrderRequest(request_id=request.request_id, order=samples.order(note="other")))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert refused.domain == "order.lockstep"


def test_ids_are_one_space_for_all_methods(orders):
    order = samples.create(orders)
    request_id = samples.new_request_id()
    orders.CancelOrder(CancelOrderRequest(request_id=request_id, order_id=order.order_id))
    refused = failure(orders.CreateOrder, CreateOrderRequest(request_id=request_id, order=samples.order()))
    assert refused.reason == "REQUEST_ID_REUSED"


def test_a_repeated_change_is_made_once(orders):
    order = samples.create(orders)
    request = UpdateOrderRequest(request_id=samples.new_request_id(), expected_version=1,
                                 order=order_pb2.Order(order_id=order.order_id, note="once"))
    first = orders.UpdateOrder(request).order
    samples.cancel(orders, order.order_id)
    assert orders.UpdateOrder(request).order == first
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id)).order.version == 3


def test_a_request_repeated_concurrently_is_done_once(orders, shared):
    request = CreateOrderRequest(request_id=samples.new_request_id(), order=samples.order(customer_id="concurrent"))
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: orders.CreateOrder(request).order, range(64)))
    assert all(answer == answers[0] for answer in answers)
    found = orders.ListOrders(ListOrdersRequest(customer_id="concurrent")).orders
    assert list(found) == [answers[0]]


def test_concurrent_requests_of_one_id_and_two_bodies_give_one_order(orders):
    request_id = samples.new_request_id()
    bodies = [samples.order(customer_id="two-bodies", note=f"body {n % 2}") for n in range(32)]

    def create(body):
        try:
            return orders.CreateOrder(CreateOrderRequest(request_id=request_id, order=body)).order
        except grpc.RpcError as error:
            assert clients.failure_of(error).reason == "REQUEST_ID_REUSED"
            return None

    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(create, bodies))
    created = [answer for answer in answers if answer is not None]
    assert len(created) == 16
    assert all(order == created[0] for order in created)
    assert len(orders.ListOrders(ListOrdersRequest(customer_id="two-bodies")).orders) == 1


def test_without_an_id_a_repeated_request_is_another_one(orders):
    assert samples.create(orders).order_id != samples.create(orders).order_id


# ---- changing ----

def test_a_change_is_one_version_up(orders):
    order = samples.create(orders, note="before")
    changed = samples.change(orders, order.order_id, note="after")
    assert (changed.version, changed.note) == (2, "after")
    assert changed.create_time == order.create_time
    assert changed.update_time.ToNanoseconds() >= order.update_time.ToNanoseconds()
    assert changed.items == order.items
    assert changed.delivery_address == order.delivery_address
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id)).order == changed


@pytest.mark.parametrize("paths, changed", [
    (["note"], {"note"}),
    (["items"], {"items", "total_minor_units"}),
    (["delivery_address"], {"delivery_address"}),
    (["note", "items"], {"note", "items", "total_minor_units"}),
    (["*"], {"note", "items", "total_minor_units", "delivery_address"}),
    ([], {"note", "items", "total_minor_units", "delivery_address"}),
])
def test_the_mask_says_what_changes(orders, paths, changed):
    before = samples.create(orders, note="before")
    wanted = order_pb2.Order(order_id=before.order_id, note="after", items=[samples.item(sku="after")] * 3,
                             delivery_address=samples.address(city="After"))
    after = orders.UpdateOrder(UpdateOrderRequest(
        order=wanted, update_mask=field_mask_pb2.FieldMask(paths=paths))).order
    fields = ("customer_id", "currency_code", "note", "items", "total_minor_units", "delivery_address", "status")
    assert {field for field in fields if getattr(before, field) != getattr(after, field)} == changed


def test_a_mask_can_clear_the_note(orders):
    order = samples.create(orders, note="before")
    cleared = orders.UpdateOrder(UpdateOrderRequest(order=order_pb2.Order(order_id=order.order_id),
                                                    update_mask=field_mask_pb2.FieldMask(paths=["note"]))).order
    assert (cleared.version, cleared.note) == (2, "")


def test_of_two_changes_racing_on_one_version_one_wins(orders):
    order = samples.create(orders)

    def update(n):
        request = UpdateOrderRequest(order=order_pb2.Order(order_id=order.order_id, note=f"racer {n}"), expected_version=1)
        try:
            return orders.UpdateOrder(request).order
        except grpc.RpcError as error:
            return clients.failure_of(error)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(update, range(16)))
    won = [outcome for outcome in outcomes if isinstance(outcome, order_pb2.Order)]
    lost = [outcome for outcome in outcomes if not isinstance(outcome, order_pb2.Order)]
    assert len(won) == 1
    for refused in lost:
        assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "VERSION_MISMATCH")
        assert refused.metadata["current_version"] == "2"
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id)).order == won[0]


def test_concurrent_changes_of_any_version_are_all_made(orders):
    order = samples.create(orders)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        changed = list(pool.map(lambda n: samples.change(orders, order.order_id, note=f"change {n}"), range(50)))
    assert sorted(one.version for one in changed) == list(range(2, 52))
    last = max(changed, key=lambda one: one.version)
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id)).order == last


def test_a_change_of_no_order_is_not_found(orders):
    refused = failure(samples.change, orders, NO_SUCH_ORDER)
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")


# ---- cancelling ----

def test_a_cancelled_order_is_final(orders):
    order = samples.create(orders)
    cancelled = samples.cancel(orders, order.order_id, reason="changed my mind")
    assert (cancelled.version, cancelled.status) == (2, order_pb2.ORDER_STATUS_CANCELLED)
    assert cancelled.cancel_reason == "changed my mind"

    refused = failure(samples.change, orders, order.order_id)
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ORDER_CANCELLED")
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id)).order == cancelled


def test_cancelling_again_changes_nothing(orders):
    order = samples.create(orders)
    first = samples.cancel(orders, order.order_id, reason="first")
    assert samples.cancel(orders, order.order_id, reason="second") == first
    assert samples.cancel(orders, order.order_id, expected_version=1) == first


def test_concurrent_cancels_make_one_version(orders):
    order = samples.create(orders)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: samples.cancel(orders, order.order_id, reason=f"reason {n}"), range(32)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].version == 2


def test_a_cancel_of_another_version_is_aborted(orders):
    order = samples.create(orders)
    refused = failure(samples.cancel, orders, order.order_id, expected_version=7)
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "VERSION_MISMATCH")
    assert refused.metadata == {"order_id": str(order.order_id), "current_version": "1"}


def test_a_cancel_of_no_order_is_not_found(orders):
    assert failure(samples.cancel, orders, NO_SUCH_ORDER).code == grpc.StatusCode.NOT_FOUND


# ---- reading ----

def test_no_order_is_not_found(orders):
    refused = failure(orders.GetOrder, GetOrderRequest(order_id=NO_SUCH_ORDER))
    assert (refused.code, refused.reason, refused.domain) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND", "order.lockstep")
    assert refused.metadata == {"order_id": str(NO_SUCH_ORDER)}


def test_an_answer_is_never_older_than_asked_for(orders):
    order = samples.create(orders)
    assert orders.GetOrder(GetOrderRequest(order_id=order.order_id, min_version=1)).order == order
    refused = failure(orders.GetOrder, GetOrderRequest(order_id=order.order_id, min_version=2))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_NOT_REACHED")


def test_many_are_found_and_missing_apart(orders):
    made = [samples.create(orders) for _ in range(5)]
    ids = [order.order_id for order in made]
    asked = [NO_SUCH_ORDER + 1, *reversed(ids), NO_SUCH_ORDER, ids[0], NO_SUCH_ORDER]
    answer = orders.BatchGetOrders(BatchGetOrdersRequest(order_ids=asked))
    assert list(answer.orders) == sorted(made, key=lambda order: order.order_id)
    assert list(answer.missing_order_ids) == [NO_SUCH_ORDER, NO_SUCH_ORDER + 1]


def test_a_thousand_can_be_asked_for(orders):
    order = samples.create(orders)
    answer = orders.BatchGetOrders(BatchGetOrdersRequest(order_ids=[order.order_id, *range(NO_SUCH_ORDER, NO_SUCH_ORDER + 999)]))
    assert list(answer.orders) == [order]
    assert list(answer.missing_order_ids) == list(range(NO_SUCH_ORDER, NO_SUCH_ORDER + 999))


@pytest.fixture
def of_a_customer(orders):
    customer = f"lister-{samples.new_request_id()}"[:64]
    made = [samples.create(orders, customer_id=customer) for _ in range(7)]
    made[2] = samples.cancel(orders, made[2].order_id)
    made[5] = samples.cancel(orders, made[5].order_id)
    return customer, sorted(made, key=lambda order: order.order_id)


def pages(orders, **query):
    token, found = "", []
    while True:
        page = orders.ListOrders(ListOrdersRequest(page_token=token, **query))
        found.append(list(page.orders))
        token = page.next_page_token
        if not token:
            return found


def test_pages_hold_all_and_end(orders, of_a_customer):
    customer, made = of_a_customer
    assert pages(orders, customer_id=customer, page_size=3) == [made[0:3], made[3:6], made[6:7]]
    assert pages(orders, customer_id=customer, page_size=7) == [made]
    assert pages(orders, customer_id=customer) == [made]


def test_a_list_can_be_of_one_status(orders, of_a_customer):
    customer, made = of_a_customer
    for status in (order_pb2.ORDER_STATUS_PLACED, order_pb2.ORDER_STATUS_CANCELLED):
        wanted = [order for order in made if order.status == status]
        assert [order for page in pages(orders, customer_id=customer, status=status, page_size=2) for order in page] == wanted


def test_a_size_above_the_largest_is_the_largest(orders):
    assert len(orders.ListOrders(ListOrdersRequest(page_size=2**31 - 1)).orders) >= 1


@pytest.mark.parametrize("other", [
    {"customer_id": "somebody-else"},
    {"status": order_pb2.ORDER_STATUS_CANCELLED},
    {"customer_id": ""},
])
def test_a_page_token_of_another_query_is_refused(orders, of_a_customer, other):
    customer, _ = of_a_customer
    token = orders.ListOrders(ListOrdersRequest(customer_id=customer, page_size=2)).next_page_token
    refused = failure(orders.ListOrders, ListOrdersRequest(**{"customer_id": customer, **other}, page_token=token))
    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert refused.fields.keys() == {"page_token"}


@pytest.mark.parametrize("token", ["x", "AAAAAAAAAAAAAAAAAAAAAA", "%" * 22, "A" * 100_000])
def test_an_invented_page_token_is_refused(orders, token):
    assert failure(orders.ListOrders, ListOrdersRequest(page_token=token)).fields.keys() == {"page_token"}


# ---- following ----

def follow(shared, *ids, seconds=30):
    return clients.order_service(shared.order).WatchOrders(WatchOrdersRequest(order_ids=ids), timeout=seconds)


def test_a_follower_sees_the_state_now_and_each_newer_one(orders, shared):
    order = samples.create(orders)
    stream = follow(shared, order.order_id)
    assert next(stream).order == order
    changed = samples.change(orders, order.order_id)
    assert next(stream).order == changed
    cancelled = samples.cancel(orders, order.order_id)
    assert next(stream).order == cancelled
    stream.cancel()


def test_an_order_that_does_not_exist_is_followed_until_it_does(orders, shared):
    first = samples.create(orders)
    coming = range(first.order_id + 1, first.order_id + 1000)
    stream = follow(shared, first.order_id, *coming)
    assert next(stream).order.order_id >= first.order_id
    # Each writing thread numbers its orders on its own.
    second = next(order for order in (samples.create(orders) for _ in range(1000)) if order.order_id in coming)
    assert next(answer.order for answer in stream if answer.order.order_id == second.order_id) == second
    stream.cancel()


def test_many_followers_of_a_thousand_orders(orders, shared):
    order = samples.create(orders)
    ids = range(order.order_id, order.order_id + 1000)
    streams = [follow(shared, *ids) for _ in range(20)]
    for stream in streams:
        assert next(stream).order.order_id in ids
    changed = samples.change(orders, order.order_id)
    for stream in streams:
        assert any(answer.order == changed for answer in stream)
        stream.cancel()


def test_a_follower_ends_with_its_deadline(orders, shared):
    order = samples.create(orders)
    stream = follow(shared, order.order_id, seconds=0.5)
    with pytest.raises(grpc.RpcError) as raised:
        for answer in stream:
            assert answer.order == order
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_slow_follower_gets_the_newest(orders, shared):
    """Who does not read is not buffered for without bound, and catches up when it reads again."""
    order = samples.create(orders, note="n" * 4000)
    stream = follow(shared, order.order_id, seconds=60)
    assert next(stream).order == order
    changed = order
    for n in range(300):
        changed = samples.change(orders, order.order_id, note=str(n % 10) * 4000)
    seen = [order.version]
    while seen[-1] < changed.version:
        seen.append(next(stream).order.version)
    assert seen == sorted(set(seen))
    stream.cancel()


# ---- rules ----

def _with(**fields):
    return CreateOrderRequest(order=samples.order(**fields))


def _address(**fields):
    return _with(delivery_address=samples.address(**fields))


def _item(**fields):
    return _with(items=[samples.item(), samples.item(**fields)])


def _update(mask=None, **fields):
    order = order_pb2.Order(order_id=1, **fields)
    return UpdateOrderRequest(order=order, update_mask=field_mask_pb2.FieldMask(paths=mask or []))


TIME = samples.order()
TIME.create_time.GetCurrentTime()

VIOLATIONS = {
    "create without an order": ("CreateOrder", CreateOrderRequest(), "order"),
    "request_id too long": ("CreateOrder", CreateOrderRequest(request_id="x" * 65, order=samples.order()), "request_id"),
    "request_id not ASCII": ("CreateOrder", CreateOrderRequest(request_id="ä", order=samples.order()), "request_id"),
    "request_id not printable": ("CreateOrder", CreateOrderRequest(request_id="a\n", order=samples.order()), "request_id"),
    "order_id given": ("CreateOrder", _with(order_id=1), "order.order_id"),
    "version given": ("CreateOrder", _with(version=1), "order.version"),
    "status given": ("CreateOrder", _with(status=order_pb2.ORDER_STATUS_PLACED), "order.status"),
    "total given": ("CreateOrder", _with(total_minor_units=1), "order.total_minor_units"),
    "cancel_reason given": ("CreateOrder", _with(cancel_reason="x"), "order.cancel_reason"),
    "create_time given": ("CreateOrder", _with(create_time=TIME.create_time), "order.create_time"),
    "update_time given": ("CreateOrder", _with(update_time=TIME.create_time), "order.update_time"),
    "no customer": ("CreateOrder", _with(customer_id=""), "order.customer_id"),
    "customer too long": ("CreateOrder", _with(customer_id="x" * 65), "order.customer_id"),
    "customer too long in bytes": ("CreateOrder", _with(customer_id="ä" * 33), "order.customer_id"),
    "no address": ("CreateOrder", _with(delivery_address=None), "order.delivery_address"),
    "no recipient": ("CreateOrder", _address(recipient=""), "order.delivery_address.recipient"),
    "recipient too long": ("CreateOrder", _address(recipient="x" * 201), "order.delivery_address.recipient"),
    "no lines": ("CreateOrder", _address(lines=[]), "order.delivery_address.lines"),
    "too many lines": ("CreateOrder", _address(lines=["x"] * 5), "order.delivery_address.lines"),
    "empty line": ("CreateOrder", _address(lines=["x", ""]), "order.delivery_address.lines[1]"),
    "line too long": ("CreateOrder", _address(lines=["x" * 201]), "order.delivery_address.lines[0]"),
    "line break in a line": ("CreateOrder", _address(lines=["a\nb"]), "order.delivery_address.lines[0]"),
    "postal code too long": ("CreateOrder", _address(postal_code="x" * 33), "order.delivery_address.postal_code"),
    "no city": ("CreateOrder", _address(city=""), "order.delivery_address.city"),
    "city too long": ("CreateOrder", _address(city="x" * 101), "order.delivery_address.city"),
    "no country": ("CreateOrder", _address(country_code=""), "order.delivery_address.country_code"),
    "country in lower case": ("CreateOrder", _address(country_code="se"), "order.delivery_address.country_code"),
    "country too long": ("CreateOrder", _address(country_code="SWE"), "order.delivery_address.country_code"),
    "no items": ("CreateOrder", _with(items=[]), "order.items"),
    "too many items": ("CreateOrder", _with(items=[samples.item()] * 201), "order.items"),
    "no sku": ("CreateOrder", _item(sku=""), "order.items[1].sku"),
    "sku too long": ("CreateOrder", _item(sku="x" * 65), "order.items[1].sku"),
    "no quantity": ("CreateOrder", _item(quantity=0), "order.items[1].quantity"),
    "negative quantity": ("CreateOrder", _item(quantity=-1), "order.items[1].quantity"),
    "quantity too large": ("CreateOrder", _item(quantity=1_000_001), "order.items[1].quantity"),
    "negative price": ("CreateOrder", _item(unit_minor_units=-1), "order.items[1].unit_minor_units"),
    "price too large": ("CreateOrder", _item(unit_minor_units=10**12 + 1), "order.items[1].unit_minor_units"),
    "total too large": (
        "CreateOrder", _with(items=[samples.item(quantity=1_000_000, unit_minor_units=10**12)] * 20), "order.items"),
    "no currency": ("CreateOrder", _with(currency_code=""), "order.currency_code"),
    "currency in lower case": ("CreateOrder", _with(currency_code="eur"), "order.currency_code"),
    "currency too long": ("CreateOrder", _with(currency_code="EURO"), "order.currency_code"),
    "note too long": ("CreateOrder", _with(note="x" * 4097), "order.note"),
    "get no id": ("GetOrder", GetOrderRequest(), "order_id"),
    "get a negative id": ("GetOrder", GetOrderRequest(order_id=-1), "order_id"),
    "get a negative version": ("GetOrder", GetOrderRequest(order_id=1, min_version=-1), "min_version"),
    "batch of none": ("BatchGetOrders", BatchGetOrdersRequest(), "order_ids"),
    "batch too large": ("BatchGetOrders", BatchGetOrdersRequest(order_ids=range(1, 1002)), "order_ids"),
    "batch with a zero": ("BatchGetOrders", BatchGetOrdersRequest(order_ids=[1, 0]), "order_ids[1]"),
    "negative page size": ("ListOrders", ListOrdersRequest(page_size=-1), "page_size"),
    "customer of a list too long": ("ListOrders", ListOrdersRequest(customer_id="x" * 65), "customer_id"),
    "list of an unknown status": ("ListOrders", ListOrdersRequest(status=99), "status"),
    "update without an order": ("UpdateOrder", UpdateOrderRequest(), "order"),
    "update of no id": ("UpdateOrder", UpdateOrderRequest(order=order_pb2.Order(note="x")), "order.order_id"),
    "update of a negative version": ("UpdateOrder", UpdateOrderRequest(order=order_pb2.Order(order_id=1, note="x"),
                                                                       expected_version=-1), "expected_version"),
    "update of nothing": ("UpdateOrder", _update(), "update_mask"),
    "unknown path": ("UpdateOrder", _update(["note", "status"]), "update_mask.paths[1]"),
    "all and more": ("UpdateOrder", _update(["note", "*"]), "update_mask.paths[1]"),
    "mask without its value": ("UpdateOrder", _update(["items"]), "order.items"),
    "update to a bad item": ("UpdateOrder", _update(items=[samples.item(quantity=0)]), "order.items[0].quantity"),
    "update to a bad address": ("UpdateOrder", _update(delivery_address=samples.address(city="")), "order.delivery_address.city"),
    "update to a note too long": ("UpdateOrder", _update(note="x" * 4097), "order.note"),
    "request_id of an update": ("UpdateOrder", UpdateOrderRequest(order=order_pb2.Order(order_id=1, note="x"),
                                                                  request_id="x" * 65), "request_id"),
    "cancel of no id": ("CancelOrder", CancelOrderRequest(), "order_id"),
    "cancel of a negative version": ("CancelOrder", CancelOrderRequest(order_id=1, expected_version=-1), "expected_version"),
    "reason too long": ("CancelOrder", CancelOrderRequest(order_id=1, reason="x" * 257), "reason"),
    "request_id of a cancel": ("CancelOrder", CancelOrderRequest(order_id=1, request_id="x" * 65), "request_id"),
}


@pytest.mark.parametrize("method, request_, field", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_every_rule_is_kept(orders, method, request_, field):
    refused = failure(getattr(orders, method), request_)
    assert (refused.code, refused.reason, refused.domain) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", "order.lockstep")
    assert refused.fields.keys() == {field}
    assert refused.message


@pytest.mark.parametrize("ids", [[], range(1, 1002), [1, 0]], ids=["none", "too many", "zero"])
def test_every_rule_of_following_is_kept(orders, ids):
    refused = failure(lambda: list(orders.WatchOrders(WatchOrdersRequest(order_ids=ids), timeout=10)))
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields)[0].startswith("order_ids")


def test_all_violations_are_told_at_once(orders):
    refused = failure(orders.CreateOrder, _with(customer_id="", currency_code="", items=[samples.item(quantity=0)]))
    assert refused.fields.keys() == {"order.customer_id", "order.currency_code", "order.items[0].quantity"}


def test_nothing_refused_is_stored(orders):
    customer = samples.new_request_id()
    failure(orders.CreateOrder, _with(customer_id=customer, note="x" * 4097))
    assert not orders.ListOrders(ListOrdersRequest(customer_id=customer)).orders


# ---- bytes that no client would send ----

def nested(tag: bytes, depth: int) -> bytes:
    """A field in a field in a field."""
    message = b""
    for _ in range(depth):
        size, length = len(message), b""
        while True:
            length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
            size >>= 7
            if not size:
                break
        message = tag + length + message
    return message


CREATE = CreateOrderRequest(order=samples.order(note="NOTE")).SerializeToString()
MALFORMED = {
    "10,000 deep in a known field": nested(b"\x12", 10_000),
    "10,000 groups deep": b"\x12\x02" + b"\x7b" * 10_000,
    "NUL in a string": CREATE.replace(b"NOTE", b"NO\0E"),
    "not UTF-8": CREATE.replace(b"NOTE", b"NO\xffE"),
    "cut off": CREATE[:-1],
    "a length beyond the end": b"\x12\xff\xff\xff\xff\x0f",
    "an endless number": b"\x08" + b"\xff" * 20,
    "field number 0": b"\x02\x00",
    "a wrong wire type": b"\x10\x01",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_is_refused_and_the_server_lives_on(orders, shared, request_):
    refused = failure(clients.raw_call, shared.order, "order.v1.OrderService/CreateOrder", request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert samples.create(orders).version == 1


def test_unknown_fields_are_no_offence_however_deep(orders, shared):
    deep = nested(b"\xfa\x01", 10_000)
    answer = order_service_pb2.CreateOrderResponse.FromString(
        clients.raw_call(shared.order, "order.v1.OrderService/CreateOrder", CREATE + deep))
    assert orders.GetOrder(GetOrderRequest(order_id=answer.order.order_id)).order == answer.order


def test_an_oversized_message_is_refused_and_the_server_lives_on(orders):
    refused = failure(samples.create, orders, note="x" * (5 << 20))
    assert refused.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert samples.create(orders).version == 1


def test_an_unknown_method_is_unimplemented(shared):
    for method in ("order.v1.OrderService/BurnOrder", "burn.v1.Service/Burn"):
        assert failure(clients.raw_call, shared.order, method, b"").code == grpc.StatusCode.UNIMPLEMENTED


def test_a_compressed_message_is_understood(orders):
    request = CreateOrderRequest(order=samples.order(note="n" * 4096))
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert orders.CreateOrder(request, compression=compression).order.note == request.order.note


def test_the_bytes_of_others_end_only_their_connection(orders, shared):
    host, port = shared.order.address.split(":")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert samples.create(orders).version == 1
