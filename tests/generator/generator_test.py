#!/usr/bin/env python3
"""Tests of protoc-gen-grpc-c and protoc-gen-c-messages, from outside: what they write, what they refuse,
and whether compilers take what they write.

    generator_test.py --plugin-dir BUILD/gen [--update] [unittest's arguments]

--update writes golden/ anew; read the difference before you keep it."""

import argparse
import concurrent.futures
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True  # beside refused.py
from refused import REFUSED, REQUESTS  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROTOS = HERE / "proto"
GOLDEN = HERE / "golden"
CASES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))

# What the cases and the runtime's headers need, beside the cases.
IMPORTED = ["google/protobuf/descriptor.proto", "protobuf-c/protobuf-c.proto"]
RUNTIME = ["google/protobuf/any.proto", "google/protobuf/duration.proto",
           "google/rpc/error_details.proto", "google/rpc/status.proto"]

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wvla", "-Werror"]
STRICT_C = ["-std=c17", *STRICT, "-Wstrict-prototypes", "-Wmissing-prototypes"]
STRICT_CXX = ["-std=c++17", *STRICT]

# What C17, C23, C++20 and GNU C keep for themselves, and what headers define as macros.
WORDS = """
    alignas alignof and and_eq asm assert auto bitand bitor bool break case catch char char16_t char32_t
    char8_t class co_await co_return co_yield compl complex concept const const_cast consteval constexpr
    constinit continue decltype default delete do double dynamic_cast else enum errno explicit export
    extern false float for friend goto i386 if inline int linux long mips mutable namespace new noexcept
    noreturn not not_eq nullptr offsetof operator or or_eq private protected public register
    reinterpret_cast requires restrict return short signed sizeof sparc static static_assert static_cast
    stderr stdin stdout struct sun switch template this thread_local throw true try typedef typeid
    typename typeof typeof_unqual union unix unsigned using va_arg va_copy va_end va_start virtual void
    volatile wchar_t while xor xor_eq __asm__ __attribute__ __extension__ __inline __int128 __linux__
    __restrict __thread
""".split()

# Set by main.
plugin = None  # protoc-gen-grpc-c
messages_plugin = None  # protoc-gen-c-messages
update = False


def run(arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], capture_output=True, timeout=240,
                          **options)


def include_dir():
    """Where protoc's own .proto files are."""
    protoc = pathlib.Path(shutil.which("protoc")).resolve()
    return protoc.parents[1] / "include"


def protoc(*arguments, roots=(PROTOS,), **options):
    return run(["protoc", f"--plugin=protoc-gen-grpc-c={plugin}",
                f"--plugin=protoc-gen-c-messages={messages_plugin}",
                *(f"-I{root}" for root in (*roots, ROOT / "proto", include_dir())), *arguments], **options)


