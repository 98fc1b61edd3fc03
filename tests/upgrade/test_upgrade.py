"""Replicas of two versions side by side: what a rolling update does, and what undoes it."""

import collections
import contextlib

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import GetConsumerStateRequest
from order.v1.order_operations_pb2 import GetRelayStateRequest

import versions
from processes import Stack, wait_until
from readers import Readers
from support import clients, convergence, events
from support.events import MODES, ORDER_FIELD, TYPE_FIELD
from support.workload import LOST_RACES, Workload

# Between two steps of an update so much is written, and read: enough to pass through every replica there is.
WRITES, READS = 50, 15
CALL_SECONDS = 20  # no write may end because time was up
WRITES_PER_SECOND = 80
ORDERS = 40


class Clients:
    """The load on both services, for as long as a with statement lasts."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.load = Workload(stack.orders, call_seconds=CALL_SECONDS, writes_per_second=WRITES_PER_SECOND)
        self.readers = Readers(stack, self.load)

    def __enter__(self) -> "Clients":
        self.load.start()
        self.readers.start()
        return self

    def __exit__(self, *exception) -> None:
        for part in (self.load, self.readers):
            with contextlib.suppress(AssertionError):  # told already, if it matters
                part.stop()

    def go_on(self) -> None:
        """Waits until more was written and read."""
        self.load.wait_for_more(WRITES)
        wanted = self.readers.reads() + READS
        wait_until(lambda: self.readers.reads() >= wanted, 60, lambda: f"{READS} more reads ({self.readers.codes})")

    def finish(self) -> None:
        """Ends it, and asserts that all is in step and that nobody noticed more than a replica that was away."""
        self.load.stop()
        self.readers.stop()
        convergence.wait_converged(self._stack)
        self.load.check(convergence.all_orders(self._stack))
        self.load.check_repeated()
        self.readers.check(convergence.all_deliveries(self._stack))
        expected = {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}
        assert set(self.load.codes) <= expected | LOST_RACES, self.load.codes
        assert set(self.readers.codes) <= expected | {grpc.StatusCode.FAILED_PRECONDITION}, self.readers.codes
        assert self.load.unknown == 0


def check_consumers(stack: Stack) -> collections.Counter[str]:
    """Asserts that no event was too much for any consumer; what they have counted since they were started."""
    total: collections.Counter[str] = collections.Counter()
    for service in stack.deliveries:
        if service.running():
            answer = clients.delivery_operations(service).GetConsumerState(GetConsumerStateRequest())
            assert (answer.problem, answer.dead_letters, answer.pending_orders) == ("", 0, 0)
            total.update({field.name: value for field, value in answer.counters.ListFields()})
    return total


def make_leader(service, others) -> None:
    """Sees to it that a replica's relay sends, by having the others end and start again."""
    def leads() -> bool:
        return clients.order_operations(service).GetRelayState(GetRelayStateRequest()).leader

    for other in others:
        assert other.stop() == 0
    wait_until(leads, 20, f"{service.name} leads")
    for other in others:
        other.start()
    assert leads()


@pytest.mark.parametrize("pair", versions.PAIRS)
def test_replicas_are_replaced_one_by_one(new_stack, pair):
    stack = new_stack(orders=2, deliveries=2, build=pair.old, delivery_settings=versions.DELIVERY_SETTINGS).start()
    known = versions.newest_migrations(stack)
    with Clients(stack) as running:
        running.go_on()
        versions.migrate(stack, pair.new)
        running.go_on()
        versions.replace(stack.orders[1], pair.new)
        versions.replace(stack.deliveries[1], pair.new)
        running.go_on()

        if versions.is_accepted(stack, known):
            restart_and_roll_back(stack, pair, running)
        else:
            # Those that run go on; none can come back, and none is promised to.
            for service in (stack.orders[0], stack.deliveries[0]):
                service.kill()
                assert versions.NEWER in service.run(check=False, timeout=30).stderr

        for service in (stack.orders[0], stack.deliveries[0], stack.orders[1], stack.deliveries[1]):
            versions.replace(service, pair.new)
        running.go_on()
        running.finish()
    check_consumers(stack)


