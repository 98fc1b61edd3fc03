"""Makes the evidence of a round that never was: a small model of both services, Kafka and the campaign, which keeps all
promises. The checker's test breaks one after the other in it."""

import base64
import hashlib
import json
import pathlib
import random

from .contract import (CANCELLED, CAUSE_COMPLETE, CAUSE_DISPATCH, CAUSE_ORDER, DELIVERED, DELIVERY_CANCELLED,
                       DISPATCHED, PLACED, PREPARING, RETURNING, canonical, delivery_operations_pb2, delivery_pb2,
                       order_event_pb2, order_pb2)

TOPICS = {"domain": "t-order", "create": "t-order-create", "change": "t-order-change", "cancel": "t-order-cancel",
          "dead_letter": "t-dead-letter"}
TYPES = {1: "create", 2: "change", 3: "cancel"}
PARTITIONS = 3
MAX_EVENT_BYTES = 2000
PENDING_MAX_ATTEMPTS = 3
UNKNOWN_ORDERS = 8_000_000_000
FILES = ("meta.json", "history.jsonl", "orders.jsonl", "orders_table.jsonl", "outbox.jsonl", "relay.json",
         "deliveries.jsonl", "delivery_history.jsonl", "pending_orders.jsonl", "dead_letters.jsonl", "records.jsonl",
         "samples.jsonl", "faults.jsonl", "probes.jsonl")


def text(data: bytes | None) -> str | None:
    """As evidence has binary data."""
    return None if data is None else base64.b64encode(data).decode()


def write(evidence: dict, folder: pathlib.Path) -> None:
    """The evidence, by file name without its end, as files."""
    for file in FILES:
        name, end = file.split(".")
        rows = [evidence[name]] if end == "json" else evidence[name]
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


