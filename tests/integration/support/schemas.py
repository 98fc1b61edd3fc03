"""Turns proto/ into Python code, as any client of the services would."""

import pathlib

import grpc_tools
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[3] / "proto"


def generate(output: pathlib.Path) -> None:
    """Writes order/v1 and delivery/v1 below output. The well-known types and google.rpc are those of the
    installed packages."""
    files = sorted(path.relative_to(PROTO) for part in ("order", "delivery") for path in (PROTO / part).rglob("*.proto"))
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    status = protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", f"--python_out={output}",
                          f"--pyi_out={output}", f"--grpc_python_out={output}", *map(str, files)])
    if status != 0:
        raise RuntimeError("the schemas do not compile")
