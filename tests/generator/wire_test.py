#!/usr/bin/env python3
"""What C and Python say to each other in proto3 with optional fields, and in edition 2023: the same bytes, and the same
fields present.

    tests/generator/wire/run --plugin-dir BUILD/gen [unittest's arguments]

which has it run by a Python with grpcio-tools."""

import argparse
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROTOS = HERE / "wire"
NAMES = ["optional", "explicit", "implicit", "colors"]

plugin_dir = None
directory = None  # with the program, and Python's modules


def run(*arguments, **options):
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, timeout=240, **options)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def build():
    files = [f"{name}.proto" for name in NAMES]
    environment = {**os.environ, "PROTOC_GEN_C": shutil.which("protoc-gen-c")}
    run(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"--python_out={directory}", f"--grpc-c_out={directory}",
        f"--c-messages_out={directory}",
        *(f"--plugin={name}={plugin_dir / name}" for name in ("protoc-gen-grpc-c", "protoc-gen-c-messages")), *files,
        env=environment)
    flags = run("pkg-config", "--cflags", "--libs", "libprotobuf-c").decode().split()
    run("gcc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{directory}", PROTOS / "wire.c",
        *(directory / f"{name}.pb-c.c" for name in NAMES), "-o", directory / "wire", *flags)


def module(name):
    return importlib.import_module(f"{name}_pb2")


class Wire(unittest.TestCase):
    def copy(self, message):
        """Through C and back."""
        packed = message.SerializeToString(deterministic=True)
        copied = run(directory / "wire", "copy", message.DESCRIPTOR.full_name, input=packed)
        self.assertEqual(copied, packed)

    def test_optional_copied(self):
        Order = module("optional").Order
        zeros = dict(quantity=0, unit_price="", data=b"", is_gift=False, weight=0, color=0, note=Order.Note(), Total=0)
        for name, value in zeros.items():
            with self.subTest(name):
                self.copy(Order(**{name: value}))
        self.copy(Order())
        self.copy(Order(**zeros))
        self.copy(Order(quantity=-5, unit_price="12.50", data=b"\0\1", is_gift=True, weight=0.5, color=1, plain=7, cash=b"",
                        note=Order.Note(text=""), Total=2**64 - 1, counts=[0, -1, 2]))

    def test_optional_set_in_c(self):
        Order = module("optional").Order
        expected = {
            "values": Order(quantity=5, unit_price="12.50", color=1, Total=1, note=Order.Note(text="12.50")),
            "zeros": Order(quantity=0, unit_price="", data=b"", is_gift=False, weight=0, color=0, note=Order.Note()),
            "cleared": Order()}
        for case, message in expected.items():
            with self.subTest(case):
                got = Order.FromString(run(directory / "wire", "set", case))
                self.assertEqual(got, message)
                for field in Order.DESCRIPTOR.fields:
                    if field.has_presence:
                        self.assertEqual(got.HasField(field.name), message.HasField(field.name), field.name)

    def test_optional_seen_in_c(self):
        Order = module("optional").Order

        def seen(message):
            return run(directory / "wire", "presence", input=message.SerializeToString()).decode().split()

        self.assertEqual(seen(Order()), [])
        self.assertEqual(seen(Order(plain=1, card="x")), [])
        self.assertEqual(seen(Order(quantity=0, data=b"", weight=0, note=Order.Note())),
                         ["quantity=0", "data=0", "weight=0", "note=-"])
        self.assertEqual(seen(Order(unit_price="", is_gift=False, color=0, Total=0, note=Order.Note(text="a"))),
                         ["unit_price=", "is_gift=0", "color=0", "note=a", "Total=0"])

    def test_edition_with_presence_copied(self):
        Order = module("explicit").Order
        self.copy(Order(required=0))
        self.copy(Order(required=1, quantity=0, name="", data=b"", open=0, closed=3, inner=Order(required=2), yes=False))
        self.copy(Order(required=1, packed=[1, 2, 300], expanded=[0, -1], open_packed=[0, 1, 1], map={"a": 1}, number=0,
                        rate=0.1, least=0))

    def test_edition_requires_what_is_required(self):
        with self.assertRaises(AssertionError):
            run(directory / "wire", "copy", "wire.explicit.Order", input=b"")

    def test_edition_without_presence_copied(self):
        Order = module("implicit").Order
        for message in (Order(), Order(present=0, text_present="", color_present=0), Order(inner=Order()),
                        Order(quantity=1, name="x", data=b"\0", color=1, packed=[1, 2], expanded=[1, 2], map={1: 1})):
            self.copy(message)
        # A zero is sent by nobody who has no presence, but it is read.
        self.assertEqual(run(directory / "wire", "copy", "wire.implicit.Order", input=b"\x08\x00\x28\x00"), b"\x28\x00")
        Shade = module("colors").Shade
        self.copy(Shade())
        self.copy(Shade(color=0, name=""))

    def test_default_values(self):
        message = module("explicit").Order()
        first, second = run(directory / "wire", "defaults").decode().splitlines()
        self.assertEqual(first, second)
        name, closed, rate, third, endless, none, least, minus_zero, largest = first.split()
        self.assertEqual((name, int(closed), int(least)), (message.name, message.closed, message.least))
        self.assertEqual((float.fromhex(rate), float.fromhex(third)), (message.rate, message.third))
        self.assertEqual((endless, none, minus_zero), ("-inf", "nan", "-0x0p+0"))
        self.assertEqual(float.fromhex(largest), message.largest)

    def test_reflection_has_protocs_own_descriptor(self):
        """Not what protobuf-c was given in its place."""
        from google.protobuf import descriptor_pb2
        for name in NAMES:
            with self.subTest(name):
                run(sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", "-o", directory / "set", f"{name}.proto")
                described, = descriptor_pb2.FileDescriptorSet.FromString((directory / "set").read_bytes()).file
                source = (directory / f"{name}.grpc-c.c").read_text()
                array = source.split("_file_descriptor[] = {")[1].split("};")[0]
                embedded = bytes(int(byte, 16) for byte in array.replace(",", " ").split())
                self.assertEqual(descriptor_pb2.FileDescriptorProto.FromString(embedded), described)


def main():
    global plugin_dir, directory
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin-dir", required=True, type=lambda path: pathlib.Path(path).resolve())
    arguments, rest = parser.parse_known_args()
    plugin_dir = arguments.plugin_dir
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        sys.path.insert(0, temporary)
        sys.dont_write_bytecode = True
        build()
        unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
