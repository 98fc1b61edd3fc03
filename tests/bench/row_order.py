"""What clients of the order service see: create_order, create_busy, create_latency, get_order, batch_get, overload.

The load comes from load/ (order-load), which checks every answer and takes 1 to 3 us of CPU for a call; what was
written is counted in the database. The reference is pgbench with the scripts of sql/, over TCP with a password like the
services, with two threads on the same cores."""

import contextlib
import dataclasses
import json
import pathlib
import re
import statistics

from google.protobuf import timestamp_pb2
from order.v1 import order_pb2

from measure import Pairs, Sample, Usage, absolute, interleave, run
from processes import Stack, wait_until
from servers import libpq_environment

SCRIPTS = pathlib.Path(__file__).resolve().parent / "sql"
ITEMS = 2  # of an order
BATCH = 256  # orders of a BatchGetOrders
IN_FLIGHT = (64, 512)
READS_IN_FLIGHT = 256
DRAIN_SECONDS = 120  # that relay and delivery may take for what was left to them
OVERLOAD = 10  # times the sustainable rate
# Calls that may be out when the load does not wait for answers: more than the service queues, and no more on a
# connection than it lets be open there.
CONNECTIONS = 8
MOST_OUT = CONNECTIONS * 1000


# ---- Load on the service ----


def _load(bench, stack: Stack, method: str, *only, seconds: float = 0, **options) -> dict:
    """Runs order-load; gives what it printed. Every answer was OK, or one of the statuses named."""
    arguments = [bench.programs / "tests/bench/load/order-load", "--address", stack.order.address, "--method", method,
                 "--seconds", f"{round(seconds * 1000)}ms"]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    told = json.loads(run(arguments).output)
    others = {status: count for status, count in told["answers"].items() if status not in {"OK", *only}}
    if others or not told["answers"].get("OK") or sum(told["answers"].values()) != told["sent"]:
        raise RuntimeError(f"{told['sent']} calls of {method} were answered {told['answers']}")
    return told


@contextlib.contextmanager
def _serving(stack: Stack, *services):
    """Runs services of the stack for a while."""
    try:
        for service in services:
            service.start(wait=False)
        for service in services:
            service.wait_serving()
        yield
        for service in services:
            service.stop()
    finally:
        for service in services:
            service.kill()


# ---- Writes: what they stand on ----


def _snapshot() -> bytes:
    """What the outbox holds of one of the orders that order-load creates, as many bytes."""
    time = timestamp_pb2.Timestamp(seconds=1_750_000_000, nanos=123_456_000)
    address = order_pb2.Address(recipient="Ada Nowak", lines=["Mill Lane 7", "door 12"], postal_code="12345",
                                city="Lund", country_code="SE")
    items = [order_pb2.OrderItem(sku="lamp-1", quantity=2, unit_minor_units=1999) for _ in range(ITEMS)]
    order = order_pb2.Order(order_id=100_000, version=1, status=order_pb2.ORDER_STATUS_PLACED,
                            customer_id="customer-123", delivery_address=address, items=items, currency_code="EUR",
                            total_minor_units=7996, create_time=time, update_time=time)
    return order.SerializeToString()


@dataclasses.dataclass
class Rows:
    """What a database of orders holds."""

    orders: int
    items: int
    outbox: int
    snapshot_bytes: float
    trace_bytes: float


def _rows(connection) -> Rows:
    return Rows(*connection.execute(
        "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items), count(*), "
        "coalesce(avg(octet_length(snapshot)), 0)::float8, coalesce(avg(octet_length(trace_parent)), 0)::float8 "
        "FROM outbox").fetchone())


def _check_rows(rows: Rows, created: int, is_outbox_kept: bool = True) -> None:
    """That so many orders were written whole, and that both sides write the same. Of the outbox, the upkeep drops what is
    done."""
    if (rows.orders, rows.items) != (created, created * ITEMS) or (is_outbox_kept and rows.outbox != created):
        raise RuntimeError(f"{created} creates were acknowledged, and made {rows}")
    if abs(rows.snapshot_bytes - len(_snapshot())) > 4 or rows.trace_bytes != 55:  # an id's length differs
        raise RuntimeError(f"a row of the outbox is not what the other side writes: {rows}, {len(_snapshot())} bytes")


