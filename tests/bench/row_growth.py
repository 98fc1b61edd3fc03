"""Whether time and size make lockstep slower: the same work on a database that has grown and on a young one."""

import contextlib
import dataclasses
import secrets
import time

from measure import Sample, interleave, run
from processes import Stack, wait_until
from row_order import IN_FLIGHT, READS_IN_FLIGHT, SCRIPTS, _load, _serving
from row_relay import Watch
from servers import libpq_environment

YOUNG = 10_000  # orders
TURNOVER = 1000 * 3600  # rows of the outbox in an hour, at 1,000 changes a second

# Deliveries that are in step with the orders of sql/many_orders.sql.
_DELIVERIES = """INSERT INTO deliveries (order_id, revision, state, order_version, order_status, recipient, address_lines,
    postal_code, city, country_code, items, create_time, update_time, event_version)
  SELECT number, 1, 1, 1, 1, 'Ada Nowak', E'Mill Lane 7\\ndoor 12', '12345', 'Lund', 'SE', '', now(), now(), 1
  FROM generate_series(1, %s) AS number"""
_HISTORY = """INSERT INTO delivery_history (order_id, revision, cause, order_version, state, change_time)
  SELECT number, 1, 1, 1, 1, now() FROM generate_series(1, %s) AS number"""


