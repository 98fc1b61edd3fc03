"""Each rule can fail: a rendered overlay is broken in one way, and the rule that is there for it says so."""

import copy
import json
import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import check
import pytest
import rules
from documents import Container, Overlay, read_overlay, render
from programs import ROOT, Programs

KUSTOMIZE = [os.environ.get("KUSTOMIZE", "kustomize"), "build"]
Breaker = Callable[[Overlay], None]
BREAKS: list[tuple[str, str, str, Breaker]] = []


def breaks(rule: str, overlay: str, words: str) -> Callable[[Breaker], Breaker]:
    """A function that breaks a rule in an overlay, and what is said of it."""
    def note(function: Breaker) -> Breaker:
        BREAKS.append((rule, overlay, words, function))
        return function
    return note


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Both services, running."""
    with Programs() as started:
        yield started


@pytest.fixture(scope="session")
def rendered() -> dict[str, Overlay]:
    """The overlays, as they are."""
    folders = [ROOT / "deploy/kubernetes/overlays" / name for name in ("demo", "production", "production-operators")]
    return {folder.name: read_overlay(folder, render(KUSTOMIZE, folder)) for folder in folders}


# ---- where to break ----


def container(overlay: Overlay, workload: str, name: str) -> Container:
    """One of an overlay's containers."""
    return next(one for one in overlay.containers() if (one.workload.name, one.spec["name"]) == (workload, name))


def order(overlay: Overlay) -> Container:
    """The container that serves orders."""
    return container(overlay, "order-service", "order-service")


def delivery(overlay: Overlay) -> Container:
    """The container that serves deliveries."""
    return container(overlay, "delivery-service", "delivery-service")


def put(one: Container, name: str, value: str) -> None:
    """A setting of a container alone."""
    one.spec.setdefault("env", []).append({"name": name, "value": value})


def there(overlay: Overlay, kind: str, name: str) -> dict:
    """A document that is there."""
    document = overlay.find(kind, name)
    assert document is not None, (kind, name)
    return document


def drop(overlay: Overlay, kind: str, name: str) -> None:
    """Takes a document out."""
    overlay.documents.remove(there(overlay, kind, name))


# ---- containers ----


@breaks("alerts_are_explained", "production", "does not say of Unheard")
def an_alert_is_not_in_the_page(overlay: Overlay) -> None:
    """One more than the page has."""
    rules_there = there(overlay, "PrometheusRule", "lockstep")["spec"]["groups"][0]["rules"]
    rules_there.append({**rules_there[0], "alert": "Unheard"})


@breaks("alerts_are_explained", "production", "DeadLetters (warning), which there is not")
def an_alert_of_the_page_is_not_there(overlay: Overlay) -> None:
    """The page tells of it."""
    for group in there(overlay, "PrometheusRule", "lockstep")["spec"]["groups"]:
        group["rules"] = [one for one in group["rules"] if one["alert"] != "DeadLetters"]


@breaks("authorities_come_without_keys", "production-operators", "gets the key of order-database-ca")
def an_authority_comes_whole(overlay: Overlay) -> None:
    """All that the Secret has."""
    for volume in order(overlay).workload.pod["volumes"]:
        if volume.get("secret", {}).get("secretName") == "order-database-ca":
            del volume["secret"]["items"]


@breaks("both_services", "demo", "delivery-service is missing")
def no_delivery(overlay: Overlay) -> None:
    drop(overlay, "Deployment", "delivery-service")


@breaks("settings_are_known", "demo", "order-service has no option LISTEN_ADRESS")
def misspelt_setting(overlay: Overlay) -> None:
    put(order(overlay), "LISTEN_ADRESS", "0.0.0.0:50051")


@breaks("settings_are_known", "demo", "delivery-service has no option WRITE_THREADS_FILE")
def file_of_no_secret(overlay: Overlay) -> None:
    put(delivery(overlay), "WRITE_THREADS_FILE", "/run/secrets/database/password")


