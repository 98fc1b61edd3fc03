"""Every kind of fault there is."""

from collections.abc import Iterable

from faults import Fault
from faults_links import CutLink, SlowLink
from faults_orders import HeldTransaction, HotOrder, ModeSwitch
from faults_processes import (AllKilled, ClockJump, HangLeader, KillDelivery, KillOrder, Rebalance, StopDelivery,
                              StopOrder, Terminate)
from faults_servers import DiskFullKafka, DiskFullPostgres, KillKafka, KillPostgres, StopKafka, StopPostgres
from faults_topics import Garbage, LettersReplayed, OffsetsDeleted, OffsetsRewound, Reproduce

KINDS: list[type[Fault]] = [
    KillOrder, StopOrder, HangLeader, KillDelivery, StopDelivery, KillKafka, StopKafka, KillPostgres, StopPostgres,
    CutLink, SlowLink, Rebalance, ModeSwitch, OffsetsDeleted, OffsetsRewound, HeldTransaction, Reproduce, Garbage,
    HotOrder, DiskFullPostgres, DiskFullKafka, ClockJump, LettersReplayed, Terminate, AllKilled]


def chosen(names: str) -> list[type[Fault]]:
    """Those of a list such as "kill_order,garbage"; without one all there are."""
    wanted: Iterable[str] = [name for name in names.split(",") if name]
    by_name = {kind.kind: kind for kind in KINDS}
    unknown = [name for name in wanted if name not in by_name]
    if unknown:
        raise SystemExit(f"no such kind of fault: {', '.join(unknown)} (--list names them)")
    return [by_name[name] for name in wanted] or KINDS
