"""P9 to P12 and P15, by what delivery's database and its API show: each delivery, and how it came there."""

import bisect
from collections import defaultdict

from .contract import (CANCELLED, CAUSE_COMPLETE, CAUSE_DISPATCH, CAUSE_ORDER, DELIVERED, DELIVERY_CANCELLED,
                       DISPATCHED, FINAL_STATES, PREPARING, RETURNING, delivery_pb2, order_pb2, parse)
from .evidence import DELIVERY_CALLS, ApiOrder, Attempt, Delivery, HistoryRow
from .facts import Facts, read_after
from .report import Findings

ZOMBIE_SECONDS = 30  # so long after a paused process goes on, what is written may be its doing
ZOMBIE_FAULTS = ("stop_delivery", "rebalance")
_AFTER_CANCEL = {0: DELIVERY_CANCELLED, PREPARING: DELIVERY_CANCELLED, DISPATCHED: RETURNING, DELIVERED: RETURNING}
_STEPS = {(CAUSE_DISPATCH, PREPARING, DISPATCHED), (CAUSE_COMPLETE, DISPATCHED, DELIVERED)}


def check(facts: Facts, findings: Findings) -> None:
    """All five."""
    _History(facts, findings).check()
    _check_reads(facts, findings)
    _check_samples(facts, findings)
    _check_in_step(facts, findings)


# --- The history: P9, P11, P12, P15 ---


class _History:
    """How each delivery came to be what it is."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings
        self.zero_payload = facts.meta.case.startswith("zero")
        self.woken = sorted(fault.heal_begin for fault in facts.evidence.faults if fault.kind in ZOMBIE_FAULTS)

    def check(self) -> None:
        """Every delivery."""
        history = self.facts.history_of
        for order_id in sorted(history.keys() | self.facts.deliveries.keys()):
            rows, delivery = history.get(order_id, []), self.facts.deliveries.get(order_id)
            self.findings.looked_at("P9")
            self._check_revisions(order_id, rows)
            self._check_versions(rows)
            self._check_states(rows)
            self._check_last(order_id, rows, delivery)

    def _by_zombie(self, row: HistoryRow) -> bool:
        at = bisect.bisect_right(self.woken, row.change_time)
        return at > 0 and row.change_time <= self.woken[at - 1] + ZOMBIE_SECONDS

    def _found(self, promises: tuple[str, ...], row: HistoryRow, sentence: str) -> None:
        if self._by_zombie(row):
            promises += ("P15",)
        for promise in promises:
            self.findings.violation(promise, sentence)

    def _check_revisions(self, order_id: int, rows: list[HistoryRow]) -> None:
        for expected, row in enumerate(rows, 1):
            if row.revision != expected:
                self._found(("P9",), row, f"delivery {order_id} has revision {row.revision} in its history where "
                                          f"{expected} should be")
                return

    def _check_versions(self, rows: list[HistoryRow]) -> None:
        highest, seen = 0, set()
        backwards = ("P9", "P12") if self.zero_payload else ("P9",)
        for row in rows:
            if self.woken and self._by_zombie(row):
                self.findings.looked_at("P15")
            if row.cause != CAUSE_ORDER:
                continue
            version = row.order_version or 0
            name = f"delivery {row.order_id} revision {row.revision}: order version {version}"
            if version in seen:
                self._found(("P9",), row, f"{name} was applied before")
            elif version < highest:
                self._found(backwards, row, f"{name} was applied after version {highest}")
            if (row.order_id, version) not in self.facts.change_at:
                self._found(("P12",), row, f"{name} was applied and never was")
            seen.add(version)
            highest = max(highest, version)

    def _check_states(self, rows: list[HistoryRow]) -> None:
        before = 0
        for row in rows:
            self._check_step(row, before)
            before = row.state

    def _check_step(self, row: HistoryRow, before: int) -> None:
        name = f"delivery {row.order_id} revision {row.revision} went from state {before} to {row.state}"
        if before in FINAL_STATES:
            self.findings.looked_at("P11")
            if row.state != before:
                self.findings.violation("P11", f"{name}, though nothing leaves {before}")
            return
        change = self.facts.change_at.get((row.order_id, row.order_version or 0))
        if row.cause == CAUSE_ORDER and change is not None and change.status == CANCELLED:
            self.findings.looked_at("P11")
            if row.state != _AFTER_CANCEL.get(before):
                self.findings.violation("P11", f"{name} when its order was cancelled")
        elif row.cause == CAUSE_ORDER:
            if row.state != (before or PREPARING):
                self.findings.violation("P10", f"{name} when its order was changed to version {row.order_version}")
        elif (row.cause, before, row.state) not in _STEPS:
            self.findings.violation("P10", f"{name}, caused by {row.cause}")

    def _check_last(self, order_id: int, rows: list[HistoryRow], delivery: Delivery | None) -> None:
        if not rows:
            self.findings.violation("P9", f"delivery {order_id} has no history")
            return
        if delivery is None:
            self._found(("P9",), rows[-1], f"delivery {order_id} has a history and is not there")
            return
        applied = max(row.order_version or 0 for row in rows)
        if delivery.order_version != applied:
            self._found(("P9",), rows[-1], f"delivery {order_id} is at order version {delivery.order_version}, its "
                                           f"history at {applied}")
        if delivery.revision != len(rows):
            self._found(("P9",), rows[-1], f"delivery {order_id} is at revision {delivery.revision}, its history has "
                                           f"{len(rows)} rows")
        if delivery.state != rows[-1].state:
            self.findings.violation("P10", f"delivery {order_id} is in state {delivery.state}, its history in "
                                           f"{rows[-1].state}")


# --- What was seen meanwhile: P9, P11 ---


def _check_reads(facts: Facts, findings: Findings) -> None:
    """Who looks at a delivery after somebody else did does not see an older one."""
    seen: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in facts.evidence.history:
        if attempt.status == "ok" and attempt.method in DELIVERY_CALLS:
            seen[attempt.order_id].append(attempt)
    for order_id, observations in seen.items():
        version = revision = final = 0
        for attempt, ended in read_after(observations):
            findings.looked_at("P9")
            for other in ended:
                version, revision = max(version, other.version), max(revision, other.revision)
                final = final or (other.state if other.state in FINAL_STATES else 0)
            shown = f"{attempt.client} saw delivery {order_id} at order version {attempt.version}, revision " \
                    f"{attempt.revision}, state {attempt.state}"
            if attempt.version < version or attempt.revision < revision:
                findings.violation("P9", f"{shown}, after version {version}, revision {revision} had been seen")
            if attempt.version < attempt.min_version:
                findings.violation("P9", f"{shown}, having waited for version {attempt.min_version}")
            if final and attempt.state != final:
                findings.violation("P11", f"{shown}, after state {final} had been seen")
            delivery = facts.deliveries.get(order_id)
            if delivery is None or attempt.version > delivery.order_version or attempt.revision > delivery.revision:
                findings.violation("P9", f"{shown}; at the end it is not there or older")


def _check_samples(facts: Facts, findings: Findings) -> None:
    """The database's own versions, looked at now and then, only rise."""
    versions: dict[int, int] = {}
    for sample in facts.evidence.offsets_samples:
        for order_id, version in sample.versions.items():
            findings.looked_at("P9")
            if version < versions.get(order_id, 0):
                findings.violation("P9", f"delivery {order_id} was at order version {versions[order_id]}, and at "
                                         f"{version} at {sample.time:.3f}")
            versions[order_id] = version


