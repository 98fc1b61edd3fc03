"""Judges a round of the fault campaign by its evidence: the clients' history, both databases, the topics and what
the public APIs said. It knows the public contract (proto/) and nothing of the services' code.

    from checker import check_folder
    result = check_folder(folder)      # raises Unusable where the evidence cannot be judged
    result.violations["P3"], result.examples["P3"], result.statistics["orders"]

evidence.py loads a folder, facts.py works out what several checks ask for, and one module each judges a group of
promises: writes.py P1 to P3, relay.py P4 to P8, deliveries.py and events.py P9 to P15, pace.py P16 to P18."""

import pathlib

from . import deliveries, events, pace, relay, writes
from .evidence import Unusable, load
from .facts import Facts
from .report import Findings, Result, add_up, make_result

__all__ = ["Result", "Unusable", "add_up", "check_folder"]


def check_folder(folder: pathlib.Path | str) -> Result:
    """What the evidence in the folder shows."""
    facts = Facts(load(pathlib.Path(folder)))
    findings = Findings()
    for group in (writes, relay, deliveries, events, pace):
        group.check(facts, findings)
    return make_result(facts, findings)
