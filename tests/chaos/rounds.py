"""One round of the campaign: services of its own, a workload, faults one after the other, and the evidence."""

import contextlib
import dataclasses
import json
import pathlib
import random
import shutil
import threading
import time
import traceback
from typing import Any

import grpc
import psycopg
from processes import wait_until
from support.convergence import differences

import evidence
from calls import Calls
from faults import Fault, Scene
from faults_orders import set_case
from ground import MAX_EVENT_BYTES, PENDING_MAX_ATTEMPTS, Ground, RoundStack
from history import Journal
from probes import Prober
from sampler import Sampler
from workload import Workload

IN_FLIGHT_SECONDS = 2
BEGIN_SECONDS = 60
RECOVERY_SECONDS = 45
# What is promised, for the checker.
LIMITS = {"convergence_limit_seconds": 30, "recovery_limit_seconds": 10, "probe_limit_seconds": 10,
          "memory_limit_bytes": 256 << 20, "leader_overlap_seconds": 20}
SETTLING_SECONDS = 120  # how long is waited, beyond what is promised, so that evidence is whole
PAUSE_SECONDS = (0.2, 0.8)


@dataclasses.dataclass
class Happened:
    """What is known of a fault when it is over."""

    fault: Fault
    index: int
    pair: int | None = None
    start: float = 0.0
    heal_begin: float = 0.0
    healed: float = 0.0
    in_flight: bool = False
    recovered: float | None = None
    recovery_seconds: float | None = None  # from when it and its pair were healed
    acknowledged_writes: int = 0
    error: str = ""
    begun: threading.Event = dataclasses.field(default_factory=threading.Event)


class Round:
    """run() leaves everything in folder: evidence, and the services' logs in folder/logs.

    happened  the faults, in their order
    counts    orders, events
    problems  what went wrong that is no promise's: a service that died, a fault that could not be brought about
    """

    def __init__(self, ground: Ground, folder: pathlib.Path, case: str, seed: int, number: int,
                 slots: list[list[Fault]], first_fault: int, least_orders: int) -> None:
        self._ground, self.folder, self._case, self._seed, self._number = ground, folder, case, seed, number
        self._slots, self._next_fault, self._least_orders = slots, first_fault, least_orders
        self.happened: list[Happened] = []
        self.counts = {"orders": 0, "events": 0}
        self.problems: list[str] = []
        self._last_heal = 0.0

    def run(self) -> None:
        logs = self.folder / "logs"
        logs.mkdir(parents=True)
        journals = {name: Journal(self.folder / f"{name}.jsonl") for name in ("history", "samples", "probes", "faults")}
        with contextlib.ExitStack() as cleanup:
            for journal in journals.values():
                cleanup.callback(journal.close)
            stack = RoundStack(self._ground, logs)
            cleanup.callback(stack.close)
            stack.start()
            addresses = [stack.links[f"client->order-{number + 1}"].address for number in range(len(stack.orders))]
            calls = Calls(journals["history"], addresses, [service.address for service in stack.deliveries])
            cleanup.callback(calls.close)
            prober = Prober(calls, journals["probes"])
            source = random.Random(f"scene {self._seed} {self._number}")
            scene = Scene(self._ground, stack, calls, prober, self._case, source)
            set_case(scene)
            sampler = Sampler(stack, list(stack.stack.topics.values()), journals["samples"])
            cleanup.callback(sampler.close)
            workload = Workload(calls, self._seed * 1000 + self._number)
            try:
                self._work(scene, workload, sampler)
            finally:
                for name in ("postgres", "kafka"):
                    with contextlib.suppress(OSError):
                        shutil.copy(self._ground.directory / name / "log", logs / f"{name}.log")
                for one in self.happened:
                    journals["faults"].write(_entry(one))
            sampler.final_counters()
            self.counts = evidence.dump(stack.stack, self.folder)
            self.problems += stack.deaths

    def _work(self, scene: Scene, workload: Workload, sampler: Sampler) -> None:
        sampler.start()
        scene.prober.start()
        workload.start()
        wait_until(lambda: scene.calls.acknowledged_writes > 50, 60, "the workload is under way")
        try:
            self._last_heal = time.time()
            for slot in self._slots:
                self._run_slot(slot, scene)
                time.sleep(scene.source.uniform(*PAUSE_SECONDS))
        except BaseException:
            scene.prober.abandon()
            raise
        finally:
            workload.stop()
        missing = self._least_orders - workload.orders.created
        if missing > 0:
            workload.create_more(missing)
            self._last_heal = time.time()  # so much at once is in step so much later
        scene.prober.stop()
        still_unknown = workload.resolve()
        if still_unknown:
            self.problems.append(f"{still_unknown} writes are still unknown with everything healthy")
        self.problems += workload.problems
        self._settle(scene, sampler)

    # ---- faults ----

    def _run_slot(self, slot: list[Fault], scene: Scene) -> None:
        happened = [Happened(fault, self._next_fault + place) for place, fault in enumerate(slot)]
        self._next_fault += len(slot)
        if len(happened) == 2:
            happened[0].pair, happened[1].pair = happened[1].index, happened[0].index
        self.happened += happened
        for one in happened:
            one.fault.prepare(scene)
        threads = [threading.Thread(target=_bring_about, args=(one, scene, happened)) for one in happened]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in happened:
            if one.error:
                self.problems.append(f"fault {one.index} ({one.fault.kind}): {one.error}")
        away = frozenset().union(*(one.fault.away for one in happened))
        for service in scene.stack.services:
            if service.name not in away:
                scene.stack.revive(service)
        # A pair is over when both are: only then is it known who recovers from what.
        moment = max(one.healed for one in happened)
        recovered = scene.prober.wait_after(moment, RECOVERY_SECONDS)
        self._last_heal = moment
        for one in happened:
            one.fault.restore(scene)
            one.recovered = recovered
            one.recovery_seconds = recovered - moment if recovered else None
            self._report(one)
        for one in happened:
            if one.fault.away:
                one.fault.restore(scene)
                self._last_heal = time.time()

    def _report(self, one: Happened) -> None:
        fault = one.fault
        recovery = (f"{one.recovery_seconds:6.2f} s" if one.recovery_seconds is not None
                    else f"NOT within {RECOVERY_SECONDS} s")
        details = {name: value for name, value in fault.detail.items() if name not in ("records", "error")}
        print(f"  {one.index + 1:4d}{'+' if one.pair is not None else ' '} {fault.kind:19s} "
              f"{'' if one.in_flight else '(nothing in flight) '}lasted {one.heal_begin - one.start:5.2f} s, "
              f"back after {recovery}  {' '.join(fault.targets)} {details if details else ''}", flush=True)

    # ---- the end ----

    def _settle(self, scene: Scene, sampler: Sampler) -> None:
        """Waits until all is in step, and then until all is at rest."""
        converged = self._wait_converged(scene, sampler)
        sampler.stop()
        inner = scene.stack.stack
        meta = {"case": self._case, "seed": self._seed, "round": self._number,
                "topics": {"domain": inner.topics["DOMAIN_TOPIC"], "create": inner.topics["CREATE_TOPIC"],
                           "change": inner.topics["CHANGE_TOPIC"], "cancel": inner.topics["CANCEL_TOPIC"],
                           "dead_letter": inner.topics["DEAD_LETTER_TOPIC"]},
                "max_event_bytes": MAX_EVENT_BYTES, "pending_max_attempts": PENDING_MAX_ATTEMPTS,
                "last_heal": self._last_heal, "converged": converged, **LIMITS}
        (self.folder / "meta.json").write_text(json.dumps(meta, indent=1))
        print(f"  in step {converged - self._last_heal:.1f} s after the last fault" if converged else
              f"  NOT in step {time.time() - self._last_heal:.0f} s after the last fault: {self._differences[:3]}",
              flush=True)

    def _wait_converged(self, scene: Scene, sampler: Sampler) -> float | None:
        """When every order first had the delivery that it should have, and nothing waited any more."""
        inner = scene.stack.stack
        self._differences: list[str] = []
        moment: list[float] = []

        def in_step() -> bool:
            moment[:] = [time.time()]
            try:
                self._differences = _differences(inner) or _waiting(scene)
            except (grpc.RpcError, psycopg.Error) as error:
                self._differences = [str(error)[:200]]
            return not self._differences

        try:
            wait_until(in_step, SETTLING_SECONDS, "all is in step")
        except AssertionError:
            return None
        converged = moment[0]

        def at_rest() -> bool:
            with inner.delivery_database_connection() as connection:
                pending = connection.execute("SELECT count(*) FROM pending_orders").fetchone()[0]
            committed = sampler.committed()
            ends = {place: end for place, end in sampler.ends().items()
                    if end > 0 and place.rsplit("/", 1)[0] in inner.event_topics}
            return pending == 0 and all(committed.get(place, 0) >= end for place, end in ends.items())

        try:
            wait_until(at_rest, SETTLING_SECONDS, "all is at rest")
        except AssertionError:
            self.problems.append("pending orders or events that nobody has taken are left")
        return converged


