"""The versions that run side by side, and what is asked of their schemas."""

import dataclasses
import os
import pathlib

import psycopg
import pytest

from processes import BUILD, Service, Stack

# How a log line and a refusal begin where a program finds migrations that it does not know.
NEWER = "the database is newer than this program"

# A dead member's partitions are free after so long, and what it had claimed to look up.
DELIVERY_SETTINGS = {"KAFKA_SESSION_TIMEOUT": "1s", "PENDING_INITIAL_DELAY": "100ms", "PENDING_MAX_DELAY": "500ms",
                     "PENDING_POLL_INTERVAL": "100ms", "LOOKUP_TIMEOUT": "1s"}


@dataclasses.dataclass(frozen=True)
class Pair:
    """An older version and the one that follows it, each the folder it was built in."""

    old: pathlib.Path
    new: pathlib.Path


def _pair(name: str, old: str | None, new: str | None):
    """A parameter; without one of the builds it is skipped."""
    marks = [] if old and new else [pytest.mark.skip(reason=os.environ.get("LOCKSTEP_UPGRADE_SKIPPED", "not built"))]
    return pytest.param(Pair(pathlib.Path(old or "."), pathlib.Path(new or ".")), id=name, marks=marks)


NEXT_ONLY = [_pair("tree-to-next", str(BUILD), os.environ.get("LOCKSTEP_UPGRADE_NEXT"))]
PAIRS = [_pair("last-to-tree", os.environ.get("LOCKSTEP_UPGRADE_LAST"), str(BUILD)), *NEXT_ONLY]


def set_version(service: Service, build: pathlib.Path) -> None:
    """What its next start, or its next action, is of."""
    service.program = build / service.program.parent.name / service.program.name


def replace(service: Service, build: pathlib.Path) -> None:
    """Tells a replica to end, if it runs, and starts one of that version in its place."""
    if service.running():
        assert service.stop() == 0
    set_version(service, build)
    service.start()


def connections(stack: Stack) -> list[psycopg.Connection]:
    """To the databases of both services."""
    return [stack.order_database_connection(), stack.delivery_database_connection()]


def migrate(stack: Stack, build: pathlib.Path) -> None:
    """As the init container of a rollout's first pod does it: beside the replicas, which go on."""
    for service in (stack.order, stack.delivery):
        before = service.program
        set_version(service, build)
        service.run("--migrate")
        service.program = before


def newest_migrations(stack: Stack) -> list[int]:
    """Of order and of delivery."""
    found = []
    for connection in connections(stack):
        with connection:
            found.append(connection.execute("SELECT max(number) FROM lockstep_schema_migrations").fetchone()[0])
    return found


def is_accepted(stack: Stack, known: list[int]) -> bool:
    """Whether the migrations say that programs which know those up to `known` can work with both schemas."""
    for connection, newest in zip(connections(stack), known):
        with connection:
            needed = connection.execute(
                "SELECT max(coalesce((to_jsonb(m)->>'oldest')::integer, number)) FROM lockstep_schema_migrations m "
                "WHERE number > %s", (newest,)).fetchone()[0]
        if needed is not None and needed > newest:
            return False
    return True
