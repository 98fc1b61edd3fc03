"""The round that the checker's test breaks: everything that the checker looks at is in it once or more. Orders whose
story a test builds on are named in PLACES."""

from .contract import order_event_pb2
from .synthetic import UNKNOWN_ORDERS, World, text

# Orders by what happens to them.
PLACES = {"changed": 1, "cancelled": 2, "dispatched": 3, "large": 4, "repeated": 5, "lost": 6, "republished": 7,
          "held": 8, "hot": 9, "poked": 10}


def _garbage(world: World) -> None:
    mismatched = order_event_pb2.OrderEvent(order_id=3, version=1).SerializeToString()
    for key, value in ((b"1", b"\xff\xff"), (None, None), (b"no number", b""), (b"2", mismatched)):
        world.chaos("garbage", key, value)
    for number in range(3):
        order_id = UNKNOWN_ORDERS + number
        event = order_event_pb2.OrderEvent(order_id=order_id, version=1)
        world.chaos("unknown-order", str(order_id).encode(), event.SerializeToString())
    world.chaos("poke", str(PLACES["poked"]).encode(), None)


def _duplicates(world: World) -> None:
    for record in [record for record in world.evidence["records"] if len(record["headers"]) == 1][:20][::-1]:
        copy = world.produce(record["topic"], None, None, [*record["headers"], ["chaos", text(b"duplicate")]],
                             record["partition"])
        copy.update(key=record["key"], value=record["value"])


def _opening(world: World) -> None:
    """Each named order comes to be, and has its story."""
    for _ in PLACES:
        if len(world.orders) + 1 == PLACES["large"]:
            world.create(items=200)
        else:
            world.create(padding=" and padding" if len(world.orders) == 0 else "")
    world.consume()
    world.sample()
    for _ in range(4):
        world.update(PLACES["changed"])
        world.read_order(PLACES["changed"])
    world.update(PLACES["cancelled"])
    world.cancel(PLACES["cancelled"])
    world.cancel(PLACES["cancelled"])
    world.consume()
    world.dispatch(PLACES["dispatched"], complete=True)
    world.update(PLACES["dispatched"])
    world.cancel(PLACES["dispatched"])
    world.update(PLACES["large"])
    world.repeated(PLACES["repeated"])
    world.refused(PLACES["repeated"])
    world.lost(PLACES["lost"], done=True, answered=True)
    world.lost(PLACES["lost"], done=False, answered=True)
    world.lost(PLACES["lost"], done=True, answered=False)
    world.update(PLACES["republished"])
    world.commit(world.orders[PLACES["republished"]], republished=True)
    world.sample()  # consumers are behind
    world.consume()
    for name in ("changed", "cancelled", "dispatched"):
        world.read_delivery(PLACES[name])
        world.read_delivery(PLACES[name])
    world.sample()


def _cancelled_first(world: World) -> None:
    """The cancel comes before the create, which only topics of their own allow."""
    order = world.create()
    world.cancel(order.order_id)
    world.consume(latest_first=world.per_event)
    world.read_delivery(order.order_id)


def _held(world: World, ends: str) -> None:
    number = world.hold()
    order = world.changed(PLACES["held"], f"chaos-{number}")
    world.fault("held_transaction", order_id=PLACES["held"], sequence=number, ends=ends)
    if ends == "commit":
        world.commit(order, sequence=number)
    else:
        world.gaps = []


def _faults(world: World) -> None:
    world.fault("garbage", lambda: _garbage(world), records=[])
    world.give_up_pending()
    world.fault("reproduce", lambda: _duplicates(world))
    world.fault("letters_replayed", world.replay)
    world.fault("hot_order", lambda: [world.update(PLACES["hot"]) for _ in range(20)], order_id=PLACES["hot"])
    _held(world, "commit")
    _held(world, "rollback")
    world.fault("kill_order", all_orders=True)
    world.fault("stop_delivery", lambda: [world.update(PLACES["changed"]) for _ in range(3)])
    world.fault("kill_kafka")
    world.fault("terminate", exit_code=0)
    first = world.fault("kill_postgres", pair=len(world.evidence["faults"]) + 2)
    world.tick(-20.5)  # the second begins before the first is healed
    second = world.fault("slow_link", pair=first["fault"], link="delivery->order")
    first["recovered"] = second["recovered"]


def build(case: str = "full-domain", seed: int = 1, orders: int = 20) -> dict:
    """Evidence of a round that kept all promises, with so many orders at least that have no story."""
    world = World(case, seed)
    _opening(world)
    _cancelled_first(world)
    for number in range(orders):
        order_id = world.create().order_id
        for _ in range(world.random.randrange(4)):
            world.update(order_id)
        if number % 5 == 0:
            world.cancel(order_id)
        if number % 100 == 0:
            world.consume()
            world.sample()
    # Both kinds of topics are used: the mode is switched once.
    world.consume()
    world.per_event = not world.per_event
    world.fault("mode_switch")
    world.update(PLACES["changed"])
    world.consume()
    world.per_event = not world.per_event
    _faults(world)
    return world.finish()

