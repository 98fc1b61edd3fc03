"""Deliveries that no event will bring back: reconciliation finds them, and has them looked up."""

import contextlib
import os
import pathlib
import shutil
import subprocess

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import (
    GetConsumerStateRequest,
    GetReconciliationStateRequest,
    StartReconciliationRequest,
)
from order.v1.order_operations_pb2 import GetRelayStateRequest, RepublishOrdersRequest
from order.v1.order_service_pb2 import ListOrderVersionsRequest

from support import clients, convergence, events, samples
from support.clients import failure
from support.events import MODES
from support.workload import Workload

QUICK = {"RECONCILE_INTERVAL": "200ms", "RECONCILE_GRACE": "500ms", "RECONCILE_RATE": "100000",
         "PENDING_POLL_INTERVAL": "50ms"}


def reconciliation(service):
    return clients.delivery_operations(service).GetReconciliationState(GetReconciliationStateRequest())


def healed(stack):
    return sum(reconciliation(service).healed for service in stack.deliveries if service.running())


def pending_orders(stack):
    return clients.delivery_operations(stack.delivery).GetConsumerState(GetConsumerStateRequest()).pending_orders


def wait_for_a_whole_pass(stack, wait_until):
    """One that began after this was called."""
    operations = clients.delivery_operations(stack.delivery)
    operations.StartReconciliation(StartReconciliationRequest())
    before = reconciliation(stack.delivery).last.end_time.ToNanoseconds()
    return wait_until(lambda: (found := reconciliation(stack.delivery)).last.end_time.ToNanoseconds() > before and found,
                      20, "a pass is done").last


def forget(stack, order_ids):
    with stack.delivery_database_connection() as connection, connection.transaction():
        connection.execute("DELETE FROM deliveries WHERE order_id = ANY(%s)", [order_ids])
        connection.execute("DELETE FROM delivery_history WHERE order_id = ANY(%s)", [order_ids])


def test_deleted_rows_come_back(new_stack, wait_until):
    stack = new_stack(deliveries=2, delivery_settings=QUICK).start()
    Workload(stack.orders).run(2500)
    convergence.wait_converged(stack)
    lost = sorted(convergence.all_orders(stack))[::7]
    wait_until(lambda: pending_orders(stack) == 0, 20, "nothing is left to be looked up")
    before = healed(stack)
    forget(stack, lost)
    convergence.wait_converged(stack)
    wait_until(lambda: healed(stack) - before == len(lost), 20, lambda: f"{len(lost)} are counted, not {healed(stack) - before}")
    found = wait_for_a_whole_pass(stack, wait_until)
    assert (found.compared, found.ahead) == (len(convergence.all_orders(stack)), 0)
    assert wait_until(lambda: wait_for_a_whole_pass(stack, wait_until).behind == 0, 20, "nothing is behind any more")
    counters = clients.delivery_operations(stack.delivery).GetConsumerState(GetConsumerStateRequest())
    assert (counters.pending_orders, counters.dead_letters) == (0, 0)


@pytest.mark.parametrize("mode", [MODES["full-domain"], MODES["zero-per-event"]], ids=["full-domain", "zero-per-event"])
def test_a_deleted_topic_is_made_up_for(new_stack, wait_until, mode):
    stack = new_stack(delivery_settings=QUICK).start()
    events.set_mode(stack.order, mode)
    Workload(stack.orders).run(200)
    convergence.wait_converged(stack)
    stack.delivery.stop()
    Workload(stack.orders, seed=2).run(300)
    convergence.wait_outbox_empty(stack)
    stack.kafka.delete_topics(stack.event_topics)
    stack.order.run("--create-topics")
    stack.delivery.start()
    convergence.wait_converged(stack)
    assert healed(stack) > 100
    samples.create(clients.order_service(stack.order))
    convergence.wait_converged(stack)  # and events arrive as before


