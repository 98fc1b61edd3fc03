"""Crashes and outages under load: what was acknowledged is there, and delivery ends up in step."""

import grpc
import pytest
from delivery.v1 import delivery_operations_pb2
from order.v1 import order_operations_pb2

from support import clients, convergence, events, samples
from support.clients import failure
from support.events import MODES
from support.workload import Workload

# A dead member's partitions are somebody else's after so long.
QUICK_GROUP = {"KAFKA_SESSION_TIMEOUT": "3s"}
WRITES = 200


def consumer_state(service):
    return clients.delivery_operations(service).GetConsumerState(delivery_operations_pb2.GetConsumerStateRequest())


def relay_state(service):
    return clients.order_operations(service).GetRelayState(order_operations_pb2.GetRelayStateRequest())


def finish(stack, load):
    """Ends the load and asserts what must be true whatever has happened."""
    load.wait_for_more(WRITES)
    load.stop()
    convergence.wait_converged(stack, 90)
    load.check(convergence.all_orders(stack))
    load.check_repeated()


@pytest.mark.parametrize("mode", [MODES["full-domain"], MODES["zero-per-event"]], ids=["full-domain", "zero-per-event"])
@pytest.mark.parametrize("victim", ["order", "delivery", "kafka", "postgres"])
def test_a_kill_under_load_loses_nothing(new_stack, victim, mode):
    stack = new_stack(delivery_settings=QUICK_GROUP).start()
    events.set_mode(stack.order, mode)
    load = Workload(stack.orders).start()
    load.wait_for_more(WRITES)
    killed = getattr(stack, victim)
    killed.kill()
    killed.start()
    finish(stack, load)
    for service in stack.services:
        assert service.running()


def test_all_are_killed_at_once(new_stack):
    stack = new_stack(delivery_settings=QUICK_GROUP).start()
    events.set_mode(stack.order, MODES["zero-domain"])
    load = Workload(stack.orders).start()
    load.wait_for_more(WRITES)
    everything = [stack.order, stack.delivery, stack.kafka, stack.postgres]
    for one in everything:
        one.kill()
    for one in reversed(everything):
        one.start()
    finish(stack, load)


def leader(stack):
    return next((service for service in stack.orders if service.running() and relay_state(service).leader), None)


def test_a_standby_takes_the_lead_when_the_leader_is_killed(new_stack, wait_until):
    stack = new_stack(orders=2).start()
    first = wait_until(lambda: leader(stack), 20, "one of two leads")
    standby = next(service for service in stack.orders if service is not first)
    assert not relay_state(standby).leader

    load = Workload([standby]).start()
    load.wait_for_more(WRITES)
    first.kill()
    wait_until(lambda: relay_state(standby).leader, 20, "the standby leads")
    load.wait_for_more(WRITES)
    first.start()
    load.wait_for_more(WRITES)
    assert [relay_state(service).leader for service in (first, standby)] == [False, True]
    finish(stack, load)
    assert relay_state(standby).produced_events > 0


def test_a_standby_takes_the_lead_when_the_leader_hangs(new_stack, wait_until):
    """Its session is a lease; when it wakes up it sends nothing more, and stands by."""
    stack = new_stack(orders=2).start()
    first = wait_until(lambda: leader(stack), 20, "one of two leads")
    standby = next(service for service in stack.orders if service is not first)
    load = Workload([standby]).start()
    load.wait_for_more(WRITES)
    first.pause()
    try:
        wait_until(lambda: relay_state(standby).leader, 15, "the standby leads")
        load.wait_for_more(WRITES)
    finally:
        first.resume()
    wait_until(lambda: not relay_state(first).leader, 10, "the one that hung leads no more")
    finish(stack, load)
    assert [relay_state(service).leader for service in (first, standby)] == [False, True]