@breaks("settings_are_known", "demo", "there is no ConfigMap elsewhere")
def settings_from_nowhere(overlay: Overlay) -> None:
    order(overlay).spec["envFrom"] = [{"configMapRef": {"name": "elsewhere"}}]


@breaks("settings_are_taken", "demo", "SHUTDOWN_GRACE")
def duration_without_unit(overlay: Overlay) -> None:
    put(delivery(overlay), "SHUTDOWN_GRACE", "10")


@breaks("settings_are_taken", "production", "TLS=perhaps")
def neither_true_nor_false(overlay: Overlay) -> None:
    put(order(overlay), "TLS", "perhaps")


@breaks("settings_are_taken", "demo", "--creat-topics: unknown flag")
def misspelt_action(overlay: Overlay) -> None:
    container(overlay, "topics", "order-topics").spec["args"] = ["--creat-topics"]


@breaks("settings_are_taken", "demo", "--order-adress")
def misspelt_flag_of_the_demo(overlay: Overlay) -> None:
    container(overlay, "demo", "demo").spec["args"].append("--order-adress=order-service:50051")


@breaks("container_ports", "demo", "listens at 9464, which is none of its ports")
def undeclared_port(overlay: Overlay) -> None:
    order(overlay).spec["ports"] = [port for port in order(overlay).spec["ports"] if port["name"] != "metrics"]


@breaks("container_ports", "demo", "nothing listens at its port 50051")
def moved_address(overlay: Overlay) -> None:
    put(order(overlay), "LISTEN_ADDRESS", "0.0.0.0:50053")


@breaks("container_ports", "demo", "OPERATIONS_ADDRESS is not set")
def operations_for_everybody(overlay: Overlay) -> None:
    put(order(overlay), "OPERATIONS_ADDRESS", "")


@breaks("container_ports", "demo", "nothing listens at its port 50051")
def port_of_an_action(overlay: Overlay) -> None:
    container(overlay, "order-service", "migrate").spec["ports"] = [{"containerPort": 50051}]


@breaks("probes", "demo", "no readinessProbe")
def unasked(overlay: Overlay) -> None:
    del order(overlay).spec["readinessProbe"]


@breaks("probes", "demo", "no gRPC at port 9464")
def probe_of_another_port(overlay: Overlay) -> None:
    order(overlay).spec["livenessProbe"]["grpc"]["port"] = 9464


@breaks("probes", "demo", "order-service knows no health of \"alive\"")
def probe_of_nothing(overlay: Overlay) -> None:
    order(overlay).spec["livenessProbe"]["grpc"]["service"] = "alive"


@breaks("probes", "production", "speaks gRPC without TLS")
def probe_without_tls(overlay: Overlay) -> None:
    order(overlay).spec["livenessProbe"] = {"grpc": {"port": 50051, "service": "liveness"}}


@breaks("probes", "production", "/healthy is no path for it")
def probe_of_no_path(overlay: Overlay) -> None:
    delivery(overlay).spec["livenessProbe"]["httpGet"]["path"] = "/healthy"


@breaks("probes", "production", "no HTTP at port grpc")
def http_probe_of_grpc(overlay: Overlay) -> None:
    delivery(overlay).spec["readinessProbe"]["httpGet"]["port"] = "grpc"


@breaks("probes", "production", "livenessProbe asks whether it can serve")
def restarted_without_database(overlay: Overlay) -> None:
    delivery(overlay).spec["livenessProbe"]["httpGet"]["path"] = "/readyz"


@breaks("probes", "demo", "readinessProbe asks whether it lives")
def called_without_database(overlay: Overlay) -> None:
    order(overlay).spec["readinessProbe"]["grpc"]["service"] = "liveness"


@breaks("probes", "demo", "readinessProbe does not ask the program")
def open_port(overlay: Overlay) -> None:
    order(overlay).spec["readinessProbe"] = {"tcpSocket": {"port": 50051}}


