#!/usr/bin/env python3
"""Has both plugins generate from the files of make_protos.py, and compilers take the result; tests/generator/hostile/run starts
it. Each file is a test, and so is each thing that is done with all of them."""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]

# What the files and the runtime's headers import.
IMPORTED = ["google/protobuf/descriptor.proto", "google/protobuf/any.proto", "google/protobuf/duration.proto",
            "google/protobuf/empty.proto", "google/rpc/error_details.proto", "google/rpc/status.proto"]
ONLY_CALLS = ["protobuf-c/protobuf-c.proto"]  # it says no_generate

STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]

# All that could define a macro before a generated header is read.
POSIX = """
    aio arpa/inet assert ctype dirent dlfcn errno fcntl fenv float fnmatch glob grp iconv inttypes iso646 langinfo libgen
    limits locale math monetary mqueue net/if netdb netinet/in netinet/tcp poll pthread pwd regex sched search semaphore
    setjmp signal spawn stdarg stddef stdint stdio stdlib string strings sys/ipc sys/mman sys/msg sys/resource sys/select
    sys/sem sys/shm sys/socket sys/stat sys/statvfs sys/sysmacros sys/time sys/times sys/types sys/uio sys/un sys/utsname
    sys/wait syslog termios time uchar unistd utime utmpx wchar wctype wordexp
""".split()
ONLY_C = ["complex", "stdalign", "stdatomic", "stdbool", "stdnoreturn", "tgmath", "threads"]

SECONDS = 240  # for one command


def run(arguments, **options):
    return subprocess.run([str(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=SECONDS, **options)


class Failed(Exception):
    pass


def require(done):
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, done.args))[:400]}\n{done.stdout.decode(errors='replace')[:3000]}")
    return done


def stem(path):
    for suffix in (".protodevel", ".proto"):
        if path.endswith(suffix):
            return path.removesuffix(suffix)
    return path