def _empty(connection) -> None:
    connection.execute("TRUNCATE orders, order_items, outbox")


class Writes:
    """A stack for the rows that create orders, and pgbench over a copy of its schema."""

    def __init__(self, bench) -> None:
        self.bench = bench
        self.stack = bench.servers.stack("writes").prepare()
        self.seconds = bench.choose(3, 1.5)
        self.database = bench.servers.postgres.new_database("order_service")
        with bench.servers.postgres.connect() as connection:  # as --migrate made it
            connection.execute(f"DROP DATABASE {self.database}")
            connection.execute(f"CREATE DATABASE {self.database} TEMPLATE {self.stack.order_database} "
                               "OWNER order_service")
        with bench.servers.postgres.connect(self.database, user="order_service") as connection:
            connection.execute("CREATE SEQUENCE bench_order_ids CACHE 1024")
        self._clients: int | None = None

    # -- ours

    def create(self, in_flight: int, seconds: float) -> dict:
        """Creates orders for a while, into empty tables; all of them are there afterwards."""
        with self.stack.order_database_connection() as connection:
            _empty(connection)
            told = _load(self.bench, self.stack, "create", in_flight=in_flight, seconds=seconds, items=ITEMS)
            _check_rows(_rows(connection), told["answers"]["OK"])
        return told

    @contextlib.contextmanager
    def at_rest(self):
        """order-service, its relay at rest, no delivery."""
        with self.bench.servers.relay_at_rest(self.stack), _serving(self.stack, self.stack.order):
            yield

    @contextlib.contextmanager
    def busy(self):
        """Relay and delivery at work."""
        stack = self.stack
        with stack.order_database_connection() as connection:  # nothing waits for the relay of what others left
            _empty(connection)
        self.empty_deliveries()
        with _serving(stack, stack.order, stack.delivery):
            wait_until(lambda: stack.order.metric("lockstep_outbox_relay_leader") == 1, 30, "the relay leads")
            yield

    def empty_deliveries(self) -> None:
        with self.stack.delivery_database_connection() as connection:
            connection.execute("TRUNCATE deliveries, delivery_history, pending_orders, dead_letters")

    def deliveries(self) -> int:
        with self.stack.delivery_database_connection() as connection:
            return connection.execute("SELECT count(*) FROM deliveries").fetchone()[0]

    def wait_delivered(self, created: int) -> None:
        """Until each order has its delivery."""
        wait_until(lambda: self.deliveries() >= created, DRAIN_SECONDS,
                   lambda: f"{created} orders are delivered ({self.deliveries()} are)")
        if self.deliveries() != created:
            raise RuntimeError(f"{created} orders made {self.deliveries()} deliveries")

    # -- the reference

    def pgbench(self, clients: int, seconds: float, *more) -> "Transactions":
        with self.bench.servers.postgres.connect(self.database) as connection:
            _empty(connection)
            done = _pgbench(self.bench, self.database, "create_order", clients, seconds,
                            f"--define=snapshot=\\x{_snapshot().hex()}", *more)
            _check_rows(_rows(connection), done.count)
        return done

    @property
    def clients(self) -> int:
        """The best of 8, 16 and 32, found once."""
        if self._clients is None:
            seconds = self.bench.choose(3, 1)
            self._clients = _best(self.bench, (8, 16, 32), lambda clients: self.pgbench(clients, seconds))
        return self._clients

    def reference(self) -> "Transactions":
        return self.pgbench(self.clients, self.seconds)


_writes: list[Writes] = []


def _shared_writes(bench) -> Writes:
    """Made once for all rows that create orders."""
    if not _writes:
        _writes.append(Writes(bench))
    return _writes[0]


@dataclasses.dataclass
class Transactions:
    """What pgbench did."""

    count: int
    per_second: float
    cpu_seconds: float


def _pgbench(bench, database: str, script: str, clients: int, seconds: float, *more) -> Transactions:
    """Prepared statements; pgbench takes whole seconds."""
    ended = run(["pgbench", "--no-vacuum", "--protocol=prepared", f"--client={clients}", f"--jobs={min(clients, 2)}",
                 f"--time={max(1, round(seconds))}", f"--file={SCRIPTS / script}.sql", *more],
                libpq_environment(bench.servers, database, "order_service"))
    if re.search(r"failed transactions: [1-9]", ended.output):
        raise RuntimeError(ended.output)
    count = int(re.search(r"actually processed: (\d+)", ended.output)[1])
    return Transactions(count, float(re.search(r"^tps = ([\d.]+)", ended.output, re.MULTILINE)[1]), ended.cpu_seconds)


