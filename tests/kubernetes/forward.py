"""kubectl port-forward, kept up: a pod that goes takes its forwarding with it, and the next one takes its place."""

import contextlib
import socket
import subprocess
import threading
import time

import kube


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Forward:
    """A port of this side that leads to a port of a pod of the application, of the slot-th if there are several."""

    def __init__(self, application: str, port: int, slot: int = 0) -> None:
        self._application, self._target, self._slot = application, port, slot
        self.port = free_port()
        self._stopping = threading.Event()
        self._process: subprocess.Popen | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> "Forward":
        self._thread.start()
        kube.wait_until(lambda: listens(self.port), 60, f"port-forward to {self._application}")
        return self

    def stop(self) -> None:
        self._stopping.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(30)

    def __enter__(self) -> "Forward":
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(kube.Failed, subprocess.TimeoutExpired):
                ready = [pod["metadata"]["name"] for pod in kube.pods(self._application) if kube.is_ready(pod)]
                if ready:
                    self._run(ready[self._slot % len(ready)])
            self._stopping.wait(0.5)

    def _run(self, pod: str) -> None:
        self._process = subprocess.Popen(
            ["kubectl", "--namespace", kube.NAMESPACE, "port-forward", f"pod/{pod}", f"{self.port}:{self._target}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self._process.poll() is None and not self._stopping.is_set():
            # A pod on its way out serves what it has: the next call goes to another one.
            time.sleep(1)
            with contextlib.suppress(kube.Failed, subprocess.TimeoutExpired):
                if pod not in kube.names(self._application):
                    self._process.wait(20)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
