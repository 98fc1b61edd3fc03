"""What a campaign stands on: PostgreSQL and Kafka, each on a small file system of its own where that is possible, the
links to them, and a round's services with their links."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

import grpc
from order.v1 import order_operations_pb2, order_operations_pb2_grpc
from processes import Kafka, Postgres, Service, Stack, reserve_port, wait_until

from links import Link, Toxiproxy

DISK_MEGABYTES = {"postgres": 1024, "kafka": 1024}
FULL_SPARE_BYTES = 64 << 10
MAX_EVENT_BYTES = 8192
PENDING_MAX_ATTEMPTS = 6
ORDERS, DELIVERIES = 2, 3

_POSTGRES_SETTINGS = """max_connections = 200
max_wal_size = '128MB'
min_wal_size = '32MB'
"""


class Disk:
    """A small file system in memory that can be made full. None of it where nothing can be mounted."""

    def __init__(self, path: pathlib.Path, megabytes: int) -> None:
        self.path, self._size = path, megabytes << 20
        path.mkdir(parents=True, exist_ok=True)
        self.mounted = os.geteuid() == 0 and self._mount("-t", "tmpfs", "-o", f"size={self._size},mode=755", "tmpfs")

    def _mount(self, *arguments: str) -> bool:
        return subprocess.run(["mount", *arguments, str(self.path)], capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Shrinks it to what is in it."""
        def shrink() -> bool:
            usage = os.statvfs(self.path)
            used = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
            return self._mount("-o", f"remount,size={used + FULL_SPARE_BYTES}")

        wait_until(shrink, 5, f"{self.path} is full")

    def empty(self) -> None:
        if not self._mount("-o", f"remount,size={self._size}"):
            raise RuntimeError(f"{self.path} stays full")

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True, check=False)


