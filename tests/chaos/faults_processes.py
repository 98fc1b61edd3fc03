"""Faults of the services' processes."""

import os
import random
import signal
import time

from faults import DELIVERIES, ORDERS, Fault, Scene, duration
from ground import Ground


class KillOrder(Fault):
    kind = "kill_order"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = source.choice((ORDERS, ORDERS[:1], ORDERS[1:]))
        self.touches = frozenset(self.targets)
        self.seconds = source.uniform(0.2, 3)
        self.detail = {"all_orders": len(self.targets) == len(ORDERS)}

    def inject(self, scene: Scene) -> None:
        for name in self.targets:
            scene.stack.service(name).kill()

    def heal(self, scene: Scene) -> None:
        for name in self.targets:
            scene.stack.service(name).start(wait=False)
        for name in self.targets:
            scene.stack.start_service(scene.stack.service(name))


class HangLeader(Fault):
    """The order service that leads the relay hangs, for as long as it takes: its sessions at the database stay as they
    are, and the other one must do without it. Until it does, nothing has recovered. Then it wakes up, and must not
    think that it still leads."""

    kind = "hang_leader"
    alone = True  # the other order service must live, and have all that it needs

    def prepare(self, scene: Scene) -> None:
        self.targets = (scene.stack.leader() or ORDERS[0],)
        self.away = frozenset(self.targets)

    def inject(self, scene: Scene) -> None:
        scene.stack.service(self.targets[0]).pause()

    def restore(self, scene: Scene) -> None:
        service = scene.stack.service(self.targets[0])
        service.resume()
        scene.stack.wait_serving(service)


class KillDelivery(KillOrder):
    kind = "kill_delivery"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = tuple(sorted(source.sample(DELIVERIES, source.choice((1, 1, 2, 3)))))
        self.touches = frozenset(self.targets)
        self.detail = {}


class StopOrder(Fault):
    """SIGSTOP, then SIGCONT."""

    kind = "stop_order"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = source.choice((ORDERS, ORDERS[:1], ORDERS[1:]))
        self.touches = frozenset(self.targets)
        self.seconds = duration(source)
        self.detail = {"all_orders": len(self.targets) == len(ORDERS)}

    def inject(self, scene: Scene) -> None:
        for name in self.targets:
            scene.stack.service(name).pause()

    def heal(self, scene: Scene) -> None:
        for name in self.targets:
            scene.stack.service(name).resume()
        for name in self.targets:
            scene.stack.wait_serving(scene.stack.service(name))


class StopDelivery(StopOrder):
    kind = "stop_delivery"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = tuple(sorted(source.sample(DELIVERIES, source.choice((1, 1, 2, 3)))))
        self.touches = frozenset(self.targets)
        if source.random() < 0.4:  # long enough for the group to give its partitions to others
            self.seconds = source.uniform(4, 7)
        self.detail = {}


class Terminate(Fault):
    """SIGTERM: it ends well, with exit code 0, and is started again."""

    kind = "terminate"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = (source.choice((*ORDERS, *DELIVERIES)),)
        self.touches = frozenset(self.targets)
        # A service that ends well flushes and commits, which takes whole servers.
        self.needs = frozenset({"postgres", "kafka", "links"})
        self.seconds = source.uniform(0, 1)

    def inject(self, scene: Scene) -> None:
        begin = time.monotonic()
        self.detail["exit_code"] = scene.stack.stop_service(scene.stack.service(self.targets[0]))
        self.detail["stop_seconds"] = round(time.monotonic() - begin, 3)

    def heal(self, scene: Scene) -> None:
        scene.stack.start_service(scene.stack.service(self.targets[0]))


class Rebalance(Fault):
    """A fourth delivery service comes, and goes again."""

    kind = "rebalance"
    weight = 2

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = ("delivery-4",)
        self.touches = frozenset(self.targets)
        self.needs = frozenset({"kafka", "group"})  # without Kafka there is nothing to share out
        self.seconds = source.uniform(0.5, 3)
        self.detail = {"ends": source.choice(("terminate", "kill"))}

    def inject(self, scene: Scene) -> None:
        scene.stack.spare.start(wait=False)

    def heal(self, scene: Scene) -> None:
        if self.detail["ends"] == "kill":
            scene.stack.spare.kill()
        else:
            self.detail["exit_code"] = scene.stack.stop_service(scene.stack.spare)


class AllKilled(Fault):
    """As when the power fails, and comes back. It leaves nothing for another fault to break."""

    kind = "all_killed"
    alone = True

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = (*ORDERS, *DELIVERIES, "kafka", "postgres")
        self.seconds = source.uniform(0, 1)
        self.detail = {"all_orders": True}

    def inject(self, scene: Scene) -> None:
        for service in scene.stack.services:
            service.kill()
        scene.ground.kafka_down(signal.SIGKILL)
        scene.ground.postgres_down(signal.SIGKILL)

    def heal(self, scene: Scene) -> None:
        scene.ground.postgres_up()
        scene.ground.kafka_up()
        for service in scene.stack.services:
            service.start(wait=False)
        for service in scene.stack.services:
            scene.stack.start_service(service)


class ClockJump(Fault):
    """The clock of one process is set an hour forward or back, and later set right."""

    kind = "clock_jump"

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.targets = (source.choice((ORDERS[-1], DELIVERIES[-1])),)
        self.touches = frozenset({f"clock of {self.targets[0]}"})
        self.needs = frozenset(self.targets)
        self.seconds = source.uniform(2.5, 4)
        self.detail = {"seconds": source.choice((3600, -3600))}

    @classmethod
    def unavailable(cls, ground: Ground) -> str | None:
        return None if os.environ.get("FAKETIME_LIBRARY") else "there is no libfaketime"

    def inject(self, scene: Scene) -> None:
        scene.stack.clock_files[self.targets[0]].write_text(f"{self.detail['seconds']:+d}s\n")

    def heal(self, scene: Scene) -> None:
        scene.stack.clock_files[self.targets[0]].write_text("+0\n")
