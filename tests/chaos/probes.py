"""Probes: small clients, a few each second, that write an order and wait until its delivery shows it. They tell how
long the way through all of it takes, and when it is open again after a fault."""

import itertools
import threading
import time

import grpc
from delivery.v1 import delivery_service_pb2
from google.protobuf import field_mask_pb2
from order.v1 import order_pb2, order_service_pb2
from support import samples

from calls import Call, Calls
from history import Journal

PERIOD_SECONDS = 0.25
WRITE_SECONDS = 1
WAIT_SECONDS = 1
PATIENCE_SECONDS = 30
MOST_AT_ONCE = 60


class Prober:
    """start() to stop(); wait_after(t) waits for the first probe that started after t."""

    def __init__(self, calls: Calls, journal: Journal) -> None:
        self._calls, self._journal = calls, journal
        self._numbers = itertools.count(1)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._seen: list[tuple[float, float]] = []  # start and time of becoming visible
        self._under_way = 0
        self.order_ids: list[int] = []
        self._starter = threading.Thread(target=self._start_probes, name="prober", daemon=True)

    def start(self) -> "Prober":
        self._starter.start()
        return self

    def stop(self) -> None:
        """Lets those that wait end, one way or the other."""
        self._stopping.set()
        self._starter.join()
        with self._changed:
            self._changed.wait_for(lambda: self._under_way == 0, PATIENCE_SECONDS + 10)

    def abandon(self) -> None:
        """Starts no more, and does not wait."""
        self._stopping.set()

    def wait_after(self, moment: float, seconds: float) -> float | None:
        """When the first probe that started after that moment was visible."""
        found: list[float] = []

        def seen() -> bool:
            found[:] = [visible for start, visible in self._seen if start > moment]
            return bool(found)

        with self._changed:
            return min(found) if self._changed.wait_for(seen, seconds) else None

    def _start_probes(self) -> None:
        while not self._stopping.wait(PERIOD_SECONDS):
            with self._changed:
                if self._under_way >= MOST_AT_ONCE:
                    continue
                self._under_way += 1
            threading.Thread(target=self._probe, args=(next(self._numbers),), daemon=True).start()

    def _probe(self, number: int) -> None:
        entry = {"start": time.time(), "acknowledged": None, "visible": None, "order_id": 0, "version": 0}
        try:
            order = self._written(number)
            if order is not None:
                entry.update(acknowledged=time.time(), order_id=order.order_id, version=order.version)
                entry["visible"] = self._visible(number, order)
        except ValueError:
            self._stopping.set()  # the channels were closed under it: the round has failed
        finally:
            self._journal.write(entry)
            with self._changed:
                if entry["visible"] is not None:
                    self._seen.append((entry["start"], entry["visible"]))
                    del self._seen[:-500]
                self._under_way -= 1
                self._changed.notify_all()

    def _written(self, number: int) -> order_pb2.Order | None:
        token = f"probe-{number}-{samples.new_request_id()[:8]}"
        request_id = samples.new_request_id()
        if number % 2 == 0 and len(self.order_ids) >= 12:
            order = order_pb2.Order(order_id=self.order_ids[number // 2 % 12], note=token)
            request = order_service_pb2.UpdateOrderRequest(
                request_id=request_id, order=order, update_mask=field_mask_pb2.FieldMask(paths=["note"]))
            call = Call("probe", "UpdateOrder", request, token, "probe")
        else:
            request = order_service_pb2.CreateOrderRequest(request_id=request_id, order=samples.order(note=token))
            call = Call("probe", "CreateOrder", request, token, "probe")
        answer = self._calls.make(call, number // 2, 1, WRITE_SECONDS)
        if answer.status != "ok":
            return None
        if len(self.order_ids) < 12:
            self.order_ids.append(answer.message.order_id)
        return answer.message

    def _visible(self, number: int, order: order_pb2.Order) -> float | None:
        request = delivery_service_pb2.GetDeliveryRequest(order_id=order.order_id, min_order_version=order.version)
        deadline = time.monotonic() + PATIENCE_SECONDS
        for replica in itertools.count(number):
            answer = self._calls.make(Call("probe", "GetDelivery", request, purpose="probe"), replica, 1, WAIT_SECONDS)
            if answer.status == "ok":
                return time.time()
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02 if answer.code == grpc.StatusCode.DEADLINE_EXCEEDED else 0.2)
        return None
