"""What happens to clients when pods come and go. The witness (observer/) writes and reads the whole time from within
the cluster, a second set of clients does so from outside; at the end the campaign's checker judges all that is left
behind."""

import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

import kube
from calls import Calls
from forward import Forward
from history import Journal
from kube import kubectl, wait_ready
from workload import Pace, Workload

SERVICE_CONFIG = kube.ROOT / "proto/grpc_service_config.json"
SERVICES = {"order-service": 2, "delivery-service": 3}
GRACE_SECONDS = 30
OUTSIDE = Pace(writers=2, readers=1, writes_per_second=8, reads_per_second=8, call_seconds=20, wait_seconds=30)
MODES = [("FULL", "DOMAIN"), ("ZERO", "PER_EVENT"), ("ZERO", "DOMAIN"), ("FULL", "PER_EVENT")]
STANDSTILL_SECONDS = 5
LIVENESS_SECONDS = 75  # longer than it would take to restart somebody: failureThreshold times periodSeconds
FORWARD_SECONDS = 60


class Observer:
    """The witness in the cluster, asked over a forwarded port."""

    def __init__(self) -> None:
        self._forward = Forward("observer", 8080)

    def start(self) -> "Observer":
        self._forward.start()
        kube.wait_until(self._answers, 60, "the observer answers")
        return self

    def stop(self) -> None:
        self._forward.stop()

    def ask(self, path: str, seconds: float = 300, **arguments: Any) -> Any:
        return json.loads(self.fetch(path, seconds, json.dumps(arguments).encode()))

    def fetch(self, path: str, seconds: float = 300, data: bytes | None = None) -> bytes:
        deadline = time.monotonic() + FORWARD_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://{self._forward.address}{path}", data, timeout=seconds) as answer:
                    return answer.read()
            except urllib.error.HTTPError as error:
                raise AssertionError(error.read().decode()) from None
            except urllib.error.URLError as error:  # the forwarding went with the kubelet, and is made anew
                if time.monotonic() > deadline or not isinstance(error.reason, ConnectionRefusedError):
                    raise
            time.sleep(0.5)

    def status(self) -> Any:
        return json.loads(self.fetch("/status"))

    def _answers(self) -> bool:
        try:
            return self.status()["acknowledged"] > 20
        except (OSError, ValueError):
            return False


