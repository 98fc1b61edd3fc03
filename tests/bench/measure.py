"""How a figure comes about: ours and the reference in turn, medians of what they gave, and what their processes used."""

import contextlib
import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time


class Unavailable(Exception):
    """A row that cannot be measured here, and why: a peer that cannot be had."""


@dataclasses.dataclass
class Sample:
    """One run of one side. values: what was measured, by figure. cpu_seconds and peak_bytes: of the processes that the
    row is about, None where that says nothing."""

    values: dict[str, float]
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclasses.dataclass
class Figure:
    """A line of the table. ratio: ours to the reference, the median of the pairs; reference None: the goal is absolute.
    spread: of the ratios (of ours, where the goal is absolute), the quartiles' distance over the median."""

    row: str
    figure: str
    ours: float | None
    reference: float | None
    unit: str
    goal: float
    better: str
    ratio: float | None = None
    spread: float | None = None
    ours_cpu_seconds: float | None = None
    reference_cpu_seconds: float | None = None
    ours_peak_bytes: int | None = None
    reference_peak_bytes: int | None = None
    note: str = ""

    @property
    def reached(self) -> bool:
        value = self.ours if self.ratio is None else self.ratio
        if value is None:
            return False
        return value >= self.goal if self.better == "higher" else value <= self.goal

    def as_json(self) -> dict:
        return {**{"name" if key == "row" else key: value for key, value in dataclasses.asdict(self).items()},
                "reached": self.reached}


def median(values):
    """Of those that are there; None if none is."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def spread(values) -> float | None:
    """The distance of the quartiles over the median: what half of the runs lie within."""
    if len(values) < 2 or not statistics.median(values):
        return None
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / abs(statistics.median(values))


class Pairs:
    """The samples of ours and of the reference, in the order they were taken."""

    def __init__(self, ours: list[Sample], reference: list[Sample]) -> None:
        self.ours, self.reference = ours, reference

    def figure(self, row: str, figure: str, unit: str, goal: float, better: str = "higher", key: str | None = None,
               note: str = "") -> Figure:
        """The figure that the samples' values have under key (default: the figure's own name)."""
        ours = [sample.values[key or figure] for sample in self.ours]
        reference = [sample.values[key or figure] for sample in self.reference]
        ratios = [mine / theirs for mine, theirs in zip(ours, reference) if theirs]
        return Figure(row, figure, median(ours), median(reference), unit, goal, better, median(ratios), spread(ratios),
                      note=note, **self._used())

    def cpu(self, row: str, goal: float, work: float, unit: str, note: str = "") -> Figure:
        """CPU seconds of ours to the reference's, each for `work` pieces of work."""
        ours = [sample.cpu_seconds / work for sample in self.ours]
        reference = [sample.cpu_seconds / work for sample in self.reference]
        ratios = [mine / theirs for mine, theirs in zip(ours, reference) if theirs]
        return Figure(row, "cpu", median(ours), median(reference), unit, goal, "lower", median(ratios), spread(ratios),
                      note=note, **self._used())

    def memory(self, row: str, goal: float, note: str = "") -> Figure:
        """Peak resident memory of ours to the reference's."""
        ours = [sample.peak_bytes / 2**20 for sample in self.ours]
        reference = [sample.peak_bytes / 2**20 for sample in self.reference]
        ratios = [mine / theirs for mine, theirs in zip(ours, reference) if theirs]
        return Figure(row, "memory", median(ours), median(reference), "MiB", goal, "lower", median(ratios),
                      spread(ratios), note=note, **self._used())

    def _used(self) -> dict:
        return {"ours_cpu_seconds": median(sample.cpu_seconds for sample in self.ours),
                "reference_cpu_seconds": median(sample.cpu_seconds for sample in self.reference),
                "ours_peak_bytes": median(sample.peak_bytes for sample in self.ours),
                "reference_peak_bytes": median(sample.peak_bytes for sample in self.reference)}


def interleave(count: int, ours, reference, warm: int = 1, progress=None) -> Pairs:
    """Calls ours() and reference() in turn, A B A B …, each giving a Sample; the first `warm` pairs are thrown away."""
    pairs = Pairs([], [])
    for number in range(warm + count):
        first, second = ours(), reference()
        if progress is not None:
            progress(f"{'warm-up' if number < warm else f'pair {number - warm + 1} of {count}'}: "
                     f"{_told(first)} | {_told(second)}")
        if number >= warm:
            pairs.ours.append(first)
            pairs.reference.append(second)
    return pairs


def absolute(row: str, figure: str, samples: list[Sample], unit: str, goal: float, better: str, key: str | None = None,
             note: str = "") -> Figure:
    """A figure that is compared with no peer."""
    values = [sample.values[key or figure] for sample in samples]
    return Figure(row, figure, median(values), None, unit, goal, better, None, spread(values),
                  median(sample.cpu_seconds for sample in samples), None,
                  median(sample.peak_bytes for sample in samples), None, note)


def _told(sample: Sample) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in sample.values.items())


def number(value: float | None) -> str:
    """Three figures, or the whole part of what has more."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


class Usage:
    """What processes use within a with block, told apart from what they used before: CPU seconds, and the peak of
    their resident memory together. Processes are given by id and must outlive the block."""

    def __init__(self, *processes: int) -> None:
        self.processes = processes
        self.cpu_seconds = 0.0
        self.peak_bytes = 0

    def __enter__(self) -> "Usage":
        for process in self.processes:
            with contextlib.suppress(OSError):  # resets the peak
                pathlib.Path(f"/proc/{process}/clear_refs").write_text("5")
        self._begin = sum(cpu_seconds(process) for process in self.processes)
        return self

    def __exit__(self, *exception) -> None:
        self.cpu_seconds = sum(cpu_seconds(process) for process in self.processes) - self._begin
        self.peak_bytes = sum(status_bytes(process, "VmHWM") for process in self.processes)


def cpu_seconds(process: int) -> float:
    """User and system time of a process with all its threads, by the clock that the kernel keeps for it (ids are made as
    in clock_getcpuclockid), which is finer than the ticks of /proc."""
    return time.clock_gettime((~process << 3) | 2)


def status_bytes(process: int, field: str) -> int:
    """VmRSS: resident now; VmHWM: at most."""
    for line in pathlib.Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclasses.dataclass
class Ended:
    """A program that was run to its end."""

    output: str
    cpu_seconds: float
    peak_bytes: int
    seconds: float


def run(arguments, environment=None, seconds=300) -> Ended:
    """Runs a program to its end; raises RuntimeError with what it said if it fails."""
    begin = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([str(argument) for argument in arguments], env=environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=errors)
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        elapsed = time.monotonic() - begin
        told, said = (_text(file) for file in (output, errors))
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: exit code {process.returncode}\n{told[-2000:]}{said[-2000:]}")
    return Ended(told, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, elapsed)


def _text(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)
