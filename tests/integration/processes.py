"""Real processes for the tests: PostgreSQL and Kafka (by deploy/local/infrastructure), order-service and
delivery-service. Each can be stopped, killed, paused, resumed and started again in the same place."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import confluent_kafka
import confluent_kafka.admin
import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("LOCKSTEP_BUILD_DIR", ROOT / "build"))
START_SECONDS = 60
STOP_SECONDS = 30


def wait_until(condition, seconds=20, message="the condition"):
    """Calls condition every 20 ms until it returns something true, which is returned.

    What it raises as AssertionError counts as "not yet" and is shown when time is up.
    """
    deadline = time.monotonic() + seconds
    while True:
        last = None
        try:
            value = condition()
            if value:
                return value
        except AssertionError as error:
            last = error
        if time.monotonic() >= deadline:
            text = message if isinstance(message, str) else message()
            raise AssertionError(f"{text}: not within {seconds} s" + (f" ({last})" if last else ""))
        time.sleep(0.02)


def reserve_port():
    """A socket that keeps a TCP port of 127.0.0.1 until it is closed: a service can listen on it, as often as it is
    started, and other tests find it taken. From below the ephemeral range, so that no outgoing connection has it."""
    while True:
        reservation = socket.socket()
        try:
            reservation.bind(("127.0.0.1", 15000 + secrets.randbelow(17000)))
        except OSError:
            reservation.close()
            continue
        # Set after it was bound: nobody else may have the port, and a server that sets it too may.
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reservation


def _address_of(reservation):
    host, port = reservation.getsockname()
    return f"{host}:{port}"


class Infrastructure:
    """A server that deploy/local/infrastructure runs: what Postgres and Kafka share."""

    name = ""

    def __init__(self, directory, settings=None):
        """settings: environment variables for its first start, such as LOCKSTEP_KAFKA_LISTENERS."""
        self.directory = pathlib.Path(directory)
        self.settings = dict(settings or {})
        self.environment = {}

    def _do(self, action):
        command = [ROOT / "deploy/local/infrastructure", action, self.name, "--dir", self.directory]
        # A Java that is started often and does little starts sooner with the quick compiler alone.
        environment = {**os.environ, "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1", **self.settings}
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                env=environment)
        if result.returncode not in (0, 3):
            raise RuntimeError(f"{' '.join(map(str, command))}: {result.stderr}")
        return result

    def start(self):
        """Starts it, or does nothing when it runs; returns when it answers. Data and port are kept."""
        lines = self._do("start").stdout.splitlines()
        self.environment = dict(line.split("=", 1) for line in lines)
        return self

    def stop(self):
        """An orderly shutdown."""
        self._do("stop")

    def kill(self):
        """SIGKILL."""
        self._do("kill")

    def restart(self):
        """Stops and starts it."""
        self._do("restart")

    def pause(self):
        """SIGSTOP: connections stay, nothing answers."""
        self._do("pause")

    def resume(self):
        """SIGCONT."""
        self._do("resume")

    def answers(self):
        """Whether it serves clients now."""
        return self._do("status").returncode == 0

    def log(self):
        """All it has written."""
        return (self.directory / self.name / "log").read_text(errors="replace")


class Postgres(Infrastructure):
    """A PostgreSQL server. environment: PGHOST, PGPORT, PGPASSFILE."""

    name = "postgres"

    def connect(self, database="postgres", user="postgres", **options):
        """An autocommitting psycopg connection, as the superuser unless told otherwise."""
        return psycopg.connect(
            host=self.environment["PGHOST"], port=self.environment["PGPORT"],
            passfile=self.environment["PGPASSFILE"], dbname=database, user=user, connect_timeout=5,
            autocommit=True, **options)

    def new_database(self, owner):
        """An empty database of a name of its own that belongs to order_service or delivery_service."""
        name = f"{owner.split('_')[0]}_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} OWNER {owner}")
        return name

    def drop_database(self, name):
        """Also when sessions are still connected to it."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


