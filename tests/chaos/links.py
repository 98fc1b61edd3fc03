"""Network links that can be cut and slowed: each is a proxy of one toxiproxy-server."""

import contextlib
import json
import pathlib
import subprocess
import urllib.error
import urllib.request

from processes import reserve_port, wait_until

CALL_SECONDS = 10


class Toxiproxy:
    """The server that all links run in."""

    def __init__(self, program: str, directory: pathlib.Path) -> None:
        self._program, self._log_file = program, directory / "toxiproxy.log"
        self._reservation = reserve_port()
        host, port = self._reservation.getsockname()
        self._url = f"http://{host}:{port}"
        self._arguments = ["-host", host, "-port", str(port)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Toxiproxy":
        with open(self._log_file, "ab") as log:
            self._process = subprocess.Popen([self._program, *self._arguments], stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, start_new_session=True)
        wait_until(self._answers, 20, "toxiproxy answers")
        return self

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._reservation.close()

    def call(self, method: str, path: str, body: dict | None = None) -> None:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            urllib.request.urlopen(request, timeout=CALL_SECONDS).close()
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            raise RuntimeError(f"toxiproxy: {method} {path}: {error.code} {text}") from error

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(self._url + "/version", timeout=1).close()
            return True
        return False


class Link:
    """One way from a client to a server; address is where the client must go."""

    def __init__(self, server: Toxiproxy, name: str, upstream: str) -> None:
        self._server, self.name = server, name
        self._id = name.replace(">", "")
        self._reservation = reserve_port()
        host, port = self._reservation.getsockname()
        self.host, self.port, self.address = host, port, f"{host}:{port}"
        self._toxics: list[str] = []
        wanted = {"name": self._id, "listen": self.address, "upstream": upstream, "enabled": True}
        server.call("POST", "/proxies", wanted)

    def close(self) -> None:
        self._server.call("DELETE", f"/proxies/{self._id}")
        self._reservation.close()

    def refuse(self) -> None:
        """Ends its connections and takes no new ones."""
        self._server.call("POST", f"/proxies/{self._id}", {"enabled": False})

    def swallow(self) -> None:
        """Connections stay, and what is sent never arrives."""
        self._add("timeout", timeout=0)

    def slow(self, latency_ms: int, jitter_ms: int, kilobytes_per_second: int) -> None:
        self._add("latency", latency=latency_ms, jitter=jitter_ms)
        self._add("bandwidth", rate=kilobytes_per_second)

    def heal(self) -> None:
        for toxic in self._toxics:
            self._server.call("DELETE", f"/proxies/{self._id}/toxics/{toxic}")
        self._toxics.clear()
        self._server.call("POST", f"/proxies/{self._id}", {"enabled": True})

    def _add(self, kind: str, **attributes: int) -> None:
        for stream in ("upstream", "downstream"):
            name = f"{kind}-{stream}"
            self._server.call("POST", f"/proxies/{self._id}/toxics",
                              {"name": name, "type": kind, "stream": stream, "attributes": attributes})
            self._toxics.append(name)
