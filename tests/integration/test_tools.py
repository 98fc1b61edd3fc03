"""What people use beside their own code: grpcurl, kcat, protoc, and clients that were generated elsewhere."""

import re
import subprocess

import pytest
from delivery.v1 import delivery_pb2, delivery_service_pb2
from order.v1 import order_pb2, order_service_pb2

from support import clients, samples
from support.convergence import differences
from support.schemas import PROTO


@pytest.fixture
def stack(new_stack):
    """With the topics' own names, as the documentation has them."""
    return new_stack(default_topics=True).start()


ORDER = {
    "customerId": "customer-1", "currencyCode": "EUR", "note": "from the shell",
    "deliveryAddress": {"recipient": "Ada Nowak", "lines": ["Mill Lane 7"], "city": "Lund", "countryCode": "SE"},
    "items": [{"sku": "lamp-1", "quantity": 2, "unitMinorUnits": "1999"}],
}


def test_grpcurl_needs_nothing_but_reflection(stack, grpcurl):
    order = grpcurl(stack.order, "order.v1.OrderService/CreateOrder", {"order": ORDER})["order"]
    assert (order["version"], order["status"], order["totalMinorUnits"]) == ("1", "ORDER_STATUS_PLACED", "3998")
    order_id = order["orderId"]
    assert grpcurl(stack.order, "order.v1.OrderService/GetOrder", {"orderId": order_id})["order"] == order

    changed = grpcurl(stack.order, "order.v1.OrderService/UpdateOrder",
                      {"order": {"orderId": order_id, "note": "changed"}, "expectedVersion": "1"})["order"]
    assert (changed["version"], changed["note"]) == ("2", "changed")
    cancelled = grpcurl(stack.order, "order.v1.OrderService/CancelOrder", {"orderId": order_id, "reason": "enough"})["order"]
    assert (cancelled["version"], cancelled["status"]) == ("3", "ORDER_STATUS_CANCELLED")

    delivery = grpcurl(stack.delivery, "delivery.v1.DeliveryService/GetDelivery",
                       {"orderId": order_id, "minOrderVersion": "3", "includeHistory": True})["delivery"]
    assert (delivery["state"], delivery["orderVersion"]) == ("DELIVERY_STATE_CANCELLED", "3")
    assert delivery["history"]
    batch = grpcurl(stack.delivery, "delivery.v1.DeliveryService/BatchGetDeliveries", {"orderIds": [order_id, "99999"]})
    assert [one["orderId"] for one in batch["deliveries"]] == [order_id]
    assert batch["missingOrderIds"] == ["99999"]
    listed = grpcurl(stack.delivery, "delivery.v1.DeliveryService/ListDeliveries", {"state": "DELIVERY_STATE_CANCELLED"})
    assert [one["orderId"] for one in listed["deliveries"]] == [order_id]


def test_grpcurl_shows_what_there_is(stack, grpcurl):
    def run(service, *arguments):
        return subprocess.run([grpcurl.program, "-plaintext", service.address, *arguments],
                              capture_output=True, text=True, timeout=30, check=True).stdout

    standard = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
    assert set(run(stack.order, "list").split()) == standard | {"order.v1.OrderService", "order.v1.OrderOperations"}
    assert set(run(stack.delivery, "list").split()) == standard | {
        "delivery.v1.DeliveryService", "delivery.v1.DeliveryOperations"}
    assert "rpc WatchOrders ( .order.v1.WatchOrdersRequest ) returns ( stream .order.v1.WatchOrdersResponse )" in run(
        stack.order, "describe", "order.v1.OrderService")
    assert "int64 version = 2;" in run(stack.order, "describe", "order.v1.Order")
    assert "EVENT_PAYLOAD_ZERO = 2;" in run(stack.order, "describe", "order.v1.EventPayload")
    assert "google.protobuf.Timestamp" in run(stack.delivery, "describe", "delivery.v1.Delivery")


def test_grpcurl_shows_the_details_of_an_error(stack, grpcurl):
    with pytest.raises(Exception) as raised:
        grpcurl(stack.order, "order.v1.OrderService/CreateOrder", {"order": {**ORDER, "currencyCode": "euro"}})
    assert raised.value.code == "InvalidArgument"
    assert "order.currency_code" in raised.value.text
    assert "three upper-case letters" in raised.value.text


