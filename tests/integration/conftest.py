"""Fixtures of the integration tests: real PostgreSQL, real Kafka, the real services, each as processes that a
test may stop, kill, pause and start again. `tests/run --only integration` runs them all; for one test,
`tests/run --only integration:NAME`. By hand, after `deploy/local/dependencies --test` and a build:

    LOCKSTEP_BUILD_DIR=build/gcc .../bin/python -m pytest tests/integration -k NAME

Session-wide (shared; a test that breaks one of these mends it, and if it fails before, the next test that
asks for it gets it running again, with its data):

  postgres    Postgres: connect(database, user), new_database(owner), drop_database(name),
              start/stop/kill/restart/pause/resume, answers(), environment (PGHOST, PGPORT, PGPASSFILE)
  kafka       Kafka: bootstrap_servers, admin(), producer(), consumer(*topics), read(topic, count),
              create_topic, delete_topics, topics(), end_offsets, committed_offsets, and the same verbs
  grpcurl     a function: grpcurl(address, "order.v1.OrderService/GetOrder", {"orderId": "1"}) -> dict,
              or a list of dicts for a stream; raises GrpcurlError (.code, .text)
  kcat        a function: kcat("-t", "order-topic", "-C", ..., input=None) -> text, the broker given

Stacks, each with databases, topics and a consumer group of its own, all removed afterwards:

  shared      one Stack for the tests of a module, serving, with one order-service and one delivery-service:
              shared.order, shared.delivery, ... Its tests leave both running
  stack       such a Stack for one test
  new_stack   a function that makes a Stack for one test, not yet started: new_stack(orders=2, deliveries=3,
              order_settings={"LOG_LEVEL": "debug"}, delivery_settings={...}).start()
  wait_until  wait_until(condition, seconds, message): polls; tests never sleep

The code that grpcio-tools generates from proto/ can be imported (order.v1.order_pb2, ...); support/ has clients,
sample orders, a Workload and the comparison of orders with deliveries. A failing test shows the end of the logs of
its services.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

import processes
from support import schemas


def pytest_configure(config):
    """Generates the clients before tests that import them are collected."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lockstep-schemas."))
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))
    schemas.generate(directory)
    sys.path.insert(0, str(directory))


@pytest.fixture(scope="session")
def test_directory():
    """Where this session keeps everything; removed at its end."""
    given = os.environ.get("LOCKSTEP_TEST_DIR")
    if given:
        pathlib.Path(given).mkdir(parents=True, exist_ok=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lockstep-integration.", dir=given))
    directory.chmod(0o755)  # root's PostgreSQL runs as another user
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


def _session_server(server):
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def _postgres(test_directory):
    yield from _session_server(processes.Postgres(test_directory))


@pytest.fixture(scope="session")
def _kafka(test_directory):
    yield from _session_server(processes.Kafka(test_directory))


def _mended(server):
    """A server as a test may expect it, whatever the test before did to it."""
    if not server.answers():
        server.kill()
        server.start()
    return server


@pytest.fixture
def postgres(_postgres):
    return _mended(_postgres)


@pytest.fixture
def kafka(_kafka):
    return _mended(_kafka)


@pytest.fixture
def wait_until():
    return processes.wait_until


@pytest.fixture
def new_stack(postgres, kafka, tmp_path, request):
    """A function that makes a Stack; every one made is closed after the test."""
    made = []

    def make(**options):
        directory = tmp_path / f"stack-{len(made) + 1}"
        directory.mkdir()
        stack = processes.Stack(postgres, kafka, directory, **options)
        made.append(stack)
        request.node.stacks = made
        return stack

    yield make
    for stack in made:
        stack.close()


@pytest.fixture
def stack(new_stack):
    return new_stack().start()


@pytest.fixture(scope="module")
def _shared(_postgres, _kafka, tmp_path_factory):
    stack = processes.Stack(_mended(_postgres), _mended(_kafka), tmp_path_factory.mktemp("shared"))
    try:
        yield stack.start()
    finally:
        stack.close()


@pytest.fixture
def shared(_shared, request):
    request.node.stacks = [_shared]
    return _shared


class GrpcurlError(Exception):
    """grpcurl's call did not end with OK: .code is the status's name ("NotFound"), .text all it said."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


@pytest.fixture(scope="session")
def grpcurl():
    program = os.environ.get("GRPCURL", "grpcurl")

    def call(address, method, request=None, *arguments, timeout=30):
        command = [program, "-plaintext", "-max-time", str(timeout), *arguments,
                   "-d", json.dumps(request or {}), getattr(address, "address", address), method]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout + 10, check=False)
        if result.returncode != 0:
            code = next((line.split(":", 1)[1].strip() for line in result.stderr.splitlines()
                         if line.strip().startswith("Code:")), "")
            raise GrpcurlError(code, result.stderr)
        decoder, text, answers = json.JSONDecoder(), result.stdout.strip(), []
        while text:
            answer, end = decoder.raw_decode(text)
            answers.append(answer)
            text = text[end:].lstrip()
        return answers[0] if len(answers) == 1 else answers

    call.program = program
    return call


@pytest.fixture
def kcat(kafka):
    def call(*arguments, input=None, timeout=60):
        result = subprocess.run(["kcat", "-b", kafka.bootstrap_servers, *map(str, arguments)], input=input,
                                capture_output=True, text=not isinstance(input, bytes), timeout=timeout, check=False)
        assert result.returncode == 0, f"kcat {' '.join(map(str, arguments))}: {result.stderr}"
        return result.stdout

    return call


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed or report.when == "setup" and report.failed:
        for stack in getattr(item, "stacks", []):
            for name, text in stack.logs():
                report.sections.append((f"the end of {name}'s log", text))
