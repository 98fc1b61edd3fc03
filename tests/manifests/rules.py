"""What the documents of an overlay must have in common with each other and with the programs. A rule is a function
that yields a sentence for each thing that is wrong."""

import pathlib
import re
from collections.abc import Callable, Iterator

from documents import Container, Overlay, Workload
from network import Listener, host_and_port, listeners_of, selected, service_hosts
from programs import ROOT, Program, Programs

Rule = Callable[[Overlay, Programs], Iterator[str]]
RULES: list[Rule] = []
# The overlay whose passwords everybody may know.
DEMONSTRATION = "demo"
# Variables of libpq itself, which it reads where the program's options are silent.
LIBPQ = {"PGSSLCERT", "PGSSLKEY", "PGCHANNELBINDING", "PGTARGETSESSIONATTRS", "PGCONNECT_TIMEOUT"}
# What ends after SHUTDOWN_GRACE is given so many seconds more.
LAST_SECONDS = 10
TOPICS_OF = {
    "order-service": ("DOMAIN_TOPIC", "CREATE_TOPIC", "CHANGE_TOPIC", "CANCEL_TOPIC"),
    "delivery-service": ("DEAD_LETTER_TOPIC",),
}
ADDRESSES = ("LISTEN_ADDRESS", "OPERATIONS_ADDRESS", "METRICS_ADDRESS")


def rule(function: Rule) -> Rule:
    """Makes a function one of the rules."""
    RULES.append(function)
    return function


def findings(overlay: Overlay, programs: Programs) -> Iterator[tuple[str, str]]:
    """The name of the rule and the sentence, for all that is wrong."""
    for one in RULES:
        for sentence in one(overlay, programs):
            yield one.__name__, sentence


# ---- what several rules need ----


def ours(overlay: Overlay, programs: Programs) -> Iterator[tuple[Container, Program]]:
    """The containers that run a program of this project."""
    for container in overlay.containers():
        if container.program:
            yield container, programs[container.program]


def serving(overlay: Overlay, programs: Programs) -> Iterator[tuple[Container, Program]]:
    """Those of them that serve."""
    for container, program in ours(overlay, programs):
        if container.program in TOPICS_OF and not program.actions(container.arguments):
            yield container, program


def settings(overlay: Overlay, container: Container, program: Program) -> dict[str, str | None]:
    """With what it runs."""
    return program.effective(overlay.environment(container), container.arguments)


def settings_of(overlay: Overlay, programs: Programs, name: str) -> dict[str, str | None]:
    """With what the service of this name serves."""
    for container, program in serving(overlay, programs):
        if program.name == name:
            return settings(overlay, container, program)
    return programs[name].defaults()