def test_the_others_take_over_what_a_dead_delivery_read(new_stack, wait_until):
    stack = new_stack(deliveries=2, delivery_settings=QUICK_GROUP).start()
    survivor, victim = stack.deliveries

    def share_the_partitions():
        counts = [len(consumer_state(service).partitions) for service in stack.deliveries]
        return min(counts) > 0 and sum(counts) == 6 * len(stack.event_topics)

    wait_until(share_the_partitions, 30, "both read")
    load = Workload(stack.orders).start()
    load.wait_for_more(WRITES)
    victim.kill()
    wait_until(lambda: len(consumer_state(survivor).partitions) == 6 * len(stack.event_topics), 30, "one reads all")
    finish(stack, load)


def test_one_that_was_thought_dead_does_no_harm(new_stack, wait_until):
    """A frozen consumer loses its partitions, and comes back with a batch that others have applied meanwhile."""
    stack = new_stack(deliveries=2, delivery_settings=QUICK_GROUP).start()
    events.set_mode(stack.order, MODES["zero-domain"])
    survivor, frozen = stack.deliveries
    wait_until(lambda: consumer_state(frozen).partitions, 30, "both read")
    load = Workload(stack.orders).start()
    load.wait_for_more(WRITES)
    frozen.pause()
    try:
        wait_until(lambda: len(consumer_state(survivor).partitions) == 6 * len(stack.event_topics), 30, "one reads all")
        load.wait_for_more(WRITES)
    finally:
        frozen.resume()
    finish(stack, load)
    wait_until(lambda: consumer_state(frozen).partitions, 30, "both read again")


def test_writes_go_on_while_kafka_is_away(new_stack, wait_until):
    stack = new_stack().start()
    load = Workload(stack.orders).start()
    load.wait_for_more(WRITES)
    stack.kafka.kill()
    load.wait_for_more(WRITES)
    assert stack.order.serving() and stack.delivery.serving()
    assert load.codes.keys() <= {grpc.StatusCode.OK, grpc.StatusCode.ABORTED, grpc.StatusCode.FAILED_PRECONDITION}
    wait_until(lambda: relay_state(stack.order).oldest_waiting_age.ToMilliseconds() > 1000, 20, "the backlog ages")
    assert relay_state(stack.order).waiting_rows > 0
    stack.kafka.start()
    finish(stack, load)
    assert relay_state(stack.order).problem == ""


def test_events_wait_while_order_is_away(new_stack, wait_until):
    """In zero payload delivery needs the order service: it waits for it, and tells why."""
    stack = new_stack().start()
    events.set_mode(stack.order, MODES["zero-domain"])
    orders = clients.order_service(stack.order)
    made = [samples.create(orders) for _ in range(20)]
    convergence.wait_converged(stack)
    stack.order.kill()
    for order in made:
        events.produce(stack.kafka, stack.topics["DOMAIN_TOPIC"], str(order.order_id), None)

    def waits():
        state = consumer_state(stack.delivery)
        return state.problem and all(partition.paused for partition in state.partitions)

    wait_until(waits, 30, "delivery waits")
    assert stack.delivery.serving()
    assert consumer_state(stack.delivery).pending_orders == 0
    before = consumer_state(stack.delivery).counters.consumed
    stack.order.start()
    wait_until(lambda: consumer_state(stack.delivery).counters.consumed == before + len(made), 30, "all are looked up")
    wait_until(lambda: not any(partition.paused for partition in consumer_state(stack.delivery).partitions), 20, "it reads on")
    convergence.wait_converged(stack)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_without_a_database_calls_are_refused_and_do_not_hang(new_stack, wait_until, how):
    stack = new_stack().start()
    orders = clients.order_service(stack.order)
    order = samples.create(orders)
    convergence.wait_converged(stack)
    getattr(stack.postgres, how)()
    try:
        for service in (stack.order, stack.delivery):
            service.wait_not_serving(30)
        refused = failure(samples.create, orders)
        assert refused.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
        if how == "kill":
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        for service in stack.services:
            assert service.running()
    finally:
        stack.postgres.start() if how == "kill" else stack.postgres.resume()
    for service in stack.services:
        service.wait_serving()
    samples.change(orders, order.order_id)
    convergence.wait_converged(stack)
