"""Whether delivery is what order's state says it should be."""

from delivery.v1 import delivery_pb2, delivery_service_pb2
from order.v1 import order_operations_pb2, order_pb2, order_service_pb2

from processes import Stack, wait_until
from support import clients

PAGE = 1000
_STATES = {
    order_pb2.ORDER_STATUS_PLACED: {delivery_pb2.DELIVERY_STATE_PREPARING, delivery_pb2.DELIVERY_STATE_DISPATCHED,
                                    delivery_pb2.DELIVERY_STATE_DELIVERED},
    order_pb2.ORDER_STATUS_CANCELLED: {delivery_pb2.DELIVERY_STATE_CANCELLED, delivery_pb2.DELIVERY_STATE_RETURNING},
}


def all_orders(stack: Stack) -> dict[int, order_pb2.Order]:
    """Every order, by the order service's own word."""
    stub, found, token = clients.order_service(stack.order), {}, ""
    while True:
        page = stub.ListOrders(order_service_pb2.ListOrdersRequest(page_size=PAGE, page_token=token))
        found.update((order.order_id, order) for order in page.orders)
        token = page.next_page_token
        if not token:
            return found


def all_deliveries(stack: Stack) -> dict[int, delivery_pb2.Delivery]:
    """Every delivery, by the delivery service's own word."""
    stub, found, token = clients.delivery_service(stack.delivery), {}, ""
    while True:
        page = stub.ListDeliveries(delivery_service_pb2.ListDeliveriesRequest(page_size=PAGE, page_token=token))
        found.update((delivery.order_id, delivery) for delivery in page.deliveries)
        token = page.next_page_token
        if not token:
            return found


def differences(order: order_pb2.Order, delivery: delivery_pb2.Delivery) -> list[str]:
    """The names of what is not the same in both."""
    ours, theirs = order.delivery_address, delivery.address
    compared = {
        "version": (order.version, delivery.order_version),
        "recipient": (ours.recipient, theirs.recipient),
        "lines": (list(ours.lines), list(theirs.lines)),
        "postal_code": (ours.postal_code, theirs.postal_code),
        "city": (ours.city, theirs.city),
        "country_code": (ours.country_code, theirs.country_code),
        "items": ([(item.sku, item.quantity) for item in order.items],
                  [(item.sku, item.quantity) for item in delivery.items]),
    }
    different = [name for name, (left, right) in compared.items() if left != right]
    if delivery.state not in _STATES[order.status]:
        different.append("state")
    return different


def mismatches(stack: Stack) -> list[str]:
    """What is not in step now, a line for each order."""
    orders, deliveries = all_orders(stack), all_deliveries(stack)
    found = [f"order {order_id} has no delivery" for order_id in orders.keys() - deliveries.keys()]
    found += [f"delivery {order_id} has no order" for order_id in deliveries.keys() - orders.keys()]
    for order_id in orders.keys() & deliveries.keys():
        different = differences(orders[order_id], deliveries[order_id])
        if different:
            found.append(f"order {order_id} at version {orders[order_id].version}: {', '.join(different)}")
    return found


def wait_outbox_empty(stack: Stack, seconds: float = 60) -> None:
    """Waits until every committed change was sent."""
    operations = [clients.order_operations(service) for service in stack.orders if service.running()]
    request = order_operations_pb2.GetRelayStateRequest()
    wait_until(lambda: operations[0].GetRelayState(request).waiting_rows == 0, seconds,
               lambda: f"the outbox is empty ({[operation.GetRelayState(request) for operation in operations]})")


def wait_converged(stack: Stack, seconds: float = 60) -> None:
    """Waits until every order has the delivery it should have, and checks how each delivery came there."""
    wait_outbox_empty(stack, seconds)
    last: list[str] = []

    def in_step() -> bool:
        last[:] = mismatches(stack)
        return not last

    wait_until(in_step, seconds, lambda: f"delivery is in step; {len(last)} are not, such as {last[:5]}")
    check_history(stack)


_HISTORY_PROBLEMS = """
    SELECT order_id, 'its revisions are not 1 to n' FROM deliveries d
     WHERE (SELECT (min(revision), max(revision), count(*)) FROM delivery_history h WHERE h.order_id = d.order_id)
           IS DISTINCT FROM (1::bigint, d.revision, d.revision)
    UNION ALL
    SELECT order_id, 'its order version does not come from its history' FROM deliveries d
     WHERE order_version IS DISTINCT FROM
           (SELECT max(order_version) FROM delivery_history h WHERE h.order_id = d.order_id)
    UNION ALL
    SELECT order_id, 'versions were applied in the wrong order' FROM
           (SELECT order_id, order_version, lag(order_version) OVER (PARTITION BY order_id ORDER BY revision) AS before
              FROM delivery_history WHERE order_version IS NOT NULL) AS applied
     WHERE order_version <= before
"""


def check_history(stack: Stack) -> None:
    """Asserts that each change of each delivery was made exactly once."""
    with stack.delivery_database_connection() as connection:
        problems = connection.execute(_HISTORY_PROBLEMS).fetchall()
    assert not problems, problems[:5]
