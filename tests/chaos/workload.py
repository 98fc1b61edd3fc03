"""The clients: threads that create, change, cancel and read orders and move their deliveries on, until they are told
to stop. Every write of an order has a request_id and leaves a token of its own in the order."""

import collections
import dataclasses
import itertools
import random
import threading
import time
from collections.abc import Callable

import grpc
from delivery.v1 import delivery_service_pb2
from google.protobuf import field_mask_pb2
from order.v1 import order_pb2, order_service_pb2
from support import samples

from calls import Answer, Call, Calls

ATTEMPTS = 4
RECENT = 60
REMEMBERED = 400
LARGE_ORDER_ITEMS = 170

_STEPS = {"create": 40, "update": 32, "cancel": 7, "duel": 4, "twins": 4, "repeat": 4, "other_body": 2, "large": 1}


@dataclasses.dataclass(frozen=True)
class Pace:
    """How many clients there are, how much they do in a second together, and how long each waits for an answer."""

    writers: int = 10
    readers: int = 3
    writes_per_second: float = 150
    reads_per_second: float = 60
    call_seconds: float = 2
    wait_seconds: float = 3  # for a delivery that is to be in step


class Orders:
    """What the clients know of the orders that they made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: collections.deque[int] = collections.deque(maxlen=RECENT)
        self._versions: dict[int, int] = {}
        self.created = 0

    def note(self, order: order_pb2.Order) -> None:
        with self._lock:
            if order.version == 1 and order.order_id not in self._versions:
                self._recent.append(order.order_id)
                self.created += 1
            self._versions[order.order_id] = max(order.version, self._versions.get(order.order_id, 0))

    def choose(self, source: random.Random) -> tuple[int, int] | None:
        """The id and version of one of the newest, now and then of any."""
        with self._lock:
            if not self._recent:
                return None
            order_id = source.choice(self._recent)
            if source.random() < 0.05:
                place = source.randrange(min(len(self._versions), 5000))
                order_id = next(itertools.islice(self._versions, place, None))
            return order_id, self._versions[order_id]


@dataclasses.dataclass(frozen=True)
class Unresolved:
    """A write of which no attempt told what became of it."""

    call: Call
    attempts: int


class Workload:
    """start(), stop(), perhaps create_more(), then resolve(). unresolved: writes whose answers were lost."""

    def __init__(self, calls: Calls, seed: int, pace: Pace = Pace(), name: str = "") -> None:
        """name: what the clients' names begin with."""
        self._calls, self._seed, self._pace, self._name = calls, seed, pace, name
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._done: list[Call] = []
        self._forgetful = random.Random(seed)
        self.orders = Orders()
        self.unresolved: list[Unresolved] = []
        self.problems: list[str] = []

    def start(self) -> "Workload":
        pace, name = self._pace, self._name
        for number in range(pace.writers):
            self._begin(f"{name}w{number + 1}", self._write_step, pace.writers / pace.writes_per_second)
        for number in range(pace.readers):
            self._begin(f"{name}r{number + 1}", self._read_step, pace.readers / pace.reads_per_second)
        return self

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                raise RuntimeError("a client's call does not end")

    def create_more(self, count: int) -> None:
        """After stop(): so many more orders, as fast as they come."""
        remaining = itertools.count(count, -1)

        def work(name: str) -> None:
            source = random.Random(f"{self._seed} {name}")
            while next(remaining) > 0:
                self._write(self._create(name, source), source)

        self._stopping.clear()
        threads = [threading.Thread(target=work, args=(f"{self._name}c{n + 1}",), daemon=True)
                   for n in range(self._pace.writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._stopping.set()

    def resolve(self, seconds: float = 60) -> int:
        """Asks again what became of the writes whose answers were lost; returns how many stay unknown."""
        deadline = time.monotonic() + seconds
        waiting, self.unresolved = self.unresolved, []
        for one in waiting:
            for attempt in itertools.count(one.attempts + 1):
                answer = self._calls.make(one.call.again("resolve"), attempt, attempt, 5)
                if not _is_open(answer):
                    break
                if time.monotonic() > deadline:
                    self.unresolved.append(Unresolved(one.call, attempt))
                    break
                time.sleep(0.05)
        return len(self.unresolved)

    # ---- the threads ----

    def _begin(self, name: str, step: Callable[[str, random.Random], None], period: float) -> None:
        source = random.Random(f"{self._seed} {name}")

        def work() -> None:
            try:
                self._stopping.wait(source.random() * period)
                while not self._stopping.is_set():
                    begin = time.monotonic()
                    step(name, source)
                    self._stopping.wait(max(0.0, period * (0.5 + source.random()) - (time.monotonic() - begin)))
            except Exception as error:  # a client that dies unnoticed would make the load weaker
                self.problems.append(f"client {name}: {error!r}")

        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _write_step(self, client: str, source: random.Random) -> None:
        step = source.choices(list(_STEPS), list(_STEPS.values()))[0]
        chosen = self.orders.choose(source)
        if step in ("create", "large") or chosen is None:
            self._write(self._create(client, source, large=step == "large"), source)
        elif step == "update":
            self._write(self._update(client, *chosen, source), source)
        elif step == "cancel":
            self._write(self._cancel(client, *chosen, source), source)
        elif step == "duel":
            self._duel(client, *chosen, source)
        elif step == "twins":
            self._twins(self._update(client, *chosen, source), source)
        elif step == "repeat":
            self._repeat(source)
        else:
            self._other_body(client, source)

    def _read_step(self, client: str, source: random.Random) -> None:
        chosen = self.orders.choose(source)
        if chosen is None:
            return
        order_id, version = chosen
        chance = source.random()
        if chance < 0.2:
            request = order_service_pb2.GetOrderRequest(order_id=order_id, min_version=source.choice((0, version)))
            call, seconds = Call(client, "GetOrder", request, purpose="read"), self._pace.call_seconds
        elif chance < 0.75:
            request = delivery_service_pb2.GetDeliveryRequest(
                order_id=order_id, min_order_version=source.choice((0, version)))
            call, seconds = Call(client, "GetDelivery", request, purpose="read"), self._pace.wait_seconds
        elif chance < 0.9:
            request = delivery_service_pb2.DispatchDeliveryRequest(order_id=order_id, tracking_code=f"code-{order_id}")
            call, seconds = Call(client, "DispatchDelivery", request), self._pace.call_seconds
        else:
            request = delivery_service_pb2.CompleteDeliveryRequest(order_id=order_id)
            call, seconds = Call(client, "CompleteDelivery", request), self._pace.call_seconds
        answer = self._calls.make(call, source.randrange(6), 1, seconds)
        if answer.code == grpc.StatusCode.UNAVAILABLE:
            self._stopping.wait(0.1)

    # ---- what they ask for ----

    def _names(self, client: str) -> dict[str, str]:
        """A request_id, and the token that goes with it."""
        number = next(self._numbers)
        return {"request_id": samples.new_request_id(), "token": f"{client}-{number}-{samples.new_request_id()[:8]}"}

    def _create(self, client: str, source: random.Random, large: bool = False) -> Call:
        names = self._names(client)
        order = samples.random_order(source)
        order.note = names["token"]
        if large:
            del order.items[:]
            order.items.extend(samples.item(sku=f"sku-{'x' * 50}-{line}", quantity=1)
                               for line in range(LARGE_ORDER_ITEMS))
        request = order_service_pb2.CreateOrderRequest(request_id=names["request_id"], order=order)
        return Call(client, "CreateOrder", request, names["token"])

    def _update(self, client: str, order_id: int, version: int, source: random.Random,
                expected: int | None = None) -> Call:
        names = self._names(client)
        order, paths = order_pb2.Order(order_id=order_id, note=names["token"]), ["note"]
        if source.random() < 0.5:
            order.delivery_address.CopyFrom(samples.random_address(source))
            paths.append("delivery_address")
        if source.random() < 0.5:
            order.items.extend(samples.random_items(source))
            paths.append("items")
        request = order_service_pb2.UpdateOrderRequest(
            request_id=names["request_id"], order=order, update_mask=field_mask_pb2.FieldMask(paths=paths),
            expected_version=source.choice((0, version)) if expected is None else expected)
        return Call(client, "UpdateOrder", request, names["token"])

    def _cancel(self, client: str, order_id: int, version: int, source: random.Random) -> Call:
        names = self._names(client)
        request = order_service_pb2.CancelOrderRequest(
            request_id=names["request_id"], order_id=order_id, expected_version=source.choice((0, version)),
            reason=names["token"])
        return Call(client, "CancelOrder", request, names["token"])

    # ---- how they ask ----

    def _write(self, call: Call, source: random.Random) -> None:
        """Until it is known what became of it, or its patience ends."""
        unknown = False
        for attempt in range(1, ATTEMPTS + 1):
            replica = source.randrange(self._calls.order_replicas)
            answer = self._calls.make(call, replica, attempt, self._pace.call_seconds)
            unknown = unknown or answer.status == "unknown"
            if not _is_open(answer):
                self._note(call, answer)
                return
            self._stopping.wait(0.02 + 0.1 * attempt)
            if self._stopping.is_set():
                break
        if unknown:
            self._leave(call, attempt)

    def _duel(self, client: str, order_id: int, version: int, source: random.Random) -> None:
        """Two clients change one order at the same moment, both for the same version or for any."""
        expected = source.choice((0, version))
        rivals = [self._update(f"{client}{rival}", order_id, version, source, expected) for rival in "ab"]
        started = [self._calls.start(call, replica, 1, self._pace.call_seconds) for replica, call in enumerate(rivals)]
        for call, answer in [(call, one.wait()) for call, one in zip(rivals, started)]:
            self._note_or_leave(call, answer)

    def _twins(self, call: Call, source: random.Random) -> None:
        """One request, twice at the same moment."""
        first = self._calls.start(call, source.randrange(2), 1, self._pace.call_seconds)
        second = self._calls.start(call.again("repeat"), source.randrange(2), 2, self._pace.call_seconds)
        answers = [first.wait(), second.wait()]
        known = next((answer for answer in answers if answer.status == "ok"), None)
        if known is not None:
            self._note(call, known)
        elif any(answer.status == "unknown" for answer in answers):
            self._leave(call, 2)

    def _repeat(self, source: random.Random) -> None:
        call = self._remembered(source)
        if call is not None:
            self._calls.make(call.again("repeat"), source.randrange(2), 10, self._pace.call_seconds)

    def _other_body(self, client: str, source: random.Random) -> None:
        """The request_id of a request that was answered, for another one."""
        call = self._remembered(source)
        if call is None:
            return
        request, token = type(call.request)(), self._names(client)["token"]
        request.CopyFrom(call.request)
        if call.method == "CancelOrder":
            request.reason = token
        else:
            request.order.note = token
        other = Call(client, call.method, request, token, "other_body")
        self._calls.make(other, source.randrange(2), 1, self._pace.call_seconds)

    # ---- what they remember ----

    def _remembered(self, source: random.Random) -> Call | None:
        with self._lock:
            return source.choice(self._done) if self._done else None

    def _note_or_leave(self, call: Call, answer: Answer) -> None:
        if answer.status == "unknown":
            self._leave(call, 1)
        else:
            self._note(call, answer)

    def _note(self, call: Call, answer: Answer) -> None:
        if answer.status != "ok":
            return
        self.orders.note(answer.message)
        with self._lock:
            if len(self._done) < REMEMBERED:
                self._done.append(call)
            else:  # old ones stay long enough to be repeated after restarts
                self._done[self._forgetful.randrange(REMEMBERED)] = call

    def _leave(self, call: Call, attempts: int) -> None:
        with self._lock:
            self.unresolved.append(Unresolved(call, attempts))


def _is_open(answer: Answer) -> bool:
    """It is to be asked again: nobody knows, or there was no room."""
    return answer.status == "unknown" or answer.code == grpc.StatusCode.RESOURCE_EXHAUSTED