@breaks("images", "demo", "has no tag that stays")
def latest(overlay: Overlay) -> None:
    container(overlay, "kafka", "kafka").spec["image"] = "docker.io/apache/kafka:latest"


@breaks("images", "demo", "has no tag that stays")
def untagged(overlay: Overlay) -> None:
    container(overlay, "topics", "order-topics").spec["image"] = "registry.example.com:5000/lockstep/order-service"


@breaks("images", "production", "is not of version")
def old_version(overlay: Overlay) -> None:
    delivery(overlay).spec["image"] = "lockstep/delivery-service:0.0.9"


@breaks("termination_grace", "demo", "24 s to end, of which it needs 25")
def too_short_an_end(overlay: Overlay) -> None:
    order(overlay).workload.pod["terminationGracePeriodSeconds"] = 24


@breaks("termination_grace", "demo", "30 s to end, of which it needs 75")
def longer_grace(overlay: Overlay) -> None:
    put(order(overlay), "SHUTDOWN_GRACE", "1m")


@breaks("termination_grace", "demo", "no pause before the end")
def sudden_end(overlay: Overlay) -> None:
    del order(overlay).spec["lifecycle"]


@breaks("memory_limits", "demo", "container migrate: no memory in its limits")
def unlimited(overlay: Overlay) -> None:
    del container(overlay, "order-service", "migrate").spec["resources"]["limits"]["memory"]


@breaks("files_are_mounted", "production", "TLS_KEY_FILE=/run/secrets/tls/tls.key")
def no_volume(overlay: Overlay) -> None:
    order(overlay).spec["volumeMounts"] = [
        mount for mount in order(overlay).spec["volumeMounts"] if mount["name"] != "tls"]


@breaks("files_are_mounted", "production", "KAFKA_TLS_CA_FILE=/run/secrets/kafka/authority.crt")
def file_of_another_name(overlay: Overlay) -> None:
    put(order(overlay), "KAFKA_TLS_CA_FILE", "/run/secrets/kafka/authority.crt")


@breaks("files_are_mounted", "demo", "PGPASSWORD_FILE=/run/secrets/database/password")
def key_of_another_name(overlay: Overlay) -> None:
    name = next(volume["secret"]["secretName"] for volume in order(overlay).workload.pod["volumes"])
    there(overlay, "Secret", name)["data"] = {"word": ""}


# ---- secrets ----


@breaks("no_secrets", "production", "Secret order-service-database is in the tree")
def secret_in_the_tree(overlay: Overlay) -> None:
    overlay.documents.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "order-service-database"},
                              "stringData": {"password": "known"}})


@breaks("secrets_are_explained", "production", "Secret unheard-of")
def secret_of_nobody(overlay: Overlay) -> None:
    order(overlay).workload.pod["volumes"].append({"name": "more", "secret": {"secretName": "unheard-of"}})


@breaks("secrets_are_explained", "production-operators", "Secret order-service-tls")
def certificate_of_nobody(overlay: Overlay) -> None:
    drop(overlay, "Certificate", "order-service")


@breaks("secrets_are_explained", "production-operators", "Secret delivery-service-kafka")
def user_of_nobody(overlay: Overlay) -> None:
    drop(overlay, "KafkaUser", "delivery-service-kafka")


# ---- services, addresses, policies ----


@breaks("service_ports", "demo", "has no pods")
def service_of_nobody(overlay: Overlay) -> None:
    there(overlay, "Service", "order-service")["spec"]["selector"] = {"app.kubernetes.io/name": "orders"}


@breaks("service_ports", "demo", "no port named http")
def service_of_no_port(overlay: Overlay) -> None:
    there(overlay, "Service", "delivery-service")["spec"]["ports"][0]["targetPort"] = "http"


@breaks("service_ports", "demo", "a headless Service moves no port")
def moved_headless_port(overlay: Overlay) -> None:
    there(overlay, "Service", "order-service-headless")["spec"]["ports"][0]["port"] = 80


