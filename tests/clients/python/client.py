"""A client of order-service and delivery-service, to copy from; ../README.md says what each step shows."""

import concurrent.futures
import os
import pathlib
import random
import sys
import time
import uuid

import confluent_kafka
import grpc
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from delivery.v1 import delivery_pb2, delivery_service_pb2, delivery_service_pb2_grpc
from order.v1 import order_event_pb2, order_pb2, order_service_pb2, order_service_pb2_grpc

SERVICE_CONFIG = pathlib.Path(__file__).parents[3] / "proto/grpc_service_config.json"
TIMEOUT = 10  # seconds; a call without one waits for ever when nobody answers

CUSTOMER = f"python-{uuid.uuid4()}"


def connect(target):
    """A channel with the service config that comes with the schemas: it waits for a replica, and repeats what was
    answered UNAVAILABLE."""
    return grpc.insecure_channel(target, options=[("grpc.service_config", SERVICE_CONFIG.read_text())])


orders = order_service_pb2_grpc.OrderServiceStub(connect(os.environ["ORDER_TARGET"]))
deliveries = delivery_service_pb2_grpc.DeliveryServiceStub(connect(os.environ["DELIVERY_TARGET"]))
busy_orders = order_service_pb2_grpc.OrderServiceStub(connect(os.environ["BUSY_TARGET"]))


def new_request(note=""):
    """What creates an order. The request_id makes it safe to repeat, whatever became of the first try."""
    return order_service_pb2.CreateOrderRequest(
        request_id=str(uuid.uuid4()),
        order=order_pb2.Order(
            customer_id=CUSTOMER,
            delivery_address=order_pb2.Address(
                recipient="Ada", lines=["Ringstrasse 1"], postal_code="6300", city="Zug", country_code="CH"),
            items=[order_pb2.OrderItem(sku="lamp", quantity=2, unit_minor_units=1990)],
            currency_code="EUR",
            note=note))


def update(order_id, note, expected_version):
    """Changes the note alone, if the order is still at the version that the change was made for."""
    return orders.UpdateOrder(order_service_pb2.UpdateOrderRequest(
        request_id=str(uuid.uuid4()),
        order=order_pb2.Order(order_id=order_id, note=note),
        update_mask=field_mask_pb2.FieldMask(paths=["note"]),
        expected_version=expected_version), timeout=TIMEOUT).order


def detail(error, message_type):
    """The detail of that type in grpc-status-details-bin, or None."""
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        if packed.Is(message_type.DESCRIPTOR):
            message = message_type()
            packed.Unpack(message)
            return message
    return None


def expect_error(code, call, *arguments, **options):
    """Makes a call that must fail with the code; gives the error."""
    try:
        call(*arguments, **options)
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()}: {error.details()}"
        return error
    raise AssertionError(f"no {code}")


# What the steps hand on: the order's newest state, and all orders of this run.
newest = None
order_ids = []


def create():
    global newest
    request = new_request("ring twice")
    newest = orders.CreateOrder(request, timeout=TIMEOUT).order
    assert newest.order_id > 0 and newest.version == 1, newest
    again = orders.CreateOrder(request, timeout=TIMEOUT).order
    assert again == newest, again
    order_ids.append(newest.order_id)


def read():
    order = orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=newest.order_id), timeout=TIMEOUT).order
    assert order == newest, order
    assert order.customer_id == CUSTOMER and order.items[0].sku == "lamp" and order.total_minor_units == 3980, order


def update_note():
    global newest
    before = newest
    newest = orders.UpdateOrder(order_service_pb2.UpdateOrderRequest(
        request_id=str(uuid.uuid4()),
        # The items are not in the mask, so what is said of them here does not count.
        order=order_pb2.Order(order_id=before.order_id, note="ring once",
                              items=[order_pb2.OrderItem(sku="ignored", quantity=1)]),
        update_mask=field_mask_pb2.FieldMask(paths=["note"]),
        expected_version=before.version), timeout=TIMEOUT).order
    assert newest.version == before.version + 1 and newest.note == "ring once", newest
    assert newest.items == before.items and newest.delivery_address == before.delivery_address, newest


