"""Planted violations of P1 to P8. The functions' names say what is wrong."""

import base64

from .contract import order_event_pb2
from .plants import edit_order, fault_of, find, find_all, of, order_attempts, plant, samples, sent, without_effect
from .story import PLACES
from .synthetic import TOPICS, text

# --- P1 ---


@plant("P1")
def acknowledged_version_is_missing(evidence: dict) -> None:
    evidence["outbox"].remove(of(evidence, "outbox", "changed")[-1])


@plant("P1")
def acknowledged_create_is_missing_everywhere(evidence: dict) -> None:
    for file in ("outbox", "orders", "orders_table", "deliveries", "delivery_history"):
        for row in of(evidence, file, "repeated"):
            evidence[file].remove(row)


@plant("P1")
def failed_write_is_there(evidence: dict) -> None:
    order_attempts(evidence, "changed")[0].update(status="failed", code="ABORTED", version=0, answer="")


@plant("P1")
def write_without_room_is_there(evidence: dict) -> None:
    order_attempts(evidence, "changed")[0].update(status="failed", code="RESOURCE_EXHAUSTED", version=0, answer="")


@plant("P1")
def unknown_write_is_there_twice(evidence: dict) -> None:
    lost = order_attempts(evidence, "lost", status="unknown")[-1]
    edit_order(of(evidence, "outbox", "changed")[2], "snapshot", note=lost["token"])


@plant("P1")
def resolved_write_is_there_twice(evidence: dict) -> None:
    resolved = order_attempts(evidence, "lost", purpose="resolve", status="ok")[0]
    edit_order(of(evidence, "outbox", "changed")[2], "snapshot", note=resolved["token"])


@plant("P1")
def resolve_is_answered_with_another_order(evidence: dict) -> None:
    order_attempts(evidence, "lost", purpose="resolve", status="ok")[0]["answer"] = "00" * 32


@plant("P1")
def resolve_fails_for_what_was_done(evidence: dict) -> None:
    order_attempts(evidence, "lost", purpose="resolve", status="ok")[0].update(status="failed", code="ABORTED")


@plant("P1")
def resolve_succeeds_for_what_is_nowhere(evidence: dict) -> None:
    resolved = order_attempts(evidence, "lost", purpose="resolve", status="failed")[0]
    row = of(evidence, "outbox", "lost")[0]
    resolved.update(status="ok", code="OK", version=row["version"])


@plant("P1")
def answer_names_another_version(evidence: dict) -> None:
    order_attempts(evidence, "changed")[1]["version"] -= 1


@plant("P1")
def answer_differs_from_what_is_kept(evidence: dict) -> None:
    order_attempts(evidence, "changed")[1]["answer"] = "00" * 32


@plant("P1")
def api_is_behind(evidence: dict) -> None:
    of(evidence, "orders", "changed")[0]["version"] -= 1


@plant("P1")
def table_is_behind(evidence: dict) -> None:
    of(evidence, "orders_table", "changed")[0]["version"] -= 1


@plant("P1")
def version_bears_a_token_that_nobody_sent(evidence: dict) -> None:
    edit_order(of(evidence, "outbox", "changed")[2], "snapshot", note="stranger")


@plant("P1")
def version_bears_no_token(evidence: dict) -> None:
    edit_order(of(evidence, "outbox", "changed")[2], "snapshot", note="")


@plant("P1")
def cancel_is_answered_with_a_placed_order(evidence: dict) -> None:
    cancel = order_attempts(evidence, "cancelled", "CancelOrder")[1]
    cancel["version"] -= 1


@plant("P1")
def order_is_read_older_than_answered(evidence: dict) -> None:
    order_attempts(evidence, "changed", "GetOrder")[2].update(version=1, min_version=0)


@plant("P1")
def order_is_read_older_than_asked_for(evidence: dict) -> None:
    order_attempts(evidence, "changed", "GetOrder")[0]["min_version"] += 10


# --- P2 ---


@plant("P2")
def repeat_is_answered_otherwise(evidence: dict) -> None:
    find(evidence["history"], purpose="repeat")["answer"] = "00" * 32


@plant("P2")
def repeat_is_done_again(evidence: dict) -> None:
    find(evidence["history"], purpose="repeat")["version"] += 1


