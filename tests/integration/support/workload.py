"""Load on the order service, and a record of all that it acknowledged."""

import collections
import dataclasses
import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence

import grpc
from order.v1 import order_pb2, order_service_pb2
from order.v1.order_service_pb2_grpc import OrderServiceStub

from processes import Service, wait_until
from support import samples

# Nothing is known after these: the same request, with the same request_id, tells.
RETRIED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED})
# Somebody else was faster.
LOST_RACES = frozenset({grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION})

Request = (order_service_pb2.CreateOrderRequest | order_service_pb2.UpdateOrderRequest
           | order_service_pb2.CancelOrderRequest)


@dataclasses.dataclass(frozen=True)
class Acknowledged:
    """A write that was answered OK."""

    method: str
    request: Request
    order: order_pb2.Order


class Workload:
    """Threads that create, change and cancel orders, several at the same ones at a time.

    run(orders) does so many orders' worth as fast as it can and returns; start() goes on until stop(), with at most so
    many writes a second, so that there is a processor left for what is to recover. Every write has a request_id;
    one whose outcome is unknown is repeated with it unless retry is false. Afterwards:

    acknowledged   the writes that were answered OK
    codes          how often calls ended with each status, retries included
    unknown        writes whose outcome was never learnt
    problems       what should not have happened; run() and stop() assert that there is nothing
    """

    def __init__(self, services: Sequence[Service], threads: int = 8, seed: int = 1, retry: bool = True,
                 call_seconds: float = 5, patience_seconds: float = 90, writes_per_second: float = 200) -> None:
        self._stubs = [OrderServiceStub(service.channel) for service in services]
        self._threads, self._seed, self._retry = threads, seed, retry
        self._call_seconds, self._patience_seconds = call_seconds, patience_seconds
        self._pause_seconds = threads / writes_per_second
        self._running: list[threading.Thread] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # for what follows
        self._latest: dict[int, int] = {}
        self.acknowledged: list[Acknowledged] = []
        self.codes: collections.Counter[grpc.StatusCode] = collections.Counter()
        self.unknown = 0
        self.problems: list[str] = []

    # ---- what tests do ----

    def run(self, orders: int, changes: float = 0.7, cancels: float = 0.15) -> "Workload":
        """Creates so many orders, with so many changes and cancels for each; returns when all are answered."""
        source = random.Random(self._seed)
        rest = ["create"] * (orders - self._threads) + ["change"] * int(orders * changes) + ["cancel"] * int(orders * cancels)
        source.shuffle(rest)
        self._begin(iter(["create"] * self._threads + rest), pause_seconds=0)
        return self._end()

    def start(self) -> "Workload":
        source = random.Random(self._seed)
        endless = (source.choices(("create", "change", "cancel"), (50, 40, 10))[0] for _ in itertools.count())
        self._begin(itertools.chain(["create"] * self._threads, endless), self._pause_seconds)
        return self

    def stop(self) -> "Workload":
        """Lets the writes under way be answered."""
        self._stopping.set()
        return self._end()

    def wait_for_more(self, writes: int, seconds: float = 60) -> None:
        """Waits until so many more writes were acknowledged."""
        wanted = len(self.acknowledged) + writes
        wait_until(lambda: len(self.acknowledged) >= wanted or self.problems, seconds,
                   lambda: f"{writes} more writes acknowledged ({dict(self.codes)})")
        assert not self.problems, self.problems[:5]

    def check(self, current: dict[int, order_pb2.Order]) -> None:
        """Asserts that the orders are what the acknowledgements said: each version made once, none lost."""
        assert self.acknowledged
        answered: dict[int, dict[int, order_pb2.Order]] = collections.defaultdict(dict)
        for write in self.acknowledged:
            first = answered[write.order.order_id].setdefault(write.order.version, write.order)
            assert first == write.order, f"two contents of one version: {first} {write.order}"
        for order_id, versions in answered.items():
            order, newest = current[order_id], max(versions)
            assert order.version >= newest, f"order {order_id}: version {newest} was acknowledged, {order.version} is there"
            assert versions.get(order.version, order) == order
            if self.unknown == 0:
                assert set(versions) == set(range(1, order.version + 1)), f"order {order_id}: {sorted(versions)}"

    def check_repeated(self) -> None:
        """Repeats every acknowledged write: the answer must be the one given before."""
        for write, stub in zip(self.acknowledged, itertools.cycle(self._stubs)):
            again = getattr(stub, write.method)(write.request, timeout=20).order
            assert again == write.order, f"{write.method} {write.request.request_id} was lost: {again}"

    # ---- the threads ----

    def _begin(self, steps: Iterator[str], pause_seconds: float) -> None:
        self._stopping.clear()
        self._running = [
            threading.Thread(target=self._work, args=(steps, pause_seconds, random.Random(self._seed * 1000 + n)), daemon=True)
            for n in range(self._threads)]
        for thread in self._running:
            thread.start()

    def _end(self) -> "Workload":
        for thread in self._running:
            thread.join(self._patience_seconds + 30)
            assert not thread.is_alive(), "a write does not end"
        assert not self.problems, self.problems[:5]
        return self

    def _work(self, steps: Iterator[str], pause_seconds: float, source: random.Random) -> None:
        while not self._stopping.is_set() and not self.problems:
            with self._lock:
                step = next(steps, None)
            if step is None:
                return
            method, request = self._request(step, source)
            self._write(method, request, source)
            self._stopping.wait(pause_seconds)

    def _request(self, step: str, source: random.Random) -> tuple[str, Request]:
        request_id = samples.new_request_id()
        with self._lock:
            recent = list(self._latest.items())[-50:]
        if step == "create" or not recent:
            return "CreateOrder", order_service_pb2.CreateOrderRequest(
                request_id=request_id, order=samples.random_order(source))
        order_id, version = source.choice(recent)
        expected = source.choice((0, version))
        if step == "cancel":
            return "CancelOrder", order_service_pb2.CancelOrderRequest(
                request_id=request_id, order_id=order_id, expected_version=expected, reason=f"reason {request_id}")
        wanted = order_pb2.Order(order_id=order_id, note=request_id)
        if source.random() < 0.5:
            wanted.delivery_address.CopyFrom(samples.random_address(source))
        if source.random() < 0.5:
            wanted.items.extend(samples.random_items(source))
        return "UpdateOrder", order_service_pb2.UpdateOrderRequest(
            request_id=request_id, order=wanted, expected_version=expected)

    def _write(self, method: str, request: Request, source: random.Random) -> None:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                order = getattr(source.choice(self._stubs), method)(request, timeout=self._call_seconds).order
            except grpc.RpcError as error:
                if not self._is_to_be_repeated(method, error, deadline):
                    return
                time.sleep(0.02)  # so that a service that is away is not asked without a pause
            else:
                self._note(Acknowledged(method, request, order))
                return

    def _is_to_be_repeated(self, method: str, error: grpc.RpcError, deadline: float) -> bool:
        code = error.code()
        with self._lock:
            self.codes[code] += 1
            if code in LOST_RACES and method != "CreateOrder":
                return False
            if code not in RETRIED:
                self.problems.append(f"{method}: {code.name} {error.details()}")
            elif self._retry and time.monotonic() < deadline:
                return True
            elif self._retry:
                self.problems.append(f"{method}: still {code.name} {error.details()}")
            self.unknown += 1
            return False

    def _note(self, write: Acknowledged) -> None:
        with self._lock:
            self.codes[grpc.StatusCode.OK] += 1
            self.acknowledged.append(write)
            order = write.order
            self._latest[order.order_id] = max(order.version, self._latest.get(order.order_id, 0))
