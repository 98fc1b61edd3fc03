"""What the programs of this project say of themselves: their options, which values they take, which ports, paths and
names they answer, and which metrics they have."""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARIES = {
    "order-service": "order/order-service",
    "delivery-service": "delivery/delivery-service",
    "demo": "deploy/local/lockstep-demo",
}
BAD_CONFIGURATION = 78
# An argument after all others that no program knows: who complains about it has taken everything before it.
LAST = "--no-such-flag"
START_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Option:
    """A line of a program's configuration reference."""

    flags: tuple[str, ...]
    variables: tuple[str, ...]
    kind: str
    default: str
    group: str

    @property
    def is_action(self) -> bool:
        """Whether it is what to do instead of serving."""
        return self.group == "Actions"

    def is_file(self, name: str) -> bool:
        """Whether the value of the flag or variable `name` is the path of a file."""
        return self.kind.startswith("a file") or (
            self.kind.startswith("secret") and name.lower().replace("_", "-").endswith("-file"))


class Program:
    """A program, as it was built."""

    def __init__(self, name: str, path: pathlib.Path, version: str) -> None:
        self.name = name
        self.path = path
        self.version = version
        reference = subprocess.run([path, "--config-reference"], capture_output=True, text=True, check=True).stdout
        self.options = list(self._read(reference))
        self.by_variable = {variable: option for option in self.options for variable in option.variables}
        self.by_flag = {flag: option for option in self.options for flag in option.flags}
        self._known: dict[tuple, str | None] = {}

    @staticmethod
    def _read(reference: str) -> Iterator[Option]:
        group = ""
        for line in reference.splitlines():
            if line.startswith("## "):
                group = line[3:]
            elif line.startswith("| `") or line.startswith("|  |"):
                flags, variables, kind, default, _ = (cell.strip() for cell in line.strip("|").split(" | ", 4))
                yield Option(tuple(re.findall(r"`([^`]+)`", flags)), tuple(re.findall(r"`([^`]+)`", variables)),
                             kind, default.strip("`"), group)

    def defaults(self) -> dict[str, str]:
        """The value of each variable that nobody sets."""
        return {variable: option.default for option in self.options for variable in option.variables}

    def flags(self, arguments: list[str]) -> Iterator[tuple[str, str | None]]:
        """The flags of a command line, each with its value."""
        left = list(arguments)
        while left:
            flag, equals, value = left.pop(0).partition("=")
            option = self.by_flag.get(flag)
            if equals:
                yield flag, value
            elif option and not option.kind.startswith("true") and option.kind and left:
                yield flag, left.pop(0)
            else:
                yield flag, None

    def actions(self, arguments: list[str]) -> list[str]:
        """What a command line has it do instead of serving."""
        return [flag for flag, _ in self.flags(arguments) if flag in self.by_flag and self.by_flag[flag].is_action]

    def effective(self, environment: dict[str, str | None], arguments: list[str]) -> dict[str, str | None]:
        """Each variable's value where flags beat the environment, and that the defaults."""
        values: dict[str, str | None] = {**self.defaults(), **environment}
        for flag, value in self.flags(arguments):
            for variable in self.by_flag[flag].variables if flag in self.by_flag else ():
                values[variable] = value
        return values

    def complaint(self, environment: dict[str, str | None], arguments: list[str]) -> str | None:
        """What it has against such a start, by its own words; files are taken to be there."""
        key = (tuple(sorted(environment.items(), key=str)), tuple(arguments))
        if key not in self._known:
            self._known[key] = self._ask(environment, arguments)
        return self._known[key]

    def _ask(self, environment: dict[str, str | None], arguments: list[str]) -> str | None:
        with tempfile.NamedTemporaryFile("w", prefix="lockstep-manifests.") as file:
            file.write("of this check\n")
            file.flush()
            settings = {}
            for name, value in environment.items():
                option = self.by_variable.get(name)
                settings[name] = file.name if value and option and option.is_file(name) else (
                    "unknown" if value is None else value)
            words = []
            for argument in arguments:
                flag, equals, _ = argument.partition("=")
                is_path = equals and flag in self.by_flag and self.by_flag[flag].is_file(flag)
                words.append(f"{flag}={file.name}" if is_path else argument)
            result = subprocess.run([self.path, *words, LAST], env=settings, capture_output=True, text=True,
                                    check=False, timeout=30)
        if result.returncode == BAD_CONFIGURATION and f"{LAST}: " in result.stderr:
            return None
        return result.stderr.strip() or f"exit status {result.returncode}"