# --- The end: P10 ---


def _address(message: order_pb2.Address | delivery_pb2.DeliveryAddress) -> tuple:
    return message.recipient, tuple(message.lines), message.postal_code, message.city, message.country_code


def _differences(row: ApiOrder, delivery: Delivery) -> list[str]:
    """What of the delivery is not as the order is."""
    order, message = parse(order_pb2.Order, row.order), parse(delivery_pb2.Delivery, delivery.delivery)
    if order is None or message is None:
        return ["it cannot be read"]
    found = []
    if delivery.order_version != row.version:
        found.append(f"order version {delivery.order_version}, not {row.version}")
    if delivery.order_status != row.status:
        found.append(f"order status {delivery.order_status}, not {row.status}")
    if _address(message.address) != _address(order.delivery_address):
        found.append("another address")
    if [(item.sku, item.quantity) for item in message.items] != [(item.sku, item.quantity) for item in order.items]:
        found.append("other items")
    if (delivery.state in FINAL_STATES) != (row.status == CANCELLED):
        found.append(f"state {delivery.state} where the order has status {row.status}")
    if (message.order_id, message.revision, message.state, message.order_version) != (
            delivery.order_id, delivery.revision, delivery.state, delivery.order_version):
        found.append("by the API something else than in the table")
    return found


def _check_in_step(facts: Facts, findings: Findings) -> None:
    for row in facts.evidence.orders:
        findings.looked_at("P10")
        delivery = facts.deliveries.get(row.order_id)
        if delivery is None:
            findings.violation("P10", f"order {row.order_id} has no delivery")
            continue
        different = _differences(row, delivery)
        if different:
            findings.violation("P10", f"delivery {row.order_id} is not in step: {'; '.join(different)}")
    for order_id in sorted(facts.deliveries.keys() - facts.order_ids):
        findings.violation("P10", f"delivery {order_id} has no order")