def _without_indexes(connection, *tables):
    """Drops the indexes of tables that no constraint needs, and the constraints that have one; gives what makes them
    again. Filling a table first and sorting then takes a fraction of the time."""
    again = []
    for table in tables:
        for name, definition in connection.execute(
                "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
                [table]).fetchall():
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
            again.append(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for name, definition in connection.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s", [table]).fetchall():
            connection.execute(f"DROP INDEX {name}")
            again.append(definition)
    return again


@dataclasses.dataclass
class Aged:
    """A stack whose databases hold so many orders and deliveries, and through whose outbox so many rows have gone."""

    bench: object
    stack: Stack
    orders: int
    turnover: int

    def fill(self) -> None:
        begin = time.monotonic()
        with self.stack.order_database_connection() as connection:
            connection.execute("TRUNCATE orders, order_items, outbox")
            connection.execute("SET maintenance_work_mem = '1GB'")
            again = _without_indexes(connection, "orders", "order_items")
            run(["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=orders={self.orders}",
                 f"--file={SCRIPTS / 'many_orders.sql'}"],
                libpq_environment(self.bench.servers, self.stack.order_database, "order_service"), seconds=600)
            for statement in again:
                connection.execute(statement)
            connection.execute("VACUUM (ANALYZE) orders, order_items")
        with self.stack.delivery_database_connection() as connection:
            connection.execute("TRUNCATE deliveries, delivery_history")
            connection.execute("SET maintenance_work_mem = '1GB'")
            again = _without_indexes(connection, "deliveries", "delivery_history")
            connection.execute(_DELIVERIES, [self.orders])
            connection.execute(_HISTORY, [self.orders])
            for statement in again:
                connection.execute(statement)
            connection.execute("VACUUM (ANALYZE) deliveries, delivery_history")
            connection.execute("CHECKPOINT")
        self.bench.progress(f"{self.orders:,} orders and deliveries made in {time.monotonic() - begin:.0f} s")

    def turn_over(self) -> None:
        """Rows that come and go as in service: the relay sends them, and the upkeep makes and drops partitions. To a topic
        that nobody reads."""
        begin = time.monotonic()
        topic = self.stack.topics["DOMAIN_TOPIC"]
        self.stack.order.settings["DOMAIN_TOPIC"] = f"{topic}-turned"
        self.stack.order.run("--create-topics")
        with _serving(self.stack, self.stack.order), self.stack.order_database_connection() as connection:
            step = 200_000
            for number in range(0, self.turnover, step):
                connection.execute("SELECT outbox_add_partitions(1)")
                connection.execute("INSERT INTO outbox (order_id, version, type, occur_time, snapshot) "
                                   "SELECT number, 1, 1, now(), '\\x0801' FROM generate_series(1, %s) AS number",
                                   [min(step, self.turnover - number)])
            wait_until(lambda: self.stack.order.metric("lockstep_outbox_events_produced_total") >= self.turnover, 300,
                       "the outbox has turned over")
            wait_until(lambda: self._waiting(connection) == 0, 20, "the relay has noted its place")
        self.stack.order.settings["DOMAIN_TOPIC"] = topic
        self.bench.progress(f"{self.turnover:,} rows went through the outbox in {time.monotonic() - begin:.0f} s")

    @staticmethod
    def _waiting(connection) -> int:
        return connection.execute("SELECT (SELECT last_value FROM outbox_sequence) - highest FROM outbox_relay").fetchone()[0]

    def measure(self, seconds: float) -> Sample:
        """Creates and reads with the relay at rest, then the relay sends what was created, then delivery applies it. One
        that is young begins anew each time."""
        stack = self.stack
        if not self.turnover:
            self.fill()
        topic = f"{stack.topics['DOMAIN_TOPIC']}-{secrets.token_hex(3)}"
        stack.kafka.create_topic(topic, 6)
        stack.order.settings["DOMAIN_TOPIC"] = topic
        stack.delivery.settings |= {"DOMAIN_TOPIC": topic, "KAFKA_GROUP_ID": f"bench-{secrets.token_hex(4)}"}
        with contextlib.ExitStack() as rest:
            rest.enter_context(self.bench.servers.relay_at_rest(stack))
            with _serving(stack, stack.order):
                created = _load(self.bench, stack, "create", in_flight=IN_FLIGHT[-1], seconds=seconds, items=2)
                read = _load(self.bench, stack, "get", in_flight=READS_IN_FLIGHT, seconds=seconds, ids_from=1,
                             ids_to=self.orders)
                watch = Watch(self.bench, topic, created["answers"]["OK"])
                watch.start(stack.order.process.pid)
                rest.close()
                watch.wait()
        return Sample({"create_order": created["per_second"], "get_order": read["per_second"], "relay_drain": watch.rate,
                       "apply": self._apply(created["answers"]["OK"])})

    def _apply(self, count: int) -> float:
        """Deliveries a second, from the first batch's to the last's."""
        with self.stack.delivery_database_connection() as connection:
            before = connection.execute("SELECT clock_timestamp()").fetchone()[0]
            with _serving(self.stack, self.stack.delivery):
                counter = "lockstep_delivery_events_applied_total"
                wait_until(lambda: self.stack.delivery.metric(counter) >= count, 300, "all is applied")
            fresh = (self.orders, before)
            made, first, last = connection.execute(
                "SELECT count(*), min(update_time), max(update_time) FROM deliveries WHERE order_id > %s AND update_time > %s",
                fresh).fetchone()
            later = connection.execute("SELECT count(*) FROM deliveries WHERE order_id > %s AND update_time > %s",
                                       (self.orders, first)).fetchone()[0]
        if made != count:
            raise RuntimeError(f"{count} events made {made} deliveries")
        return later / (last - first).total_seconds()


def growth(bench):
    """Grown beside young, in turn."""
    seconds = bench.choose(2, 1.5)
    with contextlib.ExitStack() as cleanup:
        grown, young = (Aged(bench, bench.servers.stack(name), orders, turnover) for name, orders, turnover in
                        (("grown", bench.choose(10_000_000, 300_000), bench.choose(TURNOVER, 100_000)), ("young", YOUNG, 0)))
        for one in (grown, young):
            cleanup.callback(one.stack.close)
            one.stack.prepare()
        grown.fill()
        grown.turn_over()
        pairs = interleave(bench.pairs, lambda: grown.measure(seconds), lambda: young.measure(seconds),
                           progress=bench.progress)
    note = f"{grown.orders:,} orders, {grown.turnover:,} rows gone through the outbox; beside {YOUNG:,} orders"
    return [pairs.figure("growth", name, f"{unit}/s", 0.8, note=note)
            for name, unit in (("create_order", "orders"), ("get_order", "orders"), ("relay_drain", "rows"), ("apply", "events"))]
