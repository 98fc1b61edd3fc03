"""What one `kubectl apply -k overlays/demo` on an empty cluster brings, and who may do what there."""

import json
import os
import re
import subprocess

import pytest

import kube
from forward import Forward
from kube import kubectl

PASSWORD = "demonstration-only"
LEVELS = {"debug", "info", "warn", "error"}
STRAY = {"securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
         "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0}
CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
PORTS = {"order-service:50051": "grpc", "delivery-service:50052": "grpc", "order-operations:50061": "operations",
         "delivery-operations:50062": "operations", "order-service-headless:9464": "metrics", "kafka:9092": "kafka",
         "postgresql:5432": "database"}


@pytest.fixture(scope="module", autouse=True)
def demo(empty_cluster):
    """One apply. What it warns of would be PodSecurity's findings."""
    kube.apply_overlay(kube.DEMO)
    yield


def test_one_apply_runs_the_four_cases() -> None:
    kube.wait_ready("order-service", 2, 240)
    kube.wait_ready("delivery-service", 3, 240)
    kubectl("wait", "--for=condition=complete", "--timeout=300s", "job/demo", seconds=320)
    table = kubectl("logs", "job/demo")
    print(table)
    rows = {line.rsplit(maxsplit=4)[0].strip(): line.split()[-4:]
            for line in table.splitlines() if len(line.split()) > 4}
    assert rows["orders"] == ["500"] * 4
    assert rows["deliveries that do not match"] == ["0"] * 4


def test_every_pod_is_admitted_under_restricted() -> None:
    namespace = kube.get("namespace", kube.NAMESPACE)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    refused = [event["message"] for event in kube.get("events") if "PodSecurity" in event.get("message", "")]
    assert not refused
    for pod in kube.get("pods"):
        kubectl("apply", "--dry-run=server", "--filename=-", input=json.dumps(
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"again-{pod['metadata']['name']}"[:60]},
             "spec": {name: value for name, value in pod["spec"].items() if name not in ("nodeName", "priority")}}))


def test_the_namespace_refuses_what_is_not_restricted() -> None:
    answer = kubectl("run", "careless", "--image=lockstep/observer:test", "--restart=Never", check=False)
    assert "violates PodSecurity" in answer, answer


def test_grpcurl_through_port_forward_as_in_the_readme() -> None:
    with Forward("order-service", 50051) as order, Forward("delivery-service", 50052) as delivery:
        assert "order.v1.OrderService" in _grpcurl_text(order.address, "list")
        created = _grpcurl(order.address, "order.v1.OrderService/CreateOrder", {
            "request_id": "by-hand", "order": {
                "customer_id": "ada", "currency_code": "EUR",
                "delivery_address": {"recipient": "Ada", "lines": ["Ringstrasse 1"], "city": "Zug",
                                     "country_code": "CH"},
                "items": [{"sku": "lamp", "quantity": 2, "unit_minor_units": 1990}]}})
        order_id = created["order"]["orderId"]
        found = _grpcurl(delivery.address, "delivery.v1.DeliveryService/GetDelivery",
                         {"order_id": order_id, "min_order_version": 1})
        assert found["delivery"]["orderId"] == order_id
    with Forward("delivery-service", 50062) as operations:
        assert "partitions" in _grpcurl(operations.address, "delivery.v1.DeliveryOperations/GetConsumerState")


def test_operators_have_a_port_of_their_own() -> None:
    with Forward("order-service", 50051) as order:
        assert "OrderOperations" not in _grpcurl_text(order.address, "list")
        with pytest.raises(AssertionError, match="does not expose service|Unimplemented"):
            _grpcurl(order.address, "order.v1.OrderOperations/GetRelayState")


@pytest.mark.parametrize("application", ["order-service", "delivery-service"])
def test_logs_are_json_lines_without_secrets(application: str) -> None:
    for pod in kube.names(application):
        for container in ("migrate", application):
            lines = kubectl("logs", pod, f"--container={container}").splitlines()
            assert lines
            for line in lines:
                record = json.loads(line)
                assert record["level"] in LEVELS
                assert PASSWORD not in line


def test_the_image_lists_what_is_in_it() -> None:
    pod = kube.names("order-service")[0]
    document = json.loads(kubectl("exec", pod, "--", "cat", "/usr/share/lockstep/sbom.spdx.json"))
    assert document["spdxVersion"] == "SPDX-2.3"
    packages = {package["name"]: package["versionInfo"] for package in document["packages"]}
    assert packages.keys() >= {"lockstep", "libgrpc29", "libprotobuf-c1", "librdkafka1", "libpq5", "libmicrohttpd12"}
    identifiers = {package["SPDXID"] for package in document["packages"]} | {"SPDXRef-DOCUMENT"}
    assert len(identifiers) == len(document["packages"]) + 1
    for relationship in document["relationships"]:
        assert {relationship["spdxElementId"], relationship["relatedSpdxElement"]} <= identifiers


