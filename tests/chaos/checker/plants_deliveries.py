"""Planted violations of P9 to P18. The functions' names say what is wrong."""

from .contract import order_event_pb2
from .plants import by_chaos, edit_delivery, fault_of, find, of, order_attempts, plant, probes_during, samples
from .story import PLACES
from .synthetic import TOPICS, UNKNOWN_ORDERS, text


def _applied(evidence: dict, place: str) -> list[dict]:
    """The history's rows that a version of the order caused."""
    return [row for row in of(evidence, "delivery_history", place) if row["cause"] == 1]


def _woken(evidence: dict) -> list[dict]:
    """Those that were made after a paused delivery service went on."""
    row = _applied(evidence, "changed")[-1]
    row["change_time"] = fault_of(evidence, "stop_delivery")["heal_begin"] + 1
    return _applied(evidence, "changed")


# --- P9 ---


@plant("P9")
def revision_is_left_out(evidence: dict) -> None:
    evidence["delivery_history"].remove(of(evidence, "delivery_history", "changed")[1])


@plant("P9")
def version_is_applied_twice(evidence: dict) -> None:
    rows = _applied(evidence, "changed")
    rows[-1]["order_version"] = rows[-2]["order_version"]


@plant("P9")
def older_version_is_applied(evidence: dict) -> None:
    rows = _applied(evidence, "changed")
    rows[-1]["order_version"], rows[-2]["order_version"] = rows[-2]["order_version"], rows[-1]["order_version"]


