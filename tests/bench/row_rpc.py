"""The rows about gRPC itself: a method that does next to nothing, by lockstep's runtime and by gRPC C++ (rpc/)."""

import json
import os
import pathlib
import re
import statistics
import subprocess

import grpc

from measure import Pairs, Sample, Unavailable, Usage, interleave, run

PROTO = pathlib.Path(__file__).resolve().parent / "rpc/bench.proto"
PATH = "/lockstep.bench.v1.EchoService/Echo"
TEXT = "5e1c2a9e-9b7c-4c5e-8f6a-2f0f3d1b7a44"
NUMBER = 1_750_000_000_123
IN_FLIGHT = 64
SECONDS = 30  # that starting or stopping a server may take


def _program(bench, name: str) -> pathlib.Path:
    program = bench.programs / "tests/bench/rpc" / f"bench-rpc-{name}"
    if not program.exists():
        raise Unavailable(f"{program.name} was not built: no gRPC for C++ here")
    return program


# Where a program may run, as the start of its command line: on all cores, or on one. gRPC C++ has two threads that take
# callbacks; now they share the work well, now they lose more by contention than they gain, from one process to the
# next. Each side is measured both ways each time, and what counts is the better.
_PLACES = ([], ["taskset", "-c", str(max(os.sched_getaffinity(0)))])


class _EchoServer:
    """A server that runs within a with block. Afterwards it must have handled as many calls as `calls` counted."""

    def __init__(self, bench, name: str, place: list[str]) -> None:
        self.calls = 0
        self._program = _program(bench, name)
        self._command = [*place, self._program]
        self._log = bench.work / f"{self._program.name}.log"

    def __enter__(self) -> "_EchoServer":
        with open(self._log, "w") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                             stderr=log, text=True)
        line = self._process.stdout.readline()  # empty if it ends first
        if not line:
            self._process.wait(SECONDS)
            raise RuntimeError(f"{self._program.name} does not serve:\n{self._log.read_text()}")
        self.address = f"127.0.0.1:{json.loads(line)['port']}"
        self.pid = self._process.pid
        return self

    def __exit__(self, kind, *exception) -> None:
        self._process.terminate()
        try:
            output, _ = self._process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        if kind is not None:
            return
        if self._process.returncode != 0:
            raise RuntimeError(f"{self._program.name}: exit code {self._process.returncode}\n{self._log.read_text()}")
        handled = json.loads(output)["calls"]
        if handled != self.calls:
            raise RuntimeError(f"{self._program.name} handled {handled} calls of {self.calls}")


# ---- What h2load sends ----

def _request() -> bytes:
    """One packed EchoRequest."""
    root = PROTO.parents[2]
    command = ["protoc", f"-I{root}", "--encode=lockstep.bench.v1.EchoRequest", PROTO.relative_to(root)]
    return subprocess.run(command, cwd=root, input=f'text: "{TEXT}" number: {NUMBER}'.encode(),
                          stdout=subprocess.PIPE, check=True).stdout


def _body(bench, request: bytes) -> pathlib.Path:
    """The request as gRPC frames it: not compressed, its length, itself."""
    path = bench.work / "echo-body"
    path.write_bytes(b"\0" + len(request).to_bytes(4, "big") + request)
    return path


def _check_answer(server: _EchoServer, request: bytes) -> None:
    """One call by a client of a third kind: the answer's fields are the request's, so are its bytes, and OK."""
    with grpc.insecure_channel(server.address) as channel:
        answer, call = channel.unary_unary(PATH).with_call(request, timeout=SECONDS)
        if answer != request or call.code() is not grpc.StatusCode.OK:
            raise RuntimeError(f"Echo answered {call.code()} {answer!r}")
    server.calls += 1


def _h2load(server: _EchoServer, body: pathlib.Path, requests: int, connections: int, streams: int, *more) -> float:
    """Runs it; gives requests a second. Each request must have got a 200 and one message as long as what was sent: a
    gRPC status other than OK comes without one."""
    output = run(["h2load", f"-n{requests}", f"-c{connections}", f"-m{streams}", f"--data={body}",
                  "-Hcontent-type: application/grpc", "-Hte: trailers", *more, f"http://{server.address}{PATH}"]).output
    server.calls += requests
    done = re.search(r"\d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored", output)
    codes = re.search(r"status codes: (\d+) 2xx", output)
    data = re.search(r"\((\d+)\) data", output)
    rate = re.search(r"finished in \S+, ([\d.]+) req/s", output)
    if not (done and codes and data and rate):
        raise RuntimeError(f"h2load said:\n{output}")
    expected = (str(requests), "0", "0", str(requests), str(requests * body.stat().st_size))
    if (*done.groups(), codes[1], data[1]) != expected:
        raise RuntimeError(f"not all of {requests} requests were answered well:\n{output}")
    return float(rate[1])


