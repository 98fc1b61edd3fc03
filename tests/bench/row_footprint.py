"""What the services take by themselves: memory, CPU while nothing happens, and the time to be there."""

import contextlib
import http.client
import time

from measure import Figure, Sample, absolute, cpu_seconds, status_bytes
from row_order import _load

IDLE_MIB, LOAD_MIB, START_MS, IDLE_PERCENT = 20, 64, 300, 1
LOAD_IN_FLIGHT = 512


def _start_ms(service) -> float:
    """From the start of the process until it says that it is ready."""
    begin = time.monotonic()
    service.start(wait=False)
    host, port = service.metrics_address.split(":")
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(host, int(port), timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return (time.monotonic() - begin) * 1000
        if not service.running():
            raise RuntimeError(f"{service.name} ended:\n{service.log_tail()}")
        time.sleep(0.002)


def _idle_percent(service, seconds: float) -> float:
    """Of a core."""
    begin, used = time.monotonic(), cpu_seconds(service.process.pid)
    time.sleep(seconds)
    return (cpu_seconds(service.process.pid) - used) / (time.monotonic() - begin) * 100


def footprint(bench):
    """Each service over the others' servers: starts first, then nothing for some seconds, then load."""
    stack = bench.servers.stack("footprint")
    seconds = bench.choose(10, 5)
    try:
        stack.prepare()
        services = {"order": stack.order, "delivery": stack.delivery}
        starts = {name: [] for name in services}
        for _ in range(bench.choose(7, 3)):
            for name, service in services.items():
                starts[name].append(Sample({"start": _start_ms(service)}))
                service.wait_serving()
                service.stop()
        for service in services.values():
            service.start()
        time.sleep(2)  # what a start leaves to do
        figures: list[Figure] = []
        idle = {}
        for name, service in services.items():
            percent = _idle_percent(service, seconds)
            idle[name] = (percent, status_bytes(service.process.pid, "VmRSS"))
            bench.progress(f"{name} idle: {percent:.2f} % of a core, {idle[name][1] / 2**20:.1f} MiB")
        load = _load(bench, stack, "create", in_flight=LOAD_IN_FLIGHT, seconds=bench.choose(20, 5), items=2)
        for name, service in services.items():
            percent, rss = idle[name]
            peak = status_bytes(service.process.pid, "VmHWM")
            figures += [
                absolute("footprint", f"{name}_idle", [Sample({f"{name}_idle": rss / 2**20})], "MiB", IDLE_MIB, "lower"),
                absolute("footprint", f"{name}_load", [Sample({f"{name}_load": peak / 2**20})], "MiB", LOAD_MIB, "lower",
                         note=f"peak at {load['per_second']:,.0f} creates/s"),
                absolute("footprint", f"{name}_start", starts[name], "ms", START_MS, "lower", key="start"),
                absolute("footprint", f"{name}_idle_cpu", [Sample({f"{name}_idle_cpu": percent})], "% of a core",
                         IDLE_PERCENT, "lower"),
            ]
        return figures
    finally:
        stack.close()
