"""The rows about the relay: outbox rows to records in Kafka, beside Debezium and a polling publisher (debezium/)."""

import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import confluent_kafka
from google.protobuf import timestamp_pb2
from order.v1 import order_pb2

from measure import Figure, Sample, Unavailable, Usage, absolute, interleave, median, number, run, spread
from processes import wait_until
from servers import libpq_environment

HERE = pathlib.Path(__file__).resolve().parent
PARTITIONS = 6  # what --create-topics gives the services' topics
RATE = 500  # commits a second, where latency is measured
SECONDS = 120  # that anything may take

# What the relay's peers in Java run with; the heap as small as they run well with.
JAVA_OPTIONS = ("-Xmx512m", "-XX:+UseParallelGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def _program(bench, name: str) -> pathlib.Path:
    return bench.programs / "tests/bench/relay" / f"bench-{name}"


# ---- The rows that wait: the same payloads for all ----

def _snapshot(order_id: int) -> bytes:
    """A packed order of 256 bytes."""
    made = timestamp_pb2.Timestamp(seconds=1_750_000_000, nanos=123_456_000)
    order = order_pb2.Order(
        order_id=order_id, version=1, status=order_pb2.ORDER_STATUS_PLACED, customer_id=f"customer-{order_id % 1000}",
        delivery_address=order_pb2.Address(recipient="Ada Nowak", lines=["Mill Lane 7"], postal_code="12345",
                                           city="Lund", country_code="SE"),
        items=[order_pb2.OrderItem(sku="lamp-1", quantity=2, unit_minor_units=1999)] * 2, currency_code="EUR",
        total_minor_units=7996, create_time=made, update_time=made)
    order.note = "n" * (256 - order.ByteSize() - 3)
    return order.SerializeToString()


# One row a transaction, as writers would commit them; only the disk is not waited for.
_FILL = """CREATE PROCEDURE bench_fill(first_number bigint, last_number bigint) LANGUAGE plpgsql AS $procedure$
DECLARE staged bench_staged;
BEGIN
  FOR staged IN SELECT * FROM bench_staged WHERE order_id BETWEEN first_number AND last_number ORDER BY order_id LOOP
    {insert};
    COMMIT;
  END LOOP;
END
$procedure$"""


def _stage(connection, rows: int, insert: str) -> None:
    """Puts the payloads into a table of the database, and the procedure beside it that makes outbox rows of them."""
    connection.execute("CREATE UNLOGGED TABLE bench_staged (order_id bigint PRIMARY KEY, snapshot bytea NOT NULL)")
    with connection.cursor() as cursor, cursor.copy("COPY bench_staged FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "bytea"])
        for order_id in range(1, rows + 1):
            copy.write_row((order_id, _snapshot(order_id)))
    connection.execute("ANALYZE bench_staged")
    connection.execute(_FILL.format(insert=insert))


def _fill(connection, first: int, last: int) -> None:
    connection.execute("SET synchronous_commit = off")
    connection.execute("CALL bench_fill(%s, %s)", (first, last))
    connection.execute("RESET synchronous_commit")


# ---- Looking on ----

class Watch:
    """Sees records come into a topic, from outside: what a drain is measured by, whoever does it. start() tells it
    which process does; wait() gives the rate from the first moment at which records were seen until all were there,
    and the CPU time that the process used meanwhile, for all rows."""

    def __init__(self, bench, topic: str, rows: int) -> None:
        self.topic, self.rows = topic, rows
        self._process = subprocess.Popen(
            [_program(bench, "watch-topic"), bench.servers.kafka.bootstrap_servers, topic, str(rows), str(SECONDS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._process.stdout.readline()

    def start(self, process: int) -> None:
        self._process.stdin.write(f"{process}\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        output, _ = self._process.communicate(timeout=SECONDS + 10)
        if self._process.returncode != 0:
            raise RuntimeError(f"{self.topic}: not all of {self.rows} rows came")
        seen = json.loads(output)
        first, last = seen["first"], seen["last"]
        if last["count"] != self.rows:
            raise RuntimeError(f"{self.topic}: {last['count']} records of {self.rows} rows")
        if last["count"] == first["count"]:
            raise RuntimeError(f"{self.topic}: all {self.rows} rows came at once, which cannot be timed")
        measured = last["count"] - first["count"]
        self.rate = measured / (last["time_us"] - first["time_us"]) * 1e6
        self.cpu_seconds = (last["cpu_us"] - first["cpu_us"]) / 1e6 / measured * self.rows
        self.end = last["time_us"] / 1e6
        self.curve = [((at - first["time_us"]) / 1e6, count) for at, count in seen["points"]]


def _ends(bench, topic: str) -> list[confluent_kafka.TopicPartition]:
    return [confluent_kafka.TopicPartition(topic, partition, offset)
            for partition, offset in bench.servers.kafka.end_offsets(topic).items()]


def _check_keys(bench, begin: list[confluent_kafka.TopicPartition], keys: set[bytes]) -> None:
    """Reads what came into a topic since: each key once."""
    consumer = bench.servers.kafka.consumer(enable_partition_eof=True)
    try:
        consumer.assign(begin)
        seen: list[bytes] = []
        ended = 0
        while ended < len(begin):
            for message in consumer.consume(10000, 1):
                if message.error() is None:
                    seen.append(message.key())
                elif message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    ended += 1
                else:
                    raise RuntimeError(message.error())
    finally:
        consumer.close()
    if len(seen) != len(keys) or set(seen) != keys:
        raise RuntimeError(f"{begin[0].topic}: {len(seen)} records with {len(set(seen))} keys of {len(keys)} rows")


# ---- Ours ----

class Ours:
    """An order service whose outbox holds `rows` rows, which can be relayed again and again: the relay's place is set
    back. One number in the middle of them was given out and has no row, as after a write that failed."""

    def __init__(self, bench, rows: int) -> None:
        self.bench, self.rows = bench, rows
        self.stack = bench.servers.stack(f"relay-{secrets.token_hex(3)}").prepare()
        self.topic = self.stack.topics["DOMAIN_TOPIC"]
        with self.stack.order_database_connection() as connection:
            _stage(connection, rows, "INSERT INTO outbox (order_id, version, type, occur_time, snapshot) "
                                     "VALUES (staged.order_id, 1, 1, clock_timestamp(), staged.snapshot)")
            _fill(connection, 1, rows // 2)
            self.missing = connection.execute("SELECT nextval('outbox_sequence')").fetchone()[0]
            _fill(connection, rows // 2 + 1, rows)

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *exception) -> None:
        self.stack.close()

    def set_back(self) -> None:
        """For a relay that does not run: all rows are to be sent."""
        with self.stack.order_database_connection() as connection:
            connection.execute("UPDATE outbox_relay "
                               "SET highest = 0, gap_first = '{}', gap_last = '{}', gap_limit = '{}'")
            self.rows = connection.execute("SELECT count(*) FROM outbox").fetchone()[0]

    def drain(self, check: bool = False, line: str | None = None) -> Sample:
        """One drain by a new process, from before its start. check: of every key. line: the name of a curve to plot."""
        self.set_back()
        order = self.stack.order
        begin = _ends(self.bench, self.topic)
        watch = Watch(self.bench, self.topic, self.rows)
        started = time.monotonic()
        order.start(wait=False)
        with Usage(order.process.pid) as used:
            watch.start(order.process.pid)
            watch.wait()
        counter = "lockstep_outbox_events_produced_total"
        wait_until(lambda: order.metric(counter) >= self.rows, 10, "all is acknowledged")
        produced = order.metric(counter)
        order.stop()
        if produced != self.rows:
            raise RuntimeError(f"the relay sent {produced} records of {self.rows} rows")
        if check:
            _check_keys(self.bench, begin, {str(key).encode() for key in range(1, self.rows + 1)})
        if line:
            self.bench.plot("relay_drain", line, watch.curve)
        return Sample({"throughput": watch.rate, "throughput_polling": watch.rate, "from_start": watch.end - started},
                      watch.cpu_seconds, used.peak_bytes)


# ---- The peers ----

def _java_classes(bench) -> str:
    """The class path of the peers: their jars, from Maven Central into the cache, and the classes made with them."""
    if not shutil.which("mvn") or not shutil.which("javac"):
        raise Unavailable("Debezium needs Maven and a JDK")
    cache = pathlib.Path(os.environ.get("LOCKSTEP_CACHE") or
                         pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lockstep")
    pom = HERE / "debezium/pom.xml"
    jars = cache / f"relay-peers-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    if not jars.exists():
        bench.progress("downloading Debezium from Maven Central")
        with tempfile.TemporaryDirectory(dir=cache, prefix="relay-peers.") as work:
            try:
                run(["mvn", "--batch-mode", "--quiet", "--file", pom, f"-Dmaven.repo.local={work}/repository",
                     "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
                     "-DincludeScope=runtime", f"-DoutputDirectory={work}/jars"], seconds=600)
            except RuntimeError as error:
                raise Unavailable("Debezium cannot be had from Maven Central") from error
            pathlib.Path(work, "jars").rename(jars)
    classes = bench.work / "relay-peers"
    if not classes.exists():
        run(["javac", "-cp", f"{jars}/*", "-d", classes, HERE / "debezium/RelayPeers.java"])
    return f"{classes}:{jars}/*"


class Peers:
    """A JVM with Debezium and the polling publisher, and tables with `rows` outbox rows of theirs."""

    _OUTBOX = """CREATE TABLE {name} (id {id}, aggregatetype text NOT NULL, aggregateid text NOT NULL,
                                      type text NOT NULL, payload bytea NOT NULL)"""

    def __init__(self, bench, rows: int) -> None:
        self.bench, self.rows = bench, rows
        class_path = _java_classes(bench)
        self._cleanup = contextlib.ExitStack()
        try:
            self._make_tables()
            self._make_topics()
            self._start_java(class_path)
        except BaseException:
            self._cleanup.close()
            raise

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *exception) -> None:
        self._cleanup.close()

    def _connect(self):
        return self.bench.servers.postgres.connect(self.database)

    def _make_tables(self) -> None:
        postgres = self.bench.servers.postgres
        self.database = postgres.new_database("order_service")
        self._cleanup.callback(postgres.drop_database, self.database)
        self.slots = {table: f"{table}_{secrets.token_hex(3)}" for table in ("drained", "streamed")}
        with self._connect() as connection:
            for table in self.slots:
                connection.execute(self._OUTBOX.format(name=table, id="uuid PRIMARY KEY DEFAULT gen_random_uuid()"))
                connection.execute(f"CREATE PUBLICATION relay_{table} FOR TABLE {table}")
            connection.execute(self._OUTBOX.format(name="polled",
                                                   id="bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"))
            # It is truncated before each run: a vacuum of what the last one deleted would only fall into ours.
            connection.execute("ALTER TABLE polled SET (autovacuum_enabled = false)")
            _stage(connection, self.rows, "INSERT INTO drained (aggregatetype, aggregateid, type, payload) "
                                          "VALUES ('order', staged.order_id::text, 'OrderCreated', staged.snapshot)")
            for slot in self.slots.values():
                self._make_slot("pg_create_logical_replication_slot(%s, 'pgoutput')", slot)
            _fill(connection, 1, self.rows)

    def _make_slot(self, call: str, *arguments) -> None:
        with self._connect() as connection:
            connection.execute(f"SELECT {call}", arguments)
        self._cleanup.callback(self._drop_slot, arguments[-1])

    def _drop_slot(self, slot: str) -> None:
        """When nobody reads it any more; nothing if it is gone."""
        with self._connect() as connection:
            wait_until(lambda: self._slot_active(connection, slot) is not True, 20, f"{slot} is free")
            connection.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                               "WHERE slot_name = %s", (slot,))

    @staticmethod
    def _slot_active(connection, slot: str) -> bool | None:
        """Whether somebody reads it; None: there is no such slot."""
        found = connection.execute("SELECT active FROM pg_replication_slots WHERE slot_name = %s", (slot,)).fetchone()
        return found[0] if found else None

    def _make_topics(self) -> None:
        token = secrets.token_hex(3)
        self.topics = {table: f"bench-{table}-{token}" for table in ("drained", "polled", "streamed")}
        for topic in self.topics.values():
            self.bench.servers.kafka.create_topic(topic, PARTITIONS)
        self._cleanup.callback(self.bench.servers.kafka.delete_topics, list(self.topics.values()))

    def _start_java(self, class_path: str) -> None:
        with self._connect() as connection:
            password = connection.info.password
        environment = {**libpq_environment(self.bench.servers, self.database), "PGPASSWORD": password,
                       **self.bench.servers.kafka.environment}
        self.log = self.bench.work / f"relay-peers-{secrets.token_hex(3)}.log"
        with open(self.log, "wb") as log:
            self.java = subprocess.Popen(
                ["java", *JAVA_OPTIONS, "-cp", class_path, "RelayPeers"], env=environment,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        self._cleanup.callback(self._end_java)

    def _end_java(self) -> None:
        self.java.stdin.close()
        try:
            self.java.wait(10)
        except subprocess.TimeoutExpired:
            self.java.kill()
            self.java.wait()

    @contextlib.contextmanager
    def at_rest(self):
        """Stops the JVM for a while: its compilers go on for long after a run."""
        self.java.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.java.send_signal(signal.SIGCONT)

    def begin(self, *words) -> None:
        """Gives the JVM a command."""
        self.java.stdin.write(" ".join(map(str, words)) + "\n")
        self.java.stdin.flush()

    def answer(self) -> str:
        """What it says when the command is done."""
        line = self.java.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers ended:\n{self.log.read_text(errors='replace')[-3000:]}")
        return line.strip()

    def _timed(self, topic: str, check: bool, line: str | None, *command) -> tuple[Watch, Usage]:
        begin = _ends(self.bench, topic)
        watch = Watch(self.bench, topic, self.rows)
        with Usage(self.java.pid) as used:
            watch.start(self.java.pid)
            self.begin(*command)
            watch.wait()
            answer = self.answer()
        if int(answer.split()[1]) != self.rows:
            raise RuntimeError(f"{command[0]}: {answer} of {self.rows} rows")
        if check:
            _check_keys(self.bench, begin, {str(key).encode() for key in range(1, self.rows + 1)})
        if line:
            self.bench.plot("relay_drain", line, watch.curve)
        return watch, used

    def drain(self, check: bool = False, line: str | None = None) -> Sample:
        """Debezium, from the slot before the rows: a copy of it, as often as one likes."""
        slot = f"again_{secrets.token_hex(4)}"
        self._make_slot("pg_copy_logical_replication_slot(%s, %s)", self.slots["drained"], slot)
        topic = self.topics["drained"]
        watch, used = self._timed(topic, check, line, "drain", slot, "drained", topic, self.rows)
        self._drop_slot(slot)
        return Sample({"throughput": watch.rate}, watch.cpu_seconds, used.peak_bytes)

    def poll(self, check: bool = False, line: str | None = None) -> float:
        """The polling publisher's rows a second. It deletes what it has sent, so its table is filled anew; how many
        transactions did that makes no difference to it."""
        with self._connect() as connection:
            connection.execute("TRUNCATE polled")
            connection.execute("INSERT INTO polled (aggregatetype, aggregateid, type, payload) "
                               "SELECT 'order', order_id::text, 'OrderCreated', snapshot FROM bench_staged "
                               "ORDER BY order_id")
            connection.execute("ANALYZE polled")
        topic = self.topics["polled"]
        rate = self._timed(topic, check, line, "poll", "polled", topic)[0].rate
        with self._connect() as connection:
            left = connection.execute("SELECT count(*) FROM polled").fetchone()[0]
        if left:
            raise RuntimeError(f"the polling publisher left {left} rows")
        return rate

    def wait_streaming(self) -> None:
        """Until Debezium's engine reads its slot, after the command "stream"."""
        with self._connect() as connection:
            wait_until(lambda: self._slot_active(connection, self.slots["streamed"]), 30, "Debezium streams")


# ---- Rows ----

def relay_drain(bench):
    """Outbox rows that wait, to records in Kafka."""
    rows = bench.choose(200_000, 50_000)
    with Ours(bench, rows) as ours, Peers(bench, rows) as peers:
        bench.progress(f"{rows:,} rows for each, one a transaction; now Debezium is warmed")
        for _ in range(3):
            peers.drain()
        runs = {"ours": 0, "reference": 0}

        def look(side: str) -> dict:
            """Every key is looked at in the first run, which is thrown away; the second is plotted."""
            runs[side] += 1
            return {"check": runs[side] == 1, "line": runs[side] == 2}

        def mine() -> Sample:
            looked = look("ours")
            with peers.at_rest():
                return ours.drain(looked["check"], "lockstep" if looked["line"] else None)

        def reference() -> Sample:
            looked = look("reference")
            sample = peers.drain(looked["check"], "Debezium" if looked["line"] else None)
            sample.values["throughput_polling"] = peers.poll(looked["check"],
                                                             "polling publisher" if looked["line"] else None)
            return sample

        pairs = interleave(bench.pairs, mine, reference, progress=bench.progress)
    started = median(sample.values["from_start"] for sample in pairs.ours)
    note = f"with the start of a new process: {started:.2f} s, {number(rows / started)} rows/s"
    yield pairs.figure("relay_drain", "throughput", "rows/s", 4.5, note=note)
    yield pairs.cpu("relay_drain", 0.1, rows / 100_000, "s/100k rows", note="while records come")
    yield pairs.memory("relay_drain", 0.05, note="the whole order-service")
    yield pairs.figure("relay_drain", "throughput_polling", "rows/s", 1.5, note="a polling publisher in Java")


@contextlib.contextmanager
def _records(bench, topic: str):
    """A consumer that waits at the topic meanwhile; afterwards the dictionary given holds key -> when it was had."""
    process = subprocess.Popen([_program(bench, "time-records"), bench.servers.kafka.bootstrap_servers, topic],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    arrivals: dict[str, int] = {}
    try:
        yield arrivals
    finally:
        output, _ = process.communicate(timeout=30)
    if process.returncode != 0:
        raise RuntimeError(f"the consumer of {topic} failed")
    for line in output.splitlines():
        key, at = line.split()
        arrivals.setdefault(key, int(at))


def _latencies(bench, topic: str, process: int, command, environment, seconds: float) -> Sample:
    """Writes at a steady pace, and how long after its commit each was with the consumer."""
    count = round(RATE * seconds)
    with _records(bench, topic) as arrivals:
        time.sleep(0.3)  # the consumer's first fetch waits at the broker
        with Usage(process) as used:
            written = run([*command, RATE, count], environment).output
            time.sleep(0.2)
        time.sleep(0.3)
    commits = {key: int(at) for key, at in (line.split() for line in written.splitlines())}
    lost = commits.keys() - arrivals.keys()
    if lost:
        raise RuntimeError(f"{topic}: {len(lost)} of {len(commits)} commits never came")
    took = (max(commits.values()) - min(commits.values())) / 1e6
    if took > 1.1 * seconds + 0.5:
        raise RuntimeError(f"{topic}: {count} commits took {took:.1f} s, not {seconds} s: no {RATE} a second")
    delays = sorted((arrivals[key] - at) / 1000 for key, at in commits.items())
    return Sample({"p50": delays[len(delays) // 2], "p99": delays[len(delays) * 99 // 100]},
                  used.cpu_seconds / len(commits) * 1000, used.peak_bytes)


def _idle(process: int, seconds: float) -> Sample:
    """Per cent of a core."""
    begin = time.monotonic()
    with Usage(process) as used:
        time.sleep(seconds)
    return Sample({"idle": used.cpu_seconds / (time.monotonic() - begin) * 100}, used.cpu_seconds, used.peak_bytes)


def relay_latency(bench):
    """Commit to record in a waiting consumer. Ours: CreateOrder, from its answer, which follows the commit; so the
    service's CPU time holds all that CreateOrder takes, where Debezium's holds nothing of the writes."""
    seconds = bench.choose(6.0, 2.0)
    idle_seconds = bench.choose(10.0, 3.0)
    stack = bench.servers.stack(f"relay-{secrets.token_hex(3)}").prepare()
    with stack, Peers(bench, 20_000) as peers:
        for _ in range(4):
            peers.drain()
        order = stack.order.start()
        wait_until(lambda: order.metric("lockstep_outbox_relay_leader") == 1, 20, "the relay leads")
        idle = _idle(order.process.pid, idle_seconds)
        next_key = [1]
        count = round(RATE * seconds)
        database = libpq_environment(bench.servers, peers.database)
        topic = peers.topics["streamed"]

        def ours() -> Sample:
            return _latencies(bench, stack.topics["DOMAIN_TOPIC"], order.process.pid,
                              [_program(bench, "paced-orders"), order.address], None, seconds)

        def rows(count: int) -> list:
            command = [_program(bench, "paced-rows"), "streamed", next_key[0]]
            next_key[0] += count
            return command

        def reference() -> Sample:
            """Only streams meanwhile: at rest it takes half a core from whoever else is measured."""
            peers.begin("stream", peers.slots["streamed"], "streamed", topic)
            peers.answer()
            peers.wait_streaming()
            run([*rows(RATE // 2), RATE, RATE // 2], database)
            sample = _latencies(bench, topic, peers.java.pid, rows(count), database, seconds)
            if not idle_reference:
                idle_reference.append(_idle(peers.java.pid, idle_seconds / 2))
            peers.begin("stop")
            peers.answer()
            return sample

        idle_reference: list[Sample] = []
        # Each run has its own warm-up but for ours, which only begins once: what follows a start is not the figure.
        run([_program(bench, "paced-orders"), order.address, RATE, RATE], None)
        pairs = interleave(bench.pairs, ours, reference, warm=0, progress=bench.progress)
        order.stop()
    note = f"{RATE} commits/s, {count:,} a run"
    yield pairs.figure("relay_latency", "p50", "ms", 0.5, "lower", note=note)
    yield pairs.figure("relay_latency", "p99", "ms", 0.5, "lower", note=note)
    yield pairs.cpu("relay_latency", 0.2, 1, "s/1000", note="ours: the whole order-service, CreateOrder included")
    yield absolute("relay_latency", "idle", [idle], "% core", 2, "lower",
                   note=f"Debezium: {idle_reference[0].values['idle']:.0f} %")


def relay_produce(bench):
    """The relay's last stage alone, beside what librdkafka can do with the same records."""
    records = bench.choose(400_000, 200_000)
    topic = f"bench-produced-{secrets.token_hex(3)}"
    kafka = bench.servers.kafka
    kafka.create_topic(topic, PARTITIONS)
    sizes: set[float] = set()

    def side(program: str) -> Sample:
        before = sum(kafka.end_offsets(topic).values())
        told = json.loads(run([_program(bench, program), kafka.bootstrap_servers, topic, records]).output)
        came = sum(kafka.end_offsets(topic).values()) - before - 1  # the first one only connects
        if came != records or told["records"] != records:
            raise RuntimeError(f"{program}: {came} of {records} records came")
        sizes.add(told["record_bytes"])
        if len(sizes) > 1:
            raise RuntimeError(f"the records differ in size: {sizes}")
        return Sample({"throughput": records / told["seconds"]}, told["cpu_seconds"])

    pairs = interleave(bench.pairs, lambda: side("produce-stage"), lambda: side("bare-produce"),
                       progress=bench.progress)
    kafka.delete_topics([topic])
    yield pairs.figure("relay_produce", "throughput", "records/s", 0.6,
                       note=f"{records:,} records of {sizes.pop():.0f} bytes with their keys and headers")


class Trickle:
    """Keeps the relay at work for a while: a few rows a second, so that it writes checkpoints as it would all day."""

    def __init__(self, ours: Ours, seconds: float) -> None:
        self._stack, self._seconds, self._next = ours.stack, seconds, ours.rows + 1
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Trickle":
        self._stack.order.start()
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._thread.join()
        self._stack.order.stop()

    def _run(self) -> None:
        end = time.monotonic() + self._seconds
        with self._stack.order_database_connection() as connection:
            while time.monotonic() < end:
                connection.execute("INSERT INTO outbox (order_id, version, type, occur_time, snapshot) "
                                   "VALUES (%s, 1, 1, now(), %s)", (self._next, _snapshot(self._next)))
                connection.execute("NOTIFY order_outbox")
                self._next += 1
                time.sleep(0.05)


def _dead_tuples(ours: Ours) -> tuple[int, int]:
    """Of the outbox and what else the relay reads or makes, and of outbox_relay, its one row."""
    with ours.stack.order_database_connection() as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        time.sleep(1.2)  # other sessions tell once a second
        found = dict(connection.execute("SELECT relname, n_dead_tup FROM pg_stat_all_tables "
                                        "WHERE relname LIKE 'outbox%' OR relname = 'event_modes'").fetchall())
    return sum(found.values()) - found["outbox_relay"], found["outbox_relay"]


def relay_long_tx(bench):
    """relay_drain while a transaction is open that has a row in the middle of the others, beside relay_drain
    without it. The reference is measured half before and half after, for what changes over the time."""
    rows = bench.choose(200_000, 50_000)
    seconds_open = bench.choose(180.0, 5.0)
    before = (bench.pairs + 1) // 2
    with Ours(bench, rows) as ours:
        ours.drain()
        reference = [ours.drain() for _ in range(before)]
        with ours.stack.order_database_connection() as late, late.transaction():
            late.execute("INSERT INTO outbox (sequence, order_id, version, type, occur_time, snapshot) "
                         "VALUES (%s, %s, 1, 1, now(), %s)", (ours.missing, 10**9, _snapshot(10**9)))
            bench.progress(f"a transaction is open; {seconds_open:.0f} s until it counts as long")
            with Trickle(ours, seconds_open):
                pass
            samples = []
            for number_of in range(bench.pairs):
                samples.append(ours.drain())
                bench.progress(f"{number_of + 1} of {bench.pairs}: {number(samples[-1].values['throughput'])} rows/s")
            dead, dead_relay = _dead_tuples(ours)
        reference += [ours.drain() for _ in range(bench.pairs - before)]  # it is committed: one row more
        dead_after, relay_after = _dead_tuples(ours)
    ratios = [mine.values["throughput"] / theirs.values["throughput"] for mine, theirs in zip(samples, reference)]
    yield Figure("relay_long_tx", "throughput", median(sample.values["throughput"] for sample in samples),
                 median(sample.values["throughput"] for sample in reference), "rows/s", 0.9, "higher", median(ratios),
                 spread(ratios), median(sample.cpu_seconds for sample in samples),
                 median(sample.cpu_seconds for sample in reference),
                 median(sample.peak_bytes for sample in samples), median(sample.peak_bytes for sample in reference),
                 f"open for {seconds_open:.0f} s before, with the relay at work")
    yield absolute("relay_long_tx", "dead_tuples", [Sample({"dead_tuples": max(dead, dead_after)})], "tuples", 0,
                   "lower", note=f"in the outbox; of outbox_relay, where a checkpoint makes its one row anew, "
                                 f"{dead_relay} while it is open, {relay_after} after")
