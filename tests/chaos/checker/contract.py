"""The public contract as Python code, made by grpcio-tools from proto/ as any client of the services would, unless
whoever imports this has done so already. And what the contract says of a record: whether it is an event, of which
order and version."""

import dataclasses
import importlib
import importlib.util
import pathlib
import re
import sys
import tempfile
import types

from google.protobuf import message as protobuf_message

from .evidence import Record

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"
PLACED, CANCELLED = 1, 2
PREPARING, DISPATCHED, DELIVERED, DELIVERY_CANCELLED, RETURNING = 1, 2, 3, 4, 5
FINAL_STATES = (DELIVERY_CANCELLED, RETURNING)
CAUSE_ORDER, CAUSE_DISPATCH, CAUSE_COMPLETE = 1, 2, 3
_ORDER_ID = re.compile(rb"[1-9][0-9]{0,18}")
_MODULES = ("order.v1.order_pb2", "order.v1.order_event_pb2", "delivery.v1.delivery_pb2",
            "delivery.v1.delivery_operations_pb2")


def _generate(output: str) -> None:
    import grpc_tools
    from grpc_tools import protoc
    files = sorted(str(path.relative_to(PROTO)) for part in ("order", "delivery")
                   for path in (PROTO / part).rglob("*.proto"))
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={output}", *files]) != 0:
        raise RuntimeError("the schemas do not compile")


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _modules() -> list[types.ModuleType]:
    if all(_importable(name) for name in _MODULES):
        return [importlib.import_module(name) for name in _MODULES]
    with tempfile.TemporaryDirectory(prefix="lockstep-schemas-") as output:
        _generate(output)
        sys.path.insert(0, output)
        importlib.invalidate_caches()
        try:
            return [importlib.import_module(name) for name in _MODULES]
        finally:
            sys.path.remove(output)


order_pb2, order_event_pb2, delivery_pb2, delivery_operations_pb2 = _modules()


def parse(message: type, data: bytes) -> protobuf_message.Message | None:
    """The message in the bytes; None: they are none."""
    try:
        return message.FromString(data)
    except protobuf_message.DecodeError:
        return None


def canonical(message: protobuf_message.Message) -> bytes:
    """The same bytes for equal messages, whoever packed them."""
    return message.SerializeToString(deterministic=True)


@dataclasses.dataclass(slots=True)
class Event:
    """What a record of an event topic says."""

    record: Record
    chaos: str  # what the campaign made it for; empty: it comes from the services
    problem: str = ""  # why it is no event; empty: it is one
    order_id: int = 0  # 0: unknown
    version: int = 0  # 0: unknown
    order: protobuf_message.Message | None = None  # its full payload

    @property
    def valid(self) -> bool:
        """It is an event."""
        return not self.problem

    @property
    def name(self) -> str:
        """For people."""
        return place_name(self.record.place)


def place_name(place: tuple[str, int, int]) -> str:
    """A record's place for people."""
    return f"{place[0]}/{place[1]}@{place[2]}"


def order_id_of_key(key: bytes | None) -> int | None:
    """The order that a key names; 0: there is no key; None: it names none."""
    if not key:
        return 0
    if not _ORDER_ID.fullmatch(key) or int(key) >= 2**63:
        return None
    return int(key)


def _snapshot_problem(event: Event) -> str:
    order = event.order
    if order.order_id < 1 or order.version < 1 or order.status not in (PLACED, CANCELLED):
        return "its order has no id, version or status"
    if not order.HasField("delivery_address") or not order.items:
        return "its order has no address or no items"
    if event.order_id not in (0, order.order_id):
        return "its order is another one"
    if event.version not in (0, order.version):
        return "its order is at another version"
    event.order_id, event.version = order.order_id, order.version
    return ""


def _value_problem(event: Event, value: bytes) -> str:
    message = parse(order_event_pb2.OrderEvent, value)
    if message is None:
        return "its value is no order.v1.OrderEvent"
    if message.order_id < 0 or message.version < 0:
        return "its order_id or version is negative"
    if message.order_id and event.order_id not in (0, message.order_id):
        return "its key names another order than its value"
    event.order_id, event.version = event.order_id or message.order_id, message.version
    if not message.HasField("order"):
        return ""
    event.order = message.order
    return _snapshot_problem(event)


def read_event(record: Record) -> Event:
    """Reads a record as the contract has it: a value without a version, or none at all, is an event, too."""
    event = Event(record, (record.header("chaos") or b"").decode(errors="replace"))
    order_id = order_id_of_key(record.key)
    if order_id is None:
        event.problem = "its key is no order id"
        return event
    event.order_id = order_id
    if record.value:
        event.problem = _value_problem(event, record.value)
    if not event.problem and event.order_id == 0:
        event.problem = "nothing names an order"
    return event
