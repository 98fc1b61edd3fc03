"""How fast delivery applies what waits: apply_full, apply_zero, pipeline, coalesce."""

import contextlib
import dataclasses
import re
import secrets
import time

from delivery.v1 import delivery_operations_pb2

import backlog
from measure import Figure, Pairs, Sample, Usage, interleave, median, run
from processes import Stack, wait_until
from servers import libpq_environment
from support import clients

_backlogs: dict[int, backlog.Backlog] = {}


def _backlog(bench) -> backlog.Backlog:
    """Made once for all rows that need it."""
    rows = bench.choose(200_000, 40_000)
    if rows not in _backlogs:
        _backlogs[rows] = backlog.Backlog(bench.servers, rows, bench.progress)
    return _backlogs[rows]


# ---- delivery's side ----


def _empty(stack: Stack) -> None:
    with stack.delivery_database_connection() as connection:
        connection.execute("TRUNCATE deliveries, delivery_history, pending_orders, dead_letters")


def _start_delivery(stack: Stack, topic: str, **settings) -> None:
    """With a consumer group that has read nothing yet."""
    stack.delivery.settings |= {"DOMAIN_TOPIC": topic, "KAFKA_GROUP_ID": f"bench-{secrets.token_hex(4)}", **settings}
    stack.delivery.start()


def _wait_applied(stack: Stack, count: int, seconds: float = 300) -> None:
    """Looked for seldom, as the time is taken from what the database says."""
    deadline = time.monotonic() + seconds
    while (applied := stack.delivery.metric("lockstep_delivery_events_applied_total")) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{applied:.0f} of {count} events are applied after {seconds} s\n"
                               f"{stack.delivery.log_tail()}")
        time.sleep(0.05)


@dataclasses.dataclass
class Applied:
    """What a delivery database holds: deliveries, their history, and when the first and the last transaction wrote, in
    seconds. after_first: deliveries that came after that first one."""

    deliveries: int
    history: int
    orders: int
    first: float
    last: float
    after_first: int

    @property
    def rate(self) -> float:
        """Deliveries a second, from the first batch's write to the last's: the first batch is not counted, as what came
        before it is the start of a service. (update_time is the time of the statement that wrote.)"""
        return self.after_first / (self.last - self.first)


def _applied(stack: Stack) -> Applied:
    with stack.delivery_database_connection() as connection:
        row = connection.execute(
            "WITH bounds AS (SELECT min(update_time) AS first, max(update_time) AS last FROM deliveries) "
            "SELECT count(*), (SELECT count(*) FROM delivery_history), count(DISTINCT order_id), "
            "extract(epoch FROM min(first))::float8, extract(epoch FROM max(last))::float8, "
            "count(*) FILTER (WHERE update_time > first) FROM deliveries, bounds").fetchone()
    return Applied(*row)


def _check(stack: Stack, count: int) -> Applied:
    """That each order of the backlog has its delivery and its history, and nothing was put aside."""
    applied = _applied(stack)
    with stack.delivery_database_connection() as connection:
        aside, = connection.execute("SELECT (SELECT count(*) FROM pending_orders) + (SELECT count(*) FROM dead_letters)"
                                    ).fetchone()
        sample = connection.execute("SELECT order_id, recipient, city, order_version FROM deliveries "
                                    "ORDER BY order_id DESC LIMIT 1").fetchone()
    if (applied.deliveries, applied.history, aside) != (count, count, 0):
        raise RuntimeError(f"{count} events made {applied.deliveries} deliveries and {applied.history} rows of "
                           f"history, {aside} were put aside")
    order = backlog.order_of(sample[0])
    if sample[1:] != (order.delivery_address.recipient, order.delivery_address.city, order.version):
        raise RuntimeError(f"the delivery of order {sample[0]} is not the order: {sample}")
    return applied


