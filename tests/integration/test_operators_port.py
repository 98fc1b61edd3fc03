"""The operators' calls on a port of their own."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import processes
from support import clients, samples
from support.certificates import Authority

SIDES = ["order", "delivery"]
ALWAYS = {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"}
SERVICE = {"order": "order.v1.OrderService", "delivery": "delivery.v1.DeliveryService"}
OPERATIONS = {"order": "order.v1.OrderOperations", "delivery": "delivery.v1.DeliveryOperations"}
ONE_CALL = {"order": "order.v1.OrderOperations/GetRelayState",
            "delivery": "delivery.v1.DeliveryOperations/GetConsumerState"}
LIST = {"order": "ListOrders", "delivery": "ListDeliveries"}


class Port:
    """One of a service's ports, to be called."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self.address = address
        self.channel = (grpc.insecure_channel(address) if credentials is None
                        else grpc.secure_channel(address, credentials))

    def call(self, method: str, request: bytes = b"") -> bytes:
        return self.channel.unary_unary(f"/{method}")(request, timeout=10)

    def health(self, service: str = "") -> str:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=10)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


@pytest.fixture
def reserve() -> Iterator[Callable[[], str]]:
    """A function that gives addresses nobody else has until the test ends."""
    kept = []

    def make() -> str:
        kept.append(processes.reserve_port())
        host, port = kept[-1].getsockname()
        return f"{host}:{port}"

    yield make
    for reservation in kept:
        reservation.close()


@pytest.fixture
def ports(new_stack, reserve):
    """A stack whose services have both ports, and by side its (public, operators') ports."""
    settings = {side: {"OPERATIONS_ADDRESS": reserve()} for side in SIDES}
    stack = new_stack(order_settings=settings["order"], delivery_settings=settings["delivery"]).start()
    made = {side: (Port(getattr(stack, side).address), Port(settings[side]["OPERATIONS_ADDRESS"])) for side in SIDES}
    yield stack, made
    for pair in made.values():
        for port in pair:
            port.channel.close()


def test_operators_are_answered_on_their_port_only(ports):
    stack, made = ports
    for side in SIDES:
        public, operators = made[side]
        operators.call(ONE_CALL[side])
        refused = clients.failure(public.call, ONE_CALL[side])
        assert refused.code == grpc.StatusCode.UNIMPLEMENTED
        record = next(record for record in getattr(stack, side).log_records()
                      if record["message"] == f"{side}-service serves")
        assert record["port"] == int(public.address.rsplit(":", 1)[1])
        assert record["operations_port"] == int(operators.address.rsplit(":", 1)[1])
    order = samples.create(clients.order_service(stack.order))
    method, request = "order.v1.OrderService/GetOrder", b"\x08" + bytes([order.order_id])
    made["order"][0].call(method, request)
    assert clients.failure(made["order"][1].call, method, request).code == grpc.StatusCode.UNIMPLEMENTED


def reflected(grpcurl, port: Port, *question: str) -> subprocess.CompletedProcess:
    return subprocess.run([grpcurl.program, "-plaintext", "-max-time", "10", port.address, *question],
                          capture_output=True, text=True, check=False)


def listed(grpcurl, port: Port) -> set[str]:
    """The services that reflection lists."""
    return set(reflected(grpcurl, port, "list").stdout.split())


def test_reflection_tells_of_what_a_port_has(ports, grpcurl):
    _, made = ports
    for side in SIDES:
        public, operators = made[side]
        for port, own, other in ((public, SERVICE, OPERATIONS), (operators, OPERATIONS, SERVICE)):
            assert listed(grpcurl, port) == ALWAYS | {own[side]}
            assert reflected(grpcurl, port, "describe", own[side]).returncode == 0
            assert reflected(grpcurl, port, "describe", other[side]).returncode != 0


def test_health_is_told_on_both_ports(ports):
    stack, made = ports
    for side in SIDES:
        for port in made[side]:
            for name in ("", "liveness", SERVICE[side], OPERATIONS[side]):
                assert port.health(name) == "SERVING"
        assert getattr(stack, side).run("--probe", made[side][1].address).returncode == 0


def test_calls_of_both_ports_are_counted(ports, wait_until):
    stack, made = ports
    for side in SIDES:
        service = getattr(stack, side)

        def counted(method: str) -> float:
            return service.metric("grpc_server_handled_total", grpc_method=method, grpc_code="OK")

        made[side][1].call(ONE_CALL[side])
        wait_until(lambda: counted(ONE_CALL[side].split("/")[1]) == 1, 5, "the operators' call is counted")
        made[side][0].call(f"{SERVICE[side]}/{LIST[side]}")
        wait_until(lambda: counted(LIST[side]) == 1, 5, "the other call is counted, too")
        for port in made[side]:
            port.call("grpc.health.v1.Health/List")
        wait_until(lambda: counted("List") == 2, 5, "what both have is counted together")


@pytest.mark.parametrize("side", SIDES)
def test_both_ports_end_well(ports, side):
    """Who watches the health on the operators' port is told, and the service ends orderly."""
    stack, made = ports
    service = getattr(stack, side)
    seen: list[int] = []
    watch = health_pb2_grpc.HealthStub(made[side][1].channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING

    def follow() -> None:
        try:
            seen.extend(answer.status for answer in watch)
        except grpc.RpcError:
            pass

    thread = threading.Thread(target=follow)
    thread.start()
    service.signal(signal.SIGTERM)
    assert service.wait_ended(13) == 0
    thread.join(10)
    assert seen == [health_pb2.HealthCheckResponse.NOT_SERVING]
    assert next(record for record in service.log_records()
                if record["message"] == f"{side}-service has stopped")["all_finished"]
    assert clients.failure(made[side][1].call, ONE_CALL[side]).code == grpc.StatusCode.UNAVAILABLE


def test_without_it_one_port_has_all(shared, grpcurl):
    for side in SIDES:
        service = getattr(shared, side)
        port = Port(service.address)
        port.call(ONE_CALL[side])
        assert listed(grpcurl, port) == ALWAYS | {SERVICE[side], OPERATIONS[side]}
        port.channel.close()
        record = next(record for record in service.log_records() if record["message"] == f"{side}-service serves")
        assert record["operations_port"] == 0


@pytest.mark.parametrize("side", SIDES)
def test_an_operators_port_in_use_ends_the_start(new_stack, side):
    stack = new_stack()
    stack.prepare()
    service = getattr(stack, side)
    service.settings["OPERATIONS_ADDRESS"] = service.metrics_address
    result = service.run(check=False, timeout=30)
    assert result.returncode == 1
    last = json.loads(result.stderr.splitlines()[-1])
    assert service.metrics_address in last["error"]


def test_both_ports_speak_tls(new_stack, reserve, tmp_path):
    authority = Authority(tmp_path, "authority")
    certificate, key = authority.sign("order")
    address = reserve()
    stack = new_stack(deliveries=0, order_settings={
        "OPERATIONS_ADDRESS": address, "TLS": "true", "TLS_CERTIFICATE_FILE": str(certificate),
        "TLS_KEY_FILE": str(key)})
    stack.order.credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    stack.order.run("--migrate")
    stack.order.run("--create-topics")
    stack.order.start()
    for credentials, code in ((stack.order.credentials, None), (None, grpc.StatusCode.UNAVAILABLE)):
        port = Port(address, credentials)
        if code is None:
            port.call(ONE_CALL["order"])
        else:
            assert clients.failure(port.call, ONE_CALL["order"]).code == code
        port.channel.close()