@breaks("application_protocols", "production", "speaks https, not kubernetes.io/h2c")
def clear_protocol(overlay: Overlay) -> None:
    there(overlay, "Service", "order-operations")["spec"]["ports"][0]["appProtocol"] = "kubernetes.io/h2c"


@breaks("addresses", "demo", "no Service is at order-service-headless:50052")
def address_of_another_port(overlay: Overlay) -> None:
    put(delivery(overlay), "ORDER_ADDRESS", "dns:///order-service-headless:50052")


@breaks("addresses", "demo", "no Service is at broker:9092")
def address_of_no_service(overlay: Overlay) -> None:
    put(order(overlay), "KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,broker:9092")


@breaks("addresses", "production-operators", "no Service is at kafka-kafka-bootstrap:9093")
def listener_of_another_port(overlay: Overlay) -> None:
    there(overlay, "Kafka", "kafka")["spec"]["kafka"]["listeners"][0]["port"] = 9094


@breaks("addresses", "production-operators", "no Service is at order-database-rw:5432")
def database_of_another_name(overlay: Overlay) -> None:
    there(overlay, "Cluster", "order-database")["metadata"]["name"] = "orders"


@breaks("network_policy_ports", "demo", "NetworkPolicy order-service: nobody listens at TCP port 50052")
def policy_of_another_port(overlay: Overlay) -> None:
    there(overlay, "NetworkPolicy", "order-service")["spec"]["ingress"][0]["ports"] = [{"port": 50052}]


@breaks("network_policy_ports", "demo", "NetworkPolicy name-lookups: nobody listens at UDP port 5353")
def policy_of_another_name_server(overlay: Overlay) -> None:
    there(overlay, "NetworkPolicy", "name-lookups")["spec"]["egress"][0]["ports"] = [{"protocol": "UDP", "port": 5353}]


@breaks("network_policy_ports", "production", "NetworkPolicy to-kafka: nobody listens at TCP port 9092")
def policy_of_another_kafka(overlay: Overlay) -> None:
    there(overlay, "NetworkPolicy", "to-kafka")["spec"]["egress"][0]["ports"] = [{"port": 9092}]


@breaks("network_policy_ports", "production", "nobody listens at TCP port 5432")
def policy_of_another_database(overlay: Overlay) -> None:
    for one in overlay.containers():
        put(one, "PGPORT", "6432")


@breaks("network_policy_ports", "demo", "nobody has a port named http")
def policy_of_no_name(overlay: Overlay) -> None:
    there(overlay, "NetworkPolicy", "delivery-service")["spec"]["ingress"][0]["ports"] = [{"port": "http"}]


@breaks("monitors", "production", "0 Services have a port http")
def monitor_of_no_port(overlay: Overlay) -> None:
    there(overlay, "ServiceMonitor", "order-service")["spec"]["endpoints"][0]["port"] = "http"


@breaks("monitors", "production", "3 Services have a port metrics")
def scraped_three_times(overlay: Overlay) -> None:
    for name in ("order-service", "order-operations"):
        port = {"name": "metrics", "port": 9464, "targetPort": "metrics"}
        there(overlay, "Service", name)["spec"]["ports"].append(port)


@breaks("metric_names", "production", "lockstep_outbox_waiting")
def alert_of_no_metric(overlay: Overlay) -> None:
    groups = there(overlay, "PrometheusRule", "lockstep")["spec"]["groups"]
    groups[0]["rules"][0]["expr"] = 'max(lockstep_outbox_waiting{namespace="lockstep"}) > 1'


# ---- topics ----


@breaks("topics_agree", "demo", "CHANGE_TOPIC is order-change-topic for order-service, changes for delivery-service")
def topics_apart(overlay: Overlay) -> None:
    put(delivery(overlay), "CHANGE_TOPIC", "changes")


