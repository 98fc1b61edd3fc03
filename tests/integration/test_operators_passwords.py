"""Passwords that are replaced on disk while the services run."""

import secrets

import grpc
import pytest

from support import clients, convergence, samples
from support.sasl_broker import SaslBroker

SIDES = ["order", "delivery"]


@pytest.fixture
def broker():
    made = SaslBroker()
    yield made
    made.close()


class Role:
    """A role of this test's own, and the file that its password stands in."""

    def __init__(self, postgres, directory, side: str) -> None:
        self._postgres = postgres
        self.name = f"rotating_{secrets.token_hex(4)}"
        self.file = directory / "password"
        self.password = ""
        with postgres.connect() as database:
            database.execute(f"CREATE ROLE {self.name} LOGIN IN ROLE {side}_service")
            database.execute(f"ALTER ROLE {self.name} SET role = {side}_service")
        self.rotate()
        self.write()

    def rotate(self) -> None:
        self.password = secrets.token_hex(8)
        with self._postgres.connect() as database:
            database.execute(f"ALTER ROLE {self.name} PASSWORD '{self.password}'")

    def write(self) -> None:
        """As a mounted Secret changes: in one step."""
        new = self.file.with_suffix(".new")
        new.write_text(self.password + "\n")
        new.replace(self.file)

    def end_sessions(self) -> int:
        with self._postgres.connect() as database:
            return len(database.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                                        "WHERE usename = %s", (self.name,)).fetchall())

    def remove(self) -> None:
        with self._postgres.connect() as database:
            database.execute(f"DROP ROLE {self.name}")


@pytest.fixture
def side(request) -> str:
    """Whose password it is that changes."""
    return getattr(request, "param", "order")


@pytest.fixture
def role(postgres, tmp_path, side):
    made = Role(postgres, tmp_path, side)
    yield made
    made.end_sessions()
    made.remove()


@pytest.fixture
def rotating(new_stack, role, side):
    """A stack of which one service logs in as the role."""
    settings = {"PGUSER": role.name, "PGPASSWORD_FILE": str(role.file), "PGPASSFILE": "/no/such/file",
                "WRITE_THREADS": "1"}  # so that a second write finds the session that the first one opened
    return new_stack(**{f"{side}_settings": settings}).start()


def writes_work(stack) -> bool:
    try:
        samples.create(clients.order_service(stack.order))
    except grpc.RpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED), error
        return False
    return True


def test_a_new_database_password_is_taken_up_without_a_restart(rotating, role, wait_until):
    process = rotating.order.process.pid
    assert writes_work(rotating)
    role.rotate()
    assert writes_work(rotating), "sessions that are open go on"
    role.write()
    assert role.end_sessions() > 0
    wait_until(lambda: writes_work(rotating), 20, "writes work again")
    rotating.order.wait_serving(20)
    assert rotating.order.process.pid == process and rotating.order.running()
    convergence.wait_converged(rotating)
    assert role.password not in rotating.order.log()


@pytest.mark.parametrize("side", SIDES, indirect=True)
def test_the_file_may_come_after_the_password(rotating, role, side):
    service = getattr(rotating, side)
    role.rotate()
    assert role.end_sessions() > 0
    service.wait_not_serving()
    service.wait_log("password authentication failed")
    assert service.running()
    role.write()
    service.wait_serving(20)
    assert writes_work(rotating)
    convergence.wait_converged(rotating)


def test_a_file_that_is_away_is_waited_for(rotating, role, wait_until):
    content = role.file.read_text()
    role.file.unlink()
    assert role.end_sessions() > 0
    rotating.order.wait_not_serving()
    assert not writes_work(rotating)
    rotating.order.wait_log(f"password's file {role.file}: must be a file that can be read")
    role.file.write_text(content)
    wait_until(lambda: writes_work(rotating), 20, "writes work again")


@pytest.mark.parametrize("side", SIDES, indirect=True)
def test_a_new_kafka_password_is_taken_up_without_a_restart(new_stack, broker, tmp_path, wait_until, side):
    stack = new_stack()
    stack.prepare()
    file = tmp_path / "kafka-password"
    file.write_text("first\n")
    service = getattr(stack, side)
    service.settings.update(broker.settings, KAFKA_SASL_PASSWORD_FILE=str(file))
    service.start(wait=side == "order")
    wait_until(lambda: broker.passwords, 20, "the first password is told")
    file.write_text("second\n")
    wait_until(lambda: broker.passwords[-1] == "second", 20, "the second password is told")
    assert set(broker.passwords) == {"first", "second"}
    assert "kafka password was read again" in service.log()
    assert "second" not in service.log()
    assert service.stop() == 0