# ---- network policies ----


def test_a_stray_pod_reaches_nothing() -> None:
    assert _reached({}, kube.NAMESPACE) == set()


def test_a_stray_pod_of_another_namespace_reaches_nothing() -> None:
    assert _reached({}, "default") == set()


def test_a_caller_reaches_the_services_alone() -> None:
    assert _reached({"lockstep/caller": "true"}, kube.NAMESPACE) == {"grpc"}


def test_an_operator_reaches_the_operators_port_alone() -> None:
    assert _reached({"lockstep/operator": "true"}, kube.NAMESPACE) == {"operations"}


def test_a_namespace_of_callers_reaches_the_services_alone() -> None:
    labels = {"lockstep/caller": "true", "pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lockstep-callers", "labels": labels}})
    try:
        assert _reached({}, "lockstep-callers") == {"grpc"}
    finally:
        kubectl("delete", "namespace", "lockstep-callers", "--wait=false")


def test_who_makes_topics_reaches_kafka_alone() -> None:
    assert _reached({"app.kubernetes.io/name": "topics"}, kube.NAMESPACE) == {"kafka"}


def test_a_namespace_that_monitors_reaches_metrics_alone() -> None:
    labels = {"lockstep/monitoring": "true", "pod-security.kubernetes.io/enforce": "restricted"}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lockstep-monitors", "labels": labels}})
    try:
        assert _reached({}, "lockstep-monitors") == {"metrics"}
    finally:
        kubectl("delete", "namespace", "lockstep-monitors", "--wait=false")


# ---- disruptions ----


def test_one_pod_at_a_time_may_be_evicted() -> None:
    first, second, *_ = kube.names("delivery-service")
    assert _evict(first) == ""
    assert "disruption budget" in _evict(second)
    kube.wait_ready("delivery-service", 3)


def _evict(pod: str) -> str:
    """What is complained of."""
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": kube.NAMESPACE}}
    answer = kubectl("create", "--raw", f"/api/v1/namespaces/{kube.NAMESPACE}/pods/{pod}/eviction", "--filename=-",
                     input=json.dumps(eviction), check=False)
    return "" if '"Success"' in answer else answer


def _reached(labels: dict[str, str], namespace: str) -> set[str]:
    """What kinds of ports a pod with these labels can open a connection to; each kind is reached as a whole."""
    checks = "\n".join(f"nc -z -w 2 {name} {port} && echo reached {target} || true" for target in PORTS
                       for name, port in [_full(target)])
    # Policies take a moment to learn of a new pod.
    remove = ("delete", "pod", "stray", "--ignore-not-found", "--force", "--grace-period=0")
    kubectl(*remove, namespace=namespace, check=False)
    kube.wait_until(lambda: "default" in kubectl("get", "serviceaccounts", namespace=namespace, check=False), 30,
                    "the namespace has its ServiceAccount")
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": labels},
                "spec": {**STRAY, "restartPolicy": "Never", "containers": [{
                    "name": "stray", "image": "lockstep/observer:test", "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-c", f"sleep 4\n{checks}\necho done"], "securityContext": CONTAINER}]}},
               namespace=namespace)
    output = kube.wait_until(lambda: _all_tried(namespace), 90, "the stray pod has tried all")
    kubectl(*remove, namespace=namespace, check=False)
    reached = {line.split()[1] for line in output.splitlines() if line.startswith("reached")}
    kinds = {PORTS[target] for target in reached}
    assert reached == {target for target, kind in PORTS.items() if kind in kinds}, reached
    return kinds


def _all_tried(namespace: str) -> str:
    output = kubectl("logs", "stray", check=False, namespace=namespace)
    return output if re.search(r"^done$", output, re.MULTILINE) else ""


def _full(target: str) -> tuple[str, str]:
    name, port = target.split(":")
    return f"{name}.{kube.NAMESPACE}.svc", port


def _grpcurl(address: str, method: str, request: dict | None = None) -> dict:
    data = ["-d", json.dumps(request)] if request else []
    return json.loads(_run_grpcurl(*data, address, method))


def _grpcurl_text(address: str, verb: str) -> str:
    return _run_grpcurl(address, verb)


def _run_grpcurl(*arguments: str) -> str:
    result = subprocess.run([os.environ["GRPCURL"], "-plaintext", "-max-time", "20", *arguments], capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout
