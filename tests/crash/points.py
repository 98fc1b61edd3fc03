"""The points at which services die (runtime/base/fault.h), and the scene that leads to each."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Point:
    """A place to die at.

    service  whose process it is: "order" or "delivery"
    name     as the build with faults knows it
    scene    the function of scenes.py that brings it about
    turn     how often it is reached before that
    way      names the way to it, where there are several
    fresh    whether the scene begins before there are databases to speak of
    """

    service: str
    name: str
    scene: str
    turn: int = 1
    way: str = ""
    fresh: bool = False

    @property
    def id(self) -> str:
        return f"{self.name}-{self.way}" if self.way else self.name


POINTS = [
    Point("order", "postgres.migrated", "migration_of_order", way="order", fresh=True),
    Point("delivery", "postgres.migrated", "migration_of_delivery", way="delivery", fresh=True),

    Point("order", "order.committed", "leader_under_load", turn=3),
    Point("order", "order.drains", "leader_is_told_to_end"),
    Point("order", "relay.leads", "standby_takes_the_lead"),
    Point("order", "relay.sent", "leader_under_load", turn=30),
    Point("order", "relay.acknowledged", "leader_under_load", turn=30),
    Point("order", "relay.drains", "leader_is_told_to_end"),
    Point("order", "postgres.sent.orders_lock", "leader_under_load", turn=3),
    Point("order", "postgres.sent.outbox_insert", "leader_under_load", turn=5),
    Point("order", "postgres.sent.outbox_insert", "events_are_republished", way="again"),
    Point("order", "postgres.sent.relay_fresh", "leader_under_load", turn=8),
    Point("order", "postgres.sent.relay_checkpoint", "leader_under_load", turn=2),

    Point("delivery", "delivery.looked_up", "poked_under_load"),
    Point("delivery", "delivery.applied", "events_under_load", turn=3),
    Point("delivery", "delivery.commits", "events_under_load", turn=2),
    Point("delivery", "delivery.revoked", "another_one_joins"),
    Point("delivery", "delivery.drains", "delivery_is_told_to_end"),
    Point("delivery", "delivery.letters_sent", "garbage_under_load"),
    Point("delivery", "letters.produced", "garbage_under_load", way="garbage"),
    Point("delivery", "letters.produced", "an_order_is_given_up_on", way="pending"),
    Point("delivery", "letters.produced", "a_letter_is_replayed", way="replay"),
    Point("delivery", "delivery.replayed", "a_letter_is_replayed", way="one"),
    Point("delivery", "delivery.replayed", "all_letters_are_replayed", way="all"),
    Point("delivery", "postgres.sent.delivery_insert", "events_under_load", turn=3),
    Point("delivery", "postgres.sent.delivery_update", "events_under_load", turn=3),
    Point("delivery", "postgres.sent.delivery_letters", "garbage_under_load"),
    Point("delivery", "postgres.sent.delivery_pending", "an_event_comes_ahead"),
    Point("delivery", "postgres.sent.delivery_pending_claim", "orders_are_asked_for"),
    Point("delivery", "postgres.sent.delivery_reconcile_claim", "lost_deliveries_are_found"),
    Point("delivery", "postgres.sent.delivery_reconcile_advance", "lost_deliveries_are_found"),
]