class World:
    """The round under way. Time passes only by tick()."""

    def __init__(self, case: str, seed: int):
        self.case, self.seed = case, seed
        self.random = random.Random(seed)
        self.zero, self.per_event = case.startswith("zero"), case.endswith("per-event")
        self.now = 1_700_000_000.0
        self.sequence = self.highest = self.numbers = 0
        self.orders: dict[int, order_pb2.Order] = {}
        self.deliveries: dict[int, delivery_pb2.Delivery] = {}
        self.ends: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.sampled: dict[int, int] = {}
        self.gaps: list[list[int]] = []
        self.waiting: list[dict] = []  # records that no consumer has taken yet
        self.counters = dict.fromkeys(("consumed", "applied", "stale", "pending", "dead_lettered", "lookups"), 0)
        self.evidence: dict[str, list] = {file.split(".")[0]: [] for file in FILES if file.endswith(".jsonl")}

    def tick(self, seconds: float = 0.05) -> None:
        """Time passes."""
        self.now = round(self.now + seconds, 6)

    # --- Clients ---

    def names(self) -> dict[str, str]:
        """A request_id and a token."""
        self.numbers += 1
        return {"request_id": f"request-{self.numbers}", "token": f"token-{self.numbers}"}

    def attempt(self, method: str, **fields) -> dict:
        """An attempt that ends now."""
        entry = {"client": "w1", "attempt": 1, "method": method, "request_id": "", "token": "", "body": "",
                 "order_id": 0, "expected_version": 0, "min_version": 0, "start": self.now, "end": self.now,
                 "status": "ok", "code": "OK", "reason": "", "version": 0, "revision": 0, "state": 0, "order_status": 0,
                 "answer": "", "purpose": "work", **fields}
        entry["body"] = entry["body"] or hashlib.sha256(f"{method} {entry['token']}".encode()).hexdigest()
        self.tick()
        entry["end"] = self.now
        self.tick(0.001)
        self.evidence["history"].append(entry)
        return entry

    def answer(self, order: order_pb2.Order) -> dict:
        """What an attempt shows of an order."""
        return {"order_id": order.order_id, "version": order.version, "order_status": order.status,
                "answer": hashlib.sha256(canonical(order)).hexdigest()}

    def create(self, items: int = 2, purpose: str = "work", padding: str = "") -> order_pb2.Order:
        """A new order, acknowledged."""
        names = self.names()
        order = order_pb2.Order(
            order_id=len(self.orders) + 1, version=1, status=PLACED, customer_id="ada", currency_code="EUR",
            note=names["token"] + padding,
            delivery_address=order_pb2.Address(recipient="Ada", lines=[f"Ring {self.random.randint(1, 99)}"],
                                               city="Zug", country_code="CH"),
            items=[order_pb2.OrderItem(sku=f"sku-{number}", quantity=self.random.randint(1, 9), unit_minor_units=100)
                   for number in range(items)])
        self.commit(order)
        self.attempt("CreateOrder", **names, **self.answer(order), purpose=purpose)
        return order

    def changed(self, order_id: int, note: str) -> order_pb2.Order:
        """The order's next version; not committed."""
        order = order_pb2.Order()
        order.CopyFrom(self.orders[order_id])
        order.version += 1
        order.note = note
        order.delivery_address.lines[0] = f"Ring {self.random.randint(1, 99)}"
        return order

    def update(self, order_id: int, purpose: str = "work") -> order_pb2.Order:
        """A change, acknowledged."""
        names = self.names()
        order = self.changed(order_id, names["token"])
        self.commit(order)
        self.attempt("UpdateOrder", **names, **self.answer(order), purpose=purpose)
        return order

    def cancel(self, order_id: int) -> order_pb2.Order:
        """Acknowledged, also when it was cancelled before."""
        names = self.names()
        order = order_pb2.Order()
        order.CopyFrom(self.orders[order_id])
        if order.status == PLACED:
            order.version += 1
            order.status, order.cancel_reason = CANCELLED, names["token"]
            self.commit(order)
        self.attempt("CancelOrder", **names, **self.answer(order))
        return order

    def refused(self, order_id: int) -> None:
        """A change that lost a race."""
        self.attempt("UpdateOrder", **self.names(), order_id=order_id, status="failed", code="ABORTED",
                     reason="VERSION_MISMATCH")

    def repeated(self, order_id: int) -> None:
        """A change whose request is repeated, and its request_id then used for another body."""
        self.update(order_id)
        first = self.evidence["history"][-1]
        same = {name: first[name] for name in
                ("request_id", "token", "body", "order_id", "version", "order_status", "answer")}
        self.attempt("UpdateOrder", **same, purpose="repeat")
        self.attempt("UpdateOrder", request_id=first["request_id"], token=self.names()["token"], order_id=order_id,
                     status="failed", code="ALREADY_EXISTS", reason="REQUEST_ID_REUSED", purpose="other_body")

    def lost(self, order_id: int, done: bool, answered: bool) -> None:
        """A change whose answer was lost, and what asking again told: OK, or that it never was."""
        names = self.names()
        order = self.changed(order_id, names["token"])
        if done:
            self.commit(order)
        self.attempt("UpdateOrder", **names, order_id=order_id, status="unknown", code="UNAVAILABLE")
        if not answered:
            return
        if done:
            self.attempt("UpdateOrder", **names, **self.answer(order), purpose="resolve")
        else:
            self.attempt("UpdateOrder", **names, order_id=order_id, status="failed", code="FAILED_PRECONDITION",
                         reason="ORDER_CANCELLED", purpose="resolve")

    def read_order(self, order_id: int) -> None:
        """Waits for the version that it knows."""
        order = self.orders[order_id]
        self.attempt("GetOrder", client="r1", purpose="read", min_version=order.version, order_id=order_id,
                     version=order.version, order_status=order.status)

    def read_delivery(self, order_id: int, method: str = "GetDelivery") -> None:
        """What a delivery shows now."""
        delivery = self.deliveries[order_id]
        self.attempt(method, client="r1", purpose="read", order_id=order_id, version=delivery.order_version,
                     revision=delivery.revision, state=delivery.state, min_version=1)

    # --- The order service ---

    def commit(self, order: order_pb2.Order, sequence: int = 0, republished: bool = False) -> None:
        """The order and its row of the outbox, sent at once."""
        if not sequence:
            self.sequence += 1
            sequence = self.sequence
        kept = order_pb2.Order()
        kept.CopyFrom(order)
        self.orders[order.order_id] = kept
        kind = 3 if order.status == CANCELLED else 1 if order.version == 1 else 2
        self.evidence["outbox"].append({
            "sequence": sequence, "order_id": order.order_id, "version": order.version, "type": kind,
            "snapshot": text(canonical(order)), "republished": republished})
        event = order_event_pb2.OrderEvent(event_id=f"{order.order_id}:{order.version}", order_id=order.order_id,
                                           version=order.version, type=0 if self.per_event else kind)
        if not self.zero and order.ByteSize() + 200 < MAX_EVENT_BYTES:
            event.order.CopyFrom(order)
        topic = TOPICS[TYPES[kind] if self.per_event else "domain"]
        self.produce(topic, str(order.order_id).encode(), event.SerializeToString(),
                     [["ce_id", text(event.event_id.encode())]], order.order_id % PARTITIONS)
        self.highest = max(self.highest, sequence)
        self.gaps = [gap for gap in self.gaps if gap != [sequence, sequence]]

    def hold(self) -> int:
        """A number of the outbox, taken and not yet used."""
        self.sequence += 1
        self.gaps.append([self.sequence, self.sequence])
        return self.sequence

    # --- Kafka ---

    def produce(self, topic: str, key: bytes | None, value: bytes | None, headers: list, partition: int) -> dict:
        """A record at the end of its partition."""
        name = f"{topic}/{partition}"
        record = {"topic": topic, "partition": partition, "offset": self.ends.get(name, 0), "key": text(key),
                  "value": text(value), "headers": headers}
        self.ends[name] = record["offset"] + 1
        self.evidence["records"].append(record)
        if topic != TOPICS["dead_letter"]:
            self.waiting.append(record)
        return record

    def chaos(self, kind: str, key: bytes | None, value: bytes | None) -> dict:
        """A record of the campaign's own."""
        return self.produce(TOPICS["domain"], key, value, [["chaos", text(kind.encode())], ["empty", None]],
                            self.random.randrange(PARTITIONS))

    # --- The delivery service ---

    def consume(self, latest_first: bool = False) -> None:
        """Takes all that waits, then commits offsets; latest_first: topics overtake each other."""
        for record in sorted(self.waiting, key=lambda record: -self.evidence["records"].index(record)) \
                if latest_first else self.waiting:
            self.counters["consumed"] += 1
            self.counters[self._take(record)] += 1
        self.waiting = []
        self.committed = {name: end for name, end in self.ends.items() if not name.startswith(TOPICS["dead_letter"])}

    def _take(self, record: dict) -> str:
        """The counter that it counts for."""
        chaos = next((base64.b64decode(value).decode() for name, value in record["headers"] if name == "chaos"), "")
        if chaos == "garbage":
            self._give_up(record, "it cannot be read")
            return "dead_lettered"
        order_id = int(base64.b64decode(record["key"]))
        if chaos == "unknown-order":
            if not any(pending["order_id"] == order_id for pending in self.evidence["pending_orders"]):
                self.evidence["pending_orders"].append({"order_id": order_id, "min_version": 1, "attempts": 1,
                                                        "reason": "there is no such order"})
            return "pending"
        event = order_event_pb2.OrderEvent.FromString(base64.b64decode(record["value"] or ""))
        order = self.orders[order_id]
        if event.HasField("order"):
            order = event.order
        else:
            self.counters["lookups"] += 1
        return self._apply(order)

    def _apply(self, order: order_pb2.Order) -> str:
        delivery = self.deliveries.setdefault(order.order_id, delivery_pb2.Delivery(order_id=order.order_id))
        if order.version <= delivery.order_version:
            return "stale"
        if order.status == CANCELLED:
            self.move(delivery, CAUSE_ORDER, DELIVERY_CANCELLED if delivery.state in (0, PREPARING) else RETURNING,
                      order.version)
        else:
            self.move(delivery, CAUSE_ORDER, delivery.state or PREPARING, order.version)
        delivery.order_version = order.version
        address = order.delivery_address
        delivery.address.CopyFrom(delivery_pb2.DeliveryAddress(
            recipient=address.recipient, lines=address.lines, city=address.city, country_code=address.country_code))
        del delivery.items[:]
        delivery.items.extend(delivery_pb2.DeliveryItem(sku=item.sku, quantity=item.quantity) for item in order.items)
        return "applied"

    def move(self, delivery: delivery_pb2.Delivery, cause: int, state: int, version: int | None = None) -> None:
        """One change of a delivery."""
        delivery.revision += 1
        delivery.state = state
        self.evidence["delivery_history"].append({
            "order_id": delivery.order_id, "revision": delivery.revision, "cause": cause, "order_version": version,
            "state": state, "change_time": self.now})

    def dispatch(self, order_id: int, complete: bool = False) -> None:
        """Moves a delivery on, if it may."""
        delivery = self.deliveries[order_id]
        if delivery.state == PREPARING:
            self.move(delivery, CAUSE_DISPATCH, DISPATCHED)
            self.read_delivery(order_id, "DispatchDelivery")
        if complete and delivery.state == DISPATCHED:
            self.move(delivery, CAUSE_COMPLETE, DELIVERED)
            self.read_delivery(order_id, "CompleteDelivery")

    def give_up_pending(self) -> None:
        """The first of the pending orders is out of tries."""
        order_id = self.evidence["pending_orders"].pop(0)["order_id"]
        record = next(record for record in self.evidence["records"]
                      if record["key"] == text(str(order_id).encode()))
        self._give_up(record, "there is no such order")

    def _give_up(self, record: dict, reason: str) -> None:
        packed = delivery_operations_pb2.DeadLetter()
        for name, value in record["headers"]:
            packed.headers.add(key=name, value=base64.b64decode(value or ""))
        self.evidence["dead_letters"].append({
            "dead_letter_id": len(self.evidence["dead_letters"]) + 1, "topic": record["topic"],
            "partition": record["partition"], "offset": record["offset"], "key": record["key"],
            "value": record["value"], "headers": text(canonical(packed)), "reason": reason, "replayed": False,
            "discarded": False})
        source = {"topic": record["topic"], "partition": record["partition"], "offset": record["offset"]}
        headers = [*([name, value or ""] for name, value in record["headers"] if not name.startswith("lockstep-")),
                   ["lockstep-reason", text(reason.encode())],
                   *([f"lockstep-source-{name}", text(str(value).encode())] for name, value in source.items())]
        self.produce(TOPICS["dead_letter"], None if record["key"] is None else base64.b64decode(record["key"]),
                     None if record["value"] is None else base64.b64decode(record["value"]), headers, 0)

    def replay(self) -> None:
        """The first dead letter once more."""
        letter = self.evidence["dead_letters"][0]
        letter["replayed"] = True
        source = next(record for record in self.evidence["records"] if (
            record["topic"], record["partition"], record["offset"]) == (
            letter["topic"], letter["partition"], letter["offset"]))
        record = self.produce(source["topic"], None, None, [*source["headers"], ["lockstep-replay-of", text(b"1")]],
                              source["partition"])
        record.update(key=source["key"], value=source["value"])

    # --- The campaign ---

    def sample(self) -> None:
        """Looks at everything once. Consumers may be behind the topics, but never their offsets."""
        versions = {order_id: delivery.order_version for order_id, delivery in self.deliveries.items()}
        letters = [[letter["topic"], letter["partition"], letter["offset"]] for letter in self.evidence["dead_letters"]]
        samples = self.evidence["samples"]
        samples.append({"kind": "relay", "time": self.now, "highest": self.highest, "gaps": list(self.gaps),
                        "ends": dict(self.ends)})
        samples.append({"kind": "leaders", "time": self.now, "leaders": {"order-1": True, "order-2": False}})
        samples.append({"kind": "offsets", "time": self.now, "committed": dict(self.committed), "letters": letters,
                        "versions": {str(order_id): version for order_id, version in versions.items()
                                     if self.sampled.get(order_id) != version},
                        "pending": [pending["order_id"] for pending in self.evidence["pending_orders"]]})
        samples.append({"kind": "consumer", "service": "delivery-1", "pid": 10, "time": self.now, "paused": False,
                        "lag": 0, "counters": dict(self.counters)})
        samples.append({"kind": "memory", "service": "order-1", "time": self.now, "bytes": 20_000_000})
        self.sampled = versions

    def probe(self) -> None:
        """Writes an order and waits for its delivery."""
        start = self.now
        order = self.create(purpose="probe")
        acknowledged = self.evidence["history"][-1]["end"]
        self.consume()
        self.read_delivery(order.order_id)
        self.evidence["probes"].append({"start": start, "acknowledged": acknowledged, "visible": self.now,
                                        "order_id": order.order_id, "version": order.version})

    def fault(self, kind: str, meanwhile=lambda: None, pair: int | None = None, **detail) -> dict:
        """A fault of some seconds, with writes and probes going on."""
        start = self.now
        meanwhile()
        for _ in range(8):
            self.tick(0.5)
            self.probe()
            self.sample()
        heal_begin = self.now
        self.tick(0.2)
        healed = self.now
        self.tick(0.2)
        self.probe()
        entry = {"fault": len(self.evidence["faults"]) + 1, "kind": kind, "targets": ["somebody"], "start": start,
                 "heal_begin": heal_begin, "healed": healed, "in_flight": True, "pair": pair,
                 "recovered": self.now, "acknowledged_writes": 8, "detail": detail}
        self.evidence["faults"].append(entry)
        self.tick(20)
        return entry

    def finish(self) -> dict:
        """The evidence, with all at rest."""
        self.consume()
        self.tick(1)
        self.sample()
        last_heal = max((fault["healed"] for fault in self.evidence["faults"]), default=self.now)
        evidence = dict(self.evidence)
        evidence["samples"].append({"kind": "consumer_final", "service": "delivery-1", "pid": 10, "time": self.now,
                                    "paused": False, "lag": 0, "counters": dict(self.counters)})
        evidence["meta"] = {
            "case": self.case, "seed": self.seed, "round": 1, "topics": TOPICS, "max_event_bytes": MAX_EVENT_BYTES,
            "last_heal": last_heal, "converged": last_heal + 2, "convergence_limit_seconds": 30,
            "recovery_limit_seconds": 10, "probe_limit_seconds": 10, "memory_limit_bytes": 268435456,
            "leader_overlap_seconds": 20, "pending_max_attempts": PENDING_MAX_ATTEMPTS}
        evidence["relay"] = {"highest": self.highest, "gaps": self.gaps}
        evidence["orders"] = [{"order_id": order_id, "version": order.version, "status": order.status,
                               "order": text(canonical(order))} for order_id, order in sorted(self.orders.items())]
        evidence["orders_table"] = [{name: order[name] for name in ("order_id", "version", "status")}
                                    for order in evidence["orders"]]
        evidence["deliveries"] = [
            {"order_id": order_id, "revision": delivery.revision, "state": delivery.state,
             "order_version": delivery.order_version, "order_status": self.orders[order_id].status,
             "delivery": text(canonical(delivery))} for order_id, delivery in sorted(self.deliveries.items())]
        return evidence