@plant("P2")
def repeat_fails(evidence: dict) -> None:
    find(evidence["history"], purpose="repeat").update(status="failed", code="ABORTED", version=0, answer="")


@plant("P2")
def repeat_is_taken_for_another_body(evidence: dict) -> None:
    repeat = find(evidence["history"], purpose="repeat")
    first = find(evidence["history"], request_id=repeat["request_id"])
    evidence["history"].remove(find(evidence["history"], purpose="other_body"))
    repeat.update(status="failed", code="ALREADY_EXISTS", version=0, answer="", start=first["start"])


@plant("P2")
def other_body_is_accepted(evidence: dict) -> None:
    find(evidence["history"], purpose="other_body").update(status="ok", code="OK", version=1)


@plant("P2")
def other_body_is_refused_for_another_reason(evidence: dict) -> None:
    find(evidence["history"], purpose="other_body").update(code="ABORTED", reason="VERSION_MISMATCH")


# --- P3 ---


@plant("P3")
def version_is_left_out(evidence: dict) -> None:
    evidence["outbox"].remove(of(evidence, "outbox", "changed")[1])


@plant("P3")
def version_is_there_twice(evidence: dict) -> None:
    row = of(evidence, "outbox", "changed")[1]
    evidence["outbox"].append({**row, "sequence": 10**6})


@plant("P3")
def versions_are_out_of_order(evidence: dict) -> None:
    first, second = of(evidence, "outbox", "changed")[1:3]
    first["sequence"], second["sequence"] = second["sequence"], first["sequence"]


@plant("P3")
def table_has_another_version(evidence: dict) -> None:
    of(evidence, "orders_table", "changed")[0]["version"] += 1


@plant("P3")
def table_has_another_status(evidence: dict) -> None:
    of(evidence, "orders_table", "changed")[0]["status"] = 2


@plant("P3")
def api_shows_another_order(evidence: dict) -> None:
    edit_order(of(evidence, "orders", "changed")[0], "order", customer_id="bob")


@plant("P3")
def order_is_not_in_the_table(evidence: dict) -> None:
    evidence["orders_table"].remove(of(evidence, "orders_table", "changed")[0])


@plant("P3")
def order_is_not_in_the_api(evidence: dict) -> None:
    evidence["orders"].remove(of(evidence, "orders", "changed")[0])


@plant("P3")
def order_is_not_in_the_outbox(evidence: dict) -> None:
    for row in of(evidence, "outbox", "hot"):
        evidence["outbox"].remove(row)


@plant("P3")
def republished_version_never_was(evidence: dict) -> None:
    find(evidence["outbox"], republished=True)["version"] += 5


@plant("P3")
def republished_snapshot_differs(evidence: dict) -> None:
    edit_order(find(evidence["outbox"], republished=True), "snapshot", customer_id="bob")


@plant("P3")
def version_is_republished_before_it_was(evidence: dict) -> None:
    republished = find(evidence["outbox"], republished=True)
    original = find(evidence["outbox"], order_id=republished["order_id"], version=republished["version"])
    original["sequence"], republished["sequence"] = republished["sequence"], original["sequence"]


@plant("P3")
def snapshot_is_of_another_order(evidence: dict) -> None:
    edit_order(of(evidence, "outbox", "changed")[1], "snapshot", order_id=99)


@plant("P3")
def snapshot_is_of_another_version(evidence: dict) -> None:
    edit_order(of(evidence, "outbox", "changed")[1], "snapshot", version=99)


@plant("P3")
def snapshot_cannot_be_read(evidence: dict) -> None:
    of(evidence, "outbox", "changed")[1]["snapshot"] = text(b"\xff")


@plant("P3")
def row_has_another_type(evidence: dict) -> None:
    of(evidence, "outbox", "changed")[1]["type"] = 1


@plant("P3")
def event_has_no_row(evidence: dict) -> None:
    event = order_event_pb2.OrderEvent(order_id=PLACES["changed"], version=99)
    evidence["records"].append({"topic": TOPICS["domain"], "partition": 0, "offset": 10**6, "headers": [],
                                "key": text(str(PLACES["changed"]).encode()), "value": text(event.SerializeToString())})