class Outside:
    """Clients on this side of the cluster, by forwarded ports, with the documented service config."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.history = Journal(folder / "outside.jsonl")
        self._orders = [Forward("order-service", 50051, slot) for slot in range(2)]
        self._deliveries = [Forward("delivery-service", 50052, slot) for slot in range(2)]
        self.calls: Calls | None = None
        self.workload: Workload | None = None

    def start(self) -> "Outside":
        for forward in (*self._orders, *self._deliveries):
            forward.start()
        options = [("grpc.service_config", SERVICE_CONFIG.read_text(encoding="utf-8"))]
        self.calls = Calls(self.history, [_all(self._orders)], [_all(self._deliveries)], options)
        self.workload = Workload(self.calls, 9, OUTSIDE, "outside-").start()
        return self

    def stop(self) -> int:
        """How many writes stay unknown."""
        self.workload.stop()
        unknown = self.workload.resolve()
        for forward in (*self._orders, *self._deliveries):
            forward.stop()
        self.calls.close()
        self.history.close()
        return unknown


def _all(forwards: list[Forward]) -> str:
    return "ipv4:" + ",".join(forward.address for forward in forwards)


@pytest.fixture(scope="module")
def cluster(empty_cluster, evidence_folder: pathlib.Path):
    """The demo under load."""
    kube.apply_overlay(kube.UNDER_LOAD)
    for application, count in SERVICES.items():
        wait_ready(application, count, 240)
    kubectl("wait", "--for=condition=complete", "--timeout=120s", "job/topics", seconds=130)
    yield
    for pod in ("order-service", "delivery-service"):
        (evidence_folder / f"{pod}.log").write_text(
            kubectl("logs", f"--selector=app.kubernetes.io/name={pod}", "--tail=-1", "--prefix", check=False))


@pytest.fixture(scope="module")
def observer(cluster):
    observer = Observer().start()
    yield observer
    observer.stop()


@pytest.fixture(scope="module")
def outside(cluster, evidence_folder: pathlib.Path):
    return Outside(evidence_folder).start()


class Disturbance:
    """What was done, from its begin to the moment when all pods were there again; then clients must be served, and
    something written be visible. It says what clients saw of it."""

    def __init__(self, observer: Observer, outside: Outside, kind: str, *targets: str, hidden: bool = True,
                 but: frozenset[str] = frozenset(), same_pods: bool = False) -> None:
        """hidden: a client with the documented policy must see no error, one without it nothing but UNAVAILABLE, and
        either what is in but. same_pods: the services' pods must be those of before."""
        self._observer, self._outside, self._kind, self._targets = observer, outside, kind, targets
        self._hidden, self._but, self._same_pods = hidden, but, same_pods

    def __enter__(self) -> "Disturbance":
        self._before, self._outside_before = self._observer.status(), dict(self._outside.calls.ended)
        self._restarts = kube.restarts()
        self._pods = set(kube.names("order-service") + kube.names("delivery-service"))
        self._start = time.time()
        return self

    def __exit__(self, failed: type | None, *exception: object) -> None:
        if failed is not None:
            return
        healed = time.time()
        now = self._observer.status()
        answer = self._observer.ask("/fault", kind=self._kind, targets=list(self._targets), start=self._start,
                                    healed=healed, acknowledged=now["acknowledged"] - self._before["acknowledged"])
        now = self._observer.status()
        seen = {who: _more(self._before[who], now[who]) for who in ("documented", "bare")}
        seen["outside"] = _more(self._outside_before, dict(self._outside.calls.ended))
        assert answer["recovery_seconds"] is not None, "nothing written became visible any more"
        print(f"  {self._kind} {' '.join(self._targets)}: {healed - self._start:.1f} s, visible again "
              f"{answer['recovery_seconds']:.1f} s later; ended: { {who: _codes(how) for who, how in seen.items()} }")
        assert now["acknowledged"] > self._before["acknowledged"]
        assert not now["problems"] and not self._outside.workload.problems
        if self._hidden:
            assert _errors(seen["documented"]).keys() <= self._but and _errors(seen["outside"]).keys() <= self._but
            assert _codes({how: 1 for how in _errors(seen["bare"]) if how not in self._but}).keys() <= {"UNAVAILABLE"}
        assert all(_codes(_errors(how)).keys() <= {"UNAVAILABLE", "DEADLINE_EXCEEDED"} for how in seen.values())
        if self._same_pods:
            assert self._pods == set(kube.names("order-service") + kube.names("delivery-service"))
        # Nobody was restarted by a probe.
        grown = {name: count for name, count in kube.restarts().items() if count > self._restarts.get(name, 0)}
        assert not grown


# What a call is answered with although it arrived, was understood and was refused for a reason of its own.
ANSWERS = {"OK", "NOT_FOUND", "ALREADY_EXISTS", "ABORTED", "FAILED_PRECONDITION"}


def _errors(ended: dict[str, int]) -> dict[str, int]:
    return {how: count for how, count in ended.items() if how.split()[1] not in ANSWERS}


def _codes(ended: dict[str, int]) -> dict[str, int]:
    """Without the methods."""
    codes: dict[str, int] = {}
    for how, count in ended.items():
        codes[how.split()[1]] = codes.get(how.split()[1], 0) + count
    return codes


