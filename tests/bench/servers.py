"""What rows stand on: PostgreSQL and Kafka as they run in earnest, and stacks of services over them."""

import contextlib
import os
import pathlib

from processes import Kafka, Postgres, Stack

# Durable, like the defaults that are not named: fsync, synchronous_commit and full_page_writes are on. Enough room that
# checkpoints do not fall into one run and spare the next.
POSTGRES_SETTINGS = """max_connections = 200
shared_buffers = '2GB'
max_wal_size = '8GB'
checkpoint_timeout = '30min'
wal_level = logical
max_replication_slots = 20
autovacuum_naptime = '15s'
"""


# What a session that leads the relay holds.
RELAY_LOCK = "hashtextextended('lockstep outbox relay', 0)"


class Servers:
    """postgres and kafka are started when first asked for, and stay to the end."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._cleanup = contextlib.ExitStack()
        self._postgres: Postgres | None = None
        self._kafka: Kafka | None = None

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            self._postgres = Postgres(self.directory, {"LOCKSTEP_POSTGRES_SETTINGS": POSTGRES_SETTINGS})
            self._cleanup.callback(self._postgres.kill)
            self._postgres.start()
        return self._postgres

    @property
    def kafka(self) -> Kafka:
        if self._kafka is None:
            # With all of Java's compilers: the tests' broker makes do with the quick one.
            self._kafka = Kafka(self.directory, {"JAVA_TOOL_OPTIONS": ""})
            self._cleanup.callback(self._kafka.kill)
            self._kafka.start()
        return self._kafka

    def stack(self, directory_name: str, **options) -> Stack:
        """Services that are not yet started, over a database and topics of their own: processes.Stack."""
        directory = self.directory / directory_name
        directory.mkdir(parents=True, exist_ok=True)
        return Stack(self.postgres, self.kafka, directory, **options)

    @contextlib.contextmanager
    def relay_at_rest(self, stack: Stack):
        """Keeps every relay of the stack from leading: holds what their leader would."""
        with stack.order_database_connection() as connection:
            connection.execute(f"SELECT pg_advisory_lock({RELAY_LOCK})")
            yield

    def close(self) -> None:
        self._cleanup.close()


def libpq_environment(servers: Servers, database: str, user: str = "postgres") -> dict[str, str]:
    """For pgbench and psql."""
    return {**os.environ, **servers.postgres.environment, "PGDATABASE": database, "PGUSER": user}
