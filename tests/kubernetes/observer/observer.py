"""Clients and witness in one pod of the cluster. It writes and reads by the documented service config the whole time,
looks at both databases and at Kafka, and does what it is told over HTTP on the pod's loopback (the tests come by
kubectl port-forward):

    GET  /status    how the calls ended so far, what is in flight, how far the group is behind
    POST /mode      {"payload": ..., "topics": ...} for SetEventMode
    POST /fault     what was done to the cluster, {"kind", "targets", "start", "healed"}: waits until something written
                    after it was visible, and writes it down
    POST /backlog   {"orders": N}: so many more orders, as fast as they come
    POST /republish {"first": N, "last": M}
    POST /stop      ends the load, waits until all is in step, writes the evidence; answers with what it found
    GET  /topics    how they were made
    GET  /evidence  the evidence's files as a tar
"""

import http.server
import io
import json
import pathlib
import tarfile
import threading
import time
import traceback
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import grpc
import psycopg
from order.v1 import order_operations_pb2, order_operations_pb2_grpc, order_pb2
from processes import wait_until
from support.convergence import differences

import evidence
from calls import Calls, open_channel
from cluster_stack import ClusterGround
from history import Journal
from probes import Prober
from sampler import RELAY_QUERY, Sampler
from workload import Pace, Workload

FOLDER = pathlib.Path("/work/evidence")
SERVICE_CONFIG = pathlib.Path(__file__).with_name("grpc_service_config.json")
PORT = 8080
ORDER, DELIVERY = "dns:///order-service-headless:50051", "dns:///delivery-service-headless:50052"
OPERATIONS = "dns:///order-operations:50061"
START_SECONDS = 300
RECOVERY_SECONDS = 90
SETTLING_SECONDS = 120
PACE_SECONDS = 0.2
# What is promised, for the checker: as the campaign's, but that a pod, unlike a process, takes its time to come back.
LIMITS = {"convergence_limit_seconds": 60, "recovery_limit_seconds": 30, "probe_limit_seconds": 30,
          "memory_limit_bytes": 320 << 20, "leader_overlap_seconds": 20}
# What deploy/README.md tells callers to set.
DOCUMENTED = [("grpc.service_config", SERVICE_CONFIG.read_text(encoding="utf-8")),
              ("grpc.dns_min_time_between_resolutions_ms", 2000), ("grpc.keepalive_time_ms", 12000),
              ("grpc.keepalive_timeout_ms", 3000), ("grpc.http2.max_pings_without_data", 0)]
BARE = [("grpc.enable_retries", 0)]
CALM = Pace(writers=6, readers=2, writes_per_second=40, reads_per_second=20, call_seconds=20, wait_seconds=30)
BARE_PACE = Pace(writers=2, readers=1, writes_per_second=8, reads_per_second=8, call_seconds=20, wait_seconds=30)


