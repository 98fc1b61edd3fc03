"""gRPC over TLS: clients of both services, and delivery as a client of order."""

import grpc
import pytest
from delivery.v1.delivery_operations_pb2 import GetConsumerStateRequest

from support import clients, convergence, events, samples
from support.certificates import Authority
from support.events import MODES


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "authority")


@pytest.fixture
def new_tls_stack(new_stack, authority):
    """Both services speak TLS; delivery trusts the authority."""
    def make(order_settings=None, delivery_settings=None):
        settings = {}
        for side in ("order", "delivery"):
            certificate, key = authority.sign(side)
            settings[side] = {"TLS": "true", "TLS_CERTIFICATE_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
        settings["delivery"].update(ORDER_TLS="true", ORDER_TLS_AUTHORITY_FILE=str(authority.certificate))
        stack = new_stack(order_settings={**settings["order"], **(order_settings or {})},
                          delivery_settings={**settings["delivery"], **(delivery_settings or {})})
        for service in stack.services:
            service.credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        return stack

    return make


def test_delivery_looks_orders_up_over_tls(new_tls_stack):
    stack = new_tls_stack().start()
    events.set_mode(stack.order, MODES["zero-domain"])
    samples.create(clients.order_service(stack.order))
    convergence.wait_converged(stack)


def test_plaintext_and_strangers_are_refused(new_tls_stack, tmp_path):
    stack = new_tls_stack().start()
    strange = Authority(tmp_path, "strange")
    address, known = stack.order.address, stack.order.credentials
    for credentials in (None, grpc.ssl_channel_credentials(strange.certificate.read_bytes())):
        stack.order.credentials = credentials
        channel = stack.order.new_channel()
        refused = clients.failure(channel.unary_unary("/grpc.health.v1.Health/Check"), b"", timeout=10)
        assert refused.code == grpc.StatusCode.UNAVAILABLE
        channel.close()
    stack.order.credentials = known
    assert stack.order.serving()
    assert stack.order.run("--probe", address, check=False).returncode == 1
    stack.order.settings["TLS_AUTHORITY_FILE"] = str(tmp_path / "authority.pem")
    assert stack.order.run("--probe", address, check=False).returncode == 0


def test_delivery_that_trusts_nobody_waits(new_tls_stack, tmp_path, wait_until):
    strange = Authority(tmp_path, "strange")
    stack = new_tls_stack(delivery_settings={"ORDER_TLS_AUTHORITY_FILE": str(strange.certificate)}).start()
    events.set_mode(stack.order, MODES["zero-domain"])
    samples.create(clients.order_service(stack.order))
    operations = clients.delivery_operations(stack.delivery)
    wait_until(lambda: operations.GetConsumerState(GetConsumerStateRequest()).problem, 30, "delivery tells of its problem")
    assert convergence.mismatches(stack)
    stack.delivery.stop()
    stack.delivery.settings["ORDER_TLS_AUTHORITY_FILE"] = str(tmp_path / "authority.pem")
    stack.delivery.start()
    convergence.wait_converged(stack)


def test_clients_show_certificates_where_it_is_asked(new_tls_stack, authority):
    certificate, key = authority.sign("client")
    mutual = {"TLS_AUTHORITY_FILE": str(authority.certificate), "TLS_REQUIRE_CLIENT_CERTIFICATE": "true"}
    stack = new_tls_stack(order_settings=mutual, delivery_settings={
        "ORDER_TLS_CERTIFICATE_FILE": str(certificate), "ORDER_TLS_KEY_FILE": str(key)})
    nobody = stack.order.credentials
    stack.order.credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), key.read_bytes(), certificate.read_bytes())
    stack.start()
    events.set_mode(stack.order, MODES["zero-domain"])
    samples.create(clients.order_service(stack.order))
    convergence.wait_converged(stack)

    stack.order.credentials = nobody
    channel = stack.order.new_channel()
    refused = clients.failure(channel.unary_unary("/grpc.health.v1.Health/Check"), b"", timeout=10)
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    channel.close()