def _median_latency_us(server: _EchoServer, body: pathlib.Path, requests: int, log: pathlib.Path) -> float:
    """One request at a time. What is logged are whole microseconds: hence the median of a grouped distribution."""
    log.unlink(missing_ok=True)  # h2load would append
    _h2load(server, body, requests, 1, 1, f"--log-file={log}")
    lines = [line.split("\t") for line in log.read_text().splitlines()]  # when it began, status, microseconds
    if len(lines) != requests or any(line[1] != "200" for line in lines):
        raise RuntimeError(f"h2load logged {len(lines)} requests of {requests}, or not all with 200")
    return statistics.median_grouped(int(line[2]) for line in lines)


# ---- The rows ----

class _Unary:
    """Measures one server, ours or the peer, each time in processes of its own."""

    def __init__(self, bench, name: str) -> None:
        self._bench, self._name = bench, name
        self._request = _request()
        self._body = _body(bench, self._request)
        self._requests = bench.choose(200_000, 60_000)

    def sample(self) -> Sample:
        throughputs = [self._throughput(place) for place in _PLACES]
        throughput, usage = max(throughputs, key=lambda pair: pair[0])
        latency = min(self._latency(place) for place in _PLACES)
        return Sample({"throughput": throughput, "latency": latency}, usage.cpu_seconds, usage.peak_bytes)

    def _throughput(self, place: list[str]) -> tuple[float, Usage]:
        with _EchoServer(self._bench, self._name, place) as server:
            _check_answer(server, self._request)
            _h2load(server, self._body, self._requests // 10, 4, 50)  # warms up
            with Usage(server.pid) as usage:
                throughput = _h2load(server, self._body, self._requests, 4, 50)
        return throughput, usage

    def _latency(self, place: list[str]) -> float:
        with _EchoServer(self._bench, self._name, place) as server:
            _check_answer(server, self._request)
            _h2load(server, self._body, self._requests // 50, 1, 1)  # warms up
            return _median_latency_us(server, self._body, self._requests // 5, self._bench.work / "h2load-log")


def unary_pairs(bench, count: int) -> Pairs:
    """Samples with throughput (h2load -c4 -m50) and latency (-c1 -m1, median in us) of the two servers, and the CPU and
    memory for the throughput. h2load has part of the same cores, at both."""
    ours, peer = _Unary(bench, "server"), _Unary(bench, "peer-server")
    return interleave(count, ours.sample, peer.sample, progress=bench.progress)


def rpc_unary(bench):
    """The server: gRPC C++'s callback server beside ours."""
    pairs = unary_pairs(bench, bench.pairs)
    return [pairs.figure("rpc_unary", "throughput", "calls/s", 1.2),
            pairs.memory("rpc_unary", 0.65),
            pairs.figure("rpc_unary", "latency", "us", 1.0, "lower")]


def rpc_client(bench):
    """The client: 64 calls in flight by generated stubs, to the same server of ours, the lighter one: it leaves most
    of the machine to the clients. They check each answer."""
    calls = bench.choose(200_000, 60_000)
    warm = calls // 10
    with _EchoServer(bench, "server", _PLACES[0]) as server:

        def measure(name: str, place: list[str]) -> Sample:
            told = json.loads(run([*place, _program(bench, name), server.address, IN_FLIGHT, warm, calls]).output)
            server.calls += warm + calls
            if told["calls"] != calls:
                raise RuntimeError(f"{name} made {told['calls']} calls of {calls}")
            return Sample({"throughput": calls / told["seconds"]}, told["cpu_seconds"])

        def sample(name: str) -> Sample:
            return max((measure(name, place) for place in _PLACES), key=lambda one: one.values["throughput"])

        pairs = interleave(bench.pairs, lambda: sample("client"), lambda: sample("peer-client"),
                           progress=bench.progress)
    return [pairs.figure("rpc_client", "throughput", "calls/s", 1.2)]
