"""Clients that read, and send deliveries on their way, while the replicas behind them are replaced."""

import collections
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
from delivery.v1 import delivery_pb2, delivery_service_pb2
from delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from order.v1 import order_service_pb2
from order.v1.order_service_pb2_grpc import OrderServiceStub

from processes import Stack
from support.workload import Workload

CALL_SECONDS = 20
PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.02


class Readers:
    """Threads that look at what a Workload has written, each time by any replica of each service: the order is at least
    as new as was acknowledged, and the delivery gets there while the call waits. Some deliveries are dispatched.
    A call that finds its replica away (UNAVAILABLE) is made again, at another one; any other failure is a problem.

    codes        how often calls ended with each status
    dispatched   order id -> the tracking code that was acknowledged
    """

    def __init__(self, stack: Stack, load: Workload, threads: int = 3) -> None:
        self._load = load
        self._orders = [OrderServiceStub(service.channel) for service in stack.orders]
        self._deliveries = [DeliveryServiceStub(service.channel) for service in stack.deliveries]
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # for what follows
        self._problems: list[str] = []
        self._reads = 0
        self.codes: collections.Counter[grpc.StatusCode] = collections.Counter()
        self.dispatched: dict[int, str] = {}
        self._threads = [threading.Thread(target=self._work, args=(random.Random(n),), daemon=True)
                         for n in range(threads)]

    def start(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + CALL_SECONDS)
            assert not thread.is_alive(), "a read does not end"
        assert not self._problems, self._problems[:5]

    def reads(self) -> int:
        """How many have told what they should; fails if one has not."""
        assert not self._problems, self._problems[:5]
        return self._reads

    def check(self, deliveries: dict[int, delivery_pb2.Delivery]) -> None:
        """Asserts that what was dispatched has stayed so."""
        assert self.dispatched
        for order_id, code in self.dispatched.items():
            assert deliveries[order_id].tracking_code == code, f"order {order_id}: {deliveries[order_id]}"

    def _work(self, source: random.Random) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            recent = self._load.acknowledged[-50:]
            if not recent:
                continue
            try:
                self._look(source, source.choice(recent).order)
            except (grpc.RpcError, AssertionError) as problem:
                with self._lock:
                    self._problems.append(str(problem))
                return

    def _look(self, source: random.Random, written) -> None:
        order = self._call(source, self._orders, "GetOrder",
                           order_service_pb2.GetOrderRequest(order_id=written.order_id)).order
        assert order.version >= written.version, f"order {order.order_id} went back to {order.version}"
        delivery = self._call(source, self._deliveries, "GetDelivery", delivery_service_pb2.GetDeliveryRequest(
            order_id=written.order_id, min_order_version=written.version)).delivery
        assert delivery.order_version >= written.version, f"delivery {order.order_id} is at {delivery.order_version}"
        if written.order_id % 4 == 0:
            self._dispatch(source, written.order_id)
        with self._lock:
            self._reads += 1

    def _dispatch(self, source: random.Random, order_id: int) -> None:
        request = delivery_service_pb2.DispatchDeliveryRequest(order_id=order_id, tracking_code=f"code-{order_id}")
        try:
            delivery = self._call(source, self._deliveries, "DispatchDelivery", request).delivery
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:  # it was cancelled before
                raise
        else:
            assert delivery.tracking_code == request.tracking_code
            with self._lock:
                self.dispatched[order_id] = delivery.tracking_code

    def _call(self, source: random.Random, stubs: list[Callable[..., Any]], method: str, request: Any) -> Any:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = getattr(source.choice(stubs), method)(request, timeout=CALL_SECONDS)
            except grpc.RpcError as error:
                with self._lock:
                    self.codes[error.code()] += 1
                if error.code() != grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_SECONDS)  # so that a replica that is away is not asked without a pause
            else:
                with self._lock:
                    self.codes[grpc.StatusCode.OK] += 1
                return answer