def _curve(stack: Stack, begin: float, points: int = 60) -> list[tuple[float, int]]:
    """Seconds after begin, and deliveries by then."""
    with stack.delivery_database_connection() as connection:
        rows = connection.execute(
            "SELECT max(seconds), max(number) FROM (SELECT extract(epoch FROM update_time)::float8 - %s AS seconds, "
            "row_number() OVER (ORDER BY update_time) AS number, ntile(%s) OVER (ORDER BY update_time) AS part "
            "FROM deliveries) AS numbered GROUP BY part ORDER BY part", (begin, points)).fetchall()
    return [(0.0, 0), *rows]


def _apply(made: backlog.Backlog, payload: str) -> Sample:
    """All that waits in the topic of this payload, through one delivery-service."""
    stack, topic = made.stack, made.topic(payload)
    _empty(stack)
    with contextlib.ExitStack() as cleanup:
        processes = []
        if payload == "zero":
            stack.order.start()
            cleanup.callback(stack.order.kill)
            processes.append(stack.order.process.pid)
        cleanup.callback(stack.delivery.kill)
        _start_delivery(stack, topic)
        with Usage(stack.delivery.process.pid, *processes) as usage:
            _wait_applied(stack, made.rows)
        stack.delivery.stop()
        if payload == "zero":
            stack.order.stop()
    return Sample({"throughput": _check(stack, made.rows).rate}, usage.cpu_seconds, usage.peak_bytes)


# ---- apply_full ----

# One guarded upsert with its row of history, a transaction of its own. What does not change from one to the next stands
# in the prepared statement, so that the peer has less to send than we have.
_UPSERT = r"""\set number :number + 1
\set order_id :client_id * 10000000 + :number
WITH changed AS (
  INSERT INTO deliveries AS d (order_id, revision, state, order_version, order_status, recipient, address_lines,
    postal_code, city, country_code, items, create_time, update_time, event_version, missing_versions)
  VALUES (:order_id, 1, 1, 1, 1, 'Recipient 100000', 'Mill Lane 100', '54321', 'Utrecht', 'NL', '\x{items}',
    statement_timestamp(), statement_timestamp(), 1, '{{}}')
  ON CONFLICT (order_id) DO UPDATE SET revision = d.revision + 1, order_version = excluded.order_version,
    order_status = excluded.order_status, recipient = excluded.recipient, address_lines = excluded.address_lines,
    postal_code = excluded.postal_code, city = excluded.city, country_code = excluded.country_code,
    items = excluded.items, update_time = excluded.update_time, event_version = excluded.event_version
    WHERE excluded.order_version > d.order_version
  RETURNING order_id, revision, state, order_version, update_time)
INSERT INTO delivery_history (order_id, revision, cause, order_version, state, change_time)
SELECT order_id, revision, 1, order_version, state, update_time FROM changed;
"""


class Upserts:
    """pgbench, over a copy of delivery's empty schema."""

    def __init__(self, bench, stack: Stack) -> None:
        self.servers = bench.servers
        self.seconds = bench.choose(5, 2)
        self.database = bench.servers.postgres.new_database("delivery_service")
        with bench.servers.postgres.connect() as connection:  # as --migrate made it
            connection.execute(f"DROP DATABASE {self.database}")
            connection.execute(f"CREATE DATABASE {self.database} TEMPLATE {stack.delivery_database}")
        self.script = bench.work / "upsert.sql"
        items = b"".join(b"\x32" + bytes([len(packed)]) + packed for packed in self._items())
        self.script.write_text(_UPSERT.format(items=items.hex()))
        rates = {clients: self.run(clients, bench.choose(3, 1)).values["throughput"] for clients in (8, 16, 32)}
        self.clients = max(rates, key=lambda clients: rates[clients])
        told = ", ".join(f"{clients}: {rate:,.0f}/s" for clients, rate in rates.items())
        bench.progress(f"pgbench by clients: {told}")

    @staticmethod
    def _items() -> list[bytes]:
        return [item.SerializeToString() for item in backlog.order_of(100_000).items]

    def run(self, clients: int | None = None, seconds: int | None = None) -> Sample:
        clients = clients or self.clients
        with self.servers.postgres.connect(self.database) as connection:
            connection.execute("TRUNCATE deliveries, delivery_history")
        ended = run(["pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}", "--jobs=2",
                     f"--time={seconds or self.seconds}", "--define=number=0", f"--file={self.script}"],
                    libpq_environment(self.servers, self.database))
        done = int(re.search(r"actually processed: (\d+)", ended.output)[1])
        rate = float(re.search(r"^tps = ([\d.]+)", ended.output, re.MULTILINE)[1])
        with self.servers.postgres.connect(self.database) as connection:
            made = connection.execute("SELECT (SELECT count(*) FROM deliveries), "
                                      "(SELECT count(*) FROM delivery_history)").fetchone()
        if made != (done, done):
            raise RuntimeError(f"pgbench did {done} upserts: {made[0]} deliveries, {made[1]} rows of history")
        return Sample({"throughput": rate}, ended.cpu_seconds, ended.peak_bytes)