def _more(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {code: count - before.get(code, 0) for code, count in after.items() if count > before.get(code, 0)}


@pytest.fixture
def disturbance(observer: Observer, outside: Outside):
    def make(kind: str, *targets: str, **expected: Any) -> Disturbance:
        return Disturbance(observer, outside, kind, *targets, **expected)
    return make


def _rollout(*applications: str) -> None:
    for application in applications:
        kubectl("rollout", "restart", f"deployment/{application}")
    for application in applications:
        kubectl("rollout", "status", f"deployment/{application}", "--timeout=180s")
    for application in applications:
        wait_ready(application, SERVICES[application])


def test_the_topics_are_as_stated(observer: Observer) -> None:
    week, month = str(7 * 24 * 3600 * 1000), str(30 * 24 * 3600 * 1000)
    for name, topic in json.loads(observer.fetch("/topics")).items():
        retention = month if name == "order-dead-letter-topic" else week
        assert topic == {"partitions": 6, "retention.ms": retention, "min.insync.replicas": "1"}, name


@pytest.mark.parametrize("turn", [1, 2, 3])
@pytest.mark.parametrize("applications", [["order-service"], ["delivery-service"], list(SERVICES)],
                         ids=["order", "delivery", "both"])
def test_a_rolling_update_is_not_seen(applications: list[str], turn: int, observer: Observer, disturbance) -> None:
    payload, topics = MODES[turn % len(MODES)]
    observer.ask("/mode", payload=f"EVENT_PAYLOAD_{payload}", topics=f"EVENT_TOPICS_{topics}")
    with disturbance("rollout", *applications):
        _rollout(*applications)


@pytest.mark.parametrize("application", SERVICES)
def test_a_pod_deleted_with_grace_is_not_seen_and_drains_in_time(application: str, disturbance) -> None:
    pod = kube.names(application)[0]
    with disturbance("delete", pod):
        begin = time.time()
        kubectl("delete", "pod", pod, "--wait=false")
        seconds = kube.wait_gone(pod) - begin
        wait_ready(application, SERVICES[application])
    print(f"  {application} was gone {seconds:.1f} s after it had been told to go")
    assert seconds < GRACE_SECONDS - 1  # it ended by itself


@pytest.mark.parametrize("application", SERVICES)
def test_a_pod_killed(application: str, disturbance) -> None:
    pod = kube.names(application)[0]
    with disturbance("kill", pod, hidden=False):
        kubectl("delete", "pod", pod, "--force", "--grace-period=0")
        wait_ready(application, SERVICES[application])


@pytest.mark.parametrize("grace", [True, False], ids=["with-grace", "without-grace"])
@pytest.mark.parametrize("application", SERVICES)
def test_all_pods_of_a_service_deleted(application: str, grace: bool, disturbance) -> None:
    with disturbance("delete_all" if grace else "kill_all", application, hidden=False):
        kubectl("delete", "pods", f"--selector=app.kubernetes.io/name={application}", "--wait=false",
                *([] if grace else ["--force", "--grace-period=0"]))
        time.sleep(1)  # until those that go are marked
        wait_ready(application, SERVICES[application])


@pytest.mark.parametrize("application", SERVICES)
def test_scaled_to_one_to_five_and_back(application: str, disturbance) -> None:
    with disturbance("scale", application):
        for count in (1, 5, 1, SERVICES[application]):
            kubectl("scale", f"deployment/{application}", f"--replicas={count}")
            wait_ready(application, count)


def test_the_kubelet_restarted(request: pytest.FixtureRequest, disturbance) -> None:
    command = request.config.getoption("--restart-kubelet")
    if not command:
        pytest.skip("no --restart-kubelet COMMAND")
    with disturbance("kubelet", "node"):
        subprocess.run(command, shell=True, check=True, timeout=300)
        kube.wait_until(lambda: all(condition["status"] == "True" for node in kube.get("nodes")
                                    for condition in node["status"]["conditions"] if condition["type"] == "Ready"),
                        120, "the node is ready")
        for application, count in SERVICES.items():
            wait_ready(application, count)


@pytest.mark.parametrize("server", ["kafka", "postgresql"])
def test_a_servers_pod_deleted(server: str, disturbance) -> None:
    with disturbance(f"delete_{server}", server, hidden=False, same_pods=True):
        kubectl("delete", "pod", f"{server}-0", "--wait=true", seconds=120)
        wait_ready(server, 1)
        for application, count in SERVICES.items():
            wait_ready(application, count)


def test_without_a_database_services_are_not_ready_and_not_restarted(disturbance) -> None:
    with disturbance("no_postgresql", "postgresql", hidden=False, same_pods=True):
        kubectl("scale", "statefulset/postgresql", "--replicas=0")
        for application in SERVICES:
            kube.wait_until(lambda name=application: kube.ready(name) == 0, 90, f"{application} is not ready")
        time.sleep(LIVENESS_SECONDS)
        assert all(kube.ready(application) == 0 for application in SERVICES)
        kubectl("scale", "statefulset/postgresql", "--replicas=1")
        wait_ready("postgresql", 1)
        for application, count in SERVICES.items():
            wait_ready(application, count)


def test_without_kafka_writes_go_on_and_nobody_is_restarted(observer: Observer, disturbance) -> None:
    # Those who wait for a delivery to be in step wait as long as they said they would.
    with disturbance("no_kafka", "kafka", but=frozenset({"GetDelivery DEADLINE_EXCEEDED"}), same_pods=True):
        kubectl("scale", "statefulset/kafka", "--replicas=0")
        kube.wait_until(lambda: not kube.pods("kafka"), 90, "Kafka is gone")
        before = observer.status()["documented"]["CreateOrder OK"]
        time.sleep(LIVENESS_SECONDS)
        assert observer.status()["documented"]["CreateOrder OK"] > before
        assert all(kube.ready(application) == count for application, count in SERVICES.items())
        kubectl("scale", "statefulset/kafka", "--replicas=1")
        wait_ready("kafka", 1)


def test_a_password_changes_without_a_restart(disturbance) -> None:
    secret = next(volume["secret"]["secretName"] for volume in kube.pods("order-service")[0]["spec"]["volumes"]
                  if volume["name"] == "database")
    pod = kube.names("order-service")[0]
    with disturbance("password", "order-service", hidden=False, same_pods=True):
        kubectl("patch", "secret", secret, "--patch", json.dumps({"stringData": {"password": "another-one"}}))
        # What the pods see of it, the services read; the image has a cat.
        kube.wait_until(lambda: kubectl("exec", pod, "--container=order-service", "--", "cat",
                                        "/run/secrets/database/password", check=False) == "another-one", 180,
                        "the kubelet brings the new password")
        _sql("ALTER ROLE order_service PASSWORD 'another-one'")
        _sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'order_service'")
        wait_ready("order-service", SERVICES["order-service"])


def _sql(statement: str) -> None:
    kubectl("exec", "postgresql-0", "--", "psql", "--host=/var/run/postgresql", "--username=postgres", "--command",
            statement)


def test_a_backlog_scales_delivery_and_the_rebalance_is_short(observer: Observer, outside: Outside) -> None:
    """With little processor time each, so that there is a backlog for as long as metrics take to be gathered."""
    base = kubectl("kustomize", str(kube.DEMO))
    scaler = next(text for text in base.split("\n---\n")
                  if "kind: HorizontalPodAutoscaler" in text and "name: delivery-service" in text)
    slow = [{"op": "add", "path": f"/spec/template/spec/containers/0/resources/{kind}/cpu", "value": "30m"}
            for kind in ("requests", "limits")]
    kubectl("patch", "deployment/delivery-service", "--type=json", f"--patch={json.dumps(slow)}")
    kubectl("rollout", "status", "deployment/delivery-service", "--timeout=180s")
    kubectl("apply", "--filename=-", input=scaler)
    try:
        observer.ask("/reset-pace")
        deadline, most = time.monotonic() + 240, 0
        while most <= SERVICES["delivery-service"] and time.monotonic() < deadline:
            if observer.status()["lag"] < 20000:
                observer.ask("/republish", first=1, last=1000000)
            time.sleep(3)
            most = max(most, len(kube.pods("delivery-service")))
        assert most > SERVICES["delivery-service"], kubectl("describe", "hpa", "delivery-service", check=False)
        kube.wait_until(lambda: kube.ready("delivery-service") > SERVICES["delivery-service"], 120, "more are ready")
        kube.wait_until(lambda: observer.status()["lag"] < 1000, 300, lambda: f"no backlog: {observer.status()}")
        still = observer.status()["longest_still"]
        print(f"  delivery-service went to {most} pods; the group stood still for {still:.1f} s at most")
        assert still < STANDSTILL_SECONDS
    finally:
        kubectl("delete", "hpa", "delivery-service")
        fast = [{"op": "remove", "path": "/spec/template/spec/containers/0/resources/limits/cpu"},
                {"op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "100m"}]
        kubectl("patch", "deployment/delivery-service", "--type=json", f"--patch={json.dumps(fast)}")
        kubectl("scale", "deployment/delivery-service", f"--replicas={SERVICES['delivery-service']}")
        kubectl("rollout", "status", "deployment/delivery-service", "--timeout=180s")
        wait_ready("delivery-service", SERVICES["delivery-service"])


def test_the_checker_finds_nothing(observer: Observer, outside: Outside, evidence_folder: pathlib.Path) -> None:
    unknown = outside.stop()
    result = observer.ask("/stop", 600)
    print(f"  {result}")
    shutil.rmtree(evidence_folder / "evidence", ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(observer.fetch("/evidence", 120))) as archive:
        archive.extractall(evidence_folder, filter="data")
    evidence = evidence_folder / "evidence"
    with open(evidence / "history.jsonl", "a", encoding="utf-8") as history:
        history.write((evidence_folder / "outside.jsonl").read_text(encoding="utf-8"))
    command = [sys.executable, "-m", "checker", "--json", str(evidence_folder / "checked.json"), str(evidence)]
    checked = subprocess.run(command, cwd=kube.ROOT / "tests/chaos", capture_output=True, text=True, check=False)
    print(checked.stdout)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert unknown == result["unknown"] == 0
    assert result["converged"] is not None, result["differences"]
