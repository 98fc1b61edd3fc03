"""What a fault is, and the schedule of a campaign."""

import dataclasses
import random
import time
from collections.abc import Sequence
from typing import Any

from calls import Calls
from ground import Ground, RoundStack
from probes import Prober

PAIR_SHARE = 0.4
# order.v1.EventPayload and order.v1.EventTopics of each case.
CASES = {"full-domain": (1, 1), "full-per-event": (1, 2), "zero-domain": (2, 1), "zero-per-event": (2, 2)}
ORDERS = ("order-1", "order-2")
DELIVERIES = ("delivery-1", "delivery-2", "delivery-3")


@dataclasses.dataclass
class Scene:
    """Where a fault takes place. case: the one in force. source: for what need not be in the schedule, such as which
    old records are used."""

    ground: Ground
    stack: RoundStack
    calls: Calls
    prober: Prober
    case: str
    source: random.Random


class Fault:
    """One fault. It draws all that the schedule is to tell from the source that it is made with.

    kind      its name
    weight    how often it stands in a deck of faults
    touches   what it breaks
    needs     what must be whole for it to come about: nothing that touches one of these can be its pair, for it would
              do nothing, or wait until the other is over. Nor can two that touch the same: killing what is paused, or
              healing what the other still breaks, would end one of them before its time
    alone     there is no pair for it at all
    seconds   how long it lasts
    """

    kind = ""
    alone = False
    weight = 1

    def __init__(self, source: random.Random) -> None:
        self.seconds = 0.0
        self.offset = source.uniform(0, 0.8)  # in a pair: when it begins
        self.targets: Sequence[str] = ()
        self.touches: frozenset[str] = frozenset()
        self.needs: frozenset[str] = frozenset()
        self.away: frozenset[str] = frozenset()  # services that only restore() brings back
        self.detail: dict[str, Any] = {}

    @classmethod
    def unavailable(cls, ground: Ground) -> str | None:
        """Why it cannot be done on this machine."""
        return None

    def prepare(self, scene: Scene) -> None:
        """What must be there before it begins."""

    def inject(self, scene: Scene) -> None:
        raise NotImplementedError

    def hold(self, scene: Scene) -> None:
        time.sleep(self.seconds)

    def heal(self, scene: Scene) -> None:
        """Returns when what it broke answers again."""

    def restore(self, scene: Scene) -> None:
        """After the recovery: what is to be as before, although the recovery had to do without it."""


def can_pair(one: Fault, other: Fault) -> bool:
    """Neither makes the other impossible; see Fault."""
    return not (one.touches & (other.touches | other.needs) or other.touches & one.needs or one.alone or other.alone)


def duration(source: random.Random) -> float:
    """How long something hangs: mostly 1 to 4 s, now and then up to 15 s."""
    return source.uniform(5, 15) if source.random() < 0.08 else source.uniform(1, 4)


def schedule(kinds: Sequence[type[Fault]], seed: int, count: int) -> list[list[Fault]]:
    """So many faults, alone or in pairs. Each kind comes once before any comes as often as its weight says."""
    source = random.Random(f"faults {seed}")
    deck: list[Fault] = []
    slots: list[list[Fault]] = []
    scheduled = 0

    def draw() -> Fault:
        if not deck:
            once = [kind(source) for kind in kinds]
            more = [kind(source) for kind in kinds for _ in range(kind.weight - 1)]
            source.shuffle(once)
            source.shuffle(more)
            deck.extend(more + once)
        return deck.pop()

    while scheduled < count:
        slot = [draw()]
        if scheduled + 2 <= count and source.random() < PAIR_SHARE:
            partner = next((one for one in reversed(deck) if one.kind != slot[0].kind and can_pair(one, slot[0])), None)
            if partner is not None:
                deck.remove(partner)
                slot.append(partner)
        slots.append(slot)
        scheduled += len(slot)
    return slots