@breaks("topics_agree", "production-operators", "KafkaTopic orders is no topic of the services")
def topic_of_another_name(overlay: Overlay) -> None:
    there(overlay, "KafkaTopic", "order-topic")["spec"]["topicName"] = "orders"


@breaks("topics_agree", "production-operators", "group deliveries is none of the services'")
def right_on_another_group(overlay: Overlay) -> None:
    rights = there(overlay, "KafkaUser", "delivery-service-kafka")["spec"]["authorization"]["acls"]
    next(right for right in rights if right["resource"]["type"] == "group")["resource"]["name"] = "deliveries"


@breaks("topics_agree", "production-operators", "the group is readers, not delivery")
def scaled_by_another_group(overlay: Overlay) -> None:
    put(delivery(overlay), "KAFKA_GROUP_ID", "readers")


@breaks("topics_agree", "production-operators", "delivery-service reads no topic order-dead-letter-topic")
def scaled_by_another_topic(overlay: Overlay) -> None:
    trigger = there(overlay, "ScaledObject", "delivery-service")["spec"]["triggers"][0]
    trigger["metadata"]["topic"] = "order-dead-letter-topic"


@breaks("topics_are_made", "production-operators", "nobody makes the topic order-cancel-topic")
def topic_of_nobody(overlay: Overlay) -> None:
    drop(overlay, "KafkaTopic", "order-cancel-topic")


@breaks("topics_are_made", "demo", "nobody makes the topic order-dead-letter-topic")
def dead_letters_of_nobody(overlay: Overlay) -> None:
    container(overlay, "topics", "dead-letter-topic").spec["args"] = ["--migrate"]


@breaks("topics_are_made", "production", "2 of 1 replicas cannot be in sync")
def too_few_replicas(overlay: Overlay) -> None:
    put(container(overlay, "topics", "order-topics"), "TOPIC_REPLICATION", "1")


@breaks("topics_are_made", "production-operators", "KafkaTopic order-topic: 2 replicas cannot be in sync")
def too_few_replicas_by_strimzi(overlay: Overlay) -> None:
    there(overlay, "KafkaTopic", "order-topic")["spec"]["replicas"] = 1


@breaks("replicas_have_partitions", "demo", "HorizontalPodAutoscaler: 7 replicas of delivery-service for 6 partitions")
def idle_replicas(overlay: Overlay) -> None:
    there(overlay, "HorizontalPodAutoscaler", "delivery-service")["spec"]["maxReplicas"] = 7


@breaks("scaled_once", "production-operators", "Deployment delivery-service has 2 autoscalers")
def scaled_twice(overlay: Overlay) -> None:
    scaler = copy.deepcopy(there(overlay, "HorizontalPodAutoscaler", "order-service"))
    scaler["spec"]["scaleTargetRef"]["name"] = "delivery-service"
    overlay.documents.append(scaler)


# ---- the tests ----


def findings(overlay: Overlay, programs: Programs) -> list[str]:
    """What all rules say."""
    return [f"{name}: {sentence}" for name, sentence in rules.findings(overlay, programs)]


@pytest.mark.parametrize("name", ["demo", "production", "production-operators"])
def test_nothing_is_wrong_unbroken(rendered, programs, name):
    assert findings(rendered[name], programs) == []


@pytest.mark.parametrize("rule, name, words, breaker", BREAKS, ids=[one[3].__name__ for one in BREAKS])
def test_what_is_broken_is_found(rendered, programs, rule, name, words, breaker):
    overlay = copy.deepcopy(rendered[name])
    breaker(overlay)
    assert any(one.startswith(f"{rule}: ") and words in one for one in findings(overlay, programs)), \
        findings(overlay, programs)


def test_each_rule_is_broken_by_something():
    assert {one.__name__ for one in rules.RULES} == {rule for rule, *_ in BREAKS}


# ---- what the check does beside the rules ----

SERVICE = """apiVersion: v1
kind: Service
metadata:
  name: bare
spec:
  selector: {app: bare}
  ports:
    - port: 80
"""