class Directory(unittest.TestCase):
    """A test with a temporary directory of its own."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)

    def require(self, done):
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done


    def real_request(self, *names):
        """A request as protoc sends it: a plugin that keeps its input."""
        keeper = self.directory / "keeper"
        kept = self.directory / "request"
        keeper.write_text(f"#!/bin/sh\ncat > '{kept}'\n")
        keeper.chmod(0o755)
        self.require(protoc(f"--plugin=protoc-gen-keep={keeper}", f"--keep_out={self.directory}", *names))
        return kept.read_bytes()


class Golden(Directory):
    """The output for each file of proto/ is what golden/ has."""

    maxDiff = None

    def generate(self, name):
        out = self.directory / name
        out.mkdir()
        self.require(protoc(f"--grpc-c_out={out}", *CASES))
        return {str(path.relative_to(out)): path.read_text()
                for path in out.rglob("*") if path.is_file()}

    def test_output(self):
        version = self.require(run([plugin, "--version"])).stdout.decode().strip()
        written = {name: text.replace(version, "protoc-gen-grpc-c VERSION")
                   for name, text in self.generate("out").items()}
        if update:
            shutil.rmtree(GOLDEN, ignore_errors=True)
            for name, text in written.items():
                (GOLDEN / name).parent.mkdir(parents=True, exist_ok=True)
                (GOLDEN / name).write_text(text)
        expected = {str(path.relative_to(GOLDEN)): path.read_text()
                    for path in GOLDEN.rglob("*") if path.is_file()}
        self.assertEqual(sorted(written), sorted(expected))
        for name, text in expected.items():
            with self.subTest(name):
                self.assertEqual(written[name], text)

    def test_same_input_same_output(self):
        self.assertEqual(self.generate("once"), self.generate("twice"))

    def test_embedded_descriptor_is_protocs_own(self):
        generated = self.directory / "generated"
        self.generate("generated")
        for case in CASES:
            with self.subTest(case):
                out = self.directory / "set"
                self.require(protoc(f"--descriptor_set_out={out}", case))
                packed = out.read_bytes()  # a FileDescriptorSet of one: a tag, a length, the file
                start = 1 + next(i for i, byte in enumerate(packed[1:], 1) if byte < 0x80)
                source = (generated / case).with_suffix(".grpc-c.c").read_text()
                array = re.search(r"_file_descriptor\[\] = \{(.*?)\};", source, re.DOTALL)[1]
                self.assertEqual(bytes(int(byte, 16) for byte in re.findall(r"0x\w\w", array)),
                                 packed[start:])


class Compile(Directory):
    """Compilers take what is generated, with all warnings on, beside what protobuf-c generates."""

    def setUp(self):
        super().setUp()
        self.messages = self.directory / "messages"
        self.calls = self.directory / "calls"
        self.messages.mkdir()
        self.calls.mkdir()
        self.require(protoc(f"--c-messages_out={self.messages}", *RUNTIME, *CASES))
        self.require(protoc(f"--grpc-c_out={self.calls}", *IMPORTED, *RUNTIME, *CASES))

    def compile(self, compiler, *arguments):
        return run([compiler, "-fsyntax-only", f"-I{self.calls}", f"-I{ROOT}", "-isystem", self.messages,
                    *arguments])

    def compile_all(self, runs):
        """A run is the arguments of compile(). Two at a time: the tests do not have the machine alone."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = pool.map(lambda arguments: self.compile(*arguments), runs)
            for arguments, done in zip(runs, results):
                with self.subTest(compiler=arguments[0], source=arguments[-1].name, last=arguments[-2]):
                    self.require(done)

    def each_compiler(self, *names):
        found = [name for name in names if shutil.which(name)]
        self.assertTrue(found, f"none of {names} is installed")
        return found

    def test_sources(self):
        sources = sorted(self.calls.rglob("*.grpc-c.c"))
        self.assertEqual(len(sources), len(IMPORTED + RUNTIME + CASES))
        self.compile_all([(compiler, *STRICT_C, source)
                          for compiler in self.each_compiler("gcc", "clang") for source in sources])

    def test_headers_in_cxx(self):
        sources = []
        for header in sorted(self.calls.rglob("*.grpc-c.h")):
            sources.append(header.with_suffix(".cc"))
            sources[-1].write_text(f'#include "{header.relative_to(self.calls)}"\n')
        self.compile_all([(compiler, *STRICT_CXX, source)
                          for compiler in self.each_compiler("g++", "clang++") for source in sources])

    def test_every_reserved_word(self):
        """Methods of each kind, and fields, that are called by what C and C++ reserve."""
        fields = "".join(f"  required int32 {word} = {number};\n" for number, word in enumerate(WORDS, 1))
        streams = {"Unary": ("", ""), "Server": ("", "stream "), "Client": ("stream ", ""),
                   "Both": ("stream ", "stream ")}
        services = "".join(
            f"service {kind} {{\n" +
            "".join(f"  rpc {word}({to}M) returns ({back}M);\n" for word in WORDS) + "}\n"
            for kind, (to, back) in streams.items())
        (self.directory / "words.proto").write_text(
            f'syntax = "proto2";\npackage words;\nmessage M {{\n{fields}}}\n{services}')
        self.require(protoc(f"--c-messages_out={self.calls}", f"--grpc-c_out={self.calls}", "words.proto",
                            roots=[self.directory]))
        user = self.directory / "user.c"
        user.write_text("".join(f"#include <{header}.h>\n" for header in (
            "assert", "complex", "errno", "stdalign", "stdarg", "stdbool", "stddef", "stdio", "stdnoreturn",
            "threads")) + '#include "words.grpc-c.h"\n')
        user_cxx = self.directory / "user.cc"
        user_cxx.write_text("#include <cassert>\n#include <cerrno>\n#include <cstdarg>\n#include <cstdio>\n"
                            '#include "words.grpc-c.h"\n')
        sources = [self.calls / "words.pb-c.c", self.calls / "words.grpc-c.c", user]
        self.compile_all([(compiler, *STRICT_C, f"-std={standard}", source)
                          for compiler in self.each_compiler("gcc", "clang")
                          for standard in ("c17", "gnu17", "c2x") for source in sources])
        self.compile_all([(compiler, *STRICT_CXX, f"-std={standard}", user_cxx)
                          for compiler in self.each_compiler("g++", "clang++")
                          for standard in ("c++17", "gnu++17", "c++20")])

    def test_deprecated_functions_warn(self):
        user = self.directory / "user.c"
        service = "test_deprecated_v1_mixed"
        calls = {f"{service}_current(NULL, NULL, NULL, NULL, NULL)": False,
                 f"{service}_old(NULL, NULL, NULL, NULL, NULL)": True,
                 f"{service}_old_async(NULL, NULL, NULL, NULL, NULL)": True,
                 f"{service}_old_watch_open(NULL, NULL, NULL)": True,
                 f"{service}_old_watch_read(NULL)": True,
                 f"{service}_old_chat_write(NULL, NULL)": True,
                 f"{service}_old_reply(NULL, NULL)": False,
                 "test_deprecated_v1_old_service_get(NULL, NULL, NULL, NULL, NULL)": True}
        for call, deprecated in calls.items():
            with self.subTest(call):
                user.write_text(f'#include "deprecated.grpc-c.h"\n#include <stddef.h>\n'
                                f"void use(void);\nvoid use(void) {{ {call}; }}\n")
                done = self.compile("gcc", *STRICT_C, user)
                self.assertEqual("deprecated" in done.stderr.decode(), deprecated, done.stderr.decode())
                self.assertEqual(done.returncode != 0, deprecated)

    def test_another_version_of_the_runtime_is_refused(self):
        user = self.directory / "user.c"
        user.write_text('#include "runtime/rpc/method.h"\n#undef LS_RPC_GENERATED_VERSION\n'
                        '#define LS_RPC_GENERATED_VERSION 0\n#include "kinds.grpc-c.h"\n')
        done = self.compile("gcc", *STRICT_C, user)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('#error "kinds.grpc-c.h is for another version of the runtime: generate it again"',
                      done.stderr.decode())


