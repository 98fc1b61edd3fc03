"""The rows of the benchmark: which there are, what they stand on, and the command that runs them (see run)."""

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
import platform
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import report  # noqa: E402
from measure import Figure, Unavailable, say  # noqa: E402
from servers import Servers  # noqa: E402
from support import schemas  # noqa: E402

# In the order of the table: the module that measures a row is row_<group>.py.
ROWS = {
    "rpc_unary": "rpc", "rpc_client": "rpc",
    "create_order": "order", "create_busy": "order", "create_latency": "order", "get_order": "order",
    "batch_get": "order",
    "relay_drain": "relay", "relay_latency": "relay", "relay_produce": "relay", "relay_long_tx": "relay",
    "apply_full": "delivery", "apply_zero": "delivery", "pipeline": "delivery", "coalesce": "delivery",
    "end_to_end": "end_to_end",
    "overload": "order", "growth": "growth", "footprint": "footprint",
}


@dataclasses.dataclass
class Bench:
    """What a row is given.

    quick     less work and fewer pairs
    pairs     how often ours and the reference are measured in turn
    programs  where the programs were built
    servers   PostgreSQL and Kafka, started when first asked for
    series    plot -> line -> points, for the page: filled by rows
    """

    quick: bool
    pairs: int
    programs: pathlib.Path
    work: pathlib.Path
    servers: Servers
    series: dict = dataclasses.field(default_factory=dict)
    row: str = ""

    def choose(self, full, quick):
        """The size of some work."""
        return quick if self.quick else full

    def progress(self, text: str) -> None:
        say(f"  {self.row}: {text}")

    def plot(self, plot: str, line: str, points) -> None:
        """Points (x, y) of a line of one of the page's plots (report.PLOTS)."""
        self.series.setdefault(plot, {}).setdefault(line, []).extend([list(point) for point in points])


def machine() -> dict:
    """What the figures were measured on."""
    processor = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "memory_gib": round(memory / 2**30),
            "kernel": platform.release().split("-")[0]}


def measure_row(bench: Bench, name: str) -> list[Figure]:
    """The figures of one row. What goes wrong is told and leaves a figure that is not reached."""
    bench.row = name
    begin = time.monotonic()
    say(f"{name} …")
    try:
        figures = list(getattr(importlib.import_module(f"row_{ROWS[name]}"), name)(bench))
    except Unavailable as reason:
        figures = [Figure(name, "-", None, None, "", 0, "higher", note=str(reason))]
    except Exception as error:  # one row that fails does not take the others with it
        traceback.print_exc()
        figures = [Figure(name, "-", None, None, "", 0, "higher", note=f"failed: {error}".splitlines()[0])]
    say(f"{name}: {time.monotonic() - begin:.0f} s")
    return figures


def write(bench: Bench, figures: list[Figure], seconds: int, options) -> None:
    """The files that were asked for; after each row, so that an interrupt leaves what there is."""
    result = {"machine": machine(), "time": time.strftime("%Y-%m-%d", time.gmtime()), "quick": bench.quick,
              "pairs": bench.pairs, "seconds": seconds, "rows": [figure.as_json() for figure in figures],
              "series": bench.series}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.page:
        report.write_page(_with_others(result, options) if options.only else result, options.page)


def _with_others(result: dict, options) -> dict:
    """The page's figures, but for the rows that were measured again."""
    kept = options.page / "figures.json"
    if not kept.exists():
        return result
    page = json.loads(kept.read_text())
    fresh = {row["name"] for row in result["rows"]}
    rows = {name: [row for row in (result if name in fresh else page)["rows"] if row["name"] == name] for name in ROWS}
    return {**page, "rows": [row for name in ROWS for row in rows[name]], "series": {**page["series"], **result["series"]},
            "again": sorted({*page.get("again", []), *fresh})}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--page", type=pathlib.Path)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if options.list:
        print("\n".join(ROWS))
        return 0
    unknown = [name for name in options.only if name not in ROWS]
    if unknown:
        parser.error(f"no row \"{unknown[0]}\": there are {', '.join(ROWS)}")

    schemas_folder = options.work / "schemas"
    schemas_folder.mkdir()
    schemas.generate(schemas_folder)
    sys.path.insert(0, str(schemas_folder))

    begin = time.monotonic()
    figures: list[Figure] = []
    with contextlib.closing(Servers(options.work)) as servers:
        bench = Bench(options.quick, options.pairs or (3 if options.quick else 7), options.programs, options.work, servers)
        for name in ROWS:
            if not options.only or name in options.only:
                found = measure_row(bench, name)
                figures += found
                print(report.table(found, heading=len(figures) == len(found)), flush=True)
                write(bench, figures, round(time.monotonic() - begin), options)
    reached = sum(figure.reached for figure in figures)
    print(f"{reached} of {len(figures)} goals reached in {time.monotonic() - begin:.0f} s")
    return 1 if any(figure.note.startswith("failed") for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
