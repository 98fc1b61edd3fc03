"""kubectl, as the tests use it."""

import json
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

NAMESPACE = "lockstep"
MARK = "lockstep/test"
ROOT = pathlib.Path(__file__).resolve().parents[2]
DEMO = ROOT / "deploy/kubernetes/overlays/demo"
UNDER_LOAD = ROOT / "tests/kubernetes/overlay"


class Failed(AssertionError):
    """kubectl said no."""


def kubectl(*arguments: str, input: str | None = None, check: bool = True, seconds: float = 300,
            namespace: str = NAMESPACE) -> str:
    """What it prints; with check False, also what it complains of."""
    result = subprocess.run(["kubectl", "--namespace", namespace, *arguments], input=input, text=True, check=False,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE if check else subprocess.STDOUT,
                            timeout=seconds)
    if check and result.returncode != 0:
        raise Failed(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def get(kind: str, name: str = "", selector: str = "", namespace: str = NAMESPACE) -> Any:
    """The object, or the items of a list."""
    which = [name] if name else [f"--selector={selector}"] if selector else []
    found = json.loads(kubectl("get", kind, *which, "--output=json", namespace=namespace))
    return found if name else found["items"]


def apply(document: dict[str, Any] | list[dict[str, Any]], namespace: str = NAMESPACE) -> None:
    """One object or several."""
    items = document if isinstance(document, list) else [document]
    kubectl("apply", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
            namespace=namespace)


def wait_until(condition: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> Any:
    """Polls until it holds; returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what() if callable(what) else what}")
        time.sleep(0.5)


def pods(application: str, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
    """Those that are not on their way out."""
    return [pod for pod in get("pods", selector=f"app.kubernetes.io/name={application}", namespace=namespace)
            if "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") in ("Pending", "Running")]


def names(application: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods(application)]


def is_ready(pod: dict[str, Any]) -> bool:
    return any(condition["type"] == "Ready" and condition["status"] == "True"
               for condition in pod["status"].get("conditions", []))


def ready(application: str) -> int:
    return sum(is_ready(pod) for pod in pods(application))


def wait_ready(application: str, count: int, seconds: float = 180) -> float:
    """Until exactly so many pods are there, all ready; when that was."""
    wait_until(lambda: len(pods(application)) == count == ready(application), seconds,
               lambda: f"{count} of {application} are ready:\n{kubectl('get', 'pods', check=False)}")
    return time.time()


def restarts() -> dict[str, int]:
    """How often containers of the services' pods were started again."""
    return {f"{pod['metadata']['name']}/{status['name']}": status["restartCount"]
            for application in ("order-service", "delivery-service") for pod in pods(application)
            for kind in ("initContainerStatuses", "containerStatuses") for status in pod["status"].get(kind, [])}


def wait_gone(name: str, seconds: float = 90) -> float:
    """Until the pod is gone; when that was."""
    wait_until(lambda: "NotFound" in kubectl("get", "pod", name, check=False), seconds, f"pod {name} is gone")
    return time.time()


def apply_overlay(folder: pathlib.Path) -> None:
    """And marks the namespace as the tests' own, which they may delete."""
    kubectl("apply", "--kustomize", str(folder))
    kubectl("label", "namespace", NAMESPACE, f"{MARK}=true", "--overwrite")


def delete_namespace(whoever: bool = False) -> None:
    """With all that is in it. One that is not the tests' own only if that is said."""
    found = [one["metadata"].get("labels", {}) for one in get("namespaces") if one["metadata"]["name"] == NAMESPACE]
    if found and MARK not in found[0] and not whoever:
        pytest.exit(f"there is a namespace {NAMESPACE} that these tests did not make, in the cluster of the context "
                    f"{kubectl('config', 'current-context').strip()}: --delete-namespace deletes it", 2)
    kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=180s", seconds=200)