def _best(bench, choices, measured) -> int:
    """The number of clients with which pgbench is fastest."""
    rates = {clients: measured(clients).per_second for clients in choices}
    bench.progress("pgbench by clients: " + ", ".join(f"{clients}: {rate:,.0f}/s" for clients, rate in rates.items()))
    return max(rates, key=lambda clients: rates[clients])


# ---- Writes: the rows ----


def create_order(bench):
    """Orders created a second, relay and delivery at rest."""
    writes = _shared_writes(bench)

    def ours() -> Sample:
        with Usage(writes.stack.order.process.pid) as usage:
            rates = {f"throughput_{number}": writes.create(number, writes.seconds)["per_second"]
                     for number in IN_FLIGHT}
        return Sample(rates, usage.cpu_seconds, usage.peak_bytes)

    def reference() -> Sample:
        done = writes.reference()
        return Sample({f"throughput_{number}": done.per_second for number in IN_FLIGHT}, done.cpu_seconds)

    writes.clients
    with writes.at_rest():
        pairs = interleave(bench.pairs, ours, reference, progress=bench.progress)
        if not bench.quick:
            _plot_writes(bench, writes, statistics.median(
                sample.values[f"throughput_{IN_FLIGHT[-1]}"] for sample in pairs.ours))
    note = f"pgbench with {writes.clients} clients"
    return [pairs.figure("create_order", f"throughput_{number}", "orders/s", 3, note=note) for number in IN_FLIGHT]


def _plot_writes(bench, writes: Writes, sustainable: float) -> None:
    """How long it takes when so many orders a second come, answered or not, counting those that are done; throughput by
    how many are in flight."""
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        rate = round(sustainable * share)
        with writes.stack.order_database_connection() as connection:
            _empty(connection)
            told = _load(bench, writes.stack, "create", "RESOURCE_EXHAUSTED", rate=rate, in_flight=MOST_OUT,
                         channels=CONNECTIONS, seconds=4, items=ITEMS)
            _check_rows(_rows(connection), told["answers"]["OK"])
        for quantile in ("p50", "p99"):
            bench.plot("create_order: latency over load", f"lockstep {quantile}",
                       [(rate, told["latency_us"][quantile] / 1000)])
    plot = "create_order: throughput over writes in flight"
    for number in (1, 8, 64, 512):
        bench.plot(plot, "lockstep", [(number, writes.create(number, 3)["per_second"])])
    for number in (1, 8, 16, 32, 64, 128):
        bench.plot(plot, "pgbench", [(number, writes.pgbench(number, 3).per_second)])


def create_busy(bench):
    """The same while the relay sends, and delivery applies, what is being created."""
    writes = _shared_writes(bench)
    behind: list[float] = []

    def ours() -> Sample:
        writes.empty_deliveries()
        with Usage(writes.stack.order.process.pid) as usage:
            told = writes.create(IN_FLIGHT[-1], writes.seconds)
        behind.append(writes.deliveries() / told["answers"]["OK"])
        writes.wait_delivered(told["answers"]["OK"])
        return Sample({"throughput": told["per_second"]}, usage.cpu_seconds, usage.peak_bytes)

    def reference() -> Sample:
        done = writes.reference()
        return Sample({"throughput": done.per_second}, done.cpu_seconds)

    writes.clients
    with writes.busy():
        pairs = interleave(bench.pairs, ours, reference, progress=bench.progress)
    note = (f"{IN_FLIGHT[-1]} in flight; {statistics.median(behind):.0%} were delivered by the last answer, all soon "
            f"after; pgbench with {writes.clients} clients")
    return [pairs.figure("create_busy", "throughput", "orders/s", 2, note=note)]


