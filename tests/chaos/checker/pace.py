"""P16 to P18: what faults cost others, and how soon all is well again."""

from collections import defaultdict

from .evidence import ConsumerSample, Fault, Probe
from .facts import Facts
from .report import Findings

NEIGHBOUR_FAULTS = ("garbage", "hot_order")
ORDER_FAULTS = ("kill_order", "stop_order", "cut_link")
KAFKA_FAULTS = ("kill_kafka", "stop_kafka")
MAX_LOOKUPS_PER_SECOND = 50
HEAL_MARGIN_SECONDS = 5  # so long after its heal a fault is still taken for the cause of what is slow
SETTLE_SECONDS = 1  # until a fault is in force, and the shortest time a rate is told by
ENOUGH_PROBES = 3


def check(facts: Facts, findings: Findings) -> None:
    """All three."""
    for fault in facts.evidence.faults:
        if fault.kind in NEIGHBOUR_FAULTS:
            _check_probes(fault, facts, findings)
        if fault.kind in ORDER_FAULTS and fault.detail.get("all_orders") is True:
            _check_lookups(fault, facts, findings)
        findings.looked_at("P17")
        _check_recovery(fault, facts, findings)
        _check_single(fault, facts, findings)
    _check_memory(facts, findings)
    _check_convergence(facts, findings)


# --- P16 ---


def _check_probes(fault: Fault, facts: Facts, findings: Findings) -> None:
    """Those that write other orders meanwhile notice nothing, unless another fault gives them reason to."""
    probes = [probe for probe in facts.evidence.probes if fault.start <= probe.start <= fault.heal_begin]
    findings.looked_at("P16", len(probes))
    if (len(probes) >= ENOUGH_PROBES and all(probe.acknowledged is None for probe in probes)
            and not facts.others(fault, fault.start, fault.heal_begin)):
        findings.violation("P16", f"fault {fault.fault} ({fault.kind}): none of {len(probes)} writes of other orders "
                                  "was acknowledged meanwhile")
    for probe in probes:
        if probe.acknowledged is not None and _is_late(probe, fault, facts):
            after = "never" if probe.visible is None else f"after {probe.visible - probe.start:.1f} s"
            findings.violation("P16", f"fault {fault.fault} ({fault.kind}): order {probe.order_id} version "
                                      f"{probe.version}, written meanwhile, was visible {after}")


def _is_late(probe: Probe, fault: Fault, facts: Facts) -> bool:
    """The time that other faults took is not counted."""
    limit = facts.meta.probe_limit_seconds
    if probe.visible is None:
        return _disturbed(fault, probe.start, probe.start + limit, facts) == 0
    return probe.visible - probe.start - _disturbed(fault, probe.start, probe.visible, facts) > limit


def _disturbed(fault: Fault, start: float, end: float, facts: Facts) -> float:
    """How many seconds of the time other faults were there, or had just been healed."""
    seconds, until = 0.0, start
    for other in sorted(facts.evidence.faults, key=lambda other: other.start):
        if other is not fault:
            first, last = max(other.start, until), min(other.healed + HEAL_MARGIN_SECONDS, end)
            seconds += max(0.0, last - first)
            until = max(until, last)
    return seconds


def _check_lookups(fault: Fault, facts: Facts, findings: Findings) -> None:
    """Nobody asks an order service that is not there in a hot loop."""
    samples: dict[tuple[str, int], list[ConsumerSample]] = defaultdict(list)
    for sample in facts.evidence.consumer_samples:
        if fault.start + SETTLE_SECONDS <= sample.time <= fault.heal_begin:
            samples[sample.service, sample.pid].append(sample)
    for (service, pid), same in samples.items():
        seconds = same[-1].time - same[0].time
        calls = same[-1].counters["lookups"] - same[0].counters["lookups"]
        if seconds < SETTLE_SECONDS:
            continue
        findings.looked_at("P16")
        if calls > MAX_LOOKUPS_PER_SECOND * seconds:
            findings.violation("P16", f"fault {fault.fault} ({fault.kind}): {service} (process {pid}) made {calls} "
                                      f"lookups in {seconds:.1f} s with no order service there")


# --- P17 ---


def _check_recovery(fault: Fault, facts: Facts, findings: Findings) -> None:
    name = f"fault {fault.fault} ({fault.kind})"
    limit, healed = facts.meta.recovery_limit_seconds, facts.healed_together(fault)
    if fault.recovered is None:
        findings.violation("P17", f"after {name} nothing written became visible any more")
    elif fault.recovered - healed > limit:
        findings.violation("P17", f"after {name} it took {fault.recovered - healed:.1f} s until something written was "
                                  f"visible, longer than {limit:g} s")


def _check_single(fault: Fault, facts: Facts, findings: Findings) -> None:
    if fault.kind == "terminate" and fault.detail.get("exit_code", 0) != 0:
        findings.violation("P17", f"fault {fault.fault}: {', '.join(map(str, fault.targets))} ended with exit code "
                                  f"{fault.detail['exit_code']} when told to end")
    alone = fault.pair is None and not facts.others(fault, fault.start, fault.heal_begin)
    if fault.kind in KAFKA_FAULTS and alone and fault.acknowledged_writes == 0:
        findings.violation("P17", f"fault {fault.fault} ({fault.kind}): no write was acknowledged without Kafka")


def _check_memory(facts: Facts, findings: Findings) -> None:
    limit = facts.meta.memory_limit_bytes
    for sample in facts.evidence.memory_samples:
        findings.looked_at("P17")
        if sample.bytes > limit:
            findings.violation("P17", f"{sample.service} had {sample.bytes:,} bytes resident at {sample.time:.3f}, "
                                      f"more than {limit:,}")


# --- P18 ---


def _check_convergence(facts: Facts, findings: Findings) -> None:
    meta = facts.meta
    findings.looked_at("P18")
    if meta.converged is None:
        findings.violation("P18", "after the last heal not all was in step again")
    elif meta.converged - meta.last_heal > meta.convergence_limit_seconds:
        findings.violation("P18", f"it took {meta.converged - meta.last_heal:.1f} s from the last heal until all was "
                                  f"in step, longer than {meta.convergence_limit_seconds:g} s")