def restart_and_roll_back(stack, pair, running):
    """What migrations that older programs can work beside are for."""
    for service in (stack.orders[0], stack.deliveries[0]):
        service.kill()
        running.go_on()  # with the new ones alone
        service.start()
    running.go_on()

    # Either leads, in both payloads, and events come to replicas of both.
    for leader, other in (stack.orders, stack.orders[::-1]):
        make_leader(leader, [other])
        for mode in ("full-domain", "zero-per-event"):
            events.set_mode(other, MODES[mode])
            running.go_on()

    for service in (stack.orders[1], stack.deliveries[1]):
        versions.replace(service, pair.old)
        running.go_on()


@pytest.mark.parametrize("pair", versions.PAIRS)
@pytest.mark.parametrize("sender", ["old-relay", "new-relay"])
def test_each_reads_what_the_other_writes(new_stack, pair, sender):
    """Events of one version's relay come to the other's consumer, which looks orders up at the first one's."""
    stack = new_stack(build=pair.old, delivery_settings=versions.DELIVERY_SETTINGS).prepare()
    known = versions.newest_migrations(stack)
    # The old ones run first, so that they do even beside migrations that would keep them from starting.
    old, new = (stack.order, stack.delivery) if sender == "old-relay" else (stack.delivery, stack.order)
    old.start()
    versions.migrate(stack, pair.new)
    if versions.is_accepted(stack, known):
        old.restart()
    versions.set_version(new, pair.new)
    new.start()

    lookups = 0
    for payload, topics in MODES.values():
        events.set_mode(stack.order, (payload, topics))
        Workload(stack.orders).run(ORDERS)
        convergence.wait_converged(stack)
        counted = check_consumers(stack)
        # Whoever cannot read an event looks its order up: all comes right, but not by the event.
        assert (counted["lookup_ids"] > lookups) == (payload == "ZERO"), f"{payload}: {counted}"
        lookups = counted["lookup_ids"]
    records = [record for topic in stack.event_topics for record in events.read_topic(stack.kafka, topic)]
    shapes = {(TYPE_FIELD in record.fields, ORDER_FIELD in record.fields) for record in records}
    assert len(shapes) == len(MODES)
    assert counted["consumed"] >= len(records) >= ORDERS * len(MODES)


def tables(stack):
    """What is in the tables of migrations."""
    found = []
    for connection in versions.connections(stack):
        with connection:
            found.append(connection.execute("SELECT * FROM lockstep_schema_migrations ORDER BY number").fetchall())
    return found


@pytest.mark.parametrize("pair", versions.NEXT_ONLY)
def test_an_old_program_that_migrates_leaves_a_newer_schema_alone(new_stack, pair):
    stack = new_stack(build=pair.old).prepare()
    known = versions.newest_migrations(stack)
    versions.migrate(stack, pair.new)
    assert versions.newest_migrations(stack) == [number + 1 for number in known]
    before = tables(stack)
    for service in (stack.order, stack.delivery):
        said = service.run("--migrate").stderr
        assert said.count(versions.NEWER) == 1
        assert '"level":"warn"' in said
    assert tables(stack) == before


@pytest.mark.parametrize("pair", versions.NEXT_ONLY)
def test_an_old_program_refuses_what_was_not_made_for_it(new_stack, pair):
    """As if the newest migration did not say with which programs it is compatible."""
    stack = new_stack(build=pair.old).prepare()
    known = versions.newest_migrations(stack)
    versions.migrate(stack, pair.new)
    for connection, newest in zip(versions.connections(stack), known):
        with connection:
            connection.execute("UPDATE lockstep_schema_migrations SET oldest = NULL WHERE number > %s", (newest,))
    assert not versions.is_accepted(stack, known)
    for service, newest in zip((stack.order, stack.delivery), known):
        for arguments in ([], ["--migrate"]):
            result = service.run(*arguments, check=False, timeout=30)
            assert result.returncode == 1
            assert versions.NEWER in result.stderr
            assert f"up to {newest + 1} at least" in result.stderr