class Kafka(Infrastructure):
    """An Apache Kafka broker. environment: KAFKA_BOOTSTRAP_SERVERS."""

    name = "kafka"

    @property
    def bootstrap_servers(self):
        return self.environment["KAFKA_BOOTSTRAP_SERVERS"]

    def admin(self, **options):
        return confluent_kafka.admin.AdminClient({"bootstrap.servers": self.bootstrap_servers, **_dotted(options)})

    def producer(self, **options):
        """A producer that waits for acknowledgement by all; option names with _ for dots."""
        return confluent_kafka.Producer(
            {"bootstrap.servers": self.bootstrap_servers, "acks": "all", "linger.ms": 0, **_dotted(options)})

    def consumer(self, *topics, **options):
        """A consumer in a group of its own that begins at the beginning."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": f"test-{secrets.token_hex(6)}",
             "auto.offset.reset": "earliest", "enable.auto.commit": False, **_dotted(options)})
        if topics:
            consumer.subscribe(list(topics))
        return consumer

    def read(self, topic, count, seconds=30):
        """The first count messages of a topic, partition by partition in any order."""
        consumer = self.consumer(topic)
        messages = []
        try:
            deadline = time.monotonic() + seconds
            while len(messages) < count:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{topic} holds {len(messages)} messages, not {count}, after {seconds} s")
                for message in consumer.consume(count - len(messages), 0.2):
                    if message.error():
                        raise AssertionError(message.error())
                    messages.append(message)
        finally:
            consumer.close()
        return messages

    def topics(self):
        """The names of the topics that are not Kafka's own."""
        return {name for name in self.admin().list_topics(timeout=20).topics if not name.startswith("__")}

    def create_topic(self, name, partitions=1, **config):
        """Creates a topic and waits until it can be used."""
        topic = confluent_kafka.admin.NewTopic(name, partitions, 1, config=_dotted(config))
        admin = self.admin()  # a name for it: what it was asked ends when it goes
        admin.create_topics([topic])[name].result(30)
        wait_until(lambda: name in self.topics(), 20, f"topic {name} exists")

    def delete_topics(self, names=None):
        """Deletes these topics, or every one that is not Kafka's own, and waits until they are gone."""
        names = self.topics() & set(names) if names is not None else self.topics()
        if names:
            admin = self.admin()
            for future in admin.delete_topics(list(names)).values():
                future.result(30)
            wait_until(lambda: not self.topics() & names, 30, "the topics are gone")

    def end_offsets(self, topic):
        """partition -> the offset that the next message will have."""
        consumer = self.consumer()
        try:
            partitions = self.admin().list_topics(topic, timeout=20).topics[topic].partitions
            return {
                number: consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, number), 20)[1]
                for number in partitions
            }
        finally:
            consumer.close()

    def committed_offsets(self, group, topic):
        """partition -> the offset that the group committed, or -1001."""
        consumer = self.consumer(group_id=group)
        try:
            partitions = self.admin().list_topics(topic, timeout=20).topics[topic].partitions
            answer = consumer.committed([confluent_kafka.TopicPartition(topic, n) for n in partitions], 20)
            return {partition.partition: partition.offset for partition in answer}
        finally:
            consumer.close()


def _dotted(options):
    return {name.replace("_", "."): value for name, value in options.items()}


