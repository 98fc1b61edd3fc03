"""The checker finds each violation that is planted in a history without any, and finds none in that history."""

import ast
import base64
import copy
import functools
import hashlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from checker import Unusable, add_up, check_folder, plants_deliveries, plants_orders
from checker.contract import canonical, order_pb2
from checker.plants import (PLANTS, Plant, edit_order, fault_of, find, find_all, of, order_attempts, probes_during,
                            samples)
from checker.report import PROMISES, Findings, Result
from checker.story import build
from checker.synthetic import FILES, write

CHECKER = pathlib.Path(__file__).resolve().parent
CASES = ("full-domain", "full-per-event", "zero-domain", "zero-per-event")
_built = functools.cache(build)
_reached: set[tuple[str, int]] = set()  # places in the checker that found a planted violation


def _fresh(case: str = "full-domain") -> dict:
    return copy.deepcopy(_built(case))


def _check(evidence: dict, folder: pathlib.Path) -> Result:
    write(evidence, folder)
    return check_folder(folder)


@pytest.fixture(autouse=True)
def _note_what_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    violation = Findings.violation

    def noted(self: Findings, promise: str, sentence: str) -> None:
        frame = sys._getframe(1)
        if frame.f_code.co_name == "_found":
            frame = frame.f_back or frame
        _reached.add((pathlib.Path(frame.f_code.co_filename).name, frame.f_lineno))
        violation(self, promise, sentence)

    monkeypatch.setattr(Findings, "violation", noted)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_correct_history_has_no_violation(case: str, seed: int, tmp_path: pathlib.Path) -> None:
    result = _check(build(case, seed), tmp_path)
    assert result.examples == {}
    assert set(result.violations) == set(PROMISES) and result.clean
    assert all(result.statistics["checked"][promise] > 0 for promise in PROMISES), "a promise is not put to the test"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.promise}-{plant.name}")
def test_planted_violation_is_found(plant: Plant, tmp_path: pathlib.Path) -> None:
    evidence = _fresh(plant.case)
    plant.change(evidence)
    result = _check(evidence, tmp_path)
    assert result.violations[plant.promise] > 0, result.examples
    assert result.examples[plant.promise]


def test_each_promise_is_broken_in_some_way() -> None:
    assert {plant.promise for plant in PLANTS} == set(PROMISES)
    assert plants_deliveries and plants_orders


def _places_that_find() -> set[tuple[str, int]]:
    found = set()
    for file in ("writes.py", "relay.py", "deliveries.py", "events.py", "pace.py"):
        for function in ast.walk(ast.parse((CHECKER / file).read_text())):
            if isinstance(function, ast.FunctionDef) and function.name != "_found":
                found.update((file, node.lineno) for node in ast.walk(function) if isinstance(node, ast.Call)
                             and isinstance(node.func, ast.Attribute) and node.func.attr in ("violation", "_found"))
    return found


def test_each_rule_has_found_a_planted_violation(request: pytest.FixtureRequest) -> None:
    planted = [item for item in request.session.items if item.name.startswith("test_planted_violation_is_found")]
    if len(planted) < len(PLANTS):
        pytest.skip("only some violations were planted")
    assert _places_that_find() - _reached == set()


# --- What looks like a violation and is none ---


def _nothing_is_wrong(change: Callable[[dict], None], folder: pathlib.Path, case: str = "full-domain") -> None:
    evidence = _fresh(case)
    change(evidence)
    assert _check(evidence, folder).examples == {}