def create_latency(bench):
    """One order at a time; beside one client of pgbench, and on top of it what a call costs that does nothing. Medians,
    as a commit takes as long as the disk likes."""
    writes = _shared_writes(bench)
    seconds = bench.choose(3, 1.5)
    parts: dict[str, list[float]] = {"transaction": [], "call": []}

    def ours() -> Sample:
        with Usage(writes.stack.order.process.pid) as usage:
            told = writes.create(1, seconds)
        return Sample({"latency": told["latency_us"]["p50"]}, usage.cpu_seconds, usage.peak_bytes)

    def reference() -> Sample:
        log = bench.work / "pgbench-log"
        done = writes.pgbench(1, seconds, "--log", f"--log-prefix={log}")
        [written] = bench.work.glob("pgbench-log.*")
        times = [int(line.split()[2]) for line in written.read_text().splitlines()]
        written.unlink()
        parts["transaction"].append(statistics.median(times))
        told = _load(bench, writes.stack, "health", in_flight=1, seconds=seconds / 3)
        parts["call"].append(told["latency_us"]["p50"])
        return Sample({"latency": parts["transaction"][-1] + parts["call"][-1]}, done.cpu_seconds)

    with writes.at_rest():
        pairs = interleave(bench.pairs, ours, reference, progress=bench.progress)
    note = (f"pgbench {statistics.median(parts['transaction']):.0f} us, a call that does nothing "
            f"{statistics.median(parts['call']):.0f} us")
    return [pairs.figure("create_latency", "latency", "us", 1.25, "lower", note=note)]


# ---- Overload ----


def _sustain(writes: Writes, seconds: float) -> float:
    """Orders a second that are created while relay and delivery work, as many as can be."""
    writes.empty_deliveries()
    told = writes.create(IN_FLIGHT[-1], seconds)
    writes.wait_delivered(told["answers"]["OK"])
    return told["per_second"]


def overload(bench):
    """Ten times what can be done is asked for. What is sustainable is measured before and after, by the same client."""
    writes = _shared_writes(bench)
    stack = writes.stack
    seconds = bench.choose(60, 8)
    sustain_seconds = bench.choose(10, 2)
    with writes.busy():
        _sustain(writes, 1)  # warms up
        before = _sustain(writes, sustain_seconds)
        writes.empty_deliveries()
        with stack.order_database_connection() as connection:
            _empty(connection)
            with Usage(stack.order.process.pid) as usage:
                told = _load(bench, stack, "create", "RESOURCE_EXHAUSTED", rate=round(before * OVERLOAD),
                             seconds=seconds, in_flight=MOST_OUT, channels=CONNECTIONS, items=ITEMS)
            _check_rows(_rows(connection), told["answers"]["OK"], is_outbox_kept=False)
        writes.wait_delivered(told["answers"]["OK"])
        after = _sustain(writes, sustain_seconds)
    refused = told["answers"].get("RESOURCE_EXHAUSTED", 0)
    sample = Sample({"goodput": told["per_second"], "memory": usage.peak_bytes / 2**20,
                     "refusal_p99": told["refusal_us"]["p99"] / 1000}, usage.cpu_seconds, usage.peak_bytes)
    pairs = Pairs([sample], [Sample({"goodput": (before + after) / 2})])
    sent = told["sent_per_second"]
    bench.progress(f"sustainable {before:,.0f} and {after:,.0f}/s, sent {sent:,.0f}/s: {told}")
    note = (f"{before * OVERLOAD:,.0f}/s were due for {seconds} s; while {MOST_OUT:,} were out no more could be sent, "
            f"which left {sent:,.0f}/s; {refused:,} of these refused, all with RESOURCE_EXHAUSTED")
    return [pairs.figure("overload", "goodput", "orders/s", 0.9, note=note),
            absolute("overload", "memory", [sample], "MiB", 256, "lower", note="order-service, peak"),
            absolute("overload", "refusal_p99", [sample], "ms", 100, "lower")]


# ---- Reads ----