class Service:
    """One order-service or delivery-service process, on ports that it keeps over restarts.

    name         what it is called in failures and log files ("order-1")
    program      the path of the executable
    settings     its configuration, as environment variables; may be changed between starts
    credentials  of the channel; None: plaintext
    """

    def __init__(self, name, program, directory, settings):
        self.name = name
        self.program = pathlib.Path(program)
        self.settings = dict(settings)
        self._reservations = [reserve_port(), reserve_port()]
        self.address, self.metrics_address = map(_address_of, self._reservations)
        self.log_file = pathlib.Path(directory) / f"{name}.log"
        self.process = None
        self.credentials = None
        self._channel = None
        self._lock = threading.Lock()

    def environment(self):
        """All that the process is given: of the tests' own environment only what any program may expect."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "TZ") if name in os.environ}
        sanitizers = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
        return {**inherited, **sanitizers, "LISTEN_ADDRESS": self.address, "METRICS_ADDRESS": self.metrics_address,
                "LOG_FORMAT": "json", "LOG_LEVEL": "info", **self.settings}

    def run(self, *arguments, check=True, timeout=60):
        """Runs the program to its end with arguments such as --migrate; returns CompletedProcess (text)."""
        result = subprocess.run([self.program, *arguments], env=self.environment(), stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=timeout, check=False)
        if check and result.returncode != 0:
            raise AssertionError(f"{self.name} {' '.join(arguments)}: exit code {result.returncode}\n{result.stderr}")
        return result

    def start(self, *arguments, wait=True, seconds=START_SECONDS):
        """Starts the process; unless wait is false, returns when its health service says SERVING."""
        assert not self.running(), f"{self.name} runs already"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen([self.program, *arguments], env=self.environment(),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait_serving(seconds)
        return self

    def running(self):
        return self.process is not None and self.process.poll() is None

    def serving(self):
        """Whether the health service says SERVING now."""
        try:
            answer = health_pb2_grpc.HealthStub(self.channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING

    def wait_serving(self, seconds=START_SECONDS):
        def condition():
            if not self.running():
                raise RuntimeError(f"{self.name} ended with exit code {self.process.returncode}:\n{self.log_tail()}")
            return self.serving()

        wait_until(condition, seconds, lambda: f"{self.name} serves\n{self.log_tail()}\n")

    def wait_not_serving(self, seconds=20):
        wait_until(lambda: not self.serving(), seconds, f"{self.name} stops serving")

    def wait_ended(self, seconds=STOP_SECONDS):
        """Waits for the process to end by itself; returns its exit code (negative: the signal)."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end within {seconds} s\n{self.log_tail()}") from None

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM; returns the exit code. A service that does not end in time fails the test."""
        if not self.running():
            return self.process.returncode if self.process else None
        self.signal(signal.SIGTERM)
        return self.wait_ended(seconds)

    def kill(self):
        """SIGKILL."""
        if self.running():
            self.process.kill()
            self.process.wait()

    def restart(self, wait=True):
        """SIGTERM, then starts it again at the same addresses."""
        self.stop()
        return self.start(wait=wait)

    def pause(self):
        """SIGSTOP."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def close(self):
        """At the end of a test: whatever state it is in, it ends."""
        self.kill()
        for reservation in self._reservations:
            reservation.close()
        with self._lock:
            if self._channel is not None:
                self._channel.close()
                self._channel = None

    @property
    def channel(self):
        """A gRPC channel to it, made once; it reconnects quickly after a restart."""
        with self._lock:
            if self._channel is None:
                self._channel = self.new_channel()
            return self._channel

    def new_channel(self):
        """Another one, which the caller closes."""
        options = [("grpc.min_reconnect_backoff_ms", 50), ("grpc.initial_reconnect_backoff_ms", 50),
                   ("grpc.max_reconnect_backoff_ms", 500), ("grpc.use_local_subchannel_pool", 1)]
        if self.credentials is not None:
            return grpc.secure_channel(self.address, self.credentials, options)
        return grpc.insecure_channel(self.address, options)

    # ---- what it says ----

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def log_tail(self, lines=25):
        return "\n".join(self.log().splitlines()[-lines:])

    def log_records(self):
        """The log lines that are JSON, as dictionaries."""
        records = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                record = json.loads(line)
                if isinstance(record, dict):
                    records.append(record)
        return records

    def wait_log(self, pattern, seconds=20):
        """Waits until a line of the log matches the regular expression; returns the match."""
        return wait_until(lambda: re.search(pattern, self.log()), seconds,
                          lambda: f"{self.name} logs {pattern!r}\n{self.log_tail()}\n")

    def metrics_text(self):
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=5) as answer:
            return answer.read().decode()

    def metrics(self):
        """{'name{label="value"}': number} of the Prometheus page."""
        samples = {}
        for line in self.metrics_text().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def metric(self, name, **labels):
        """The sum over the series of that name which have these labels; 0 when there is none."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(value for series, value in self.metrics().items()
                   if series.split("{", 1)[0] == name and all(label in series for label in wanted))


class Stack:
    """An order side and a delivery side over one PostgreSQL and one Kafka, with databases, topics and a
    consumer group of their own. Nothing runs until start() or the services are started one by one.

    topics       the topics' names, by the setting that names them ("DOMAIN_TOPIC", ...); the services' defaults
                 with default_topics, of which there can be only one stack at a time
    event_topics the four that events go to
    """

    def __init__(self, postgres, kafka, directory, orders=1, deliveries=1, order_settings=None,
                 delivery_settings=None, default_topics=False, build=BUILD):
        self.postgres, self.kafka = postgres, kafka
        self.directory = pathlib.Path(directory)
        self.order_database = postgres.new_database("order_service")
        self.delivery_database = postgres.new_database("delivery_service")
        token = secrets.token_hex(4)
        self.group = f"delivery-{token}"
        names = {"DOMAIN_TOPIC": "order-topic", "CREATE_TOPIC": "order-create-topic", "CHANGE_TOPIC": "order-change-topic",
                 "CANCEL_TOPIC": "order-cancel-topic", "DEAD_LETTER_TOPIC": "order-dead-letter-topic"}
        self.topics = names if default_topics else {setting: f"{name}-{token}" for setting, name in names.items()}
        self.event_topics = [name for setting, name in self.topics.items() if setting != "DEAD_LETTER_TOPIC"]

        events = {} if default_topics else {setting: name for setting, name in self.topics.items() if name in self.event_topics}
        shared = {**postgres.environment, **kafka.environment, **events, "MIGRATE_ON_START": "false"}
        order = {**shared, "PGUSER": "order_service", "PGDATABASE": self.order_database,
                 **(order_settings or {})}
        self.orders = [Service(f"order-{n + 1}", build / "order/order-service", directory, order)
                       for n in range(orders)]
        addresses = ",".join(service.address for service in self.orders)
        letters = {} if default_topics else {"DEAD_LETTER_TOPIC": self.topics["DEAD_LETTER_TOPIC"]}
        delivery = {**shared, **letters, "PGUSER": "delivery_service", "PGDATABASE": self.delivery_database,
                    "ORDER_ADDRESS": addresses if orders == 1 else f"ipv4:{addresses}",
                    "KAFKA_GROUP_ID": self.group,
                    "RECONCILE_INTERVAL": "0",  # what is tested must come about without it
                    **(delivery_settings or {})}
        self.deliveries = [Service(f"delivery-{n + 1}", build / "delivery/delivery-service", directory, delivery)
                           for n in range(deliveries)]

    @property
    def services(self):
        return [*self.orders, *self.deliveries]

    @property
    def order(self):
        return self.orders[0]

    @property
    def delivery(self):
        return self.deliveries[0]

    def prepare(self):
        """Both schemas and the topics."""
        self.order.run("--migrate")
        self.delivery.run("--migrate")
        self.order.run("--create-topics")
        self.delivery.run("--create-topics")
        return self

    def start(self):
        """Prepares, and starts every service; returns when all serve."""
        self.prepare()
        for service in self.services:
            service.start(wait=False)
        for service in self.services:
            service.wait_serving()
        return self

    def order_database_connection(self):
        """psycopg, as the superuser: for looking on."""
        return self.postgres.connect(self.order_database)

    def delivery_database_connection(self):
        return self.postgres.connect(self.delivery_database)

    def logs(self):
        """(name, end of the log) of each service, for the report of a failure."""
        return [(service.name, service.log_tail(60)) for service in self.services if service.log_file.exists()]

    def close(self):
        for service in self.services:
            service.close()
        if self.postgres.answers():
            self.postgres.drop_database(self.order_database)
            self.postgres.drop_database(self.delivery_database)
        if self.kafka.answers():
            self.kafka.delete_topics(self.topics.values())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()
