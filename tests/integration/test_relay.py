"""The relay and the outbox: transactions that end late or never, order within the topic, and old partitions."""

import collections

from order.v1 import order_operations_pb2

from support import clients, convergence, events, samples
from support.workload import Workload

# A row as the service writes it, for a transaction that a test holds open.
INSERT = """INSERT INTO outbox (order_id, version, type, occur_time, snapshot)
            SELECT order_id, version, 2, update_time, ''::bytea FROM orders WHERE order_id = %s RETURNING sequence"""


def relay_state(stack):
    return clients.order_operations(stack.order).GetRelayState(order_operations_pb2.GetRelayStateRequest())


def wait_relayed(stack, wait_until, sequence):
    wait_until(lambda: relay_state(stack).highest_sequence >= sequence, 20, f"the relay is beyond row {sequence}")


def last_sequence(connection):
    return connection.execute("SELECT last_value FROM outbox_sequence").fetchone()[0]


def held_row(stack, order_id):
    """A transaction that has written to the outbox and stays open, and its row's number."""
    connection = stack.order_database_connection()
    connection.autocommit = False
    return connection, connection.execute(INSERT, [order_id]).fetchone()[0]


def test_an_open_transaction_delays_nobody_and_its_row_is_not_lost(stack, wait_until):
    events.set_mode(stack.order, events.MODES["zero-domain"])
    orders = clients.order_service(stack.order)
    first = samples.create(orders)
    holder, sequence = held_row(stack, first.order_id)
    with holder:
        others = [samples.create(orders) for _ in range(50)]
        wait_relayed(stack, wait_until, sequence + len(others))
        keys = {record.key for record in events.read_topic(stack.kafka, stack.topics["DOMAIN_TOPIC"])}
        assert keys >= {str(order.order_id).encode() for order in others}
        assert relay_state(stack).gap_count == 1

        stack.order.kill()  # the gap outlives the one who saw it
        stack.order.start()
        wait_until(lambda: relay_state(stack).leader, 20, "the relay leads again")
        samples.create(orders)
        wait_relayed(stack, wait_until, sequence + len(others) + 1)
        assert relay_state(stack).gap_count == 1
        before = len(events.read_topic(stack.kafka, stack.topics["DOMAIN_TOPIC"]))
        holder.commit()
    wait_until(lambda: len(events.read_topic(stack.kafka, stack.topics["DOMAIN_TOPIC"])) > before, 20, "the late row is sent")
    wait_until(lambda: relay_state(stack).gap_count == 0, 20, "the gap ends")


def test_a_transaction_that_is_rolled_back_leaves_no_gap(stack, wait_until):
    orders = clients.order_service(stack.order)
    order = samples.create(orders)
    holder, sequence = held_row(stack, order.order_id)
    with holder:
        samples.create(orders)
        wait_until(lambda: relay_state(stack).gap_count == 1, 20, "the relay sees the gap")
        holder.rollback()
    wait_until(lambda: relay_state(stack).gap_count == 0, 20, "the gap ends")
    wait_relayed(stack, wait_until, sequence + 1)


def test_a_newer_transaction_may_have_the_older_number(stack, wait_until):
    """The row that is seen is of a transaction that began before the one whose row is missing: above all that have
    ended, by its id alone the latter would not seem to have begun."""
    events.set_mode(stack.order, events.MODES["zero-domain"])
    orders = clients.order_service(stack.order)
    missing, seen = samples.create(orders), samples.create(orders)
    convergence.wait_converged(stack)
    with stack.order_database_connection() as older, stack.order_database_connection() as newer:
        with newer.transaction():
            with older.transaction():
                older.execute("SELECT pg_current_xact_id()")
                newer.execute(INSERT, [missing.order_id])
                older.execute(INSERT, [seen.order_id])
            wait_until(lambda: copies(stack, seen) == 2, 20, "the higher number is sent")
    wait_until(lambda: copies(stack, missing) == 2, 20, "the lower number is sent")


def copies(stack, order):
    """How many events there are about an order."""
    keys = [record.key for record in events.read_topic(stack.kafka, stack.topics["DOMAIN_TOPIC"])]
    return keys.count(str(order.order_id).encode())


