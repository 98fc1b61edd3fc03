"""How long a write takes from its answer to its delivery, in each of the four cases."""

import json
import statistics

from confluent_kafka import admin

from measure import Figure, Sample, absolute, interleave, median, run
from processes import Stack
from support.events import MODES, set_mode

RATE = 200  # writes a second

_DOMAIN, _EVENTS = ("DOMAIN_TOPIC",), ("CREATE_TOPIC", "CHANGE_TOPIC")


def _percentiles(latencies_us) -> tuple[float, float]:
    """p50 and p99, in milliseconds."""
    cuts = statistics.quantiles(latencies_us, n=100, method="inclusive")
    return cuts[49] / 1000, cuts[98] / 1000


class Case:
    """One of the four, on services that run."""

    def __init__(self, bench, stack: Stack, name: str) -> None:
        self.bench, self.stack, self.mode = bench, stack, MODES[name]
        self.figure = name.replace("-", "_")
        self.seconds = bench.choose(4, 2)
        self.stages: list[tuple[float, float, float]] = []

    def warm_up(self) -> None:
        """Topics that are used for the first time, and a broker's compiler, are not what is measured."""
        self.run(1)
        self.stages.clear()

    def run(self, seconds: int | None = None) -> dict[str, float]:
        seconds = seconds or self.seconds
        set_mode(self.stack.order, self.mode)
        counted = self._counted()
        ended = run([self.bench.programs / "tests/bench/loop/bench-end-to-end", self.stack.order.address,
                     self.stack.delivery.address, RATE, seconds])
        writes = json.loads(ended.output)["writes"]
        if len(writes) != RATE * seconds:
            raise RuntimeError(f"{len(writes)} writes are answered for, not {RATE * seconds}")
        self._check_mode(counted, len(writes))
        p50, p99 = _percentiles([shown - answered for _, _, _, answered, shown in writes])
        self.stages.append(self._stages(writes))
        return {f"{self.figure}_p50": p50, f"{self.figure}_p99": p99, f"{self.figure}_tail": p99 / p50}

    def _counted(self) -> tuple[dict[str, int], float]:
        return ({topic: sum(self.stack.kafka.end_offsets(topic).values()) for topic in self.stack.event_topics},
                self.stack.delivery.metric("lockstep_delivery_lookup_ids_total"))

    def _check_mode(self, before, writes: int) -> None:
        """That what was measured went the way that it should: its topics, with lookups or without."""
        ends, lookups = self._counted()
        grown = {topic: ends[topic] - before[0][topic] for topic in ends}
        expected = writes + writes // 2  # the orders that are changed were created before
        names = _DOMAIN if self.mode[1] == "DOMAIN" else _EVENTS
        here = sum(grown[self.stack.topics[name]] for name in names)
        looked_up = lookups > before[1]
        if here != expected or sum(grown.values()) != expected or looked_up != (self.mode[0] == "ZERO"):
            raise RuntimeError(f"{self.figure}: {expected} events, but topics grew by {grown}, "
                               f"and orders were {'' if looked_up else 'not '}looked up")

    def _stages(self, writes) -> tuple[float, float, float]:
        """Medians in milliseconds of what the way consists of: to the broker, by its clock (relay, produce); from there
        to delivery's statement, by the database's (fetch, lookup, decide); and from there to the answer (commit, wake,
        read). All by the clock of one machine; the broker cuts its times to milliseconds, half of one on average."""
        appended = self._append_times()
        with self.stack.delivery_database_connection() as connection:
            applied = dict(connection.execute(
                "SELECT (order_id, order_version)::text, extract(epoch FROM change_time)::float8 * 1e6 "
                "FROM delivery_history WHERE order_id = ANY(%s)", ([write[0] for write in writes],)).fetchall())
        times = [(answered, appended[order_id, version], applied[f"({order_id},{version})"], shown)
                 for order_id, version, _, answered, shown in writes]
        return tuple(median([(later[part + 1] - later[part]) / 1000 for later in times]) for part in range(3))

    def _append_times(self) -> dict[tuple[int, int], float]:
        found = {}
        for topic in self.stack.event_topics:
            end = self.stack.kafka.end_offsets(topic)
            for message in self.stack.kafka.read(topic, sum(end.values())):
                order_id, version = dict(message.headers())["ce_id"].decode().split(":")
                found[int(order_id), int(version)] = message.timestamp()[1] * 1000 + 500
        return found


