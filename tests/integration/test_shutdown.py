"""SIGTERM: what is in flight is finished, nothing that was acknowledged is lost, and the exit code is 0."""

import collections
import concurrent.futures
import signal
import threading
import time

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import GetConsumerStateRequest
from delivery.v1.delivery_service_pb2 import GetDeliveryRequest, WatchDeliveriesRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from order.v1.order_service_pb2 import WatchOrdersRequest

from support import clients, convergence, events, samples
from support.events import MODES
from support.workload import LOST_RACES, Workload

GRACE_SECONDS = 10  # the default of SHUTDOWN_GRACE


def stop(service, number=signal.SIGTERM, margin=3):
    """Ends a service; asserts that it does so in time and orderly."""
    begin = time.monotonic()
    service.signal(number)
    assert service.wait_ended(GRACE_SECONDS + margin) == 0
    return time.monotonic() - begin


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_order_under_load(new_stack, wait_until, number):
    stack = new_stack().start()
    load = Workload(stack.orders, threads=16, retry=False, call_seconds=20).start()
    load.wait_for_more(500)
    stop(stack.order, number)
    wait_until(lambda: load.codes[grpc.StatusCode.UNAVAILABLE] > 0, 10, "calls are refused")
    load.stop()
    assert load.codes.keys() <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, *LOST_RACES}

    stack.order.start()
    load.check(convergence.all_orders(stack))
    load.check_repeated()
    convergence.wait_converged(stack)


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_delivery_under_load(new_stack, mode):
    stack = new_stack().start()
    events.set_mode(stack.order, mode)
    load = Workload(stack.orders).start()
    load.wait_for_more(300)
    reads = Readers(stack.delivery, load).start()
    load.wait_for_more(100)
    stop(stack.delivery)
    codes = reads.stop()
    assert codes.keys() <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}
    assert codes[grpc.StatusCode.OK] and codes[grpc.StatusCode.UNAVAILABLE]

    stack.delivery.start()
    load.wait_for_more(100)
    load.stop()
    convergence.wait_converged(stack)


class Readers:
    """Threads that read what the load writes, and count how calls end."""

    def __init__(self, service, load):
        self._stub, self._load = clients.delivery_service(service), load
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._read, args=(n,), daemon=True) for n in range(4)]
        self._lock = threading.Lock()
        self._codes = collections.Counter()

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        return self._codes

    def _read(self, n):
        while not self._stopping.is_set():
            order = self._load.acknowledged[-1 - n].order
            try:
                self._stub.GetDelivery(GetDeliveryRequest(
                    order_id=order.order_id, min_order_version=order.version if n % 2 else 0), timeout=30)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code = error.code()
            with self._lock:
                self._codes[code] += 1


def test_who_waits_for_a_delivery_is_told_to_go_elsewhere(stack):
    orders, deliveries = clients.order_service(stack.order), clients.delivery_service(stack.delivery)
    order = samples.create(orders)
    watched = deliveries.WatchDeliveries(WatchDeliveriesRequest(order_ids=[order.order_id]), timeout=60)
    assert next(watched).delivery.order_id == order.order_id
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        request = GetDeliveryRequest(order_id=order.order_id, min_order_version=100)
        waiting = [pool.submit(clients.failure, deliveries.GetDelivery, request, timeout=60) for _ in range(8)]
        # A call of later is answered only after those before it have arrived.
        deliveries.GetDelivery(GetDeliveryRequest(order_id=order.order_id))
        assert stop(stack.delivery) < GRACE_SECONDS
        for wait in waiting:
            assert wait.result(10).code == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as raised:
        next(watched)
    assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_followers_of_orders_are_told_to_go_elsewhere(stack):
    orders = clients.order_service(stack.order)
    order = samples.create(orders)
    streams = [orders.WatchOrders(WatchOrdersRequest(order_ids=[order.order_id]), timeout=60) for _ in range(20)]
    for stream in streams:
        assert next(stream).order == order
    assert stop(stack.order) < GRACE_SECONDS
    for stream in streams:
        with pytest.raises(grpc.RpcError) as raised:
            next(stream)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("side", ["order", "delivery"])
def test_health_says_so_first(stack, side):
    service = getattr(stack, side)
    stream = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
    assert next(stream).status == health_pb2.HealthCheckResponse.SERVING
    stop(service)
    assert next(stream).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_all_that_was_done_is_committed(stack):
    """Nothing has to be read a second time after an orderly end."""
    Workload(stack.orders).run(200)
    convergence.wait_converged(stack)
    stop(stack.delivery)
    for topic in stack.event_topics:
        ends = stack.kafka.end_offsets(topic)
        committed = stack.kafka.committed_offsets(stack.group, topic)
        assert {partition: max(offset, 0) for partition, offset in committed.items()} == ends


def test_a_group_is_left_at_once(new_stack, wait_until):
    """Who leaves says so: the other one need not wait for the session to run out."""
    stack = new_stack(deliveries=2, delivery_settings={"KAFKA_SESSION_TIMEOUT": "45s"}).start()
    first, second = stack.deliveries
    operations = clients.delivery_operations(second)

    def partitions():
        return len(operations.GetConsumerState(GetConsumerStateRequest()).partitions)

    every = 6 * len(stack.event_topics)
    wait_until(lambda: 0 < partitions() < every, 30, "both read")
    stop(first)
    wait_until(lambda: partitions() == every, 15, "the other one reads all")


@pytest.mark.parametrize("away", ["kafka", "postgres"])
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_it_ends_in_time_whatever_is_away(new_stack, how, away):
    stack = new_stack().start()
    load = Workload(stack.orders, retry=False, call_seconds=30).start()
    load.wait_for_more(100)
    server = getattr(stack, away)
    getattr(server, how)()
    try:
        for service in stack.services:
            service.signal(signal.SIGTERM)
        for service in stack.services:
            assert service.wait_ended(GRACE_SECONDS + 10) == 0
    finally:
        server.start() if how == "kill" else server.resume()
    load.stop()
    for service in stack.services:
        service.start()
    load.check(convergence.all_orders(stack))
    load.check_repeated()
    convergence.wait_converged(stack)


def test_a_second_signal_ends_it_at_once(new_stack, wait_until):
    stack = new_stack(order_settings={"SHUTDOWN_GRACE": "60s"}).start()
    load = Workload(stack.orders, retry=False, call_seconds=30).start()
    load.wait_for_more(50)
    stack.postgres.pause()
    try:
        stack.order.signal(signal.SIGTERM)
        stack.order.wait_log("order-service stops")
        stack.order.signal(signal.SIGTERM)
        assert stack.order.wait_ended(5) == 128 + signal.SIGTERM
    finally:
        stack.postgres.resume()
    load.stop()