def test_write_whose_answer_stays_unknown_may_be_there_or_not(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        for attempt in find_all(evidence["history"], purpose="resolve"):
            attempt.update(status="unknown", code="UNAVAILABLE", version=0, answer="")

    _nothing_is_wrong(change, tmp_path)


def test_lack_of_room_says_nothing_about_other_attempts(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        first = order_attempts(evidence, "changed")[0]
        evidence["history"].append({**first, "status": "failed", "code": "RESOURCE_EXHAUSTED", "version": 0,
                                    "answer": "", "start": first["end"] + 1, "end": first["end"] + 2})

    _nothing_is_wrong(change, tmp_path)


def test_other_body_may_win_before_the_first_is_answered(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        other = find(evidence["history"], purpose="other_body")
        first = find(evidence["history"], request_id=other["request_id"])
        # Both are sent at once. The other body is the one that is done, so the first is refused.
        edit_order(of(evidence, "outbox", "repeated")[-1], "snapshot", note=other["token"])
        edit_order(of(evidence, "orders", "repeated")[0], "order", note=other["token"])
        evidence["history"].remove(find(evidence["history"], purpose="repeat"))
        digest = _digest(of(evidence, "outbox", "repeated")[-1]["snapshot"])
        other.update(status="ok", code="OK", reason="", version=first["version"], answer=digest, start=first["start"])
        first.update(status="failed", code="ALREADY_EXISTS", reason="REQUEST_ID_REUSED", version=0, answer="")

    _nothing_is_wrong(change, tmp_path, "zero-domain")


def _digest(snapshot: str) -> str:
    return hashlib.sha256(canonical(order_pb2.Order.FromString(base64.b64decode(snapshot)))).hexdigest()


def test_reads_at_the_same_time_may_see_either(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        first, second = order_attempts(evidence, "changed", "GetDelivery")[:2]
        second["start"] = first["start"]
        second["version"] -= 1
        second["revision"] -= 1

    _nothing_is_wrong(change, tmp_path)


def test_relay_may_stand_still_while_another_fault_is_there(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        held = fault_of(evidence, "held_transaction")
        evidence["faults"].append({**fault_of(evidence, "kill_order"), "fault": 99, "start": held["start"],
                                   "heal_begin": held["heal_begin"], "healed": held["healed"],
                                   "recovered": held["recovered"]})
        for sample in samples(evidence, "relay"):
            if held["start"] < sample["time"] <= held["heal_begin"]:
                sample.update(highest=held["detail"]["sequence"] - 1, gaps=[])

    _nothing_is_wrong(change, tmp_path)


def test_pair_recovers_together_even_if_one_was_over_before_the_other(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        first, second = fault_of(evidence, "kill_postgres"), fault_of(evidence, "slow_link")
        for time in ("heal_begin", "healed"):
            first[time] = first["start"] + 0.1
        second["heal_begin"] = second["healed"] = first["start"] + 15
        first["recovered"] = second["recovered"] = first["start"] + 24

    _nothing_is_wrong(change, tmp_path)


def test_both_may_lead_for_a_moment(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        for sample in samples(evidence, "leaders")[::2]:
            sample["leaders"]["order-2"] = True

    _nothing_is_wrong(change, tmp_path)


def test_offsets_may_be_set_back(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        for sample in samples(evidence, "offsets")[20:23]:
            sample["committed"] = dict.fromkeys(sample["committed"], 0)

    _nothing_is_wrong(change, tmp_path)


def test_probe_may_be_late_when_another_fault_follows(tmp_path: pathlib.Path) -> None:
    def change(evidence: dict) -> None:
        garbage = fault_of(evidence, "garbage")
        probe = probes_during(evidence, garbage)[-1]
        probe["visible"] += 12
        evidence["faults"].append({**fault_of(evidence, "kill_order"), "fault": 99, "start": probe["start"] + 5,
                                   "heal_begin": probe["start"] + 6, "healed": probe["start"] + 6,
                                   "recovered": probe["start"] + 12})

    _nothing_is_wrong(change, tmp_path)


# --- What cannot be judged ---


@pytest.mark.parametrize("file", FILES)
def test_missing_file_makes_the_evidence_unusable(file: str, tmp_path: pathlib.Path) -> None:
    write(_fresh(), tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(Unusable, match=file):
        check_folder(tmp_path)


@pytest.mark.parametrize("file", FILES)
def test_broken_line_makes_the_evidence_unusable(file: str, tmp_path: pathlib.Path) -> None:
    write(_fresh(), tmp_path)
    path = tmp_path / file
    lines = path.read_text().splitlines()
    lines[-1] = lines[-1][:-5]
    path.write_text("\n".join(lines) + "\n")
    where = f"{file}:{len(lines)}:" if file.endswith("l") else f"{file}:"
    with pytest.raises(Unusable, match=where):
        check_folder(tmp_path)


def _add_twice(file: str) -> Callable[[dict], None]:
    return lambda evidence: evidence[file].append(evidence[file][0])


_UNUSABLE: dict[str, tuple[str, Callable[[dict], None]]] = {
    "field_missing": ("history.jsonl:1: no token", lambda e: e["history"][0].pop("token")),
    "number_as_text": ("outbox.jsonl:3: version is no integer", lambda e: e["outbox"][2].update(version="1")),
    "truth_as_number": ("orders.jsonl:1: version is no integer", lambda e: e["orders"][0].update(version=True)),
    "time_as_text": ("probes.jsonl:1: start is no number", lambda e: e["probes"][0].update(start="now")),
    "no_base64": ("records.jsonl:1: value is no base64", lambda e: e["records"][0].update(value="?")),
    "row_is_a_list": ("orders.jsonl:1: no JSON object", lambda e: e["orders"].insert(0, [])),
    "header_alone": ("records.jsonl:1: a header is no pair", lambda e: e["records"][0].update(headers=[["a"]])),
    "unknown_status": ('history.jsonl:1: "maybe"', lambda e: e["history"][0].update(status="maybe")),
    "unknown_method": ('history.jsonl:1: "Get"', lambda e: e["history"][0].update(method="Get")),
    "unknown_purpose": ('history.jsonl:1: "fun"', lambda e: e["history"][0].update(purpose="fun")),
    "unknown_sample": ("samples.jsonl:1: kind", lambda e: e["samples"][0].update(kind="weather")),
    "unknown_topic": ('topic "elsewhere"', lambda e: e["records"][0].update(topic="elsewhere")),
    "gap_backwards": ("relay.json: .* is no range", lambda e: e["relay"].update(gaps=[[2, 1]])),
    "partition_without_number": ("samples.jsonl:1: ends", lambda e: e["samples"][0].update(ends={"t": 1})),
    "leader_as_number": ("samples.jsonl:2: leaders", lambda e: e["samples"][1].update(leaders={"order-1": 1})),
    "version_as_text": ("samples.jsonl:3: versions", lambda e: e["samples"][2].update(versions={"1": "1"})),
    "order_without_id": ("samples.jsonl:3: versions", lambda e: e["samples"][2].update(versions={"x": 1})),
    "pending_as_text": ("samples.jsonl:3: pending", lambda e: e["samples"][2].update(pending=["1"])),
    "letter_without_offset": ("samples.jsonl:3: ", lambda e: e["samples"][2].update(letters=[["t", 1]])),
    "counter_missing": ("samples.jsonl:4: counters", lambda e: e["samples"][3]["counters"].pop("stale")),
    "topic_missing": ("meta.json: topics", lambda e: e["meta"].update(topics={})),
    "fault_ends_first": ("faults.jsonl:1: start", lambda e: e["faults"][0].update(healed=0)),
    "held_without_number": ("detail: sequence", lambda e: fault_of(e, "held_transaction")["detail"].pop("sequence")),
    "held_without_end": ("detail: ends", lambda e: fault_of(e, "held_transaction")["detail"].update(ends="?")),
    "record_twice": ("records.jsonl: record", _add_twice("records")),
    "order_twice": ("orders.jsonl: order", _add_twice("orders")),
    "sequence_twice": ("outbox.jsonl: sequence", _add_twice("outbox")),
    "no_write": ("nothing to check", lambda e: e.update(history=find_all(e["history"], token=""))),
    "no_acknowledgement": ("nothing to check", lambda e: [row.update(status="unknown") for row in e["history"]]),
    "no_record": ("nothing to check", lambda e: e.update(records=[])),
}


@pytest.mark.parametrize("name", _UNUSABLE)
def test_evidence_without_its_shape_is_unusable(name: str, tmp_path: pathlib.Path) -> None:
    message, change = _UNUSABLE[name]
    evidence = _fresh()
    change(evidence)
    write(evidence, tmp_path)
    with pytest.raises(Unusable, match=message):
        check_folder(tmp_path)


# --- The command, and sums ---


def _command(*arguments: pathlib.Path | str) -> subprocess.CompletedProcess:
    return subprocess.run([CHECKER / "check", *arguments], capture_output=True, text=True, check=False)


def _folders(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path]:
    good, bad, empty = (tmp_path / name for name in ("good", "bad", "empty"))
    for folder in (good, bad, empty):
        folder.mkdir()
    write(_fresh(), good)
    broken = _fresh()
    broken["meta"]["converged"] = None
    write(broken, bad)
    return good, bad, empty


def test_exit_status_tells_what_was_found(tmp_path: pathlib.Path) -> None:
    good, bad, empty = _folders(tmp_path)
    assert _command(good).returncode == 0
    assert _command(good, bad).returncode == 1
    unusable = _command(empty)
    assert unusable.returncode == 2 and "samples.jsonl" in unusable.stderr
    assert _command(good, empty).returncode == 2
    assert _command("--help").returncode == 0


def test_result_is_written_as_json(tmp_path: pathlib.Path) -> None:
    good, bad, _ = _folders(tmp_path)
    file = tmp_path / "result.json"
    run = _command("--json", file, good, bad)
    result = json.loads(file.read_text())
    assert result["violations"] == {promise: int(promise == "P18") for promise in PROMISES}
    assert result["examples"] == {"P18": [f"{bad}: after the last heal not all was in step again"]}
    assert run.stdout.endswith("violations: P18 1\n")
    assert json.loads(_command(good).stdout)["violations"] == dict.fromkeys(PROMISES, 0)


def test_results_add_up(tmp_path: pathlib.Path) -> None:
    good, bad, _ = _folders(tmp_path)
    one, other = check_folder(good), check_folder(bad)
    total = add_up({"one": one, "other": other})
    for figure in ("orders", "writes_acknowledged", "writes_unknown", "events", "faults", "faults_in_flight"):
        assert total.statistics[figure] == 2 * one.statistics[figure] > 0
    assert total.statistics["by_kind"]["held_transaction"] == 4
    assert total.statistics["recovery_ms"] == one.statistics["recovery_ms"]
    assert total.violations["P18"] == 1 and not total.clean and one.clean


def test_examples_are_bounded(tmp_path: pathlib.Path) -> None:
    evidence = _fresh()
    evidence["deliveries"].clear()
    result = _check(evidence, tmp_path)
    assert result.violations["P10"] > 100 and len(result.examples["P10"]) == 20
