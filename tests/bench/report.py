"""What the benchmark tells: the table on the terminal, and the page with the table, the machine and the plots."""

import dataclasses
import json
import re

from measure import Figure, number

_COLUMNS = (("row", 15), ("figure", 17), ("ours", 10), ("reference", 10), ("unit", 11), ("ratio", 7), ("spread", 6),
            ("goal", 9), ("reached", 7), ("cpu s", 11), ("peak MiB", 11), ("", 0))


def _goal(figure: Figure) -> str:
    sign = "≥" if figure.better == "higher" else "≤"
    return f"{sign} {number(figure.goal)}" + ("×" if figure.ratio is not None else "")


def _both(ours, reference, scale=1) -> str:
    def one(value):
        return number(value / scale) if value is not None else "–"
    return "" if ours is None and reference is None else f"{one(ours)} | {one(reference)}"


def cells(figure: Figure) -> list[str]:
    """The columns of a figure, as texts."""
    if figure.ours is None:
        return [figure.row, figure.figure, "–", "–", "", "–", "", "", "no", "", "", figure.note]
    return [figure.row, figure.figure, number(figure.ours), number(figure.reference), figure.unit,
            number(figure.ratio) if figure.ratio is not None else "–",
            f"{figure.spread:.0%}" if figure.spread is not None else "", _goal(figure),
            "yes" if figure.reached else "NO", _both(figure.ours_cpu_seconds, figure.reference_cpu_seconds),
            _both(figure.ours_peak_bytes, figure.reference_peak_bytes, 2**20), figure.note]


def table(figures: list[Figure], heading: bool) -> str:
    """Lines for a terminal."""
    rows = [[name for name, _ in _COLUMNS]] if heading else []
    rows += [cells(figure) for figure in figures]
    return "\n".join("  ".join(cell.ljust(width) for cell, (_, width) in zip(row, _COLUMNS)).rstrip() for row in rows)


# title -> what the axes are, and whether each is logarithmic
PLOTS = {
    "create_order: latency over load": ("orders a second, offered", False, "milliseconds", True),
    "create_order: throughput over writes in flight": ("writes in flight", True, "orders a second", False),
    "relay_drain": ("seconds", False, "records in Kafka", False),
    "apply: throughput over batch size": ("events in a batch, at most", True, "events a second", False),
    "drain over time": ("seconds", False, "rows in delivery", False),
}


def _draw(title: str, lines: dict, path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lockstep"
    from matplotlib import pyplot

    x_label, x_log, y_label, y_log = PLOTS[title]
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in lines.items():
        points = sorted(points)
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name)
    if x_log:
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({x for points in lines.values() for x, _ in points}))
        axes.xaxis.set_major_formatter(matplotlib.ticker.ScalarFormatter())
    if y_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(True, alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


_PAGE = """# The benchmark

Written by `tests/bench/run --page docs/benchmark`; not to be edited by hand.

Each row measures lockstep and what one would use instead in turn, on the same servers, in one run of the command; the
ratio is the median of the pairs' ratios, and the spread the distance of their quartiles. PostgreSQL runs with fsync and
synchronous_commit on, Kafka's records are acknowledged by all replicas, and after each run it is counted that the work
was done. Servers, clients and services share the machine. Ratios can be compared with those of another run, absolute
figures hardly.

{time}: {cores} cores ({processor}), {memory_gib} GiB, Linux {kernel}. {pairs} pairs a row{quick}; {seconds} s in all.
{reached} of {count} goals are reached.{again}

| row | figure | ours | reference | unit | ratio | spread | goal | reached | CPU s, ours / reference | peak MiB, ours / reference |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

What the rows say:

{notes}
{plots}
[The figures as JSON](figures.json)
"""


def _again(result: dict) -> str:
    rows = result.get("again")
    return f" Measured again since, by themselves: {', '.join(rows)}." if rows else ""


def write_page(result: dict, folder) -> None:
    """README.md with the table, the machine and the plots; figures.json; a drawing for each plot."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {field.name for field in dataclasses.fields(Figure)}
    figures = [Figure(**{("row" if key == "name" else key): value for key, value in row.items()
                         if key == "name" or key in names}) for row in result["rows"]]
    rows, notes, plots = [], [], []
    for figure in figures:
        *columns, note = cells(figure)
        rows.append("| " + " | ".join(column.replace(" | ", " / ") or " " for column in columns) + " |")
        if note:
            notes.append(f"- {figure.row}, {figure.figure}: {note}")
    for title, lines in result["series"].items():
        name = re.sub(r"[^a-z]+", "-", title) + ".svg"
        _draw(title, lines, folder / name)
        plots.append(f"![{title}]({name})\n")
    machine = result["machine"]
    page = _PAGE.format(rows="\n".join(rows), notes="\n".join(notes), plots="\n".join(plots), time=result["time"],
                        pairs=result["pairs"], quick=", less work than in full" if result["quick"] else "",
                        seconds=result["seconds"], reached=sum(figure.reached for figure in figures),
                        count=len(figures), again=_again(result), **machine)
    (folder / "README.md").write_text(page)
    (folder / "figures.json").write_text(json.dumps(result, indent=1) + "\n")