def apply_full(bench):
    """Events with their orders that wait in Kafka, to deliveries; beside one upsert a transaction."""
    made = _backlog(bench)
    made.topic("full")
    upserts = Upserts(bench, made.stack)
    pairs = interleave(bench.pairs, lambda: _apply(made, "full"), upserts.run, progress=bench.progress)
    if not bench.quick:
        _plot_batches(bench, made)
    note = f"{made.rows:,} events; pgbench with {upserts.clients} clients"
    return [pairs.figure("apply_full", "throughput", "events/s", 10, note=note)]


def _plot_batches(bench, made: backlog.Backlog, seconds: float = 4) -> None:
    """Throughput by how many events a batch holds at most: for some seconds each, as small batches take long."""
    stack, topic = made.stack, made.topic("full")
    points = []
    for size in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000):
        _empty(stack)
        try:
            _start_delivery(stack, topic, CONSUMER_BATCH=str(size))
            with contextlib.suppress(RuntimeError):
                _wait_applied(stack, made.rows, seconds)
            stack.delivery.stop()
        finally:
            stack.delivery.kill()
            del stack.delivery.settings["CONSUMER_BATCH"]
        applied = _applied(stack)
        if applied.history != applied.deliveries:
            raise RuntimeError(f"{applied.deliveries} deliveries, {applied.history} rows of history")
        points.append((size, applied.rate))
    bench.plot("apply: throughput over batch size", "full payload", points)


# ---- apply_zero ----


def apply_zero(bench):
    """The same events without their orders, which are looked up; beside apply_full."""
    made = _backlog(bench)
    for payload in ("full", "zero"):
        made.topic(payload)
    pairs = interleave(bench.pairs, lambda: _apply(made, "zero"), lambda: _apply(made, "full"), progress=bench.progress)
    note = f"{made.rows:,} events; CPU and memory of both services together"
    return [pairs.figure("apply_zero", "throughput", "events/s", 0.6, note=note)]


# ---- pipeline ----


def _wait_assigned(stack: Stack) -> None:
    operations = clients.delivery_operations(stack.delivery)
    topic = stack.delivery.settings["DOMAIN_TOPIC"]

    def assigned():
        state = operations.GetConsumerState(delivery_operations_pb2.GetConsumerStateRequest())
        return sum(partition.topic == topic for partition in state.partitions) == backlog.PARTITIONS

    wait_until(assigned, 30, "delivery has its partitions")