class Ground:
    """The servers and the links to them. postgres_down and kafka_down are what faults do to them at once, without the
    time that a script takes to begin."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._cleanup = contextlib.ExitStack()
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self.disks = {name: Disk(self.directory / name, size) for name, size in DISK_MEGABYTES.items()}
        for disk in self.disks.values():
            self._cleanup.callback(disk.close)
        self.toxiproxy = Toxiproxy(os.environ["TOXIPROXY"], self.directory)
        self._cleanup.callback(self.toxiproxy.close)
        self.toxiproxy.start()

        self.postgres = Postgres(self.directory, {"LOCKSTEP_POSTGRES_SETTINGS": _POSTGRES_SETTINGS})
        self._cleanup.callback(self.postgres.kill)
        self.postgres.start()
        # The broker tells its clients where to go, so there is one link for all services of a side.
        self.links: dict[str, Link] = {}
        listeners = []
        for side in ("order", "delivery"):
            reservation = reserve_port()
            self._cleanup.callback(reservation.close)
            listen = reservation.getsockname()[1]
            link = Link(self.toxiproxy, f"{side}->kafka", f"127.0.0.1:{listen}")
            self.links[link.name] = link
            listeners.append(f"{side.upper()}={listen}={link.port}")
        self.kafka = Kafka(self.directory, {"LOCKSTEP_KAFKA_LISTENERS": " ".join(listeners)})
        self._cleanup.callback(self.kafka.kill)
        self.kafka.start()

    def close(self) -> None:
        self._cleanup.close()

    def mend(self) -> None:
        """After a round that failed: everything as it was, with its data."""
        for disk in self.disks.values():
            if disk.mounted:
                disk.empty()
        for link in self.links.values():
            link.heal()
        for server in (self.postgres, self.kafka):
            server.kill()
            server.start()

    def kafka_down(self, how: int) -> None:
        """how: a signal for all of it."""
        os.kill(_pid(self.kafka), how)

    def postgres_down(self, how: int) -> None:
        """SIGKILL and SIGSTOP go to the server and all its sessions, itself first so that it starts no other;
        SIGQUIT, the immediate stop, to itself alone."""
        server = _pid(self.postgres)
        if how == signal.SIGQUIT:
            os.kill(server, how)
            return
        os.kill(server, signal.SIGSTOP)
        for process in [server, *_children(server)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, how)

    def postgres_up(self) -> None:
        """Starts it again, whatever has become of it, or wakes it."""
        if _ended(_pid(self.postgres)):
            self.postgres.kill()
        self.postgres.start()

    def kafka_up(self) -> None:
        """Starts it again if it has died."""
        wait_until(lambda: self.kafka.start().answers(), 60, "Kafka answers")

    def running(self, name: str) -> bool:
        return not _ended(_pid(getattr(self, name)))

    def wait_ended(self, name: str) -> None:
        """After a signal that ends it."""
        wait_until(lambda: not self.running(name), 20, f"{name} ends")


def _pid(server: Postgres | Kafka) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((server.directory / server.name / "pid").read_text().split()[0])
    return 0


def _ended(process: int) -> bool:
    try:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] == "Z"


def _children(parent: int) -> list[int]:
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found


class RoundStack:
    """A round's services: two orders, three deliveries, one more delivery that is not started, and their links.

    deaths: services that ended although nobody ended them, and those that did not when they were told to.
    """

    def __init__(self, ground: Ground, directory: pathlib.Path) -> None:
        self.ground = ground
        self._cleanup = contextlib.ExitStack()
        order, delivery = ({"KAFKA_BOOTSTRAP_SERVERS": ground.links[f"{side}->kafka"].address}
                           for side in ("order", "delivery"))
        self.stack = Stack(
            ground.postgres, ground.kafka, directory, orders=ORDERS, deliveries=DELIVERIES + 1,
            order_settings={**order, "MAX_EVENT_BYTES": str(MAX_EVENT_BYTES)},
            delivery_settings={**delivery, "RECONCILE_INTERVAL": "0", "KAFKA_SESSION_TIMEOUT": "3s",
                               "PENDING_MAX_ATTEMPTS": str(PENDING_MAX_ATTEMPTS), "PENDING_INITIAL_DELAY": "200ms",
                               "PENDING_MAX_DELAY": "1s"})
        self._cleanup.callback(self.stack.close)
        self.orders, self.spare = self.stack.orders, self.stack.deliveries[DELIVERIES]
        self.deliveries = self.stack.deliveries[:DELIVERIES]
        self.services = [*self.orders, *self.deliveries]
        self.links = dict(ground.links)
        for side in ("client", "delivery"):
            for service in self.orders:
                self._add_link(f"{side}->{service.name}", service.address)
        database = f"{ground.postgres.environment['PGHOST']}:{ground.postgres.environment['PGPORT']}"
        for service in self.stack.services:
            link = self._add_link(f"{service.name}->postgres", database)
            service.settings.update(PGHOST=link.host, PGPORT=str(link.port))
        lookups = ",".join(self.links[f"delivery->order-{number + 1}"].address for number in range(ORDERS))
        for service in self.stack.deliveries:
            service.settings["ORDER_ADDRESS"] = f"ipv4:{lookups}"
        self.clock_files: dict[str, pathlib.Path] = {}
        if os.environ.get("FAKETIME_LIBRARY"):
            for service in (self.orders[-1], self.deliveries[-1]):
                self._fake_clock(service, directory)
        self.deaths: list[str] = []

    def _add_link(self, name: str, upstream: str) -> Link:
        link = Link(self.ground.toxiproxy, name, upstream)
        self._cleanup.callback(link.close)
        self.links[name] = link
        return link

    def _fake_clock(self, service: Service, directory: pathlib.Path) -> None:
        path = directory / f"{service.name}.clock"
        path.write_text("+0\n")
        self.clock_files[service.name] = path
        # Only what a clock that is set would change: what measures time by the monotonic clock goes on as before.
        service.settings.update(LD_PRELOAD=os.environ["FAKETIME_LIBRARY"], FAKETIME_TIMESTAMP_FILE=str(path),
                                FAKETIME_CACHE_DURATION="1", DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_FAKE_MONOTONIC="1")

    def service(self, name: str) -> Service:
        return next(service for service in self.stack.services if service.name == name)

    def leader(self) -> str | None:
        """The order service whose relay sends."""
        for service in self.orders:
            stub = order_operations_pb2_grpc.OrderOperationsStub(service.channel)
            with contextlib.suppress(grpc.RpcError):
                if stub.GetRelayState(order_operations_pb2.GetRelayStateRequest(), timeout=2).leader:
                    return service.name
        return None

    def start(self) -> "RoundStack":
        self.stack.prepare()
        for service in self.services:
            service.start(wait=False)
        for service in self.services:
            service.wait_serving()
        return self

    def start_service(self, service: Service, seconds: float = 60) -> None:
        """As a supervisor would: one that ends while it starts is started again, and that is noted."""
        deadline = time.monotonic() + seconds
        while True:
            if not service.running():
                service.start(wait=False)
            wait_until(lambda: not service.running() or service.serving(), max(1, deadline - time.monotonic()),
                       f"{service.name} serves")
            if service.running():
                return
            self.deaths.append(f"{service.name} ended while it started, with exit code {service.process.returncode}")

    def stop_service(self, service: Service) -> int:
        """SIGTERM; one that does not end well, or not at all, is noted. Returns its exit code."""
        try:
            code = service.stop()
        except AssertionError:
            self.deaths.append(f"{service.name} does not end within 30 s of SIGTERM")
            service.kill()
            return -1
        if code != 0:
            self.deaths.append(f"{service.name} ends with exit code {code} after SIGTERM")
        return code

    def wait_serving(self, service: Service, seconds: float = 60) -> None:
        """One that was paused or cut off serves again."""
        wait_until(lambda: not service.running() or service.serving(), seconds, f"{service.name} serves")
        self.revive(service)

    def revive(self, service: Service) -> None:
        """One that ended although nobody ended it is noted and started again."""
        if not service.running():
            self.deaths.append(f"{service.name} ended by itself, with exit code {service.process.returncode}")
            self.start_service(service)

    def close(self) -> None:
        self._cleanup.close()