class Errors(Directory):
    """What is wrong with the input is said, with file and line, and never ends in a crash."""

    maxDiff = None

    def answer(self, request, program=None):
        return run([program or plugin], input=request)

    def encode(self, text):
        return self.require(protoc("--encode=google.protobuf.compiler.CodeGeneratorRequest",
                                   "google/protobuf/compiler/plugin.proto", input=text.encode())).stdout

    def error_of(self, response):
        text = self.require(protoc("--decode=google.protobuf.compiler.CodeGeneratorResponse",
                                   "google/protobuf/compiler/plugin.proto", input=response)).stdout
        match = re.search(rb'^error: "(.*)"$', text, re.MULTILINE)
        return match and match[1].decode().encode().decode("unicode_escape")

    def test_refused_files(self):
        for name, (files, expected) in REFUSED.items():
            with self.subTest(name), tempfile.TemporaryDirectory() as root:
                for path, text in files.items():
                    (pathlib.Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                    (pathlib.Path(root) / path).write_text(text)
                done = protoc(f"--grpc-c_out={self.directory}", *files, roots=[root])
                self.assertEqual(done.stderr.decode(), f"--grpc-c_out: {expected}\n")
                self.assertEqual(done.returncode, 1)

    def test_refused_options(self):
        done = protoc(f"--grpc-c_out={self.directory}", "--grpc-c_opt=style=google", "kinds.proto")
        self.assertEqual(done.stderr.decode(),
                         '--grpc-c_out: unknown option "style=google": protoc-gen-grpc-c takes none\n')
        self.assertEqual(done.returncode, 1)

    def test_refused_requests(self):
        for name, (text, expected) in REQUESTS.items():
            with self.subTest(name):
                done = self.answer(self.encode(text))
                self.assertEqual(done.stderr, b"")
                self.assertEqual(done.returncode, 0)
                self.assertEqual(self.error_of(done.stdout), expected)

    def test_file_named_twice_is_written_once(self):
        done = self.require(self.answer(self.encode(
            'file_to_generate: "x.proto" file_to_generate: "x.proto" '
            'proto_file { name: "y.proto" } proto_file { name: "x.proto" dependency: "y.proto" }')))
        self.assertIsNone(self.error_of(done.stdout))
        self.assertEqual(done.stdout.count(b"x.grpc-c.c"), 1)

    def assert_no_request(self, request):
        for program in (plugin, messages_plugin):
            done = self.answer(request, program)
            self.assertEqual(done.returncode, 1)
            self.assertEqual(done.stdout, b"")
            self.assertIn(b"stdin holds no CodeGeneratorRequest", done.stderr)

    def test_no_request(self):
        for request in (b"", b"x", b"\x00", b"\xff" * 64, b"\x0a\x05abc"):
            with self.subTest(request):
                self.assert_no_request(request)

    def test_deep_nesting(self):
        message = b""
        for _ in range(20000):  # DescriptorProto.nested_type in one another
            message = b"\x1a" + varint(len(message)) + message
        file = b"\x22" + varint(len(message)) + message
        self.assert_no_request(b"\x7a" + varint(len(file)) + file)

    def test_truncated_and_damaged_requests(self):
        request = self.real_request("kinds.proto", "shop/front/v1/front_service.proto")
        chance = random.Random(20)
        damaged = [request[:chance.randrange(len(request))] for _ in range(60)]
        for _ in range(120):
            copy = bytearray(request)
            for _ in range(chance.randrange(1, 6)):
                copy[chance.randrange(len(copy))] = chance.randrange(256)
            damaged.append(bytes(copy))
        environment = {**os.environ, "PROTOC_GEN_C": "cat"}
        for number, copy in enumerate(damaged):
            for program in (plugin, messages_plugin):
                with self.subTest(number, program=program):
                    done = run([program], input=copy, env=environment)
                    self.assertIn(done.returncode, (0, 1), done.stderr.decode())
                    if done.returncode == 1:
                        self.assertIn(b"stdin holds no CodeGeneratorRequest", done.stderr)


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def take_varint(packed, at):
    value = shift = 0
    while True:
        value |= (packed[at] & 0x7F) << shift
        shift += 7
        at += 1
        if packed[at - 1] < 0x80:
            return value, at


def fields(packed):
    """(number, payload, all of it) of each field of a message that has only length-delimited fields and
    varints."""
    at = 0
    while at < len(packed):
        start = at
        tag, at = take_varint(packed, at)
        payload, end = take_varint(packed, at)
        if tag & 7 == 2:
            at, end = end, end + payload
            payload = packed[at:end]
        at = end
        yield tag >> 3, payload, packed[start:end]


def without_services(request):
    """A CodeGeneratorRequest less the field `service` of its FileDescriptorProtos."""
    out = b""
    for number, payload, whole in fields(request):
        if number == 15:
            kept = b"".join(whole for number, _, whole in fields(payload) if number != 6)
            whole = b"\x7a" + varint(len(kept)) + kept
        out += whole
    return out


class Messages(Directory):
    """protoc-gen-c-messages: protobuf-c's plugin, which sees no services."""

    def run_plugin(self, request, script=None, **variables):
        """Runs it with a shell script in place of protobuf-c's plugin."""
        environment = {**os.environ, **variables}
        if script is not None:
            program = self.directory / "program"
            program.write_text("#!/bin/sh\n" + script)
            program.chmod(0o755)
            environment["PROTOC_GEN_C"] = str(program)
        return run([messages_plugin], input=request, env=environment)

    def seen(self, request):
        """What protobuf-c's plugin gets to see."""
        kept = self.directory / "seen"
        self.require(self.run_plugin(request, f"cat > '{kept}'\n"))
        return kept.read_bytes()

    def test_services_are_all_that_is_taken_away(self):
        """Of files with nothing that protobuf-c has to be spared."""
        request = self.real_request("deprecated.proto", "empty_service.proto", "nested.proto", "no_package.proto",
                                    "shop/base/v1/types.proto")
        expected = without_services(request)
        self.assertLess(len(expected), len(request))
        self.assertEqual(self.seen(request), expected)
        self.assertEqual(self.seen(expected), expected)

    def test_messages_are_protobuf_cs_own(self):
        names = [case for case in CASES
                 if case != "keywords.proto" and "\nservice " not in (PROTOS / case).read_text()]
        self.assertTrue(names)
        trigraph = (r'"a\000b\"?\\"', r'"a\000b\"\?\\"')  # it would be one, were another question mark before it
        texts = []
        for option in ("c", "c-messages"):
            out = self.directory / option
            out.mkdir()
            self.require(protoc(f"--{option}_out=dllexport_decl=API:{out}", *names))
            texts.append({path.relative_to(out): path.read_text().replace(*trigraph) for path in out.rglob("*.[ch]")})
        self.assertEqual(len(texts[0]), 2 * len(names))
        self.assertIn("API", "".join(texts[0].values()))
        self.assertEqual(*texts)

    def members(self, proto):
        """The members of message M that are integers."""
        (self.directory / "m.proto").write_text(proto)
        self.require(protoc(f"--c-messages_out={self.directory}", "m.proto", roots=[self.directory]))
        return re.findall(r"^  int32_t (\w+);", (self.directory / "m.pb-c.h").read_text(), re.MULTILINE)

    def test_reserved_fields_get_an_underscore(self):
        self.assertEqual(
            self.members('syntax = "proto3";\nmessage M {\n  int32 int = 1;\n  int32 restrict = 2;\n'
                         "  int32 Linux = 3;\n  int32 integer = 4;\n}\n"),
            ["int_", "restrict_", "linux_", "integer"])

    def test_reserved_fields_get_two_where_one_is_taken(self):
        self.assertEqual(
            self.members('syntax = "proto2";\nmessage M {\n  required int32 Linux = 1;\n'
                         "  required int32 linux_ = 2;\n  required int32 restrict = 3;\n"
                         "  message restrict_ {}\n}\n"),
            ["linux__", "linux_", "restrict__"])

    def test_members_of_one_name_get_an_underscore(self):
        self.assertEqual(
            self.members('syntax = "proto2";\nmessage M {\n  optional int32 base = 1;\n  required int32 eof = 2;\n'
                         "  required int32 EOF = 3;\n  optional int32 x = 4;\n  required int32 has_x = 5;\n"
                         "  oneof choice { int32 a = 6; }\n  required int32 choice_case = 7;\n"
                         "  required int32 has_base_ = 8;\n}\n"),
            ["base__", "eof", "eof_", "x", "has_x_", "choice_case_", "has_base_"])

    def test_answer_and_status_are_passed_on(self):
        done = self.run_plugin(self.real_request("kinds.proto"),
                               "echo out\necho err >&2\nexit 3\n")
        self.assertEqual((done.stdout, done.stderr, done.returncode), (b"out\n", b"err\n", 3))
        done = self.run_plugin(self.real_request("kinds.proto"), "kill -TERM $$\n")
        self.assertEqual(done.returncode, -signal.SIGTERM)

    def test_errors_reach_protoc(self):
        done = protoc(f"--c-messages_out=what=ever:{self.directory}", "kinds.proto")
        self.assertEqual(done.stderr.decode(), "--c-messages_out: kinds.proto: Unknown generator option: what\n")
        self.assertEqual(done.returncode, 1)

    def test_what_it_supports_is_added_to_the_answer(self):
        """Features 3: proto3 optional and editions; editions 998 to 1000: proto2 to 2023. What protobuf-c says of its own
        does not count."""
        said = b"\x10\x00" + b"\x7a\x05" + b"\x0a\x01x" + b"\x7a\x00"
        done = self.require(self.run_plugin(self.real_request("kinds.proto"),
                                            f"printf '{''.join(f'{chr(92)}{byte:03o}' for byte in said)}'\n"))
        self.assertEqual(done.stdout, said + b"\x10\x03\x18\xe6\x07\x20\xe8\x07")

    def test_large_request_and_answer(self):
        """Neither waits for the other, whichever comes first."""
        comment = b"\x12" + varint(1 << 24) + b"x" * (1 << 24)  # CodeGeneratorRequest.parameter
        request = comment + self.real_request("nested.proto")
        for script in ("head -c 16777216 /dev/zero\nwc -c\n", "wc -c\nhead -c 16777216 /dev/zero\n",
                       "head -c 16777216 /dev/zero\n"):
            with self.subTest(script):
                out = self.require(self.run_plugin(request, script)).stdout
                self.assertEqual(out.count(b"\0"), 1 << 24)
                if "wc" in script:
                    self.assertEqual(int(out.replace(b"\0", b"")), len(without_services(request)))

    def test_found_on_the_path(self):
        program = self.directory / "protoc-gen-c"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(0o755)
        done = self.run_plugin(self.real_request("kinds.proto"), PROTOC_GEN_C="",
                               PATH=f"{self.directory}:{os.environ['PATH']}")
        self.assertEqual(self.require(done).stdout, b"found\n")

    def test_not_found(self):
        done = self.run_plugin(self.real_request("kinds.proto"), PROTOC_GEN_C="/nowhere/protoc-gen-c")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, b"")
        self.assertIn(b"cannot run /nowhere/protoc-gen-c: No such file or directory", done.stderr)

    def test_itself(self):
        done = self.run_plugin(self.real_request("kinds.proto"), PROTOC_GEN_C=messages_plugin)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"is protoc-gen-c-messages itself", done.stderr)