class Pipeline:
    """The last `rows` rows of the backlog's outbox, through relay and delivery, in one payload."""

    def __init__(self, made: backlog.Backlog, payload: str, rows: int) -> None:
        self.made, self.payload, self.rows = made, payload, rows
        self.stack = made.stack
        self.curve: list[tuple[float, int]] = []

    def together(self) -> float:
        """Rows a second from the first record in Kafka to the last delivery, relay and delivery side by side."""
        stack = self.stack
        topic = backlog.new_topic(stack, "pipeline")
        _empty(stack)
        backlog.place_relay(stack, self.payload, self.made.rows - self.rows)
        stack.order.settings["DOMAIN_TOPIC"] = topic
        watched = backlog.Topic(stack, topic)
        try:
            with self.made.servers.relay_at_rest(stack):
                stack.order.start()
                _start_delivery(stack, topic)
                _wait_assigned(stack)
            _wait_applied(stack, self.rows)
            stack.delivery.stop()
            stack.order.stop()
            sent = watched.appended()
        finally:
            stack.delivery.kill()
            stack.order.kill()
            watched.close()
            stack.kafka.delete_topics([topic])
        if sent.count != self.rows or backlog.relay_place(stack) != self.made.rows:
            raise RuntimeError(f"the relay sent {sent.count} records for {self.rows} rows")
        applied = _check(stack, self.rows)
        self.curve = _curve(stack, sent.first)
        return self.rows / (applied.last - sent.first)

    def apart(self) -> tuple[float, float]:
        """Rows a second of the relay alone, and then of delivery alone."""
        stack = self.stack
        topic = backlog.new_topic(stack, "pipeline")
        _empty(stack)
        sent = backlog.relay_all(stack, self.made.servers, topic, self.payload, self.made.rows - self.rows, self.rows)
        try:
            if self.payload == "zero":
                stack.order.start()
            _start_delivery(stack, topic)
            _wait_applied(stack, self.rows)
            stack.delivery.stop()
            if self.payload == "zero":
                stack.order.stop()
        finally:
            stack.delivery.kill()
            stack.order.kill()
            stack.kafka.delete_topics([topic])
        return self.rows / (sent.last - sent.first), _check(stack, self.rows).rate


def pipeline(bench):
    """Rows that wait in the outbox, to deliveries; beside the slower of relay and delivery, each for itself."""
    made = _backlog(bench)
    rows = bench.choose(100_000, 20_000)
    for payload in ("full", "zero"):
        one = Pipeline(made, payload, rows)
        parts: list[tuple[float, float]] = []

        def reference(one=one, parts=parts, payload=payload):
            parts.append(one.apart())
            return Sample({payload: min(parts[-1])})

        # The first of the two warms up for both.
        pairs = interleave(bench.pairs, lambda one=one, payload=payload: Sample({payload: one.together()}), reference,
                           warm=1 if payload == "full" else 0, progress=bench.progress)
        bench.plot("drain over time", f"pipeline {payload}", one.curve)
        relay, delivery = (median(values) for values in zip(*parts))
        yield pairs.figure("pipeline", payload, "rows/s", 0.7,
                           note=f"{rows:,} rows; alone: relay {relay:,.0f}/s, delivery {delivery:,.0f}/s")


# ---- coalesce ----


def coalesce(bench) -> list[Figure]:
    """Many events over few orders, without their orders: what is looked up of them, beside one lookup an event."""
    orders, versions = 100, 100
    events = orders * versions
    with bench.servers.stack("coalesce") as stack:
        stack.prepare()
        backlog.fill(stack, orders, versions)
        topic = backlog.new_topic(stack, "coalesce")
        backlog.relay_all(stack, bench.servers, topic, "zero", 0, events)
        samples = []
        stack.order.start()
        for _ in range(bench.pairs):
            _empty(stack)
            _start_delivery(stack, topic)
            wait_until(lambda: stack.delivery.metric("lockstep_delivery_events_consumed_total") >= events, 60,
                       f"{events} events are consumed")
            calls = stack.delivery.metric("lockstep_delivery_lookups_total")
            ids = stack.delivery.metric("lockstep_delivery_lookup_ids_total")
            stack.delivery.stop()
            with stack.delivery_database_connection() as connection:
                wrong = connection.execute("SELECT count(*) FILTER (WHERE order_version = %s) - %s, count(*) - %s "
                                           "FROM deliveries", (versions, orders, orders)).fetchone()
            if wrong != (0, 0):
                raise RuntimeError(f"the deliveries are not at the last version of their orders: {wrong}")
            samples.append(Sample({"ids": events / ids, "calls": events / calls}))
    # One lookup an event is what a consumer does that takes its events one by one: one id and one call for each.
    one = [Sample({"ids": 1, "calls": 1}) for _ in samples]
    pairs = Pairs(samples, one)
    note = f"{events:,} events over {orders} orders"
    return [pairs.figure("coalesce", "ids", "events/id", 50, note=note),
            pairs.figure("coalesce", "calls", "events/call", 100, note=note)]
