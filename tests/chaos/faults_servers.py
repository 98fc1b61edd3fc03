"""Faults of PostgreSQL and Kafka, and of the disks that they write to."""

import contextlib
import random
import signal
import time

import psycopg

from faults import Fault, Scene, duration
from ground import Ground


class KillKafka(Fault):
    kind = "kill_kafka"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = ("kafka",)
        self.touches = frozenset(self.targets)
        self.seconds = source.uniform(0.2, 1)

    def inject(self, scene: Scene) -> None:
        scene.ground.kafka_down(signal.SIGKILL)

    def heal(self, scene: Scene) -> None:
        scene.ground.wait_ended("kafka")
        scene.ground.kafka_up()


class StopKafka(Fault):
    kind = "stop_kafka"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = ("kafka",)
        self.touches = frozenset(self.targets)
        self.seconds = duration(source)

    def inject(self, scene: Scene) -> None:
        scene.ground.kafka_down(signal.SIGSTOP)

    def heal(self, scene: Scene) -> None:
        scene.ground.kafka_down(signal.SIGCONT)
        scene.ground.kafka_up()


class KillPostgres(Fault):
    kind = "kill_postgres"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = ("postgres",)
        self.touches = frozenset(self.targets)
        self.seconds = source.uniform(0.1, 2)
        self.detail = {"signal": source.choice(("SIGKILL", "SIGQUIT"))}

    def inject(self, scene: Scene) -> None:
        scene.ground.postgres_down(signal.Signals[self.detail["signal"]])

    def heal(self, scene: Scene) -> None:
        scene.ground.wait_ended("postgres")
        scene.ground.postgres_up()


class StopPostgres(Fault):
    kind = "stop_postgres"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = ("postgres",)
        self.touches = frozenset(self.targets)
        self.seconds = duration(source)

    def inject(self, scene: Scene) -> None:
        scene.ground.postgres_down(signal.SIGSTOP)

    def heal(self, scene: Scene) -> None:
        scene.ground.postgres.resume()
        scene.ground.postgres_up()


class DiskFullPostgres(Fault):
    """PostgreSQL's disk is full for a while. With more_log its log needs a new file at once, which stops the whole
    server; without, only tables do not grow."""

    kind = "disk_full_postgres"
    server = "postgres"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = (self.server,)
        self.touches = frozenset(self.targets)
        self.seconds = source.uniform(2, 4)
        self.detail = {"more_log": source.random() < 0.5}

    @classmethod
    def unavailable(cls, ground: Ground) -> str | None:
        return None if ground.disks[cls.server].mounted else "no file system can be mounted here"

    def inject(self, scene: Scene) -> None:
        scene.ground.disks[self.server].fill()

    def hold(self, scene: Scene) -> None:
        end = time.monotonic() + self.seconds
        while self.detail["more_log"] and time.monotonic() < end:
            with contextlib.suppress(psycopg.Error), scene.ground.postgres.connect() as connection:
                connection.execute("SELECT pg_switch_wal()")
            time.sleep(0.2)
        time.sleep(max(0, end - time.monotonic()))

    def heal(self, scene: Scene) -> None:
        self.detail["died"] = not scene.ground.running(self.server)
        scene.ground.disks[self.server].empty()
        scene.ground.postgres_up()


class DiskFullKafka(DiskFullPostgres):
    """Kafka's disk is full for a while; it stops itself when it cannot write."""

    kind = "disk_full_kafka"
    server = "kafka"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.detail = {"more_log": False}

    def heal(self, scene: Scene) -> None:
        scene.ground.disks[self.server].empty()
        # It takes a moment from the failed write to the end of the process.
        time.sleep(0.5)
        self.detail["died"] = not scene.ground.running(self.server)
        scene.ground.kafka_up()
