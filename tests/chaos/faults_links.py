"""Faults of the network between any two."""

import random

from faults import DELIVERIES, ORDERS, Fault, Scene, duration

# Each link as faults know it, and the proxies that it is made of.
LINKS = {
    "order->postgres": [f"{name}->postgres" for name in ORDERS],
    "delivery->postgres": [f"{name}->postgres" for name in DELIVERIES],
    **{f"{name}->postgres": [f"{name}->postgres"] for name in (*ORDERS, *DELIVERIES)},
    "order->kafka": ["order->kafka"],
    "delivery->kafka": ["delivery->kafka"],
    "delivery->order": [f"delivery->{name}" for name in ORDERS],
    "client->order": [f"client->{name}" for name in ORDERS],
    **{f"{side}->{name}": [f"{side}->{name}"] for side in ("client", "delivery") for name in ORDERS},
}

_WHOLE_SIDES = ["order->postgres", "delivery->postgres", "order->kafka", "delivery->kafka", "delivery->order",
                "client->order"]


class CutLink(Fault):
    """refuse: connections end and none are taken; swallow: connections stay and nothing arrives."""

    kind = "cut_link"
    weight = 4

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        # Half of the time all of a side at once: one replica alone has others to take its place.
        link = source.choice(list(LINKS) if source.random() < 0.5 else _WHOLE_SIDES)
        self.targets = tuple(LINKS[link])
        self.touches = frozenset({*self.targets, "links"})
        self.seconds = duration(source)
        self.detail = {"link": link, "how": source.choice(("refuse", "swallow")),
                       "all_orders": link == "delivery->order"}

    def inject(self, scene: Scene) -> None:
        for link in (scene.stack.links[name] for name in self.targets):
            if self.detail["how"] == "refuse":
                link.refuse()
            else:
                link.swallow()

    def heal(self, scene: Scene) -> None:
        for name in self.targets:
            scene.stack.links[name].heal()


class SlowLink(CutLink):
    kind = "slow_link"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.seconds = source.uniform(2, 4)
        self.detail = {"link": self.detail["link"], "latency_ms": source.randint(50, 400),
                       "jitter_ms": source.randint(0, 50), "kilobytes_per_second": source.randint(50, 1000)}

    def inject(self, scene: Scene) -> None:
        detail = self.detail
        for name in self.targets:
            scene.stack.links[name].slow(detail["latency_ms"], detail["jitter_ms"], detail["kilobytes_per_second"])
