"""Calls to the services that are counted while they are under way and written to the history when they end."""

import collections
import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

import grpc
from delivery.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from google.protobuf.message import Message
from order.v1.order_service_pb2_grpc import OrderServiceStub
from support import clients

from history import Journal, fingerprint

# The call certainly did nothing.
REFUSED = frozenset({
    grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.RESOURCE_EXHAUSTED})

_ORDER_METHODS = ("CreateOrder", "UpdateOrder", "CancelOrder", "GetOrder")
_DELIVERY_METHODS = ("GetDelivery", "DispatchDelivery", "CompleteDelivery")
_WRITES = ("CreateOrder", "UpdateOrder", "CancelOrder")
# A client finds a service that is back within half a second.
_CHANNEL_OPTIONS = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.initial_reconnect_backoff_ms", 100),
                    ("grpc.max_reconnect_backoff_ms", 500), ("grpc.use_local_subchannel_pool", 1),
                    ("grpc.max_receive_message_length", -1)]


def open_channel(address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
    return grpc.insecure_channel(address, [*_CHANNEL_OPTIONS, *options])


@dataclasses.dataclass(frozen=True)
class Call:
    """What is called. token: what a write of an order leaves in the order."""

    client: str
    method: str
    request: Message
    token: str = ""
    purpose: str = "work"

    def again(self, purpose: str) -> "Call":
        return dataclasses.replace(self, purpose=purpose)


@dataclasses.dataclass(frozen=True)
class Answer:
    """How it ended. message: the order or the delivery."""

    status: str
    code: grpc.StatusCode
    message: Any = None


class Started:
    """A call under way."""

    def __init__(self, calls: "Calls", call: Call, attempt: int, future: grpc.Future, start: float) -> None:
        self._calls, self._call, self._attempt, self._future, self._start = calls, call, attempt, future, start

    def wait(self) -> Answer:
        try:
            response, error = self._future.result(), None
        except grpc.RpcError as raised:
            response, error = None, raised
        return self._calls.end(self._call, self._attempt, self._start, response, error)


class Calls:
    """Both services as clients see them. order_addresses, delivery_addresses: one for each replica, or one for all.
    options: more of the channels'. ended: how many calls ended how ("GetOrder OK")."""

    def __init__(self, history: Journal, order_addresses: Sequence[str], delivery_addresses: Sequence[str],
                 options: Sequence[tuple[str, Any]] = ()) -> None:
        self._history = history
        self._channels = [open_channel(address, options) for address in (*order_addresses, *delivery_addresses)]
        orders = [OrderServiceStub(channel) for channel in self._channels[:len(order_addresses)]]
        deliveries = [DeliveryServiceStub(channel) for channel in self._channels[len(order_addresses):]]
        self.order_replicas, self.delivery_replicas = len(orders), len(deliveries)
        self._methods = {(method, replica): getattr(stub, method) for methods, stubs in
                         ((_ORDER_METHODS, orders), (_DELIVERY_METHODS, deliveries))
                         for method in methods for replica, stub in enumerate(stubs)}
        self._lock = threading.Lock()
        self._under_way: dict[int, float] = {}
        self._next = 0
        self.acknowledged_writes = 0
        self.ended: collections.Counter[str] = collections.Counter()

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    @property
    def in_flight(self) -> int:
        """Writes of orders that wait for their answer now."""
        return len(self._under_way)

    def start(self, call: Call, replica: int, attempt: int, seconds: float) -> Started:
        future_of = self._methods[call.method, replica % self._replicas(call.method)].future
        begin = time.time()
        future = future_of(call.request, timeout=seconds)
        if call.method in _WRITES:
            with self._lock:
                self._next += 1
                number = self._next
                self._under_way[number] = begin
            future.add_done_callback(lambda _: self._under_way.pop(number, None))
        return Started(self, call, attempt, future, begin)

    def make(self, call: Call, replica: int, attempt: int = 1, seconds: float = 2) -> Answer:
        return self.start(call, replica, attempt, seconds).wait()

    def end(self, call: Call, attempt: int, start: float, response: Any, error: grpc.RpcError | None) -> Answer:
        """Writes the attempt down."""
        end = time.time()
        request = call.request
        entry = {"client": call.client, "attempt": attempt, "method": call.method,
                 "request_id": getattr(request, "request_id", ""), "token": call.token, "body": fingerprint(request),
                 "order_id": _order_id(request), "expected_version": getattr(request, "expected_version", 0),
                 "min_version": getattr(request, "min_version", 0) or getattr(request, "min_order_version", 0),
                 "start": start, "end": end, "status": "ok", "code": "OK", "reason": "", "version": 0, "revision": 0,
                 "state": 0, "order_status": 0, "answer": "", "purpose": call.purpose}
        if error is not None:
            answer = Answer("failed" if error.code() in REFUSED else "unknown", error.code())
            reason = clients.failure_of(error).reason
            entry.update(status=answer.status, code=answer.code.name, reason=reason)
        elif call.method in _DELIVERY_METHODS:
            delivery = response.delivery
            answer = Answer("ok", grpc.StatusCode.OK, delivery)
            entry.update(order_id=delivery.order_id, version=delivery.order_version, revision=delivery.revision,
                         state=delivery.state)
        else:
            order = response.order
            answer = Answer("ok", grpc.StatusCode.OK, order)
            entry.update(order_id=order.order_id, version=order.version, order_status=order.status)
            if call.method in _WRITES:
                entry["answer"] = fingerprint(order)
                with self._lock:
                    self.acknowledged_writes += 1
        with self._lock:
            self.ended[f"{call.method} {answer.code.name}"] += 1
        self._history.write(entry)
        return answer

    def _replicas(self, method: str) -> int:
        return self.order_replicas if method in _ORDER_METHODS else self.delivery_replicas


def _order_id(request: Message) -> int:
    order = getattr(request, "order", None)
    return order.order_id if order is not None else getattr(request, "order_id", 0)
