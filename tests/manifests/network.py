"""Who listens where, by an overlay's documents: also what operators start for their custom resources."""

import dataclasses

from documents import Overlay

# CloudNativePG's instances: PostgreSQL, the operator's questions, metrics.
CLOUDNATIVEPG_PORTS = {5432, 8000, 9187}
# Between Strimzi's brokers and controllers, and to them from the operator for the entities.
STRIMZI_PORTS = {9090, 9091}


@dataclasses.dataclass
class Listener:
    """Pods that listen."""

    labels: dict[str, str]
    ports: set[tuple[str, int]]
    names: set[str]


def listeners_of(overlay: Overlay) -> list[Listener]:
    """All of an overlay, and the cluster's name server."""
    found = [Listener({"k8s-app": "kube-dns"}, {("UDP", 53), ("TCP", 53)}, set())]
    for workload in overlay.workloads():
        ports = [port for container in workload.containers() for port in container.spec.get("ports", [])]
        found.append(Listener(workload.labels, {(port.get("protocol", "TCP"), port["containerPort"]) for port in ports},
                              {port["name"] for port in ports if "name" in port}))
    for document in overlay.documents:
        name = document["metadata"]["name"]
        if is_strimzi(document):
            numbers = STRIMZI_PORTS | {one["port"] for one in document["spec"]["kafka"]["listeners"]}
            found.append(Listener({"strimzi.io/cluster": name}, {("TCP", number) for number in numbers}, set()))
        elif is_cloudnativepg(document):
            numbers = CLOUDNATIVEPG_PORTS
            found.append(Listener({"cnpg.io/cluster": name}, {("TCP", number) for number in numbers}, set()))
    return found


def service_hosts(overlay: Overlay) -> dict[str, set[int]]:
    """The names of Services, each with its ports."""
    hosts = {service["metadata"]["name"]: {port["port"] for port in service["spec"]["ports"]}
             for service in overlay.of_kind("Service")}
    for document in overlay.documents:
        name = document["metadata"]["name"]
        if is_strimzi(document):
            hosts[f"{name}-kafka-bootstrap"] = {one["port"] for one in document["spec"]["kafka"]["listeners"]}
        elif is_cloudnativepg(document):
            hosts[f"{name}-rw"] = {5432}
    return hosts


def is_strimzi(document: dict) -> bool:
    """Whether it is a Kafka cluster that Strimzi runs."""
    return document["kind"] == "Kafka" and document["apiVersion"].startswith("kafka.strimzi.io/")


def is_cloudnativepg(document: dict) -> bool:
    """Whether it is a PostgreSQL cluster that CloudNativePG runs."""
    return document["kind"] == "Cluster" and document["apiVersion"].startswith("postgresql.cnpg.io/")


def host_and_port(address: str) -> tuple[str, int]:
    """Of host:port or dns:///host:port; port 0 if it has none."""
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    return (host, int(port)) if port.isdecimal() else (address, 0)


def selected(selector: dict | None, labels: dict[str, str]) -> bool:
    """Whether a selector (of a Service, or with matchLabels and matchExpressions) takes pods of these labels."""
    if selector is None:
        return False
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return all(labels.get(key) == value for key, value in selector.items())
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(expression_holds(expression, labels) for expression in selector.get("matchExpressions", []))


def expression_holds(expression: dict, labels: dict[str, str]) -> bool:
    """One of a selector's matchExpressions."""
    value = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None