class Observer:
    """All that runs in the pod."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True)
        self.journals = {name: Journal(FOLDER / f"{name}.jsonl") for name in ("history", "samples", "probes", "faults")}
        self.ground = ClusterGround()
        history = self.journals["history"]
        self.calls = Calls(history, [ORDER], [DELIVERY], DOCUMENTED)
        self.bare = Calls(history, ["order-service:50051"], ["delivery-service:50052"], BARE)
        # Probes are impatient: they have calls of their own, which are not counted.
        self.prober = Prober(Calls(history, [ORDER], [DELIVERY], DOCUMENTED), self.journals["probes"])
        self.sampler = Sampler(self.ground, list(self.ground.stack.topics.values()), self.journals["samples"])
        self.workloads = [Workload(self.calls, 1, CALM), Workload(self.bare, 2, BARE_PACE, "bare-")]
        self.operations = order_operations_pb2_grpc.OrderOperationsStub(open_channel(OPERATIONS, DOCUMENTED))
        self.last_heal = time.time()
        self.longest_still = 0.0
        self._lag = 0
        self._faults = 0
        self._lock = threading.Lock()

    def start(self) -> None:
        self.sampler.start()
        self.prober.start()
        for workload in self.workloads:
            workload.start()
        threading.Thread(target=self._watch_pace, daemon=True).start()

    # ---- what it is asked ----

    def status(self) -> dict[str, Any]:
        return {"documented": dict(self.calls.ended), "bare": dict(self.bare.ended), "in_flight": self.calls.in_flight,
                "acknowledged": self.calls.acknowledged_writes + self.bare.acknowledged_writes, "lag": self._lag,
                "longest_still": self.longest_still, "orders": sum(one.orders.created for one in self.workloads),
                "problems": [problem for one in self.workloads for problem in one.problems]}

    def mode(self, payload: str, topics: str) -> dict[str, Any]:
        mode = order_operations_pb2.EventMode(payload=payload, topics=topics)
        self.operations.SetEventMode(order_operations_pb2.SetEventModeRequest(mode=mode), timeout=20)
        return {}

    def fault(self, kind: str, targets: list[str], start: float, healed: float,
              acknowledged: int = 0) -> dict[str, Any]:
        recovered = self.prober.wait_after(healed, RECOVERY_SECONDS)
        with self._lock:
            number, self._faults = self._faults, self._faults + 1
            self.last_heal = max(self.last_heal, healed)
        self.journals["faults"].write({
            "fault": number, "kind": kind, "targets": targets, "start": start, "heal_begin": healed, "healed": healed,
            "in_flight": True, "pair": None, "recovered": recovered, "acknowledged_writes": acknowledged, "detail": {}})
        return {"recovery_seconds": None if recovered is None else recovered - healed}

    def backlog(self, orders: int) -> dict[str, Any]:
        """Many orders at once, by clients of their own."""
        workload = Workload(self.calls, 3 + len(self.workloads), CALM, f"more{len(self.workloads)}-")
        workload.create_more(orders)
        self.workloads.append(workload)
        self.last_heal = time.time()
        return {"created": workload.orders.created}

    def republish(self, first: int, last: int) -> dict[str, Any]:
        request = order_operations_pb2.RepublishOrdersRequest(first_order_id=first, last_order_id=last)
        self.operations.RepublishOrders(request, timeout=60)
        self.last_heal = time.time()
        return {}

    def topics(self) -> dict[str, Any]:
        """How the topics were made."""
        admin = self.ground.kafka.admin()
        described = admin.list_topics(timeout=20).topics
        kind = confluent_kafka.admin.ConfigResource.Type.TOPIC
        asked = [confluent_kafka.admin.ConfigResource(kind, name) for name in self.ground.stack.topics.values()]
        return {resource.name: {"partitions": len(described[resource.name].partitions),
                                **{name: future.result(20)[name].value
                                   for name in ("retention.ms", "min.insync.replicas")}}
                for resource, future in admin.describe_configs(asked).items()}

    def reset_pace(self) -> dict[str, Any]:
        self.longest_still = 0.0
        return {}

    def stop(self) -> dict[str, Any]:
        for workload in self.workloads:
            workload.stop()
        self.prober.stop()
        unknown = sum(workload.resolve() for workload in self.workloads)
        converged, found = self._settle()
        self.sampler.stop()
        names = {setting.removesuffix("_TOPIC").lower(): name for setting, name in self.ground.stack.topics.items()}
        meta = {"case": "cluster", "seed": 1, "round": 1, "topics": names, "max_event_bytes": 1000000,
                "pending_max_attempts": 20, "last_heal": self.last_heal, "converged": converged, **LIMITS}
        (FOLDER / "meta.json").write_text(json.dumps(meta, indent=1))
        counts = evidence.dump(self.ground.stack, FOLDER)
        for journal in self.journals.values():
            journal.close()
        return {**self.status(), **counts, "unknown": unknown, "converged": converged, "differences": found[:5],
                "seconds": None if converged is None else converged - self.last_heal}

    # ---- looking on ----

    def _watch_pace(self) -> None:
        """How long the group stood still at most while there was something to take."""
        place, moved = -1, time.monotonic()
        while True:
            time.sleep(PACE_SECONDS)
            try:
                committed = self.sampler.committed()
                ends = {name: end for name, end in self.sampler.ends().items()
                        if name.rsplit("/", 1)[0] in self.ground.stack.event_topics}
            except Exception:  # Kafka is away: nobody can take anything
                place, moved = -1, time.monotonic()
                continue
            total = sum(committed.get(name, 0) for name in ends)
            self._lag = sum(max(0, end - committed.get(name, 0)) for name, end in ends.items())
            now = time.monotonic()
            if total != place or self._lag == 0:
                place, moved = total, now
            self.longest_still = max(self.longest_still, now - moved)

    def _settle(self) -> tuple[float | None, list[str]]:
        deadline = time.monotonic() + SETTLING_SECONDS
        while True:
            moment = time.time()
            try:
                found = self._not_in_step()
            except (grpc.RpcError, psycopg.Error) as error:
                found = [str(error)[:200]]
            if not found:
                return moment, found
            if time.monotonic() > deadline:
                return None, found
            time.sleep(0.2)

    def _not_in_step(self) -> list[str]:
        stack = self.ground.stack
        with stack.order_database_connection() as connection:
            highest, first, _ = connection.execute(RELAY_QUERY).fetchone()
            newest = connection.execute("SELECT coalesce(max(sequence), 0) FROM outbox").fetchone()[0]
        if newest > highest or first:
            return [f"the outbox waits: {newest} {highest} {first}"]
        deliveries = {delivery.order_id: delivery for delivery in evidence.all_deliveries(stack)}
        found = []
        for order in evidence.all_orders(stack):
            found += _difference(order, deliveries.get(order.order_id))
        return found


def _difference(order: order_pb2.Order, delivery: Any) -> list[str]:
    different = ["no delivery"] if delivery is None else differences(order, delivery)
    return [f"order {order.order_id} at version {order.version}: {', '.join(different)}"] if different else []


def _handler(observer: Observer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        """One request, one JSON answer."""

        def _answer(self, code: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _do(self, action: Any, **arguments: Any) -> None:
            try:
                self._answer(200, json.dumps(action(**arguments)).encode())
            except Exception:
                self._answer(500, traceback.format_exc().encode(), "text/plain")

        def do_GET(self) -> None:
            if self.path == "/evidence":
                buffer = io.BytesIO()
                with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
                    archive.add(FOLDER, arcname="evidence")
                self._answer(200, buffer.getvalue(), "application/gzip")
            elif self.path == "/topics":
                self._do(observer.topics)
            else:
                self._do(observer.status)

        def do_POST(self) -> None:
            actions = {"/mode": observer.mode, "/fault": observer.fault, "/backlog": observer.backlog,
                       "/republish": observer.republish, "/stop": observer.stop, "/reset-pace": observer.reset_pace}
            arguments = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            self._do(actions[self.path], **arguments)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Not a line for each request."""

    return Handler


def _wait_until_there() -> None:
    """The pod may be there before the topics and the services are."""
    ground = ClusterGround()
    wait_until(lambda: _topics(ground) >= set(ground.stack.topics.values()), START_SECONDS, "the topics are there")
    wait_until(lambda: _serves(ground), START_SECONDS, "the services answer")


def _topics(ground: ClusterGround) -> set[str]:
    try:
        return ground.kafka.topics()
    except confluent_kafka.KafkaException:
        return set()


def _serves(ground: ClusterGround) -> bool:
    try:
        return [*evidence.all_orders(ground.stack), *evidence.all_deliveries(ground.stack)] == []
    except grpc.RpcError:
        return False


def main() -> None:
    _wait_until_there()
    observer = Observer()
    observer.start()
    print("the observer is at work", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", PORT), _handler(observer)).serve_forever()


if __name__ == "__main__":
    main()