@pytest.fixture
def no_reasons(tmp_path) -> check.Reasons:
    """A file of reasons with none in it."""
    (tmp_path / "reasons").write_text("# none\n")
    return check.Reasons(tmp_path / "reasons", 3)


def conform(text: str, reasons: check.Reasons) -> list[str]:
    """Of one of the versions."""
    version = os.environ["KUBERNETES_VERSIONS"].split()[-1]
    return check.conform(os.environ["KUBECONFORM"], pathlib.Path(os.environ["SCHEMAS"]), version, text, reasons)


@pytest.mark.parametrize("old, new, words", [
    ("selector:", "selektor:", "selektor"),
    ("port: 80", "port: eighty", "port"),
    ("apiVersion: v1", "apiVersion: v2", "could not find schema"),
    ("  name: bare", "  name: bare\n  anotations: {}", "anotations"),
], ids=["a field that is none", "a word for a number", "a kind that is none", "metadata that is none"])
def test_the_schemas_are_strict(no_reasons, old, new, words):
    assert conform(SERVICE, no_reasons) == []
    found = conform(SERVICE.replace(old, new), no_reasons)
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize("name, kind", [
    ("production-operators", "ScaledObject"), ("production-operators", "TriggerAuthentication"),
    ("production-operators", "ServiceMonitor"), ("production-operators", "PrometheusRule"),
    ("production-operators", "Certificate"), ("production-operators", "Kafka"),
    ("production-operators", "KafkaNodePool"), ("production-operators", "KafkaTopic"),
    ("production-operators", "KafkaUser"),
])
def test_the_schemas_of_operators_are_strict(rendered, no_reasons, name, kind):
    document = copy.deepcopy(next(rendered[name].of_kind(kind)))
    assert conform(json.dumps(document), no_reasons) == []
    document["spec"]["unknown"] = {}
    found = conform(json.dumps(document), no_reasons)
    assert len(found) == 1
    assert "unknown" in found[0]


def test_kube_score_is_heard(no_reasons):
    overlay = Overlay("alone", "", [])
    found = check.score(os.environ["KUBE_SCORE"], overlay, SERVICE, no_reasons)
    assert any("service-targets-pod" in one for one in found), found


def test_a_reason_without_use_is_told(tmp_path):
    (tmp_path / "reasons").write_text("demo * one : for this\ndemo * two : for that\n")
    reasons = check.Reasons(tmp_path / "reasons", 3)
    assert reasons.covers("demo", "Deployment/a", "one")
    assert not reasons.covers("production", "Deployment/a", "one")
    assert [one for one in reasons.unused() if "demo * two" in one] == reasons.unused() != []


@pytest.mark.parametrize("line", ["demo * one", "demo * one : ", "demo one : short"])
def test_a_reason_must_be_given(tmp_path, line):
    (tmp_path / "reasons").write_text(line + "\n")
    with pytest.raises(SystemExit):
        check.Reasons(tmp_path / "reasons", 3)


def test_an_overlay_that_cannot_be_rendered_is_told(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]\n")
    with pytest.raises(RuntimeError, match="missing.yaml"):
        render(KUSTOMIZE, tmp_path)


def test_a_component_of_no_overlay_is_told(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("components:\n  - ../../components/keda\n")
    assert any("monitoring" in one for one in check.unused_components([tmp_path]))
    assert not any("keda" in one for one in check.unused_components([tmp_path]))


@pytest.mark.skipif(subprocess.run(["which", "kubectl"], capture_output=True, check=False).returncode != 0,
                    reason="no kubectl here")
def test_kubectl_is_compared_with(rendered):
    folder = ROOT / "deploy/kubernetes/overlays/demo"
    assert check.same_by_kubectl(folder, rendered["demo"]) == []
    broken = copy.deepcopy(rendered["demo"])
    broken.documents.pop()
    assert check.same_by_kubectl(folder, broken) != []
