"""How the points come about: each scene has a service die at one, under load, and start again.

A scene takes the World at rest and the Crash, and returns the load that is still under way.
"""

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import (
    ListDeadLettersRequest,
    ReplayAllDeadLettersRequest,
    ReplayDeadLetterRequest,
    ResyncOrdersRequest,
)
from order.v1.order_event_pb2 import OrderEvent
from order.v1.order_operations_pb2 import RepublishOrdersRequest
from order.v1.order_pb2 import Order

from ledger import AHEAD, GARBAGE, MARK, POKE
from processes import Service, wait_until
from support import clients, convergence, events, samples
from support.workload import Workload
from world import Crash, World, consumer_state, relay_state

NO_SUCH_ORDER = 2**62
WRITES_BEFORE = 40


# ---- the order service ----

def migration_of_order(world: World, crash: Crash) -> Workload:
    return _migration(world, crash, world.stack.order, world.stack.order_database)


def migration_of_delivery(world: World, crash: Crash) -> Workload:
    return _migration(world, crash, world.stack.delivery, world.stack.delivery_database)


def _migration(world: World, crash: Crash, service: Service, database: str) -> Workload:
    crash.arm(service)
    crash.check(service.run("--migrate", check=False).returncode)
    with world.stack.postgres.connect(database) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
    assert tables == [], "half a migration is there"
    world.start()
    return world.load()


def leader_under_load(world: World, crash: Crash) -> Workload:
    """The leader dies while both replicas take writes, and the standby takes over."""
    victim, load = _armed_leader(world, crash)
    crash.wait()
    victim.start()
    return load


def leader_is_told_to_end(world: World, crash: Crash) -> Workload:
    victim, load = _armed_leader(world, crash)
    load.wait_for_more(WRITES_BEFORE)
    victim.stop()
    crash.wait()
    victim.start()
    return load


def standby_takes_the_lead(world: World, crash: Crash) -> Workload:
    victim, first = world.stack.orders
    first.start()
    victim.stop()
    wait_until(lambda: relay_state(first).leader, 20, "the other one leads")
    crash.arm(victim).start()
    load = world.load(*world.stack.orders)
    load.wait_for_more(WRITES_BEFORE)
    assert first.stop() == 0
    crash.wait()
    for service in (victim, first):
        service.start()
    return load


def events_are_republished(world: World, crash: Crash) -> Workload:
    victim, stub = world.stack.order, clients.order_service(world.stack.order)
    ids = [samples.create(stub).order_id for _ in range(5)]
    convergence.wait_converged(world.stack)
    victim.stop()
    crash.arm(victim).start()
    request = RepublishOrdersRequest(order_ids=ids)
    with pytest.raises(grpc.RpcError):
        clients.order_operations(victim).RepublishOrders(request)
    crash.wait().start()
    load = world.load()
    assert clients.order_operations(victim).RepublishOrders(request).republished == len(ids)
    return load


def _armed_leader(world: World, crash: Crash) -> tuple[Service, Workload]:
    victim, standby = world.stack.orders
    victim.stop()
    crash.arm(victim).start()
    wait_until(lambda: relay_state(victim).leader, 20, "the one that is to die leads")
    standby.start()
    return victim, world.load(*world.stack.orders)


# ---- the delivery service: the stream ----

def events_under_load(world: World, crash: Crash) -> Workload:
    victim = _armed_delivery(world, crash)
    load = world.load()
    victim.start(wait=False)
    return _start_again(world, crash, load)


def poked_under_load(world: World, crash: Crash) -> Workload:
    """With full payload nothing is looked up unless somebody asks for it."""
    order = samples.create(clients.order_service(world.stack.order))
    victim = _armed_delivery(world, crash)
    load = world.load()
    victim.start()
    _poke(world, order.order_id)
    return _start_again(world, crash, load)


def another_one_joins(world: World, crash: Crash) -> Workload:
    victim, other = _armed_delivery(world, crash), world.stack.deliveries[1]
    load = world.load()
    _start_consuming(victim)
    load.wait_for_more(WRITES_BEFORE)
    other.start()
    return _start_again(world, crash, load, check_offsets=False)


def delivery_is_told_to_end(world: World, crash: Crash) -> Workload:
    victim = _armed_delivery(world, crash)
    load = world.load()
    _start_consuming(victim)
    load.wait_for_more(WRITES_BEFORE)
    victim.stop()
    return _start_again(world, crash, load)


def _armed_delivery(world: World, crash: Crash) -> Service:
    victim = world.stack.delivery
    assert victim.stop() == 0
    return crash.arm(victim)


def _poke(world: World, order_id: int) -> None:
    topic = world.stack.topics["DOMAIN_TOPIC"]
    events.produce(world.stack.kafka, topic, str(order_id), None, headers={MARK: POKE})


def _start_consuming(service: Service) -> None:
    service.start()
    wait_until(lambda: consumer_state(service).partitions, 20, f"{service.name} has partitions")


def _start_again(world: World, crash: Crash, load: Workload, check_offsets: bool = True) -> Workload:
    victim = crash.wait()
    if check_offsets:
        world.check_offsets()
    victim.start()
    return load


# ---- dead letters ----

def garbage_under_load(world: World, crash: Crash) -> Workload:
    victim = _armed_delivery(world, crash)
    load = world.load()
    victim.start()
    _produce_garbage(world)
    return _start_again(world, crash, load)