def lose_race():
    global newest
    error = expect_error(grpc.StatusCode.ABORTED, update, newest.order_id, "too late", newest.version - 1)
    info = detail(error, error_details_pb2.ErrorInfo)
    assert info and info.reason == "VERSION_MISMATCH" and info.domain == "order.lockstep", info
    assert info.metadata["order_id"] == str(newest.order_id), info
    # A person would look at the order again before trying; here the change fits any version.
    current = int(info.metadata["current_version"])
    assert current == newest.version, info
    newest = update(newest.order_id, "in time", current)
    assert newest.version == current + 1 and newest.note == "in time", newest


def validation():
    request = new_request()
    request.order.currency_code = "euro"
    request.order.items[0].quantity = 0
    error = expect_error(grpc.StatusCode.INVALID_ARGUMENT, orders.CreateOrder, request, timeout=TIMEOUT)
    fields = {violation.field for violation in detail(error, error_details_pb2.BadRequest).field_violations}
    assert fields == {"order.currency_code", "order.items[0].quantity"}, fields


def watch():
    global newest
    stream = orders.WatchOrders(order_service_pb2.WatchOrdersRequest(order_ids=[newest.order_id]), timeout=60)
    assert next(stream).order == newest
    newest = update(newest.order_id, "while watched", newest.version)
    assert next(stream).order == newest
    stream.cancel()
    assert expect_error(grpc.StatusCode.CANCELLED, next, stream)


def list_pages():
    for number in range(7):
        order_ids.append(orders.CreateOrder(new_request(f"number {number}"), timeout=TIMEOUT).order.order_id)
    listed, pages, token = [], 0, ""
    while True:
        page = orders.ListOrders(order_service_pb2.ListOrdersRequest(
            customer_id=CUSTOMER, page_size=3, page_token=token), timeout=TIMEOUT)
        assert len(page.orders) <= 3, page
        listed += [order.order_id for order in page.orders]
        pages += 1
        token = page.next_page_token
        if not token:
            break
    assert listed == sorted(order_ids) and pages >= 3, listed


def delivery():
    # Waits until the delivery service has taken in what was just written.
    found = deliveries.GetDelivery(delivery_service_pb2.GetDeliveryRequest(
        order_id=newest.order_id, min_order_version=newest.version), timeout=30).delivery
    assert found.order_id == newest.order_id and found.order_version == newest.version, found
    assert found.state == delivery_pb2.DELIVERY_STATE_PREPARING and found.address.city == "Zug", found


def cancel():
    global newest
    newest = orders.CancelOrder(order_service_pb2.CancelOrderRequest(
        request_id=str(uuid.uuid4()), order_id=newest.order_id, expected_version=newest.version,
        reason="found one in the attic"), timeout=TIMEOUT).order
    assert newest.status == order_pb2.ORDER_STATUS_CANCELLED and newest.cancel_reason, newest
    found = deliveries.GetDelivery(delivery_service_pb2.GetDeliveryRequest(
        order_id=newest.order_id, min_order_version=newest.version), timeout=30).delivery
    assert found.state == delivery_pb2.DELIVERY_STATE_CANCELLED and found.order_version == newest.version, found


def deadline():
    begin = time.monotonic()
    expect_error(grpc.StatusCode.DEADLINE_EXCEEDED, deliveries.GetDelivery, delivery_service_pb2.GetDeliveryRequest(
        order_id=newest.order_id, min_order_version=newest.version + 1000), timeout=0.2)
    assert time.monotonic() - begin < 5


