"""What the violations that the checker's test plants have in common: their list, and ways to change evidence."""

import base64
import dataclasses
from collections.abc import Callable

from .contract import canonical, delivery_pb2, order_pb2
from .story import PLACES
from .synthetic import TOPICS, text


@dataclasses.dataclass(frozen=True)
class Plant:
    """A violation: `change` breaks the promise in evidence that keeps all of them."""

    promise: str
    name: str
    change: Callable[[dict], None]
    case: str


PLANTS: list[Plant] = []


def plant(promise: str, case: str = "full-domain") -> Callable:
    """Lists a function that breaks the promise."""
    def add(change: Callable[[dict], None]) -> Callable[[dict], None]:
        PLANTS.append(Plant(promise, change.__name__, change, case))
        return change
    return add


def find_all(rows: list[dict], **fields) -> list[dict]:
    """The rows with these fields."""
    return [row for row in rows if all(row[name] == value for name, value in fields.items())]


def find(rows: list[dict], **fields) -> dict:
    """The first of them."""
    return find_all(rows, **fields)[0]


def of(evidence: dict, file: str, place: str) -> list[dict]:
    """The file's rows of an order of the story."""
    return find_all(evidence[file], order_id=PLACES[place])


def order_attempts(evidence: dict, place: str, method: str = "UpdateOrder", **fields) -> list[dict]:
    """Calls about an order of the story."""
    return find_all(evidence["history"], order_id=PLACES[place], method=method, **fields)


def sent(evidence: dict, place: str) -> list[dict]:
    """The services' records of an order of the story."""
    return [record for record in evidence["records"] if record["key"] == text(str(PLACES[place]).encode())
            and record["topic"] != TOPICS["dead_letter"] and chaos_of(record) is None]


def chaos_of(record: dict) -> str | None:
    """What the campaign made the record for."""
    return next((base64.b64decode(value).decode() for name, value in record["headers"] if name == "chaos"), None)


def by_chaos(evidence: dict, kind: str) -> list[dict]:
    """The campaign's records of a kind in the event topics."""
    return [record for record in evidence["records"]
            if record["topic"] != TOPICS["dead_letter"] and chaos_of(record) == kind]


def without_effect(evidence: dict, record: dict) -> None:
    """The record is gone, and its place is another's: of an order that has no story."""
    record.update(next({"key": other["key"], "value": other["value"]} for other in reversed(evidence["records"])
                       if other["topic"] == record["topic"] and chaos_of(other) is None
                       and other["partition"] == record["partition"]))


def fault_of(evidence: dict, kind: str) -> dict:
    """The first fault of a kind."""
    return find(evidence["faults"], kind=kind)


def samples(evidence: dict, kind: str) -> list[dict]:
    """The samples of a kind."""
    return find_all(evidence["samples"], kind=kind)


def probes_during(evidence: dict, fault: dict) -> list[dict]:
    """The probes that started while the fault was there."""
    return [probe for probe in evidence["probes"] if fault["start"] <= probe["start"] <= fault["heal_begin"]]


def edit_order(row: dict, field: str, **values: int | str) -> None:
    """Sets values of the order that a field of the row holds."""
    order = order_pb2.Order.FromString(base64.b64decode(row[field]))
    for name, value in values.items():
        setattr(order, name, value)
    row[field] = text(canonical(order))


def edit_delivery(row: dict, change: Callable[[delivery_pb2.Delivery], None]) -> None:
    """Changes the delivery that the API showed."""
    delivery = delivery_pb2.Delivery.FromString(base64.b64decode(row["delivery"]))
    change(delivery)
    row["delivery"] = text(canonical(delivery))