def test_rows_of_many_overlapping_transactions_all_arrive_in_order(stack):
    """Commits of several writers interleave; each order's first copies are in the order of its versions."""
    events.set_mode(stack.order, events.MODES["full-domain"])
    Workload(stack.orders, threads=16).run(orders=600)
    convergence.wait_converged(stack)
    seen = collections.defaultdict(int)
    for record in events.read_topic(stack.kafka, stack.topics["DOMAIN_TOPIC"]):
        event = record.event
        assert event.version <= seen[event.order_id] + 1, f"order {event.order_id}: {event.version} came too early"
        seen[event.order_id] = max(seen[event.order_id], event.version)
    assert dict(seen) == {order_id: order.version for order_id, order in convergence.all_orders(stack).items()}


def test_the_id_of_a_transaction_is_older_than_its_number(stack):
    """What the end of gaps relies on: a row's transaction has an id before the row takes its number."""
    samples.create(clients.order_service(stack.order))
    with stack.order_database_connection() as connection:
        defaults = [row[0] for row in connection.execute(
            """SELECT attname FROM pg_attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
               WHERE attrelid = 'outbox'::regclass ORDER BY attnum""")]
        cached = connection.execute(
            "SELECT seqcache FROM pg_sequence WHERE seqrelid = 'outbox_sequence'::regclass").fetchone()[0]
    assert defaults[:2] == ["transaction_id", "sequence"]
    assert cached == 1


def test_partitions_in_which_all_is_done_are_dropped(new_stack, wait_until):
    stack = new_stack()
    stack.prepare()
    with stack.order_database_connection() as connection:
        connection.execute("SET ROLE order_service")
        connection.execute("UPDATE outbox_relay SET partition_size = 100")
        for (name,) in connection.execute("SELECT name FROM outbox_partitions").fetchall():
            connection.execute(f"DROP TABLE {name}")
        connection.execute("SELECT outbox_add_partitions(4)")
    stack.start()
    Workload(stack.orders).run(orders=1200, changes=0, cancels=0)
    with stack.order_database_connection() as connection:
        connection.autocommit = True

        def oldest():
            return connection.execute("SELECT min(first_sequence) FROM outbox_partitions").fetchone()[0]

        wait_until(lambda: oldest() > 100, 40, "the first partitions are dropped")
        assert last_sequence(connection) >= 1200
    convergence.wait_converged(stack)


def test_a_row_goes_out_in_the_mode_it_was_made_in_however_often(stack, wait_until):
    """Were it sent again in another mode than at first, it could enter a topic behind later versions of its order."""
    orders = clients.order_service(stack.order)
    modes = [events.MODES[name] for name in ("full-per-event", "zero-domain", "full-domain", "zero-per-event")]
    stack.kafka.pause()
    try:
        made = []
        for mode in modes:  # all of it waits in the outbox
            events.set_mode(stack.order, mode)
            made.append(samples.create(orders).order_id)
    finally:
        stack.kafka.resume()
    convergence.wait_converged(stack)

    def found():
        """order -> (topic, has a payload) of each of its events."""
        where = collections.defaultdict(list)
        for setting in ("DOMAIN_TOPIC", "CREATE_TOPIC"):
            for record in events.read_topic(stack.kafka, stack.topics[setting]):
                where[int(record.key)].append((setting, record.event.HasField("order")))
        return where

    wanted = dict(zip(made, [("CREATE_TOPIC", True), ("DOMAIN_TOPIC", False), ("DOMAIN_TOPIC", True), ("CREATE_TOPIC", False)]))
    assert {order_id: set(places) for order_id, places in found().items()} == {i: {place} for i, place in wanted.items()}
    stack.order.stop()
    before = sum(map(len, found().values()))
    with stack.order_database_connection() as connection:
        connection.execute("UPDATE outbox_relay SET highest = 0, gap_first = '{}', gap_last = '{}', gap_limit = '{}'")
    stack.order.start()
    wait_until(lambda: sum(map(len, found().values())) >= before + len(made), 20, "all is sent once more")
    assert {order_id: set(places) for order_id, places in found().items()} == {i: {place} for i, place in wanted.items()}


def test_the_mode_can_be_switched_while_the_database_is_dumped(stack):
    """A dump holds the weakest lock there is on every table, for as long as it takes."""
    with stack.order_database_connection() as dump, dump.transaction():
        dump.execute("LOCK TABLE event_modes, outbox_relay, outbox IN ACCESS SHARE MODE")
        events.set_mode(stack.order, events.MODES["zero-per-event"])
        samples.create(clients.order_service(stack.order))
        convergence.wait_converged(stack)