class Build(Directory):
    """The project of gen/README.md: what lockstep_generate makes, and when it makes it again."""

    def setUp(self):
        super().setUp()
        readme = (ROOT / "gen" / "README.md").read_text()
        project = re.search(r"```cmake\n(.*?)```", readme, re.DOTALL)[1]
        (self.directory / "lockstep").symlink_to(ROOT)
        (self.directory / "greeter.c").write_text(
            '#include "greet/v1/greeter.grpc-c.h"\n'
            "int main(void) { return greet_v1_greeter_service.method_count != 2; }\n")
        self.protos = self.directory / "proto" / "greet" / "v1"
        self.protos.mkdir(parents=True)
        (self.protos / "names.proto").write_text(
            'syntax = "proto3";\npackage greet.v1;\nmessage Name { string text = 1; }\n')
        (self.protos / "greeter.proto").write_text(
            'syntax = "proto3";\npackage greet.v1;\nimport "greet/v1/names.proto";\n'
            "service Greeter { rpc SayHello(Name) returns (Name); rpc Default(Name) returns (Name); }\n")
        one = "PROTOS greet/v1/greeter.proto"
        self.assertIn(one, project)
        (self.directory / "CMakeLists.txt").write_text(project.replace(one, one + " greet/v1/names.proto"))

        # Copies, so that they can be younger than what they made.
        plugins = self.directory / "plugins"
        plugins.mkdir()
        self.plugins = [shutil.copy(program, plugins) for program in (plugin, messages_plugin)]
        self.require(run(["cmake", "-S", self.directory, "-B", self.directory / "build", "-G", "Ninja",
                          f"-DLOCKSTEP_PLUGIN_DIR={plugins}"]))

    def build(self):
        """Generates; returns the protos that it was done for."""
        done = self.require(run(["cmake", "--build", self.directory / "build", "--target",
                                 "lockstep_rpc_schemas_sources", "greet_schemas_sources"]))
        return {name.decode() for name in re.findall(rb"Generating C from (greet\S+)", done.stdout)}

    def touch(self, path):
        """Makes a file younger than all that was built."""
        newest = max(file.stat().st_mtime_ns for file in (self.directory / "build").rglob("*")
                     if file.is_file())
        while path.stat().st_mtime_ns <= newest:
            os.utime(path)

    def test_generates_what_changed(self):
        greeter, names = "greet/v1/greeter.proto", "greet/v1/names.proto"
        self.assertEqual(self.build(), {greeter, names})
        self.require(run(["gcc", "-fsyntax-only", *STRICT_C, f"-I{ROOT}", "-isystem",
                          self.directory / "build" / "generated", self.directory / "greeter.c"]))
        self.assertEqual(self.build(), set())
        self.touch(self.protos / "greeter.proto")
        self.assertEqual(self.build(), {greeter})
        self.touch(self.protos / "names.proto")
        self.assertEqual(self.build(), {greeter, names})
        for program in self.plugins:
            self.touch(pathlib.Path(program))
            self.assertEqual(self.build(), {greeter, names})
        self.assertEqual(self.build(), set())