def create_with_patience(stub, request):
    """Creates an order on a service that may be busy; gives how often it was refused."""
    refusals, delay, give_up = 0, 0, time.monotonic() + 60
    while True:
        try:
            stub.CreateOrder(request, timeout=20)
            return refusals
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > give_up:
                raise
            refusals += 1
            # At first as long as the service asks for, then twice as long each time, and never all at once.
            asked = detail(error, error_details_pb2.RetryInfo).retry_delay.ToTimedelta().total_seconds()
            delay = min(2, delay * 2) if delay else asked
            time.sleep(max(asked, delay * random.uniform(0.5, 1.5)))


def busy():
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        refusals = list(pool.map(lambda _: create_with_patience(busy_orders, new_request()), range(100)))
    assert sum(refusals) > 0, "no call was refused"


class OrderEventFormat(JSONFormat):
    """Tells the CloudEvents SDK how to read the data of a message in binary mode."""

    def read_data(self, body, datacontenttype):
        assert datacontenttype == "application/protobuf", datacontenttype
        return order_event_pb2.OrderEvent.FromString(body)


def read_events(topic, until, seconds=30):
    """Yields the topic's CloudEvents from the beginning, until until() or time is up."""
    consumer = confluent_kafka.Consumer({
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": CUSTOMER,  # must be there, and is not used
        "enable.auto.commit": False})
    try:
        # Assigned by hand: a reader of all there is needs neither a group nor its rebalances.
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, number, confluent_kafka.OFFSET_BEGINNING)
                         for number in partitions])
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, "not all events have come"
            record = consumer.poll(0.2)
            if record is not None:
                if record.error():
                    raise confluent_kafka.KafkaException(record.error())
                message = kafka.KafkaMessage(dict(record.headers()), record.key(), record.value())
                yield kafka.from_kafka(message, OrderEventFormat())
    finally:
        consumer.close()


def events():
    expected = {order.order_id: order for order in orders.BatchGetOrders(
        order_service_pb2.BatchGetOrdersRequest(order_ids=order_ids), timeout=TIMEOUT).orders}
    types = {order_event_pb2.ORDER_EVENT_TYPE_CREATED: "order.v1.OrderCreated",
             order_event_pb2.ORDER_EVENT_TYPE_CHANGED: "order.v1.OrderChanged",
             order_event_pb2.ORDER_EVENT_TYPE_CANCELLED: "order.v1.OrderCancelled"}
    seen = {}

    def complete():
        return all(order_id in seen and seen[order_id].version >= order.version
                   for order_id, order in expected.items())

    for event in read_events(os.environ["ORDER_EVENTS_TOPIC"], complete):
        data = event.get_data()
        if data.order_id not in expected:
            continue
        assert event.get_source() == "/lockstep/order" and event.get_type() == types[data.type], event
        assert event.get_subject() == str(data.order_id), event
        assert event.get_id() == data.event_id == f"{data.order_id}:{data.version}", event
        assert event.get_time() == data.occur_time.ToDatetime(event.get_time().tzinfo), event
        assert event.get_dataschema() is None and event.get_datacontenttype() == "application/protobuf", event
        assert data.order.version == data.version, data
        # The same event may come twice; an older one never comes behind a newer one of its order.
        assert data.order_id not in seen or data.version >= seen[data.order_id].version, data
        seen[data.order_id] = data
    for order_id, order in expected.items():
        assert seen[order_id].order == order, seen[order_id]
    assert seen[newest.order_id].type == order_event_pb2.ORDER_EVENT_TYPE_CANCELLED


def main():
    steps = {"create": create, "read": read, "update": update_note, "lose-race": lose_race, "validation": validation,
             "watch": watch, "list": list_pages, "delivery": delivery, "cancel": cancel, "deadline": deadline,
             "busy": busy, "events": events}
    failed = 0
    for name, step in steps.items():
        try:
            step()
            print(f"ok {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-exception-caught # whatever it is, the next steps run
            failed += 1
            text = " ".join(str(error).split())
            print(f"not ok {name}: {type(error).__name__}: {text}", flush=True)
    print(f"{len(steps) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