def _postgres_program(name):
    found = shutil.which(name) or max(map(str, pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default=None)
    assert found, f"no {name}"
    return found


def _run_on_database(stack, program, *arguments):
    environment = {**os.environ, **stack.postgres.environment, "PGUSER": "postgres"}
    subprocess.run([_postgres_program(program), *map(str, arguments)], check=True, env=environment, timeout=60)


@contextlib.contextmanager
def restored(stack, database, owner, service, tmp_path):
    """The database as it was before what is done within, from a dump; the service is away meanwhile."""
    dump = tmp_path / f"{database}.dump"
    _run_on_database(stack, "pg_dump", "--format=custom", f"--file={dump}", database)
    yield
    service.stop()
    stack.postgres.drop_database(database)
    with stack.postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {database} OWNER {owner}")
    _run_on_database(stack, "pg_restore", "--exit-on-error", f"--dbname={database}", dump)
    service.start()


def test_a_delivery_database_restored_to_an_older_state_catches_up(new_stack, tmp_path):
    stack = new_stack(delivery_settings=QUICK).start()
    Workload(stack.orders).run(300)
    convergence.wait_converged(stack)
    with restored(stack, stack.delivery_database, "delivery_service", stack.delivery, tmp_path):
        Workload(stack.orders, seed=2).run(300)
        convergence.wait_converged(stack)
    convergence.wait_converged(stack)
    assert healed(stack) > 0


def test_an_order_database_restored_to_an_older_state_is_told_and_mended_as_the_runbook_says(new_stack, wait_until, tmp_path):
    stack = new_stack(delivery_settings=QUICK).start()
    orders = clients.order_service(stack.order)
    kept, changed = samples.create(orders), samples.create(orders)
    convergence.wait_converged(stack)
    with restored(stack, stack.order_database, "order_service", stack.order, tmp_path):
        samples.change(orders, changed.order_id)
        samples.change(orders, changed.order_id)
        lost = samples.create(orders)
        convergence.wait_converged(stack)
    assert wait_for_a_whole_pass(stack, wait_until).ahead == 2, "the changed one, and the one that is no more"
    stack.delivery.wait_log("delivery is ahead of its order")

    # docs/correctness.md, "The order database was restored to an older state".
    stack.order.stop()
    with stack.order_database_connection() as connection, connection.transaction():
        connection.execute("UPDATE orders SET version = version + 1000000")
        connection.execute("SELECT setval('order_id_block', (SELECT last_value FROM order_id_block) + 1000)")
    stack.order.start()
    last = max(convergence.all_orders(stack))
    answer = clients.order_operations(stack.order).RepublishOrders(
        RepublishOrdersRequest(first_order_id=1, last_order_id=last))
    assert (answer.republished, answer.last_order_id) == (2, max(kept.order_id, changed.order_id))
    wait_until(lambda: wait_for_a_whole_pass(stack, wait_until).ahead == 1, 30, "only the lost one is left")
    assert lost.order_id not in convergence.all_orders(stack)
    fresh = samples.create(orders)
    assert fresh.order_id > lost.order_id, "no id is given out twice"
    wait_until(lambda: convergence.mismatches(stack) == [f"delivery {lost.order_id} has no order"], 20,
               lambda: f"all but the lost one are in step, not {convergence.mismatches(stack)}")


def test_what_is_only_on_its_way_is_not_looked_up(new_stack, wait_until):
    """In full payload nobody asks the order service for orders, however often both sides are compared."""
    stack = new_stack(delivery_settings={**QUICK, "RECONCILE_GRACE": "30s"}).start()
    Workload(stack.orders).run(800)
    convergence.wait_converged(stack)
    assert wait_for_a_whole_pass(stack, wait_until).compared == 800
    counters = clients.delivery_operations(stack.delivery).GetConsumerState(GetConsumerStateRequest()).counters
    assert (counters.lookup_ids, healed(stack)) == (0, 0)


def test_it_waits_for_the_order_service(new_stack, wait_until):
    stack = new_stack(delivery_settings=QUICK).start()
    orders = clients.order_service(stack.order)
    made = [samples.create(orders) for _ in range(10)]
    convergence.wait_converged(stack)
    stack.order.kill()
    forget(stack, [order.order_id for order in made])
    stack.delivery.wait_log("orders and deliveries are not compared")
    stack.order.start()
    convergence.wait_converged(stack)


def test_it_can_be_turned_off(new_stack):
    stack = new_stack(delivery_settings={"RECONCILE_INTERVAL": "0"}).start()
    assert not reconciliation(stack.delivery).enabled
    refused = failure(clients.delivery_operations(stack.delivery).StartReconciliation, StartReconciliationRequest())
    assert refused.code == grpc.StatusCode.FAILED_PRECONDITION


# ---- what it stands on ----

def test_versions_are_listed_page_by_page(new_stack):
    stack = new_stack().start()
    Workload(stack.orders).run(700)
    orders, found, after = clients.order_service(stack.order), {}, 0
    while True:
        page = orders.ListOrderVersions(ListOrderVersionsRequest(after_order_id=after, page_size=99))
        assert len(page.order_ids) == len(page.versions) <= 99
        assert list(page.order_ids) == sorted(page.order_ids)
        found.update(zip(page.order_ids, page.versions))
        if page.is_last:
            break
        after = page.order_ids[-1]
    assert found == {order_id: order.version for order_id, order in convergence.all_orders(stack).items()}
    assert orders.ListOrderVersions(ListOrderVersionsRequest(after_order_id=2**62)).is_last


@pytest.mark.parametrize("request_", [ListOrderVersionsRequest(after_order_id=-1), ListOrderVersionsRequest(page_size=-1)],
                         ids=["after_order_id", "page_size"])
def test_every_rule_of_versions_is_kept(shared, request_):
    refused = failure(clients.order_service(shared.order).ListOrderVersions, request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT


# ---- republishing ----

@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_events_are_sent_once_more(new_stack, wait_until, mode):
    stack = new_stack().start()
    events.set_mode(stack.order, mode)
    orders = clients.order_service(stack.order)
    made = [samples.create(orders) for _ in range(4)]
    samples.change(orders, made[1].order_id)
    samples.cancel(orders, made[2].order_id)
    convergence.wait_converged(stack)
    ids = [order.order_id for order in made]
    forget(stack, ids)
    answer = clients.order_operations(stack.order).RepublishOrders(
        RepublishOrdersRequest(order_ids=[*ids, ids[0], 2**62]))
    assert (answer.republished, answer.last_order_id) == (4, max(ids))
    convergence.wait_converged(stack)
    with stack.order_database_connection() as connection:
        rows = connection.execute("SELECT order_id, version, republished FROM outbox ORDER BY sequence").fetchall()
    assert [row[0] for row in rows if row[2]] == sorted(ids)
    current = convergence.all_orders(stack)
    assert all(row[1] == current[row[0]].version for row in rows if row[2])


def test_a_range_is_sent_once_more_through_either_replica(new_stack, wait_until):
    stack = new_stack(orders=2).start()
    Workload(stack.orders).run(700)
    convergence.wait_converged(stack)
    ids = sorted(convergence.all_orders(stack))
    forget(stack, ids[100:600])
    operations = [clients.order_operations(service) for service in stack.orders]
    standby = next(one for one in operations if not one.GetRelayState(GetRelayStateRequest()).leader)
    answer = standby.RepublishOrders(RepublishOrdersRequest(first_order_id=ids[100], last_order_id=ids[599]))
    assert (answer.republished, answer.last_order_id) == (500, ids[599])
    convergence.wait_converged(stack)


@pytest.mark.parametrize("field, request_", [
    ("order_ids", RepublishOrdersRequest()),
    ("order_ids[1]", RepublishOrdersRequest(order_ids=[1, 0])),
    ("order_ids", RepublishOrdersRequest(order_ids=range(1, 1002))),
    ("order_ids", RepublishOrdersRequest(order_ids=[1], first_order_id=1, last_order_id=2)),
    ("first_order_id", RepublishOrdersRequest(last_order_id=2)),
    ("last_order_id", RepublishOrdersRequest(first_order_id=3, last_order_id=2)),
])
def test_every_rule_of_republishing_is_kept(shared, field, request_):
    refused = failure(clients.order_operations(shared.order).RepublishOrders, request_)
    assert refused.code == grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.fields