class Usage(unittest.TestCase):
    """Run without protoc."""

    def test_version_and_help(self):
        for program in (plugin, messages_plugin):
            name = pathlib.Path(program).name
            self.assertRegex(run([program, "--version"]).stdout.decode(), rf"^{name} \d+\.\d+\n$")
            shown = run([program, "--help"])
            self.assertEqual(shown.returncode, 0)
            self.assertIn(f"{name.removeprefix('protoc-gen')}_out=DIR", shown.stdout.decode())

    def test_unknown_argument(self):
        for program in (plugin, messages_plugin):
            done = run([program, "--what"])
            self.assertEqual(done.returncode, 64)
            self.assertIn(b"--help", done.stderr)

    @unittest.skipUnless(os.path.exists("/dev/full"), "there is no full device to write to")
    def test_full_disk(self):
        request = b'\x0a\x07x.proto' + b'\x7a\x09\x0a\x07x.proto'
        with open("/dev/full", "wb") as full:
            done = subprocess.run([plugin], input=request, stdout=full, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write the response", done.stderr)


def main():
    global plugin, messages_plugin, update
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin-dir", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--update", action="store_true")
    options, rest = parser.parse_known_args()
    plugin, messages_plugin = (str(options.plugin_dir / name)
                               for name in ("protoc-gen-grpc-c", "protoc-gen-c-messages"))
    update = options.update
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