def a_letter_is_replayed(world: World, crash: Crash) -> Workload:
    """An event that was given up on is replayed when its order is cancelled already: nothing revives it."""
    victim = world.stack.delivery
    order = samples.create(clients.order_service(world.stack.order))
    victim.stop()
    victim.settings["PENDING_MAX_ATTEMPTS"] = "1"
    victim.start()
    _produce_ahead(world, order)
    letter = wait_until(lambda: _letter_of(victim, order), 20, "it is given up on")
    samples.cancel(clients.order_service(world.stack.order), order.order_id)
    convergence.wait_converged(world.stack)
    request = ReplayDeadLetterRequest(dead_letter_id=letter.dead_letter_id)

    _armed_delivery(world, crash).start()
    load = world.load()
    with pytest.raises(grpc.RpcError):
        clients.delivery_operations(victim).ReplayDeadLetter(request)
    _start_again(world, crash, load)
    assert clients.delivery_operations(victim).ReplayDeadLetter(request).dead_letter.HasField("replay_time")
    return load


def all_letters_are_replayed(world: World, crash: Crash) -> Workload:
    victim = world.stack.delivery
    before = consumer_state(victim).dead_letters
    sent = _produce_garbage(world)
    wait_until(lambda: consumer_state(victim).dead_letters == before + sent, 20, "all are dead letters")

    _armed_delivery(world, crash).start()
    load = world.load()
    with pytest.raises(grpc.RpcError):
        clients.delivery_operations(victim).ReplayAllDeadLetters(ReplayAllDeadLettersRequest())
    _start_again(world, crash, load)
    answer = clients.delivery_operations(victim).ReplayAllDeadLetters(ReplayAllDeadLettersRequest())
    assert answer.replayed >= before + sent, "what was replayed before the crash comes back as bad as it was"
    return load


def _produce_garbage(world: World) -> int:
    """Some in each topic, with and without a key."""
    topics = world.stack.event_topics
    for topic in topics:
        events.produce(world.stack.kafka, topic, b"1", b"\xff of " + topic.encode(), headers={MARK: GARBAGE})
        events.produce(world.stack.kafka, topic, None, b"\xff without a key", headers={MARK: GARBAGE})
    return 2 * len(topics)


def _letter_of(service: Service, order: Order):
    letters = clients.delivery_operations(service).ListDeadLetters(ListDeadLettersRequest()).dead_letters
    return next((letter for letter in letters if letter.key == str(order.order_id).encode()), None)


# ---- pending orders ----

def an_event_comes_ahead(world: World, crash: Crash) -> Workload:
    """The event of a version that is not there yet: its order has to wait."""
    orders = clients.order_service(world.stack.order)
    order = samples.create(orders)
    victim = _armed_delivery(world, crash)
    load = world.load()
    victim.start()
    _produce_ahead(world, order)
    crash.wait()
    world.check_offsets()
    samples.change(orders, order.order_id)
    victim.start()
    return load


def orders_are_asked_for(world: World, crash: Crash) -> Workload:
    """Delivery has lost some orders, and only the pending orders, asked for while order was away, bring them back."""
    order, victim = world.stack.order, world.stack.delivery
    stub = clients.order_service(order)
    ids = [samples.create(stub).order_id for _ in range(3)]
    convergence.wait_converged(world.stack)
    order.kill()
    _forget(world, ids)
    clients.delivery_operations(victim).ResyncOrders(ResyncOrdersRequest(order_ids=ids))
    _armed_delivery(world, crash)
    order.start()
    wait_until(lambda: _are_due(world, ids), 20, "the pending orders are due")
    load = world.load()
    victim.start(wait=False)
    return _start_again(world, crash, load)


def an_order_is_given_up_on(world: World, crash: Crash) -> Workload:
    victim = _armed_delivery(world, crash)
    victim.settings["PENDING_MAX_ATTEMPTS"] = "1"
    load = world.load()
    victim.start()
    order_id = NO_SUCH_ORDER + len(world.ledger.events)
    _poke(world, order_id)
    _start_again(world, crash, load)
    wait_until(lambda: _letter_of(victim, Order(order_id=order_id)), 30, "it is given up on after all")
    return load


def _produce_ahead(world: World, order: Order) -> None:
    event = OrderEvent(order_id=order.order_id, version=order.version + 1)
    events.produce(world.stack.kafka, world.stack.topics["DOMAIN_TOPIC"], str(order.order_id),
                   event.SerializeToString(), headers={MARK: AHEAD})


def _forget(world: World, order_ids: list[int]) -> None:
    with world.stack.delivery_database_connection() as connection:
        connection.execute("DELETE FROM deliveries WHERE order_id = ANY(%s)", [order_ids])
        connection.execute("DELETE FROM delivery_history WHERE order_id = ANY(%s)", [order_ids])


def _are_due(world: World, order_ids: list[int]) -> bool:
    with world.stack.delivery_database_connection() as connection:
        due = connection.execute("SELECT count(*) FROM pending_orders WHERE order_id = ANY(%s) AND "
                                 "next_attempt_time <= now() AND lease_time <= now()", [order_ids]).fetchone()
    return due == (len(order_ids),)


# ---- reconciliation ----

def lost_deliveries_are_found(world: World, crash: Crash) -> Workload:
    """Delivery has lost some orders that no event will bring back."""
    stub = clients.order_service(world.stack.order)
    ids = [samples.create(stub).order_id for _ in range(3)]
    convergence.wait_converged(world.stack)
    victim = _armed_delivery(world, crash)
    victim.settings.update(RECONCILE_INTERVAL="200ms", RECONCILE_GRACE="200ms")
    _forget(world, ids)
    load = world.load()
    victim.start(wait=False)
    return _start_again(world, crash, load, check_offsets=False)