class Reads:
    """Orders that are read, by both sides from the same tables."""

    def __init__(self, bench) -> None:
        self.bench = bench
        self.orders = bench.choose(1_000_000, 200_000)
        self.seconds = bench.choose(4, 2)
        self.batches = self.orders // BATCH
        self.stack = bench.servers.stack("reads").prepare()
        self.database = self.stack.order_database
        bench.progress(f"making {self.orders:,} orders")
        run(["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=orders={self.orders}",
             f"--file={SCRIPTS / 'many_orders.sql'}"], libpq_environment(bench.servers, self.database, "order_service"))
        with bench.servers.postgres.connect(self.database, user="order_service") as connection:
            # Ids all over the table, each in one batch: what BatchGetOrders is asked for.
            connection.execute("CREATE TABLE bench_batches (number bigint PRIMARY KEY, order_ids bigint[])")
            connection.execute("ALTER TABLE bench_batches ALTER order_ids SET STORAGE PLAIN")  # found in one step
            connection.execute("INSERT INTO bench_batches SELECT number, array_agg(order_id) FROM (SELECT order_id, "
                               "(row_number() OVER (ORDER BY hashint8(order_id)) - 1) / %s + 1 AS number FROM orders) "
                               "AS numbered WHERE number <= %s GROUP BY number", (BATCH, self.batches))
            connection.execute("VACUUM (FREEZE, ANALYZE) orders, order_items, bench_batches")
        with bench.servers.postgres.connect(self.database) as connection:
            connection.execute("CHECKPOINT")

    def load(self, method: str, **options) -> dict:
        return _load(self.bench, self.stack, method, seconds=self.seconds, ids_from=1, ids_to=self.orders, **options)

    def pgbench(self, script: str, clients: int, orders: int, seconds: float | None = None) -> Transactions:
        """Each transaction has read so many orders, says the server."""
        before = self._read()
        done = _pgbench(self.bench, self.database, script, clients, seconds or self.seconds,
                        f"--define=orders={self.orders}", f"--define=batches={self.batches}")
        wait_until(lambda: self._read() - before >= done.count * orders, 10, lambda:
                   f"pgbench has read {done.count * orders} orders, not {self._read() - before}")
        return done

    def _read(self) -> int:
        """Rows of orders that were found by key. Sessions tell when they end."""
        with self.bench.servers.postgres.connect(self.database) as connection:
            return connection.execute("SELECT coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables "
                                      "WHERE relname = 'orders'").fetchone()[0]

    def best(self, script: str, choices, orders: int) -> int:
        seconds = self.bench.choose(2, 1)
        return _best(self.bench, choices, lambda clients: self.pgbench(script, clients, orders, seconds))


_reads: list[Reads] = []


def _shared_reads(bench) -> Reads:
    """Made once for both rows that read."""
    if not _reads:
        _reads.append(Reads(bench))
    return _reads[0]


def get_order(bench):
    """Orders read by uniform keys, with their items; beside pgbench that reads a row of the orders alone."""
    reads = _shared_reads(bench)
    clients = reads.best("read_order_row", (8, 16, 32), 1)
    whole = reads.pgbench("read_order", clients, 1).per_second

    def ours() -> Sample:
        with Usage(reads.stack.order.process.pid) as usage:
            told = reads.load("get", in_flight=READS_IN_FLIGHT)
        return Sample({"throughput": told["per_second"]}, usage.cpu_seconds, usage.peak_bytes)

    def reference() -> Sample:
        done = reads.pgbench("read_order_row", clients, 1)
        return Sample({"throughput": done.per_second}, done.cpu_seconds)

    with _serving(reads.stack, reads.stack.order):
        pairs = interleave(bench.pairs, ours, reference, progress=bench.progress)
    note = (f"{reads.orders:,} orders, {READS_IN_FLIGHT} in flight; pgbench with {clients} clients reads the order's "
            f"row only: with its items, as GetOrder answers, {whole:,.0f}/s")
    return [pairs.figure("get_order", "throughput", "orders/s", 1.5, note=note)]


def batch_get(bench):
    """Orders read 256 at a time, with their items, by both."""
    reads = _shared_reads(bench)
    clients = reads.best("read_batch", (1, 2, 4, 8), BATCH)
    calls = 16

    def ours() -> Sample:
        with Usage(reads.stack.order.process.pid) as usage:
            told = reads.load("batch_get", in_flight=calls, batch=BATCH)
        return Sample({"throughput": told["per_second"] * BATCH}, usage.cpu_seconds, usage.peak_bytes)

    def reference() -> Sample:
        done = reads.pgbench("read_batch", clients, BATCH)
        return Sample({"throughput": done.per_second * BATCH}, done.cpu_seconds)

    with _serving(reads.stack, reads.stack.order):
        pairs = interleave(bench.pairs, ours, reference, progress=bench.progress)
    note = f"{reads.orders:,} orders, {calls} calls in flight; pgbench with {clients} clients"
    return [pairs.figure("batch_get", "throughput", "orders/s", 0.8, note=note)]