def seconds(duration: str | None) -> float:
    """Of a duration such as 250ms."""
    found = re.fullmatch(r"([0-9]+)(ms|s|m|h)", duration or "0s")
    return int(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0


def topics(overlay: Overlay, programs: Programs, *names: str) -> set[str]:
    """The topics by the settings of these services (of all, if none is named)."""
    return {settings_of(overlay, programs, name)[variable] or "" for name in names or TOPICS_OF
            for variable in TOPICS_OF[name]}


# ---- containers ----


@rule
def both_services(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """An overlay has both services, so that the other rules have something to look at."""
    there = {program.name for _, program in serving(overlay, programs)}
    yield from (f"{name} is missing" for name in sorted(set(TOPICS_OF) - there))


@rule
def settings_are_known(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """What is in the environment is an option of the program."""
    for container, program in ours(overlay, programs):
        known = set(program.by_variable) | (LIBPQ if "PGHOST" in program.by_variable else set())
        for source in container.spec.get("envFrom", []):
            reference = source.get("configMapRef")
            if reference and not overlay.find("ConfigMap", reference["name"]):
                yield f"{container}: there is no ConfigMap {reference['name']}"
        for name in overlay.environment(container):
            if name not in known:
                yield f"{container}: {program.name} has no option {name}"


@rule
def settings_are_taken(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """The program itself has nothing against its environment and its arguments."""
    for container, program in ours(overlay, programs):
        complaint = program.complaint(overlay.environment(container), container.arguments)
        if complaint:
            yield f"{container}: {complaint}"


@rule
def container_ports(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """A container's ports are those at which its program listens."""
    for container, program in ours(overlay, programs):
        declared = {port["containerPort"] for port in container.spec.get("ports", [])}
        listening = set()
        if (container, program) in serving(overlay, programs):
            values = settings(overlay, container, program)
            listening = {host_and_port(values[name] or "")[1] for name in ADDRESSES if values.get(name)}
        for port in sorted(listening - declared):
            yield f"{container}: {program.name} listens at {port}, which is none of its ports"
        for port in sorted(declared - listening):
            yield f"{container}: nothing listens at its port {port}"
        for name in ADDRESSES[:2]:
            if listening and not values.get(name):
                yield f"{container}: {name} is not set; network policies tell callers from operators by port"


@rule
def probes(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """Probes ask what the program answers, where it answers."""
    for container, program in serving(overlay, programs):
        values = settings(overlay, container, program)
        ports = {name: host_and_port(values[name] or "")[1] for name in ADDRESSES if values.get(name)}
        names = {port["name"]: port["containerPort"] for port in container.spec.get("ports", []) if "name" in port}
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.spec.get(kind)
            if probe is None:
                yield f"{container}: no {kind}"
            elif "grpc" in probe:
                port, service = probe["grpc"]["port"], probe["grpc"].get("service", "")
                address = next((name for name in ADDRESSES[:2] if ports.get(name) == port), None)
                if values.get("TLS") == "true":
                    yield f"{container}: {kind} speaks gRPC without TLS, the server only with it"
                elif address is None:
                    yield f"{container}: {kind}: no gRPC at port {port}"
                elif not programs.has_health_of(program.name, address, service):
                    yield f"{container}: {kind}: {program.name} knows no health of \"{service}\""
                yield from wrong_health(container, kind, service == "liveness")
            elif "httpGet" in probe:
                port, path = probe["httpGet"]["port"], probe["httpGet"].get("path", "/")
                if names.get(port, port) != ports.get("METRICS_ADDRESS"):
                    yield f"{container}: {kind}: no HTTP at port {port}"
                elif path not in ("/healthz", "/readyz") or programs.http_status(program.name, path) in (0, 404):
                    yield f"{container}: {kind}: {path} is no path for it"
                yield from wrong_health(container, kind, path == "/healthz")
            else:
                yield f"{container}: {kind} does not ask the program"


def wrong_health(container: Container, kind: str, is_liveness: bool) -> Iterator[str]:
    """Restarting a service does not bring its database back; sending it calls without one does not help either."""
    if is_liveness == (kind == "readinessProbe"):
        yield f"{container}: {kind} asks whether it {'lives' if is_liveness else 'can serve'}"


@rule
def images(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """Each image has a tag, which for ours is the project's version."""
    for container in overlay.containers():
        image = container.spec.get("image", "")
        tag = "" if "@" in image else image.rpartition("/")[2].partition(":")[2]
        if "@" not in image and tag in ("", "latest"):
            yield f"{container}: image {image} has no tag that stays"
        elif container.program and tag and tag != programs.version:
            yield f"{container}: image {image} is not of version {programs.version}"


@rule
def termination_grace(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """A pod is given the time that its end takes."""
    for container, program in serving(overlay, programs):
        pause = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        needed = pause + seconds(settings(overlay, container, program)["SHUTDOWN_GRACE"]) + LAST_SECONDS
        given = container.workload.pod.get("terminationGracePeriodSeconds", 30)
        if pause == 0:
            yield f"{container}: no pause before the end; callers must hear of it first"
        if given < needed:
            yield f"{container}: {given} s to end, of which it needs {needed:g}"


@rule
def memory_limits(overlay: Overlay, _: Programs) -> Iterator[str]:
    """No container can take a node's memory."""
    for container in overlay.containers():
        resources = container.spec.get("resources", {})
        for bound in ("requests", "limits"):
            if "memory" not in resources.get(bound, {}):
                yield f"{container}: no memory in its {bound}"


@rule
def files_are_mounted(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """A file that a setting names is in a volume of the pod, and the Secret or ConfigMap has it if it is known."""
    for container, program in ours(overlay, programs):
        environment = overlay.environment(container)
        named = {name: value for name, value in environment.items()
                 if value and ((name in program.by_variable and program.by_variable[name].is_file(name)) or
                               name in ("PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY"))}
        named |= {flag: value for flag, value in program.flags(container.arguments)
                  if value and flag in program.by_flag and program.by_flag[flag].is_file(flag)}
        for name, path in named.items():
            if path != "system" and not mounted(overlay, container, pathlib.PurePosixPath(path)):
                yield f"{container}: nothing is mounted for {name}={path}"


def mounted(overlay: Overlay, container: Container, path: pathlib.PurePosixPath) -> bool:
    """Whether a volume of the container can hold a file."""
    for mount in container.spec.get("volumeMounts", []):
        if "subPath" in mount or not path.is_relative_to(mount["mountPath"]):
            continue
        file = str(path.relative_to(mount["mountPath"]))
        volume = next((one for one in container.workload.pod.get("volumes", []) if one["name"] == mount["name"]), {})
        return any(has_file(overlay, kind, source, file) for kind, source in sources(volume))
    return False


def sources(volume: dict) -> Iterator[tuple[str, dict]]:
    """What a volume's files come from."""
    for part in [volume, *volume.get("projected", {}).get("sources", [])]:
        for kind in ("secret", "configMap"):
            if kind in part:
                yield kind, part[kind]


def has_file(overlay: Overlay, kind: str, source: dict, file: str) -> bool:
    """Whether a Secret or ConfigMap gives a file of this name; one that is made elsewhere may."""
    if "items" in source:
        keys = {item["path"]: item["key"] for item in source["items"]}
        if file not in keys:
            return False
        file = keys[file]
    document = overlay.find(*(("Secret", source.get("secretName", source.get("name"))) if kind == "secret" else
                              ("ConfigMap", source["name"])))
    return document is None or file in {**document.get("data", {}), **document.get("stringData", {})}


# ---- secrets ----


@rule
def no_secrets(overlay: Overlay, _: Programs) -> Iterator[str]:
    """Passwords are not kept in the source tree."""
    if overlay.name != DEMONSTRATION:
        yield from (f"Secret {document['metadata']['name']} is in the tree" for document in overlay.of_kind("Secret"))


def secret_references(part: object) -> Iterator[str]:
    """The names of the Secrets that a document needs."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ("secretKeyRef", "secretRef") or (key == "secret" and isinstance(value, dict)):
                name = value.get("secretName", value.get("name"))
                if name:
                    yield name
            elif key in ("passwordSecret", "superuserSecret"):
                yield value["name"]
            elif key in ("accessKeyId", "secretAccessKey"):
                yield value["name"]
            elif key == "secretTargetRef":
                yield from (reference["name"] for reference in value)
        for value in part.values():
            yield from secret_references(value)
    elif isinstance(part, list):
        for value in part:
            yield from secret_references(value)


def made_secrets(overlay: Overlay) -> Iterator[str]:
    """Those that are in the overlay or that an operator makes for a document of it."""
    for document in overlay.documents:
        name = document["metadata"]["name"]
        kind = document["apiVersion"].partition("/")[0], document["kind"]
        match kind:
            case "v1", "Secret":
                yield name
            case "cert-manager.io", "Certificate":
                yield document["spec"]["secretName"]
            case "kafka.strimzi.io", "KafkaUser":
                yield name
            case "kafka.strimzi.io", "Kafka":
                yield f"{name}-cluster-ca-cert"
            case "postgresql.cnpg.io", "Cluster":
                yield from (f"{name}-ca", f"{name}-server", f"{name}-app")


@rule
def secrets_are_explained(overlay: Overlay, _: Programs) -> Iterator[str]:
    """A Secret that somebody has to make is named where the overlay says what is to be done."""
    needed = {name for document in overlay.documents for name in secret_references(document)}
    for name in sorted(needed - set(made_secrets(overlay))):
        if not re.search(rf"(?<![a-z-]){re.escape(name)}(?![a-z-])", overlay.header):
            yield f"Secret {name} is neither made nor named at the top of kustomization.yaml"


# ---- services, addresses, policies ----


@rule
def service_ports(overlay: Overlay, _: Programs) -> Iterator[str]:
    """A Service has pods, and its ports are names of theirs."""
    for service in overlay.of_kind("Service"):
        spec, name = service["spec"], service["metadata"]["name"]
        workloads = [one for one in overlay.workloads() if selected(spec.get("selector"), one.labels)]
        if not workloads:
            yield f"Service {name} has no pods"
        for workload in workloads:
            ports = {port.get("name"): port["containerPort"] for container in workload.containers()
                     for port in container.spec.get("ports", [])}
            for port in spec["ports"]:
                target = port.get("targetPort")
                if target not in ports:
                    yield f"Service {name}: {workload} has no port named {target}"
                elif spec.get("clusterIP") == "None" and ports[target] != port["port"]:
                    yield f"Service {name}: {workload} listens at {ports[target]}, and a headless Service moves no port"


@rule
def application_protocols(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """What a Service tells proxies of a port of gRPC is what is spoken there."""
    for container, program in serving(overlay, programs):
        spoken = "https" if settings(overlay, container, program)["TLS"] == "true" else "kubernetes.io/h2c"
        for service in overlay.of_kind("Service"):
            if not selected(service["spec"].get("selector"), container.workload.labels):
                continue
            for port in service["spec"]["ports"]:
                told = port.get("appProtocol")
                if port.get("targetPort") in ("grpc", "operations") and told != spoken:
                    yield f"Service {service['metadata']['name']}: port {port['port']} speaks {spoken}, not {told}"


@rule
def addresses(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """A name without a domain is a Service of this overlay, and has the port."""
    hosts = service_hosts(overlay)
    for container, program in ours(overlay, programs):
        values = dict(overlay.environment(container))
        values |= {flag: value for flag, value in program.flags(container.arguments) if flag.endswith("-address")}
        targets = [(name, one) for name, value in values.items()
                   if value and (name in ("KAFKA_BOOTSTRAP_SERVERS", "ORDER_ADDRESS") or name.endswith("-address"))
                   for one in value.split(",")]
        if values.get("PGHOST"):
            targets.append(("PGHOST", f"{values['PGHOST']}:{values.get('PGPORT') or 5432}"))
        for name, target in targets:
            host, port = host_and_port(target)
            if re.fullmatch(r"[a-z0-9-]*[a-z][a-z0-9-]*", host) and port not in hosts.get(host, set()):
                yield f"{container}: {name}: no Service is at {host}:{port}"


@rule
def network_policy_ports(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """A policy's ports are ports at which somebody listens whom it is about."""
    listeners = listeners_of(overlay)
    outside = {("TCP", port) for container, program in ours(overlay, programs)
               for port in remote_ports(settings(overlay, container, program))}
    for policy in overlay.of_kind("NetworkPolicy"):
        name, spec = policy["metadata"]["name"], policy["spec"]
        for way in spec.get("ingress", []):
            who = [one for one in listeners if selected(spec["podSelector"], one.labels)]
            yield from deaf_ports(name, way, who, set())
        for way in spec.get("egress", []):
            peers = way.get("to", [])
            who = [one for one in listeners for peer in peers
                   if "podSelector" in peer and selected(peer["podSelector"], one.labels)]
            elsewhere = outside if not peers or any("ipBlock" in peer for peer in peers) else set()
            yield from deaf_ports(name, way, who, elsewhere)


def remote_ports(values: dict[str, str | None]) -> Iterator[int]:
    """The ports of what is not in the cluster."""
    for server in (values.get("KAFKA_BOOTSTRAP_SERVERS") or "").split(","):
        yield host_and_port(server)[1]
    if "PGHOST" in values:
        yield int(values.get("PGPORT") or 5432)


def deaf_ports(name: str, way: dict, who: list[Listener], elsewhere: set[tuple[str, int]]) -> Iterator[str]:
    """The ports of a rule of a policy at which nobody of these listens."""
    heard = {one for listener in who for one in listener.ports} | elsewhere
    for port in way.get("ports", []):
        number, protocol = port["port"], port.get("protocol", "TCP")
        if isinstance(number, str):
            if not any(number in listener.names for listener in who):
                yield f"NetworkPolicy {name}: nobody has a port named {number}"
        elif (protocol, number) not in heard:
            yield f"NetworkPolicy {name}: nobody listens at {protocol} port {number}"


@rule
def monitors(overlay: Overlay, _: Programs) -> Iterator[str]:
    """What Prometheus is to look at is there."""
    for monitor in overlay.of_kind("ServiceMonitor"):
        name, spec = monitor["metadata"]["name"], monitor["spec"]
        services = [one for one in overlay.of_kind("Service")
                    if selected(spec["selector"], one["metadata"].get("labels", {}))]
        for endpoint in spec["endpoints"]:
            scraped = [one["metadata"]["name"] for one in services
                       if any(port.get("name") == endpoint["port"] for port in one["spec"]["ports"])]
            if len(scraped) != 1:
                yield f"ServiceMonitor {name}: {len(scraped)} Services have a port {endpoint['port']}, not one"


@rule
def metric_names(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """An alert is about a figure that there is."""
    for document in overlay.of_kind("PrometheusRule"):
        for group in document["spec"]["groups"]:
            for alert in group["rules"]:
                for metric in re.findall(r"\b(?:lockstep|process|grpc)_[a-z0-9_]+(?=\{)", alert["expr"]):
                    if metric not in programs.metrics():
                        yield f"alert {alert.get('alert')}: neither service has a metric {metric}"


# ---- topics ----


@rule
def topics_agree(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """Both services mean the same topics, and what else names topics means these."""
    order, delivery = (settings_of(overlay, programs, name) for name in TOPICS_OF)
    for variable in TOPICS_OF["order-service"]:
        if order[variable] != delivery[variable]:
            yield f"{variable} is {order[variable]} for order-service, {delivery[variable]} for delivery-service"
    everything = topics(overlay, programs)
    for topic in overlay.of_kind("KafkaTopic"):
        name = topic["spec"].get("topicName", topic["metadata"]["name"])
        if name not in everything:
            yield f"KafkaTopic {name} is no topic of the services"
    for user in overlay.of_kind("KafkaUser"):
        for right in user["spec"].get("authorization", {}).get("acls", []):
            kind, name = right["resource"]["type"], right["resource"].get("name")
            known = {"topic": everything, "group": {delivery["KAFKA_GROUP_ID"]}}.get(kind, {name})
            if name not in known:
                yield f"KafkaUser {user['metadata']['name']}: {kind} {name} is none of the services'"
    for scaled in overlay.of_kind("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            meta = trigger["metadata"]
            if trigger["type"] != "kafka":
                continue
            if meta["consumerGroup"] != delivery["KAFKA_GROUP_ID"]:
                yield f"ScaledObject: the group is {delivery['KAFKA_GROUP_ID']}, not {meta['consumerGroup']}"
            if meta["topic"] not in topics(overlay, programs, "order-service"):
                yield f"ScaledObject: delivery-service reads no topic {meta['topic']}"


@rule
def topics_are_made(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """Each topic is made by somebody, with bounds that can be met."""
    made = {topic["spec"].get("topicName", topic["metadata"]["name"]) for topic in overlay.of_kind("KafkaTopic")}
    for container, program in ours(overlay, programs):
        if "--create-topics" not in program.actions(container.arguments):
            continue
        values = settings(overlay, container, program)
        made |= {values[variable] or "" for variable in TOPICS_OF[program.name]}
        replicas, in_sync = (int(values.get(name) or 0) for name in ("TOPIC_REPLICATION", "TOPIC_MIN_INSYNC_REPLICAS"))
        if in_sync > replicas > 0:
            yield f"{container}: {in_sync} of {replicas} replicas cannot be in sync"
    for topic in sorted(topics(overlay, programs) - made):
        yield f"nobody makes the topic {topic}"
    for topic in overlay.of_kind("KafkaTopic"):
        in_sync = int(topic["spec"].get("config", {}).get("min.insync.replicas", 1))
        if in_sync > topic["spec"]["replicas"]:
            yield f"KafkaTopic {topic['metadata']['name']}: {in_sync} replicas cannot be in sync"


@rule
def replicas_have_partitions(overlay: Overlay, programs: Programs) -> Iterator[str]:
    """No replica of delivery-service is without a partition."""
    partitions = [topic["spec"]["partitions"] for topic in overlay.of_kind("KafkaTopic")]
    for container, program in ours(overlay, programs):
        if program.name == "order-service" and "--create-topics" in program.actions(container.arguments):
            partitions.append(int(settings(overlay, container, program)["TOPIC_PARTITIONS"] or 0))
    for document in overlay.of_kind("HorizontalPodAutoscaler", "ScaledObject"):
        spec = document["spec"]
        most = spec.get("maxReplicas", spec.get("maxReplicaCount", 0))
        if spec["scaleTargetRef"]["name"] == "delivery-service" and most > min(partitions, default=0):
            yield f"{document['kind']}: {most} replicas of delivery-service for {min(partitions, default=0)} partitions"


@rule
def scaled_once(overlay: Overlay, _: Programs) -> Iterator[str]:
    """One autoscaler for each service: two would pull at it in turn."""
    for workload in overlay.workloads():
        if workload.document["kind"] != "Deployment":
            continue
        scalers = [one for one in overlay.of_kind("HorizontalPodAutoscaler", "ScaledObject")
                   if one["spec"]["scaleTargetRef"]["name"] == workload.name]
        if len(scalers) != 1:
            yield f"{workload} has {len(scalers)} autoscalers"


@rule
def alerts_are_explained(overlay: Overlay, _: Programs) -> Iterator[str]:
    """The page for operators names each alert and its severity, and none that there is not."""
    if not any(overlay.of_kind("PrometheusRule")):
        return
    page = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    told = {(name.strip(), severity) for names, severity in
            re.findall(r"^\| ([A-Za-z, ]+) \| (critical|warning) \|", page, re.MULTILINE) for name in names.split(",")}
    there = {(one["alert"], one["labels"]["severity"]) for document in overlay.of_kind("PrometheusRule")
             for group in document["spec"]["groups"] for one in group["rules"]}
    for name, severity in sorted(there - told):
        yield f"deploy/README.md does not say of {name} that it is {severity}"
    for name, severity in sorted(told - there):
        yield f"deploy/README.md tells of {name} ({severity}), which there is not"


@rule
def authorities_come_without_keys(overlay: Overlay, _: Programs) -> Iterator[str]:
    """Of a Secret of an authority that operators keep, a pod gets the certificate only."""
    for workload in overlay.workloads():
        for volume in workload.pod.get("volumes", []):
            name = volume.get("secret", {}).get("secretName", "")
            keys = {item["key"] for item in volume.get("secret", {}).get("items", [])}
            if re.search(r"-database-ca$|-cluster-ca$", name) and keys != {"ca.crt"}:
                yield f"{workload} gets the key of {name}"
