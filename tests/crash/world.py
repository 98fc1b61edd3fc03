"""The services of one case: they live through many crashes, one after the other, and must come out right each time."""

import contextlib
import pathlib
import signal

from delivery.v1.delivery_operations_pb2 import GetConsumerStateRequest, GetConsumerStateResponse
from order.v1.order_operations_pb2 import GetRelayStateRequest, GetRelayStateResponse

from ledger import Ledger
from points import Point
from processes import Kafka, Postgres, Service, Stack, wait_until
from support import clients, convergence, events
from support.workload import Workload

CRASH_SECONDS = 30
CONVERGE_SECONDS = 30
WRITES_AFTERWARDS = 60
PATIENCE_SECONDS = 30  # with which a write is repeated

# A dead member's partitions are free after so long, and what it had claimed to look up; orders are looked up again
# soon.
# Nothing is compared, so that no event that was lost is made up for.
DELIVERY_SETTINGS = {"KAFKA_SESSION_TIMEOUT": "1s", "PENDING_INITIAL_DELAY": "100ms", "PENDING_MAX_DELAY": "500ms",
                     "PENDING_POLL_INTERVAL": "100ms", "LOOKUP_TIMEOUT": "1s", "RECONCILE_INTERVAL": "0ms"}


def relay_state(service: Service) -> GetRelayStateResponse:
    return clients.order_operations(service).GetRelayState(GetRelayStateRequest())


def consumer_state(service: Service) -> GetConsumerStateResponse:
    return clients.delivery_operations(service).GetConsumerState(GetConsumerStateRequest())


class Crash:
    """A service that is told to die at a point, until it has.

    happened   whether it did
    """

    def __init__(self, point: Point, file: pathlib.Path) -> None:
        self._point, self._file = point, file
        self.happened = False
        self._victim: Service | None = None

    def arm(self, service: Service) -> Service:
        """The next start of a service that does not run will end at the point."""
        service.settings.update(LOCKSTEP_CRASH_AT=f"{self._point.name}:{self._point.turn}",
                                LOCKSTEP_CRASH_FILE=str(self._file))
        self._victim = service
        return service

    def wait(self) -> Service:
        """Waits until it has died there; its next start is an ordinary one."""
        assert self._victim is not None
        self.check(self._victim.wait_ended(CRASH_SECONDS))
        return self._victim

    def check(self, exit_code: int) -> None:
        assert self._victim is not None
        assert exit_code == -signal.SIGKILL, f"{self._victim.name} ended with {exit_code}, not by SIGKILL"
        assert self._file.read_text() == f"{self._point.name}\n"
        self.happened = True
        for setting in ("LOCKSTEP_CRASH_AT", "LOCKSTEP_CRASH_FILE"):
            del self._victim.settings[setting]


class World:
    """A Stack of a case. At rest, the first order service and the first delivery service run, and the others do not.

    started  whether it was prepared and started; only the scene of a migration begins before that
    usable   whether the next point may have it: not after a failure
    """

    def __init__(self, case: str, postgres: Postgres, kafka: Kafka, directory: pathlib.Path) -> None:
        self.case, self.directory = case, directory
        self.stack = Stack(postgres, kafka, directory, orders=2, deliveries=2, delivery_settings=DELIVERY_SETTINGS)
        self.ledger: Ledger | None = None
        self.started, self.usable = False, True
        self._load: Workload | None = None
        self._settings = [dict(service.settings) for service in self.stack.services]
        self._crashes = 0

    def start(self) -> None:
        if self.started:
            return
        self.stack.prepare()
        for service in self._resting():
            service.start()
        events.set_mode(self.stack.order, events.MODES[self.case])
        self.ledger = Ledger(self.stack)
        self.started = True

    def new_crash(self, point: Point) -> Crash:
        self._crashes += 1
        return Crash(point, self.directory / f"crash-{self._crashes}")

    def load(self, *services: Service) -> Workload:
        """Starts writing to some order services; without a word about which, to the first."""
        self._load = Workload(services or [self.stack.order], patience_seconds=PATIENCE_SECONDS).start()
        return self._load

    def check_offsets(self) -> None:
        """Right after a crash of the only consumer."""
        assert self.ledger is not None
        _assert_none(self.ledger.offset_problems())

    def finish(self, load: Workload) -> None:
        """Ends the load, and asserts all that must be true whatever has happened."""
        load.wait_for_more(WRITES_AFTERWARDS)
        load.stop()
        self.settle()
        load.check(convergence.all_orders(self.stack))
        load.check_repeated()

    def settle(self) -> None:
        """Waits until all is in step, and checks how it came there."""
        assert self.ledger is not None
        convergence.wait_converged(self.stack, CONVERGE_SECONDS)
        wait_until(self._nothing_waits, CONVERGE_SECONDS,
                   lambda: f"nothing waits in {consumer_state(self.stack.delivery)}")
        _assert_none(self.ledger.problems())
        convergence.check_history(self.stack)

    def rest(self) -> None:
        """As every point finds it; services are told to end, not killed."""
        resting = self._resting()
        for service in self.stack.services:
            if service not in resting:
                assert service.stop() in (0, None)
        for service in resting:
            if not service.running():
                service.start()
        for service, settings in zip(self.stack.services, self._settings):
            service.settings = dict(settings)

    def close(self) -> None:
        if self._load is not None:
            with contextlib.suppress(AssertionError):  # told already, if it matters
                self._load.stop()
        if self.ledger is not None:
            self.ledger.close()
        self.stack.close()

    def _resting(self) -> list[Service]:
        return [self.stack.order, self.stack.delivery]

    def _nothing_waits(self) -> bool:
        assert self.ledger is not None
        state = consumer_state(self.stack.delivery)
        assert state.pending_orders == 0, f"{state.pending_orders} orders are pending"
        self.ledger.read()
        _assert_none(self.ledger.letter_problems())
        counters = consumer_state(self.stack.delivery).counters
        fates = counters.applied + counters.stale + counters.pending + counters.dead_lettered
        assert counters.consumed == fates, f"{counters.consumed} consumed, {fates} accounted for"
        return True


def _assert_none(problems) -> None:
    found = list(problems)
    assert not found, f"{len(found)} problems, such as {found[:5]}"


class Worlds:
    """Keeps the world of the case that is being tested; a failure and a case's end are its end."""

    def __init__(self, postgres: Postgres, kafka: Kafka, directory: pathlib.Path) -> None:
        self._postgres, self._kafka, self._directory = postgres, kafka, directory
        self._world: World | None = None
        self._made = 0
        self.stacks: list[Stack] = []  # the one there is, for reports of failures

    def enter(self, case: str, fresh: bool = False) -> World:
        """The world of the case, which is not usable until the caller says so again; fresh: one not started yet."""
        world = self._world
        if world is None or world.case != case or not world.usable or (fresh and world.started):
            self.leave()
            world = self._world = self._new(case)
        if not fresh:
            world.start()
        world.usable = False
        return world

    def leave(self) -> None:
        world, self._world = self._world, None
        self.stacks.clear()
        if world is not None:
            world.close()

    def _new(self, case: str) -> World:
        self._made += 1
        directory = self._directory / f"world-{self._made}"
        directory.mkdir()
        world = World(case, self._postgres, self._kafka, directory)
        self.stacks.append(world.stack)
        return world
