"""P1 to P3: what clients asked for, what they were answered, and what the order service's database holds."""

from collections import defaultdict

from .contract import CANCELLED, canonical, order_pb2, parse
from .evidence import ORDER_WRITES, ApiOrder, Attempt, TableOrder
from .facts import Change, Facts, read_after
from .report import Findings

TOKENS_OF_THE_CAMPAIGN = "chaos"
CREATED_TYPE, CHANGED_TYPE, CANCELLED_TYPE = 1, 2, 3


def check(facts: Facts, findings: Findings) -> None:
    """All three."""
    _Requests(facts, findings).check()
    _check_tokens_sent(facts, findings)
    _check_order_reads(facts, findings)
    _check_request_ids(facts, findings)
    _Versions(facts, findings).check()


def _called(attempt: Attempt) -> str:
    return f"{attempt.method} of token {attempt.token}"


def _places(changes: list[Change]) -> str:
    return " and ".join(change.name for change in changes)


# --- P1: what was acknowledged is there, what failed is not, and nothing is there twice ---


class _Requests:
    """The attempts of each token against the versions that bear it."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings
        self.by_api = {order.order_id: order.version for order in facts.evidence.orders}
        self.by_table = {order.order_id: order.version for order in facts.evidence.orders_table}

    def check(self) -> None:
        """Every request."""
        requests: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.facts.evidence.history:
            if attempt.token:
                requests[attempt.token].append(attempt)
        self.findings.looked_at("P1", len(requests))
        for token, attempts in requests.items():
            self._check_request(attempts, self.facts.changes_by_token.get(token, []))

    def _check_request(self, attempts: list[Attempt], changes: list[Change]) -> None:
        first = attempts[0]
        if len(changes) > 1:
            self.findings.violation("P1", f"{_called(first)} was done {len(changes)} times: {_places(changes)}")
        acknowledged = [attempt for attempt in attempts if attempt.status == "ok"]
        for attempt in acknowledged:
            self._check_acknowledged(attempt, changes)
        if acknowledged or not changes:
            return
        if all(attempt.status == "failed" for attempt in attempts):
            self.findings.violation("P1", f"{_called(first)} failed ({first.code}) and was done: {_places(changes)}")
        for attempt in attempts:
            if attempt.purpose == "resolve" and attempt.status == "failed" and attempt.code != "RESOURCE_EXHAUSTED":
                self.findings.violation("P1", f"{_called(attempt)} failed ({attempt.code}) when it was asked for "
                                              f"again, and was done: {_places(changes)}")

    def _check_acknowledged(self, attempt: Attempt, changes: list[Change]) -> None:
        key = attempt.order_id, attempt.version
        answered = f"{_called(attempt)} was answered with order {key[0]} version {key[1]}"
        change = self.facts.change_at.get(key)
        if change is None:
            self.findings.violation("P1", f"{answered}, which the outbox does not have")
            return
        self._check_token(attempt, changes, change, answered)
        if change.digest != attempt.answer:
            self.findings.violation("P1", f"{answered}, but the answer is not the outbox's snapshot of it")
        if self.by_api.get(key[0], 0) < key[1]:
            self.findings.violation("P1", f"{answered}; by the API it is at version {self.by_api.get(key[0], 0)}")
        if self.by_table.get(key[0], 0) < key[1]:
            self.findings.violation("P1", f"{answered}; in the table it is at version {self.by_table.get(key[0], 0)}")

    def _check_token(self, attempt: Attempt, changes: list[Change], change: Change, answered: str) -> None:
        if change in changes:
            return
        if changes:
            self.findings.violation("P1", f"{answered}, but it was done at {_places(changes)}")
        elif attempt.method != "CancelOrder" or change.status != CANCELLED:
            # A cancel of what was cancelled before changes nothing and leaves no token.
            self.findings.violation("P1", f"{answered}, which bears another token: {change.token}")


def _check_tokens_sent(facts: Facts, findings: Findings) -> None:
    sent = {attempt.token for attempt in facts.evidence.history}
    for token, changes in facts.changes_by_token.items():
        if (not token or token not in sent) and not token.startswith(TOKENS_OF_THE_CAMPAIGN):
            for change in changes:
                if change.canonical:
                    findings.violation("P1", f'{change.name} bears the token "{token}", which nobody sent')


def _check_order_reads(facts: Facts, findings: Findings) -> None:
    """Who reads an order after a version of it was answered sees that one or a newer one."""
    seen: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in facts.evidence.history:
        if attempt.status == "ok" and (attempt.method == "GetOrder" or attempt.method in ORDER_WRITES):
            seen[attempt.order_id].append(attempt)
    for order_id, observations in seen.items():
        floor = 0
        for attempt, ended in read_after(observations):
            floor = max([floor, *(other.version for other in ended)])
            if attempt.method != "GetOrder":
                continue
            findings.looked_at("P1")
            if attempt.version < floor:
                findings.violation("P1", f"{attempt.client} read order {order_id} at version {attempt.version} "
                                         f"after version {floor} had been answered")
            if attempt.version < attempt.min_version:
                findings.violation("P1", f"{attempt.client} read order {order_id} at version {attempt.version}, "
                                         f"having asked for {attempt.min_version} or newer")


# --- P2: one request_id, one answer ---


def _check_request_ids(facts: Facts, findings: Findings) -> None:
    requests: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in facts.evidence.history:
        if attempt.request_id and attempt.method in ORDER_WRITES:
            requests[attempt.request_id].append(attempt)
    for request_id, attempts in requests.items():
        if len(attempts) > 1:
            findings.looked_at("P2")
            _check_bodies(f"request {request_id}", attempts, findings)


def _check_bodies(name: str, attempts: list[Attempt], findings: Findings) -> None:
    bodies: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        bodies[attempt.body].append(attempt)
    accepted = [body for body, same in bodies.items() if any(attempt.status == "ok" for attempt in same)]
    if len(accepted) > 1:
        findings.violation("P2", f"{name} was answered OK for {len(accepted)} bodies")
    for same in bodies.values():
        _check_same_body(name, same, len(bodies) == 1, findings)
    first_end = min((attempt.end for attempt in attempts if attempt.status == "ok"), default=None)
    if first_end is not None and len(accepted) == 1:
        for attempt in attempts:
            if attempt.body != accepted[0] and attempt.start > first_end:
                _check_refused(name, attempt, findings)


def _check_same_body(name: str, attempts: list[Attempt], only_body: bool, findings: Findings) -> None:
    answered = [attempt for attempt in attempts if attempt.status == "ok"]
    if len({(attempt.order_id, attempt.version, attempt.answer) for attempt in answered}) > 1:
        answers = ", ".join(f"order {attempt.order_id} version {attempt.version}" for attempt in answered)
        findings.violation("P2", f"{name} had different answers for the same body: {answers}")
    first_end = min((attempt.end for attempt in answered), default=None)
    for attempt in attempts:
        if attempt.status != "failed" or attempt.code == "RESOURCE_EXHAUSTED":
            continue
        if first_end is not None and attempt.start > first_end:
            findings.violation("P2", f"{name} failed ({attempt.code}) after it had been answered OK for the same body")
        elif only_body and attempt.code == "ALREADY_EXISTS":
            findings.violation("P2", f"{name} was refused as used for another body, which it was not")


def _check_refused(name: str, attempt: Attempt, findings: Findings) -> None:
    if attempt.status != "failed" or attempt.code == "RESOURCE_EXHAUSTED":
        return
    if (attempt.code, attempt.reason) != ("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
        findings.violation("P2", f"{name} was used for another body and failed with {attempt.code} {attempt.reason}, "
                                 "not as reused")


# --- P3: the outbox is the orders' history, and the only source of events ---


class _Versions:
    """The versions of each order in the outbox, the table, the API and the topics."""

    def __init__(self, facts: Facts, findings: Findings):
        self.facts, self.findings = facts, findings

    def _found(self, sentence: str) -> None:
        self.findings.violation("P3", sentence)

    def check(self) -> None:
        """All orders."""
        table = {order.order_id: order for order in self.facts.evidence.orders_table}
        api = {order.order_id: order for order in self.facts.evidence.orders}
        self._check_same_ids(set(table), set(api))
        for order_id, changes in self.facts.changes_of.items():
            self.findings.looked_at("P3")
            self._check_sequence(order_id, changes, table.get(order_id))
            self._check_republished(changes)
            for change in changes:
                self._check_snapshot(change)
        for order_id, order in api.items():
            self._check_api(order, table.get(order_id))
        self._check_events()

    def _check_same_ids(self, table: set[int], api: set[int]) -> None:
        outbox = set(self.facts.changes_of)
        for order_id in sorted(table | api | outbox):
            for name, ids in (("table", table), ("API", api), ("outbox", outbox)):
                if order_id not in ids:
                    self._found(f"order {order_id} is not in the {name}")

    def _check_sequence(self, order_id: int, changes: list[Change], order: TableOrder | None) -> None:
        versions = [change.row.version for change in changes if not change.row.republished]
        if sorted(versions) != list(range(1, len(versions) + 1)):
            self._found(f"order {order_id} has in the outbox the versions {_numbers(sorted(versions))}, "
                        f"not 1 to {len(versions)}")
        elif versions != sorted(versions):
            self._found(f"order {order_id} has its versions in the outbox in the order {_numbers(versions)}")
        if order is not None and order.version != max(versions, default=0):
            self._found(f"order {order_id} is at version {order.version} in the table, "
                        f"at {max(versions, default=0)} in the outbox")

    def _check_republished(self, changes: list[Change]) -> None:
        for change in changes:
            if not change.row.republished:
                continue
            original = self.facts.change_at.get(change.key)
            if original is None:
                self._found(f"{change.name} was republished and is not in the outbox otherwise")
            elif original.row.sequence > change.row.sequence:
                self._found(f"{change.name} was republished before it was there at sequence {original.row.sequence}")
            elif original.canonical != change.canonical:
                self._found(f"{change.name} was republished with another snapshot than at {original.row.sequence}")

    def _check_snapshot(self, change: Change) -> None:
        if not change.canonical:
            self._found(f"{change.name} has a snapshot that is no order.v1.Order")
            return
        if (change.order_id, change.version) != change.key:
            self._found(f"{change.name} has the snapshot of order {change.order_id} version {change.version}")
        expected = (CANCELLED_TYPE if change.status == CANCELLED else
                    CREATED_TYPE if change.version == 1 else CHANGED_TYPE)
        if change.row.type != expected:
            self._found(f"{change.name} has the type {change.row.type}, not {expected}")

    def _check_api(self, order: ApiOrder, row: TableOrder | None) -> None:
        message = parse(order_pb2.Order, order.order)
        change = self.facts.change_at.get((order.order_id, order.version))
        if message is None or change is None or canonical(message) != change.canonical:
            self._found(f"order {order.order_id} version {order.version} by the API is not what the outbox has of it")
        if row is not None and (row.version, row.status) != (order.version, order.status):
            self._found(f"order {order.order_id} has version {row.version} and status {row.status} in the table, "
                        f"{order.version} and {order.status} by the API")

    def _check_events(self) -> None:
        """What the services sent tells of rows, and of nothing else."""
        for event in self.facts.events:
            if event.chaos or event.record.header("lockstep-replay-of") is not None:
                continue
            change = self.facts.change_at.get((event.order_id, event.version)) if event.valid else None
            if change is None:
                self._found(f"record {event.name} tells of no row of the outbox: "
                            f"{event.problem or f'order {event.order_id} version {event.version}'}")
            elif event.order is not None and canonical(event.order) != change.canonical:
                self._found(f"record {event.name} carries another order than the snapshot of {change.name}")


def _numbers(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:30]))
    return f"{shown}, …" if len(numbers) > 30 else shown