def _bring_about(one: Happened, scene: Scene, together: list[Happened]) -> None:
    """One of those that come together: none of them is healed before all have begun."""
    fault = one.fault
    try:
        if len(together) > 1:
            time.sleep(fault.offset)
        deadline = time.monotonic() + IN_FLIGHT_SECONDS
        while scene.calls.in_flight == 0 and time.monotonic() < deadline:
            time.sleep(0.0005)
        before = scene.calls.acknowledged_writes
        one.in_flight = scene.calls.in_flight > 0
        one.start = time.time()
        try:
            fault.inject(scene)
            one.begun.set()
            fault.hold(scene)
            for other in together:
                other.begun.wait(BEGIN_SECONDS)
        finally:
            one.begun.set()
            one.heal_begin = time.time()
            one.acknowledged_writes = scene.calls.acknowledged_writes - before
            fault.heal(scene)
    except Exception as error:
        one.error = f"{error!r}"
        fault.detail["error"] = traceback.format_exc()
    finally:
        one.begun.set()
        one.healed = time.time()
        one.heal_begin = one.heal_begin or one.healed
        one.start = one.start or one.healed


def _entry(one: Happened) -> dict[str, Any]:
    return {"fault": one.index, "kind": one.fault.kind, "targets": list(one.fault.targets), "start": one.start,
            "heal_begin": one.heal_begin, "healed": one.healed, "in_flight": one.in_flight, "pair": one.pair,
            "recovered": one.recovered, "acknowledged_writes": one.acknowledged_writes, "detail": one.fault.detail}


def _differences(stack) -> list[str]:
    deliveries = {delivery.order_id: delivery for delivery in evidence.all_deliveries(stack)}
    found = []
    for order in evidence.all_orders(stack):
        delivery = deliveries.get(order.order_id)
        different = ["no delivery"] if delivery is None else differences(order, delivery)
        if different:
            found.append(f"order {order.order_id} at version {order.version}: {', '.join(different)}")
    return found


def _waiting(scene: Scene) -> list[str]:
    """What the relay has not sent."""
    with scene.stack.stack.order_database_connection() as connection:
        behind = connection.execute("SELECT (SELECT coalesce(max(sequence), 0) FROM outbox) - highest, "
                                    "cardinality(gap_first) FROM outbox_relay").fetchone()
    return [f"the outbox waits: {behind}"] if behind[0] > 0 or behind[1] > 0 else []
