"""How long a client keeps its connection."""

import pathlib
import time

import pytest
from order.v1 import order_service_pb2, order_service_pb2_grpc

SECONDS = 4


def _own_ports(port: int) -> set[int]:
    """The ports of this side's established connections to that port of the loopback."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            _, local, remote, state, *_ = line.split()
            if state == "01" and int(remote.rsplit(":", 1)[1], 16) == port:
                found.add(int(local.rsplit(":", 1)[1], 16))
    return found


def _connections(service) -> int:
    """How many connections one client has had after so long, all of whose calls must go well."""
    port, seen = int(service.address.rsplit(":", 1)[1]), set()
    before = _own_ports(port)
    with service.new_channel() as channel:
        stub, end = order_service_pb2_grpc.OrderServiceStub(channel), time.monotonic() + SECONDS
        while time.monotonic() < end:
            stub.ListOrders(order_service_pb2.ListOrdersRequest(page_size=1), timeout=10)
            seen |= _own_ports(port) - before
    return len(seen)


@pytest.mark.parametrize("age, many", [("1s", True), ("0", False)])
def test_a_client_is_asked_to_connect_anew(new_stack, age: str, many: bool) -> None:
    stack = new_stack(order_settings={"MAX_CONNECTION_AGE": age}).start()
    count = _connections(stack.order)
    assert count > 1 if many else count == 1
