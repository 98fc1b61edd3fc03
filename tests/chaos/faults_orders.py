"""Faults by what is done to orders: a transaction held open, one order changed without end, the mode switched."""

import datetime
import random
import time

import grpc
import psycopg
from google.protobuf import field_mask_pb2
from order.v1 import order_operations_pb2, order_operations_pb2_grpc, order_pb2, order_service_pb2
from processes import wait_until
from support import samples

from calls import Call, open_channel
from faults import CASES, ORDERS, Fault, Scene


def _new_order(scene: Scene, client: str) -> order_pb2.Order:
    """An order that no client of the workload knows of."""
    token = f"{client}-{samples.new_request_id()}"
    request = order_service_pb2.CreateOrderRequest(request_id=samples.new_request_id(), order=samples.order(note=token))
    attempts = iter(range(1, 1000))

    def created() -> order_pb2.Order | None:
        attempt = next(attempts)
        return scene.calls.make(Call(client, "CreateOrder", request, token), attempt, attempt).message

    return wait_until(created, 30, "an order for the fault")


class HeldTransaction(Fault):
    """A change of an order, written as the order service writes it, is committed late or not at all. Its row of the
    outbox has a number by then, and higher ones are there before it."""

    kind = "held_transaction"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.needs = frozenset({"postgres"})
        self.seconds = source.uniform(4, 7)
        self.detail = {"ends": source.choice(("commit", "rollback"))}

    def prepare(self, scene: Scene) -> None:
        self._order = _new_order(scene, "held")

    def inject(self, scene: Scene) -> None:
        order = self._order
        now = datetime.datetime.now(datetime.timezone.utc)
        order.version += 1
        order.note = f"chaos-{samples.new_request_id()}"
        order.update_time.FromDatetime(now)
        self._connection: psycopg.Connection = scene.stack.stack.order_database_connection()
        self._connection.autocommit = False
        self._connection.execute("UPDATE orders SET version = %s, note = %s, update_time = %s WHERE order_id = %s",
                                 (order.version, order.note, now, order.order_id))
        row = self._connection.execute(
            "INSERT INTO outbox (order_id, version, type, occur_time, snapshot) VALUES (%s, %s, 2, %s, %s) "
            "RETURNING sequence", (order.order_id, order.version, now, order.SerializeToString(deterministic=True)))
        self.detail.update(order_id=order.order_id, version=order.version, sequence=row.fetchone()[0])

    def heal(self, scene: Scene) -> None:
        if self.detail["ends"] == "commit":
            self._connection.commit()
        else:
            self._connection.rollback()
        self._connection.close()


class HotOrder(Fault):
    """One order, changed as fast as one client can."""

    kind = "hot_order"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.seconds = source.uniform(2, 4)

    def prepare(self, scene: Scene) -> None:
        self._order_id = _new_order(scene, "hot").order_id
        self.detail["order_id"] = self._order_id

    def inject(self, scene: Scene) -> None:
        self._update(scene, 0)

    def hold(self, scene: Scene) -> None:
        end, number = time.monotonic() + self.seconds, 1
        while time.monotonic() < end:
            self._update(scene, number)
            number += 1
        self.detail["updates"] = number

    def _update(self, scene: Scene, number: int) -> None:
        token = f"hot-{samples.new_request_id()}"
        request = order_service_pb2.UpdateOrderRequest(
            request_id=samples.new_request_id(), order=order_pb2.Order(order_id=self._order_id, note=token),
            update_mask=field_mask_pb2.FieldMask(paths=["note"]))
        answer = scene.calls.make(Call("hot", "UpdateOrder", request, token), number % 2, 1, 1)
        if answer.status != "ok":
            time.sleep(0.05)


class ModeSwitch(Fault):
    """To another of the four cases."""

    kind = "mode_switch"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.needs = frozenset({"postgres", *ORDERS, *(f"{name}->postgres" for name in ORDERS)})
        self.seconds = source.uniform(0, 1)
        self.detail = {"step": source.randint(1, 3)}

    def inject(self, scene: Scene) -> None:
        names = list(CASES)
        scene.case = names[(names.index(scene.case) + self.detail["step"]) % len(names)]
        self.detail["case"] = scene.case
        set_case(scene)


def set_case(scene: Scene) -> None:
    """Has the scene's case be in force."""
    payload, topics = CASES[scene.case]
    mode = order_operations_pb2.EventMode(payload=payload, topics=topics)

    def done() -> bool:
        service = scene.source.choice(scene.stack.orders)
        with open_channel(service.address) as channel:
            try:
                order_operations_pb2_grpc.OrderOperationsStub(channel).SetEventMode(
                    order_operations_pb2.SetEventModeRequest(mode=mode), timeout=3)
            except grpc.RpcError as error:
                raise AssertionError(error.details()) from error
        return True

    wait_until(done, 30, "the mode is switched")