class RunningService:
    """A service that runs without database and broker, to be asked what it answers."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ports = dict(zip(("LISTEN_ADDRESS", "OPERATIONS_ADDRESS", "METRICS_ADDRESS"), free_ports(3), strict=True))
        self.process: subprocess.Popen | None = None
        self.output = tempfile.TemporaryFile("w+")

    def start(self) -> None:
        """Returns when it answers."""
        nowhere = "127.0.0.1:1"
        environment = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        environment |= {"PGHOST": "127.0.0.1", "PGPORT": "1", "KAFKA_BOOTSTRAP_SERVERS": nowhere,
                        "SHUTDOWN_GRACE": "0ms"}
        if "ORDER_ADDRESS" in self.program.by_variable:
            environment["ORDER_ADDRESS"] = nowhere
        self.process = subprocess.Popen([self.program.path], env=environment, stderr=self.output,
                                        stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while self.http_status("/healthz") != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.output.seek(0)
                raise RuntimeError(f"{self.program.name} does not start: {self.output.read()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it, whatever it does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()

    def _get(self, path: str) -> tuple[int, str]:
        try:
            address = f"http://127.0.0.1:{self.ports['METRICS_ADDRESS']}{path}"
            with urllib.request.urlopen(address, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""

    def http_status(self, path: str) -> int:
        """What the port of the metrics answers: 404 is a path that it does not have."""
        return self._get(path)[0]

    def metrics(self) -> set[str]:
        """The names of all its time series."""
        return set(re.findall(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)[ {]", self._get("/metrics")[1], re.MULTILINE))

    def has_health_of(self, address: str, service: str) -> bool:
        """Whether the server of LISTEN_ADDRESS or OPERATIONS_ADDRESS knows a service by this name."""
        with grpc.insecure_channel(f"127.0.0.1:{self.ports[address]}") as channel:
            try:
                health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=20,
                                                          wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:
                    return False
                raise
        return True


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def project_version() -> str:
    """As CMakeLists.txt has it."""
    found = re.search(r"project\(lockstep VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())
    if found is None:
        raise RuntimeError("CMakeLists.txt does not tell the version")
    return found[1]


class Programs:
    """All programs, the services of them running: a context."""

    def __init__(self, build: pathlib.Path | None = None) -> None:
        build = build or pathlib.Path(os.environ.get("LOCKSTEP_BUILD_DIR", ROOT / "build/gcc"))
        self.version = project_version()
        self.by_name = {name: Program(name, build.resolve() / path, self.version) for name, path in BINARIES.items()}
        self.running = {name: RunningService(self.by_name[name]) for name in ("order-service", "delivery-service")}
        self._health: dict[tuple[str, str, str], bool] = {}
        self._status: dict[tuple[str, str], int] = {}
        self._metrics: set[str] | None = None

    def __enter__(self) -> "Programs":
        try:
            for service in self.running.values():
                service.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.running.values():
            service.stop()

    def __getitem__(self, name: str) -> Program:
        return self.by_name[name]

    def has_health_of(self, name: str, address: str, service: str) -> bool:
        """RunningService.has_health_of, asked once."""
        key = (name, address, service)
        if key not in self._health:
            self._health[key] = self.running[name].has_health_of(address, service)
        return self._health[key]

    def http_status(self, name: str, path: str) -> int:
        """RunningService.http_status, asked once."""
        if (name, path) not in self._status:
            self._status[name, path] = self.running[name].http_status(path)
        return self._status[name, path]

    def metrics(self) -> set[str]:
        """The time series of both services: those they have now, and those that begin with a partition or a call."""
        if self._metrics is None:
            self._metrics = set().union(*(service.metrics() for service in self.running.values()))
            for name in self.running:
                words = re.findall(rb"\0(lockstep_[a-z0-9_]+)(?=\0)", self.by_name[name].path.read_bytes())
                self._metrics |= {word.decode() for word in words}
        return self._metrics