class Hostile:
    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.protos = directory / "protos"
        self.out = directory / "out"
        self.objects = directory / "objects"
        self.out.mkdir()
        self.objects.mkdir()
        self.passed = self.failed = self.skipped = 0
        self.environment = {**os.environ, "PROTOC_GEN_C": shutil.which("protoc-gen-c")}

    # --- Counting ---

    def test(self, name, function, *arguments):
        try:
            function(*arguments)
            self.passed += 1
            return True
        except (Failed, subprocess.TimeoutExpired) as failure:
            self.failed += 1
            print(f"FAILED {name}: {failure}", flush=True)
            return False

    def test_all(self, function, files):
        """One test for each file, as many at once as there are jobs. Those that passed."""
        with concurrent.futures.ThreadPoolExecutor(self.arguments.jobs) as pool:
            done = list(pool.map(lambda file: self.attempt(function, file), files))
        for file, failure in zip(files, done):
            if failure is not None:
                self.failed += 1
                print(f"FAILED {file['path']}: {failure}", flush=True)
        return [file for file, failure in zip(files, done) if failure is None]

    @staticmethod
    def attempt(function, file):
        try:
            function(file)
        except (Failed, subprocess.TimeoutExpired) as failure:
            return failure

    # --- Generating ---

    def make(self, output):
        require(run([sys.executable, HERE / "make_protos.py", "--seed", self.arguments.seed, "--count", self.arguments.count,
                     "--output", output]))

    def same_seed_same_files(self, directory):
        self.make(directory)
        require(run(["diff", "-r", self.protos, directory]))

    def protoc(self, editions, *arguments):
        program = [self.arguments.editions_python, "-m", "grpc_tools.protoc"] if editions else ["protoc"]
        include = pathlib.Path(shutil.which("protoc")).resolve().parents[1] / "include"
        return run([*program, f"-I{self.protos}", f"-I{ROOT / 'proto'}", f"-I{include}",
                    *(f"--plugin={name}={self.arguments.plugin_dir / name}"
                      for name in ("protoc-gen-grpc-c", "protoc-gen-c-messages")), *arguments], env=self.environment)

    def generate(self, file):
        done = self.protoc(file["editions"], f"--grpc-c_out={self.out}", f"--c-messages_out={self.out}", file["path"])
        if file["refused"] is None:
            require(done)
            return
        said = "".join(".*" if part == "*" else re.escape(part)
                       for part in re.split(r"(\*)", "--grpc-c_out: " + file["refused"]))
        if done.returncode == 0 or not re.search("^" + said, done.stdout.decode(errors="replace"), re.MULTILINE):
            raise Failed(f"should have been refused with\n{file['refused']}\nnot\n{done.stdout.decode(errors='replace')}")
        require(self.protoc(file["editions"], "-o/dev/null", file["path"]))  # it is legal

    # --- Compiling ---

    def compiler(self, program, *arguments):
        return run([program, *STRICT, f"-I{self.out}", f"-I{ROOT}", *arguments])

    def sources(self, file):
        return [self.out / f"{stem(file['path'])}{suffix}" for suffix in (".pb-c.c", ".grpc-c.c")]

    def compile(self, file):
        for kind, source in zip(("messages", "calls"), self.sources(file)):
            require(self.compiler("gcc", "-std=c17", "-O0", "-c", source, "-o", self.objects / f"{file['name']}.{kind}.o"))
            require(self.compiler("clang", "-std=c17", "-fsyntax-only", source))

    def user(self, name, files, system=()):
        """A file that includes all generated headers."""
        text = "".join(f"#include <{header}.h>\n" for header in system)
        for file in files:
            text += f'#include "{stem(file["path"])}.pb-c.h"\n#include "{stem(file["path"])}.grpc-c.h"\n'
        text += "extern const ls_rpc_file *const all_files[];\nconst ls_rpc_file *const all_files[] = {\n"
        text += "".join(f"    &{file['name']}_file,\n" for file in files) + "};\n"
        source = self.objects / name
        source.write_text(text)
        return source

    def compile_as(self, compiler, standard, source):
        target = ["-O0", "-c", "-o", source.with_suffix(".o")] if compiler == "g++" else ["-fsyntax-only"]
        require(self.compiler(compiler, f"-std={standard}", *target, source))

    def link(self, files, user):
        """No name is defined twice, and all that is asked for is there, in the runtime or in protobuf-c."""
        objects = [self.objects / f"{file['name']}.{kind}.o" for file in files for kind in ("messages", "calls")]
        whole = self.objects / "whole.o"
        require(run(["ld", "-r", "-o", whole, *(one for one in objects if one.exists()), user]))
        missing = [line.split()[-1] for line in require(run(["nm", "-u", whole])).stdout.decode().splitlines()]
        foreign = [name for name in missing if not re.fullmatch(r"(ls_rpc|protobuf_c)_\w+|__assert_fail|_GLOBAL_OFFSET_TABLE_",
                                                                name)]
        if foreign:
            raise Failed(f"nobody defines {' '.join(foreign)}")

    def generate_imported(self):
        self.imported = [{"path": path, "name": re.sub(r"\W", "_", path)} for path in IMPORTED + ONLY_CALLS]
        require(self.protoc(False, f"--grpc-c_out={self.out}", *IMPORTED, *ONLY_CALLS))
        require(self.protoc(False, f"--c-messages_out={self.out}", *IMPORTED))
        for file in self.imported:
            for kind, source in zip(("messages", "calls"), self.sources(file)):
                if source.exists():
                    require(self.compiler("gcc", "-std=c17", "-O0", "-c", source, "-o",
                                          self.objects / f"{file['name']}.{kind}.o"))

    def compile_together(self, files):
        after_posix = self.user("after_posix.c", files, POSIX + ONLY_C)
        after_posix_cxx = self.user("after_posix.cc", files, POSIX)
        plain_cxx = self.user("plain.cc", files)
        tests = [("gcc", "gnu17", after_posix), ("clang", "gnu17", after_posix), ("g++", "c++17", plain_cxx),
                 ("clang++", "c++17", plain_cxx), ("g++", "gnu++20", after_posix_cxx), ("clang++", "gnu++20", after_posix_cxx)]
        with concurrent.futures.ThreadPoolExecutor(self.arguments.jobs) as pool:
            list(pool.map(lambda test: self.test(f"all headers in {test[2].name}, {test[0]}", self.compile_as, *test), tests))
        self.test("all in one program", self.link, self.imported + files, plain_cxx.with_suffix(".o"))

    def all(self, directory):
        self.make(self.protos)
        self.test("the same seed makes the same files", self.same_seed_same_files, directory / "again")
        files = json.loads((self.protos / "files.json").read_text())
        if self.arguments.editions_python is None:
            self.skipped = sum(file["editions"] for file in files)
            print(f"skipped: {self.skipped} files in editions, since no protoc that knows them is there")
            files = [file for file in files if not file["editions"]]
        kept = self.test_all(self.generate, files)
        refused = [file for file in kept if file["refused"] is not None]
        taken = [file for file in kept if file["refused"] is None]
        print(f"{len(files)} files: {len(taken)} taken, {len(refused)} refused as they should be")
        if self.arguments.no_compile:
            self.passed += len(kept)
            return
        if not self.test("what the files and the runtime import", self.generate_imported):
            return
        taken = self.test_all(self.compile, taken)
        self.passed += len(taken) + len(refused)
        self.compile_together(taken)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plugin-dir", required=True, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--editions-python", help="a Python that has grpc_tools, whose protoc knows editions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="only generate")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this directory, and leave it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lockstep-hostile-") as temporary:
        directory = arguments.keep or pathlib.Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        hostile = Hostile(arguments, directory)
        hostile.all(directory)
    skipped = f", {hostile.skipped} skipped" if hostile.skipped else ""
    print(f"{hostile.passed} passed, {hostile.failed} failed{skipped}")
    return 1 if hostile.failed else 0


if __name__ == "__main__":
    sys.exit(main())
