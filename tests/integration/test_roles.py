"""The roles that deploy/kubernetes/overlays/production/roles.sql makes are enough: one brings a schema up to date,
another serves, and the serving one of delivery changes no schema."""

import os
import pathlib
import subprocess

import psycopg
import pytest

import processes
from support.convergence import wait_converged
from support.workload import Workload

ROLES = pathlib.Path(__file__).resolve().parents[2] / "deploy/kubernetes/overlays/production/roles.sql"
SIDES = {"order": "orders", "delivery": "delivery"}
PASSWORD = "for-this-test"


@pytest.fixture
def administered(tmp_path_factory, test_directory):
    """A PostgreSQL with nothing in it but what roles.sql makes; all roles have the same password."""
    directory = test_directory / tmp_path_factory.mktemp("roles").name
    directory.mkdir()
    directory.chmod(0o755)
    server = processes.Postgres(directory)
    try:
        server.start()
        with server.connect() as administrator:
            for side, database in SIDES.items():
                administrator.execute(f"DROP DATABASE {database}")
                administrator.execute(f"DROP ROLE {side}_service")
        subprocess.run(["psql", "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--username", "postgres",
                        "--dbname", "postgres", "--file", ROLES], env={**os.environ, **server.environment},
                       check=True, timeout=60)
        with server.connect() as administrator:
            for side in SIDES:
                for role in (f"{side}_service", f"{side}_service_migration"):
                    administrator.execute(f"ALTER ROLE {role} PASSWORD '{PASSWORD}'")
        yield server
    finally:
        server.kill()


def run_as(service, role, *arguments):
    """An action by another role than the serving one."""
    serving = service.settings["PGUSER"]
    service.settings["PGUSER"] = role
    try:
        service.run(*arguments)
    finally:
        service.settings["PGUSER"] = serving


def connect(server, side, role):
    """A session of one of the roles in its service's database."""
    return psycopg.connect(host=server.environment["PGHOST"], port=server.environment["PGPORT"], user=role,
                           password=PASSWORD, dbname=SIDES[side], autocommit=True)


def test_one_role_migrates_and_another_serves(administered, kafka, tmp_path):
    settings = {side: {"PGPASSWORD": PASSWORD, "PGDATABASE": database} for side, database in SIDES.items()}
    stack = processes.Stack(administered, kafka, tmp_path, order_settings=settings["order"],
                            delivery_settings=settings["delivery"])
    stack.order_database, stack.delivery_database = SIDES["order"], SIDES["delivery"]
    with stack:
        for side in SIDES:
            service = getattr(stack, side)
            run_as(service, f"{side}_service_migration", "--migrate")
            service.run("--create-topics")
        for service in stack.services:
            service.start()
        Workload(stack.orders).run(200)
        wait_converged(stack)

        # The relay's work with partitions, as the relay's role does it.
        with connect(administered, "order", "order_service") as session:
            names = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'outbox'::regclass ORDER BY inhrelid"
            before = session.execute(names).fetchall()
            session.execute("SELECT outbox_add_partitions(9)")
            after = session.execute(names).fetchall()
            assert len(after) > len(before)
            session.execute(f"DROP TABLE {after[-1][0]}")
        # What a migration may do afterwards, to tables and to the partitions that were made while serving.
        for side, statement in {"order": "ALTER TABLE outbox ADD COLUMN later text",
                                "delivery": "ALTER TABLE deliveries ADD COLUMN later text"}.items():
            with connect(administered, side, f"{side}_service_migration") as session:
                session.execute(statement)


def test_the_serving_role_of_delivery_changes_no_schema(administered, kafka, tmp_path):
    stack = processes.Stack(administered, kafka, tmp_path,
                            delivery_settings={"PGPASSWORD": PASSWORD, "PGDATABASE": "delivery"})
    with stack:
        run_as(stack.delivery, "delivery_service_migration", "--migrate")
        with connect(administered, "delivery", "delivery_service") as session:
            assert session.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)
            for statement in ("CREATE TABLE mine (number integer)", "DROP TABLE deliveries", "TRUNCATE deliveries",
                              "ALTER TABLE deliveries ADD COLUMN mine text"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    session.execute(statement)


def test_no_role_enters_the_other_services_database(administered):
    for side, other in (("order", "delivery"), ("delivery", "order")):
        for role in (f"{side}_service", f"{side}_service_migration"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                connect(administered, other, role)
