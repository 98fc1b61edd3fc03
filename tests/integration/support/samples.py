"""Orders for the tests to place."""

import random
import uuid

from order.v1 import order_pb2, order_service_pb2
from order.v1.order_service_pb2_grpc import OrderServiceStub

_STREETS = ("Weidengasse", "Rue du Puits", "Calle Olmo", "Mill Lane", "Żurawia")
_CITIES = ("Lund", "Graz", "Łódź", "Cádiz", "Utrecht")


def address(**fields) -> order_pb2.Address:
    given = {"recipient": "Ada Nowak", "lines": ["Mill Lane 7"], "postal_code": "12345", "city": "Lund",
             "country_code": "SE", **fields}
    return order_pb2.Address(**given)


def item(**fields) -> order_pb2.OrderItem:
    return order_pb2.OrderItem(**{"sku": "lamp-1", "quantity": 2, "unit_minor_units": 1999, **fields})


def order(**fields) -> order_pb2.Order:
    """One that may be created."""
    given = {"customer_id": "customer-1", "delivery_address": address(), "items": [item()], "currency_code": "EUR",
             **fields}
    return order_pb2.Order(**given)


def random_address(source: random.Random) -> order_pb2.Address:
    lines = [f"{source.choice(_STREETS)} {source.randint(1, 200)}", f"door {source.randint(1, 40)}"]
    return address(recipient=f"Recipient {source.randint(1, 10**6)}", lines=lines[:source.randint(1, 2)],
                   postal_code=str(source.randint(10000, 99999)), city=source.choice(_CITIES))


def random_items(source: random.Random) -> list[order_pb2.OrderItem]:
    return [item(sku=f"sku-{source.randint(1, 500)}", quantity=source.randint(1, 9),
                 unit_minor_units=source.randint(0, 50000)) for _ in range(source.randint(1, 5))]


def random_order(source: random.Random) -> order_pb2.Order:
    return order(customer_id=f"customer-{source.randint(1, 50)}", delivery_address=random_address(source),
                 items=random_items(source), note="note " * source.randint(0, 40))


def new_request_id() -> str:
    return str(uuid.uuid4())


def create(orders: OrderServiceStub, **fields) -> order_pb2.Order:
    """Places an order; returns it as the service answered it."""
    return orders.CreateOrder(order_service_pb2.CreateOrderRequest(order=order(**fields))).order


def change(orders: OrderServiceStub, order_id: int, **fields) -> order_pb2.Order:
    """Changes an order, its note unless told otherwise."""
    wanted = order_pb2.Order(order_id=order_id, **(fields or {"note": new_request_id()}))
    return orders.UpdateOrder(order_service_pb2.UpdateOrderRequest(order=wanted)).order


def cancel(orders: OrderServiceStub, order_id: int, **fields) -> order_pb2.Order:
    return orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=order_id, **fields)).order