@plant("P9")
def delivery_is_not_at_the_version_of_its_history(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["order_version"] -= 1


@plant("P9")
def delivery_is_not_at_the_revision_of_its_history(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["revision"] += 1


@plant("P9")
def delivery_has_no_history(evidence: dict) -> None:
    for row in of(evidence, "delivery_history", "poked"):
        evidence["delivery_history"].remove(row)


@plant("P9")
def history_has_no_delivery(evidence: dict) -> None:
    evidence["deliveries"].remove(of(evidence, "deliveries", "poked")[0])


@plant("P9")
def delivery_is_read_at_an_older_version(evidence: dict) -> None:
    order_attempts(evidence, "changed", "GetDelivery")[1]["version"] -= 1


@plant("P9")
def delivery_is_read_at_an_older_revision(evidence: dict) -> None:
    order_attempts(evidence, "changed", "GetDelivery")[1]["revision"] -= 1


@plant("P9")
def delivery_is_read_older_than_waited_for(evidence: dict) -> None:
    order_attempts(evidence, "changed", "GetDelivery")[1]["min_version"] += 10


@plant("P9")
def what_was_read_is_lost(evidence: dict) -> None:
    for read in order_attempts(evidence, "changed", "GetDelivery"):
        read["revision"] += 10


@plant("P9")
def dispatch_is_lost(evidence: dict) -> None:
    order_attempts(evidence, "dispatched", "CompleteDelivery")[0]["revision"] += 10


@plant("P9")
def version_in_the_database_goes_back(evidence: dict) -> None:
    samples(evidence, "offsets")[-1]["versions"][str(PLACES["changed"])] = 1


# --- P10 ---


@plant("P10")
def order_has_no_delivery(evidence: dict) -> None:
    evidence["deliveries"].remove(of(evidence, "deliveries", "poked")[0])


@plant("P10")
def delivery_has_no_order(evidence: dict) -> None:
    row = dict(of(evidence, "deliveries", "poked")[0], order_id=UNKNOWN_ORDERS)
    evidence["deliveries"].append(row)


@plant("P10")
def delivery_is_behind(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["order_version"] -= 1


@plant("P10")
def delivery_goes_elsewhere(evidence: dict) -> None:
    edit_delivery(of(evidence, "deliveries", "changed")[0], lambda delivery: delivery.address.lines.append("attic"))


@plant("P10")
def delivery_has_other_items(evidence: dict) -> None:
    edit_delivery(of(evidence, "deliveries", "changed")[0], lambda delivery: setattr(delivery.items[0], "quantity", 77))


@plant("P10")
def delivery_has_its_items_in_another_order(evidence: dict) -> None:
    def swap(delivery) -> None:
        delivery.items[0].sku, delivery.items[1].sku = delivery.items[1].sku, delivery.items[0].sku
    edit_delivery(of(evidence, "deliveries", "changed")[0], swap)


@plant("P10")
def cancelled_order_is_being_prepared(evidence: dict) -> None:
    of(evidence, "deliveries", "cancelled")[0]["state"] = 1


@plant("P10")
def placed_order_is_cancelled(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["state"] = 4


@plant("P10")
def delivery_has_another_status_of_the_order(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["order_status"] = 2


@plant("P10")
def api_and_table_differ(evidence: dict) -> None:
    edit_delivery(of(evidence, "deliveries", "changed")[0], lambda delivery: setattr(delivery, "revision", 77))


@plant("P10")
def delivery_cannot_be_read(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["delivery"] = text(b"\xff")


@plant("P10")
def change_of_the_order_moves_the_delivery_on(evidence: dict) -> None:
    _applied(evidence, "changed")[1]["state"] = 2


@plant("P10")
def delivery_is_completed_before_it_is_dispatched(evidence: dict) -> None:
    find(of(evidence, "delivery_history", "dispatched"), cause=2)["cause"] = 3


# --- P11 ---


@plant("P11")
def cancelled_delivery_is_revived(evidence: dict) -> None:
    last = of(evidence, "delivery_history", "cancelled")[-1]
    evidence["delivery_history"].append({**last, "revision": last["revision"] + 1, "state": 1})


@plant("P11")
def returning_delivery_becomes_cancelled(evidence: dict) -> None:
    last = of(evidence, "delivery_history", "dispatched")[-1]
    evidence["delivery_history"].append({**last, "revision": last["revision"] + 1, "state": 4})


@plant("P11")
def cancel_leaves_the_delivery_as_it_was(evidence: dict) -> None:
    of(evidence, "delivery_history", "cancelled")[-1]["state"] = 1


@plant("P11")
def cancel_of_what_was_dispatched_does_not_return_it(evidence: dict) -> None:
    of(evidence, "delivery_history", "dispatched")[-1]["state"] = 4


@plant("P11")
def cancelled_delivery_is_seen_alive(evidence: dict) -> None:
    order_attempts(evidence, "cancelled", "GetDelivery")[1]["state"] = 1


@plant("P11")
def returning_delivery_is_seen_cancelled(evidence: dict) -> None:
    order_attempts(evidence, "dispatched", "GetDelivery")[1]["state"] = 4


# --- P12 ---


@plant("P12")
def event_has_no_effect(evidence: dict) -> None:
    of(evidence, "deliveries", "changed")[0]["order_version"] -= 1


@plant("P12")
def event_of_an_unknown_order_is_dropped(evidence: dict) -> None:
    evidence["pending_orders"].clear()


@plant("P12")
def copy_of_an_event_has_no_effect(evidence: dict) -> None:
    event = order_event_pb2.OrderEvent(order_id=PLACES["changed"], version=10**6)
    by_chaos(evidence, "duplicate")[0].update(key=text(str(PLACES["changed"]).encode()),
                                              value=text(event.SerializeToString()))


@plant("P12", case="zero-domain")
def lookup_that_is_older_is_applied(evidence: dict) -> None:
    older_version_is_applied(evidence)


@plant("P12")
def version_that_never_was_is_applied(evidence: dict) -> None:
    _applied(evidence, "changed")[-1]["order_version"] += 10


# --- P13 ---


@plant("P13")
def counters_do_not_add_up(evidence: dict) -> None:
    samples(evidence, "consumer_final")[0]["counters"]["consumed"] += 1


@plant("P13")
def garbage_is_no_dead_letter(evidence: dict) -> None:
    evidence["dead_letters"].pop(0)


@plant("P13")
def dead_letter_has_another_key(evidence: dict) -> None:
    evidence["dead_letters"][0]["key"] = text(b"2")


@plant("P13")
def dead_letter_has_no_key(evidence: dict) -> None:
    evidence["dead_letters"][0]["key"] = None


@plant("P13")
def dead_letter_has_an_empty_value_for_none(evidence: dict) -> None:
    find(evidence["dead_letters"], value=None)["value"] = ""


@plant("P13")
def dead_letter_has_another_value(evidence: dict) -> None:
    evidence["dead_letters"][0]["value"] = text(b"\xff")


@plant("P13")
def dead_letter_has_no_headers(evidence: dict) -> None:
    evidence["dead_letters"][0]["headers"] = ""


@plant("P13")
def dead_letter_names_another_offset(evidence: dict) -> None:
    evidence["dead_letters"][0]["offset"] += 10**6


@plant("P13")
def dead_letter_topic_lacks_one(evidence: dict) -> None:
    evidence["records"].remove(find(evidence["records"], topic=TOPICS["dead_letter"]))


@plant("P13")
def dead_letter_topic_has_another_value(evidence: dict) -> None:
    find(evidence["records"], topic=TOPICS["dead_letter"])["value"] = text(b"other")


@plant("P13")
def dead_letter_topic_has_another_key(evidence: dict) -> None:
    find(evidence["records"], topic=TOPICS["dead_letter"])["key"] = text(b"other")


@plant("P13")
def dead_letter_topic_has_lost_a_header(evidence: dict) -> None:
    find(evidence["records"], topic=TOPICS["dead_letter"])["headers"].pop(0)


@plant("P13")
def dead_letter_topic_does_not_say_where_from(evidence: dict) -> None:
    record = find(evidence["records"], topic=TOPICS["dead_letter"])
    record["headers"] = [header for header in record["headers"] if header[0] != "lockstep-source-offset"]


@plant("P13")
def readable_event_is_a_dead_letter(evidence: dict) -> None:
    record = next(record for record in by_chaos(evidence, "duplicate") if record["value"])
    evidence["dead_letters"].append({**evidence["dead_letters"][0], "dead_letter_id": 99, **{
        name: record[name] for name in ("topic", "partition", "offset", "key", "value")}})


@plant("P13")
def existing_order_is_given_up_without_a_record(evidence: dict) -> None:
    evidence["dead_letters"].append({**evidence["dead_letters"][0], "dead_letter_id": 99, "topic": "", "offset": -1,
                                     "key": text(str(PLACES["changed"]).encode()), "value": None})


# --- P14 ---


@plant("P14")
def offsets_pass_an_event_without_effect(evidence: dict) -> None:
    # The consumers were behind in this sample; the topics' ends are taken for their offsets.
    relay, offsets = samples(evidence, "relay")[1], samples(evidence, "offsets")[1]
    offsets["committed"] = dict(relay["ends"])


@plant("P14")
def offsets_pass_garbage_without_a_dead_letter(evidence: dict) -> None:
    place = [evidence["dead_letters"][0][name] for name in ("topic", "partition", "offset")]
    first = next(sample for sample in samples(evidence, "offsets") if place in sample["letters"])
    first["letters"].remove(place)


@plant("P14")
def pending_order_vanishes_below_the_offsets(evidence: dict) -> None:
    samples(evidence, "offsets")[-1]["pending"].clear()


@plant("P14")
def offsets_pass_an_unknown_order(evidence: dict) -> None:
    for sample in samples(evidence, "offsets"):
        sample["pending"].clear()


# --- P15 ---


@plant("P15")
def woken_consumer_applies_an_older_version(evidence: dict) -> None:
    rows = _woken(evidence)
    rows[-1]["order_version"], rows[-2]["order_version"] = rows[-2]["order_version"], rows[-1]["order_version"]


@plant("P15")
def woken_consumer_applies_a_version_again(evidence: dict) -> None:
    rows = _woken(evidence)
    rows[-1]["order_version"] = rows[-2]["order_version"]


@plant("P15")
def woken_consumer_applies_a_version_that_never_was(evidence: dict) -> None:
    _woken(evidence)[-1]["order_version"] += 10


@plant("P15")
def woken_consumer_leaves_out_a_revision(evidence: dict) -> None:
    _woken(evidence)[-1]["revision"] += 1


@plant("P15")
def woken_consumer_sets_the_delivery_back(evidence: dict) -> None:
    _woken(evidence)
    of(evidence, "deliveries", "changed")[0]["order_version"] -= 1


@plant("P15")
def woken_consumer_loses_a_revision(evidence: dict) -> None:
    _woken(evidence)
    of(evidence, "deliveries", "changed")[0]["revision"] -= 1


@plant("P15")
def woken_consumer_loses_the_delivery(evidence: dict) -> None:
    _woken(evidence)
    evidence["deliveries"].remove(of(evidence, "deliveries", "changed")[0])


@plant("P15", case="zero-domain")
def member_of_the_old_group_applies_an_older_version(evidence: dict) -> None:
    fault_of(evidence, "stop_delivery")["kind"] = "rebalance"
    row = _applied(evidence, "changed")[-1]
    row.update(order_version=1, change_time=fault_of(evidence, "rebalance")["heal_begin"] + 1)


# --- P16 ---


@plant("P16")
def garbage_delays_another_order(evidence: dict) -> None:
    probes_during(evidence, fault_of(evidence, "garbage"))[2]["visible"] += 11


@plant("P16")
def garbage_delays_another_order_longer_than_the_next_fault(evidence: dict) -> None:
    probe = probes_during(evidence, fault_of(evidence, "garbage"))[-1]
    probe["visible"] += 20
    evidence["faults"].append({**fault_of(evidence, "kill_order"), "fault": 99, "start": probe["start"] + 5,
                               "heal_begin": probe["start"] + 6, "healed": probe["start"] + 6})


@plant("P16")
def hot_order_hides_another_order(evidence: dict) -> None:
    probes_during(evidence, fault_of(evidence, "hot_order"))[2]["visible"] = None


@plant("P16")
def hot_order_keeps_others_from_being_written(evidence: dict) -> None:
    for probe in probes_during(evidence, fault_of(evidence, "hot_order")):
        probe.update(acknowledged=None, visible=None)


@plant("P16")
def lookups_are_retried_in_a_hot_loop(evidence: dict) -> None:
    fault = fault_of(evidence, "kill_order")
    for sample in samples(evidence, "consumer"):
        sample["counters"]["lookups"] += max(0, int((sample["time"] - fault["start"]) * 1000))


# --- P17 ---


@plant("P17")
def nothing_comes_through_after_a_fault(evidence: dict) -> None:
    fault_of(evidence, "kill_order")["recovered"] = None


@plant("P17")
def recovery_takes_too_long(evidence: dict) -> None:
    fault_of(evidence, "kill_order")["recovered"] += 10


@plant("P17")
def recovery_of_a_pair_takes_too_long(evidence: dict) -> None:
    fault_of(evidence, "kill_postgres")["recovered"] += 10


@plant("P17")
def nothing_is_written_without_kafka(evidence: dict) -> None:
    fault_of(evidence, "kill_kafka")["acknowledged_writes"] = 0


@plant("P17")
def memory_grows(evidence: dict) -> None:
    samples(evidence, "memory")[3]["bytes"] = 268435457


@plant("P17")
def service_does_not_end_well(evidence: dict) -> None:
    fault_of(evidence, "terminate")["detail"]["exit_code"] = 1


# --- P18 ---


@plant("P18")
def never_in_step_again(evidence: dict) -> None:
    evidence["meta"]["converged"] = None


@plant("P18")
def in_step_too_late(evidence: dict) -> None:
    evidence["meta"]["converged"] = evidence["meta"]["last_heal"] + 31