class BareLoop:
    """The same way with libpq and librdkafka alone, between databases of its own on the same servers."""

    def __init__(self, bench) -> None:
        self.bench, self.seconds = bench, bench.choose(5, 2)
        servers = bench.servers
        environment = servers.postgres.environment
        databases = [servers.postgres.new_database(owner) for owner in ("order_service", "delivery_service")]
        self.conninfo = [f"host={environment['PGHOST']} port={environment['PGPORT']} user=postgres dbname={name} "
                         f"passfile={environment['PGPASSFILE']}" for name in databases]

    def run(self) -> Sample:
        kafka = self.bench.servers.kafka
        kafka.create_topic("bare-loop")
        try:
            ended = run([self.bench.programs / "tests/bench/loop/bench-bare-loop", *self.conninfo,
                         kafka.bootstrap_servers, "bare-loop", RATE, self.seconds])
        finally:
            kafka.delete_topics(["bare-loop"])
        latencies = json.loads(ended.output)["latencies_us"]
        if len(latencies) != RATE * self.seconds:
            raise RuntimeError(f"{len(latencies)} writes came through, not {RATE * self.seconds}")
        p50, p99 = _percentiles(latencies)
        return Sample({"p50": p50, "p99": p99})


def end_to_end(bench) -> list[Figure]:
    """Both services under a steady load, in one case after the other, and then the bare loop."""
    with bench.servers.stack("end_to_end") as stack:
        stack.prepare()
        _stamp_by_broker(stack)
        for service in stack.services:
            service.start()
        cases = [Case(bench, stack, name) for name in MODES]
        loop = BareLoop(bench)

        def ours() -> Sample:
            values: dict[str, float] = {}
            for case in cases:
                values |= case.run()
            return Sample(values)

        def reference() -> Sample:
            sample = loop.run()
            return Sample({f"{case.figure}_{part}": sample.values[part] for case in cases for part in ("p50", "p99")})

        for case in cases:
            case.warm_up()
        pairs = interleave(bench.pairs, ours, reference, warm=0, progress=bench.progress)
        figures = []
        for case in cases:
            stages = [median(part) for part in zip(*case.stages)]
            note = (f"to Kafka {stages[0]:.1f}, to delivery's statement {stages[1]:.1f}, to its answer "
                    f"{stages[2]:.1f}, sum {sum(stages):.1f} ms")
            figures.append(pairs.figure("end_to_end", f"{case.figure}_p50", "ms", 1.5, "lower", note=note))
            p99 = median(sample.values[f"{case.figure}_p99"] for sample in pairs.ours)
            bare = median(sample.values[f"{case.figure}_p99"] for sample in pairs.reference)
            figures.append(absolute("end_to_end", f"{case.figure}_tail", pairs.ours, "p99/p50", 5, "lower",
                                    note=f"p99 {p99:.1f} ms; the bare loop's {bare:.1f} ms"))
        return figures


def _stamp_by_broker(stack: Stack) -> None:
    """Has the records of the topics bear the time at which the broker appended them."""
    wanted = admin.ConfigEntry("message.timestamp.type", "LogAppendTime",
                               incremental_operation=admin.AlterConfigOpType.SET)
    resources = [admin.ConfigResource(admin.ResourceType.TOPIC, topic, incremental_configs=[wanted])
                 for topic in stack.event_topics]
    client = stack.kafka.admin()  # a name for it: what it was asked ends when it goes
    for future in client.incremental_alter_configs(resources).values():
        future.result(20)