@plant("P3")
def event_of_the_service_cannot_be_read(evidence: dict) -> None:
    sent(evidence, "changed")[0]["value"] = text(b"\xff")


@plant("P3")
def event_carries_another_order(evidence: dict) -> None:
    record = sent(evidence, "changed")[0]
    event = order_event_pb2.OrderEvent.FromString(base64.b64decode(record["value"]))
    event.order.customer_id = "bob"
    record["value"] = text(event.SerializeToString())


# --- P4 ---


@plant("P4")
def row_is_in_no_topic(evidence: dict) -> None:
    without_effect(evidence, sent(evidence, "changed")[2])


@plant("P4")
def only_a_copy_of_the_campaign_is_in_a_topic(evidence: dict) -> None:
    sent(evidence, "changed")[2]["headers"].append(["chaos", text(b"duplicate")])


@plant("P4")
def republished_row_is_in_no_topic(evidence: dict) -> None:
    without_effect(evidence, sent(evidence, "republished")[-1])


@plant("P4")
def row_is_done_before_it_is_sent(evidence: dict) -> None:
    record = sent(evidence, "changed")[0]
    for sample in samples(evidence, "relay")[:2]:
        sample["ends"][f"{record['topic']}/{record['partition']}"] = record["offset"]


@plant("P4")
def row_of_a_gap_that_is_done_is_not_sent(evidence: dict) -> None:
    held = fault_of(evidence, "held_transaction")
    for sample in samples(evidence, "relay"):
        if held["start"] < sample["time"]:
            sample["gaps"] = []


@plant("P4")
def row_waits_at_the_end(evidence: dict) -> None:
    evidence["relay"]["highest"] = max(row["sequence"] for row in evidence["outbox"]) - 1


@plant("P4")
def row_is_in_a_gap_at_the_end(evidence: dict) -> None:
    number = of(evidence, "outbox", "changed")[2]["sequence"]
    evidence["relay"]["gaps"] = [[number, number]]


# --- P5 ---


@plant("P5")
def versions_are_sent_out_of_order(evidence: dict) -> None:
    first, second = sent(evidence, "changed")[1:3]
    first["offset"], second["offset"] = second["offset"], first["offset"]


@plant("P5")
def order_is_in_two_partitions(evidence: dict) -> None:
    sent(evidence, "changed")[1].update(partition=2, offset=10**6)


# --- P6 ---


@plant("P6")
def relay_waits_for_a_held_transaction(evidence: dict) -> None:
    held = fault_of(evidence, "held_transaction")
    for sample in samples(evidence, "relay"):
        if held["start"] < sample["time"] <= held["heal_begin"]:
            sample.update(highest=held["detail"]["sequence"] - 1, gaps=[])


@plant("P6")
def gap_is_left_for_ever(evidence: dict) -> None:
    number = find_all(evidence["faults"], kind="held_transaction")[1]["detail"]["sequence"]
    evidence["relay"]["gaps"] = [[number, number]]


@plant("P6")
def row_that_was_committed_late_is_gone(evidence: dict) -> None:
    number = fault_of(evidence, "held_transaction")["detail"]["sequence"]
    evidence["outbox"].remove(find(evidence["outbox"], sequence=number))


@plant("P6")
def row_that_was_committed_late_is_never_sent(evidence: dict) -> None:
    without_effect(evidence, sent(evidence, "held")[-1])


# --- P7 ---


@plant("P7")
def two_lead_for_long(evidence: dict) -> None:
    first = samples(evidence, "leaders")[0]["time"]
    for sample in samples(evidence, "leaders"):
        if sample["time"] < first + 30:
            sample["leaders"]["order-2"] = True


# --- P8 ---


@plant("P8")
def record_is_too_large(evidence: dict) -> None:
    record = sent(evidence, "changed")[0]
    event = order_event_pb2.OrderEvent.FromString(base64.b64decode(record["value"]))
    event.order.note = "x" * 3000
    record["value"] = text(event.SerializeToString())


@plant("P8")
def large_version_is_never_sent(evidence: dict) -> None:
    without_effect(evidence, sent(evidence, "large")[0])


@plant("P8")
def version_after_a_large_one_is_never_sent(evidence: dict) -> None:
    without_effect(evidence, sent(evidence, "large")[1])