def test_grpcurl_is_the_operators_tool(stack, grpcurl):
    grpcurl(stack.order, "order.v1.OrderOperations/SetEventMode",
            {"mode": {"payload": "EVENT_PAYLOAD_ZERO", "topics": "EVENT_TOPICS_PER_EVENT"}})
    mode = grpcurl(stack.order, "order.v1.OrderOperations/GetEventMode")["mode"]
    assert mode == {"payload": "EVENT_PAYLOAD_ZERO", "topics": "EVENT_TOPICS_PER_EVENT"}
    grpcurl(stack.order, "order.v1.OrderOperations/GetRelayState")
    assert "counters" in grpcurl(stack.delivery, "delivery.v1.DeliveryOperations/GetConsumerState")
    assert grpcurl(stack.delivery, "grpc.health.v1.Health/Check") == {"status": "SERVING"}


def test_a_generated_python_client_does_the_same(stack):
    orders, deliveries = clients.order_service(stack.order), clients.delivery_service(stack.delivery)
    order = orders.CreateOrder(order_service_pb2.CreateOrderRequest(order=samples.order())).order
    assert orders.GetOrder(order_service_pb2.GetOrderRequest(order_id=order.order_id)).order == order
    wanted = order_pb2.Order(order_id=order.order_id, items=[samples.item(sku="other")])
    changed = orders.UpdateOrder(order_service_pb2.UpdateOrderRequest(order=wanted, expected_version=1)).order
    cancelled = orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=order.order_id)).order
    assert (changed.version, cancelled.version) == (2, 3)

    request = delivery_service_pb2.GetDeliveryRequest(order_id=order.order_id, min_order_version=3, include_history=True)
    delivery = deliveries.GetDelivery(request).delivery
    assert differences(cancelled, delivery) == []
    assert delivery.state == delivery_pb2.DELIVERY_STATE_CANCELLED
    batch = deliveries.BatchGetDeliveries(delivery_service_pb2.BatchGetDeliveriesRequest(order_ids=[order.order_id]))
    assert [one.order_version for one in batch.deliveries] == [3]
    listed = deliveries.ListDeliveries(delivery_service_pb2.ListDeliveriesRequest()).deliveries
    assert [one.order_id for one in listed] == [order.order_id]


def test_kcat_reads_an_event_and_protoc_shows_it(stack, kcat):
    order = samples.create(clients.order_service(stack.order), note="to be seen")
    wait_in_step(stack, order)
    key = kcat("-C", "-t", "order-topic", "-o", "beginning", "-e", "-q", "-f", "%k")
    assert key == str(order.order_id)
    headers = kcat("-C", "-t", "order-topic", "-o", "beginning", "-e", "-q", "-f", "%h")
    assert f"ce_id={order.order_id}:1" in headers.split(",")
    value = kcat("-C", "-t", "order-topic", "-o", "beginning", "-e", "-q", "-D", "", "-f", "%s", input=b"")
    shown = subprocess.run(["protoc", f"-I{PROTO}", "--decode=order.v1.OrderEvent", "order/v1/order_event.proto"],
                           input=value, capture_output=True, timeout=30, check=True).stdout.decode()
    assert f'event_id: "{order.order_id}:1"' in shown
    assert "type: ORDER_EVENT_TYPE_CREATED" in shown
    assert re.search(r'^order \{\n(  .*\n)*  note: "to be seen"\n', shown, re.MULTILINE)


def test_an_event_that_is_only_a_key_is_picked_up(stack, kcat):
    order = samples.create(clients.order_service(stack.order))
    wait_in_step(stack, order)
    with stack.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries")
        connection.execute("DELETE FROM delivery_history")
    kcat("-P", "-t", "order-change-topic", "-K", ":", "-Z", input=f"{order.order_id}:\n")
    wait_in_step(stack, order)


def wait_in_step(stack, order):
    request = delivery_service_pb2.GetDeliveryRequest(order_id=order.order_id, min_order_version=order.version)
    assert differences(order, clients.delivery_service(stack.delivery).GetDelivery(request).delivery) == []
