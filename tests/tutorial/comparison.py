"""Builds the three programs of docs/comparison, has each client speak with each server, makes the mistakes that
mistakes.py lists, and compares the tables of docs/comparison/README.md with what comes of all that."""

import concurrent.futures
import difflib
import os
import pathlib
import re
import select
import shlex
import shutil
import signal
import subprocess
import time

from mistakes import MISTAKES, changed
from page import code_lines

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/comparison"
PAGE = FOLDER / "README.md"
NAMES = {"lockstep": "lockstep", "cpp": "gRPC C++", "core": "the bare C core"}
SUFFIX = {"lockstep": "c", "cpp": "cc", "core": "c"}
SECONDS = 20  # for one program
BUILD_SECONDS = 300

REFUSED = "error 5: no such sku\nreason NO_SUCH_SKU of stock.example\nsku = rope\n"
EXPECTED = {
    "lamp": "level 3\n" + "".join(f"now {level}\n" for level in range(3, -1, -1)),
    # Counting crates takes longer than the 5 s that a client gives.
    "crate": "error 4: counting takes longer\n" + "".join(f"now {level}\n" for level in range(40, -1, -1)),
    "rope": REFUSED + REFUSED,
}


def lines_table():
    rows = ["| | server | client |", "| --- | --- | --- |"]
    for program, name in NAMES.items():
        server, client = (code_lines((FOLDER / program / f"{side}.{SUFFIX[program]}").read_text())
                          for side in ("server", "client"))
        rows.append(f"| {name} | {server} | {client} |")
    return "\n".join(rows)


def mistakes_table(verdicts, page):
    """What could not be tried here is as the page has it."""
    said = {cells[1]: dict(zip(NAMES, cells[2:])) for cells in
            ([cell.strip() for cell in row.split("|")] for row in page.splitlines()) if len(cells) > len(NAMES) + 1}
    rows = [f"| mistake | {' | '.join(NAMES.values())} | where it compiles |", "| --- | --- | --- | --- | --- |"]
    for mistake in MISTAKES:
        cells = [verdicts.get((mistake.what, program)) or said.get(mistake.what, {}).get(program, "not tried")
                 for program in NAMES]
        rows.append(f"| {mistake.what} | {' | '.join(cells)} | {mistake.otherwise} |")
    return "\n".join(rows)


def part_of(text, name):
    """The pattern's match of what is between two marks of the page."""
    found = re.search(rf"(<!-- {name}: begin[^\n]*-->\n\n)(.*?)(\n\n<!-- {name}: end -->)", text, re.DOTALL)
    if not found:
        raise ValueError(f"{PAGE} has no marks for {name}")
    return found


def compare(outcome, name, table, update):
    text = PAGE.read_text()
    found = part_of(text, name)
    if update and found[2] != table:
        PAGE.write_text(text[: found.start()] + found[1] + table + found[3] + text[found.end() :])
        print(f"        docs/comparison/README.md: wrote the table of {name}")
    diff = "" if update else "".join(line + "\n" for line in difflib.unified_diff(
        found[2].splitlines(), table.splitlines(), "the page", "found", lineterm=""))
    outcome.check(f"comparison: the table of {name}", diff and diff + "tests/tutorial/run --update writes it anew")


class Programs:
    """The programs that can be built here, and where they are."""

    def __init__(self, work, jobs):
        # What is not made with lockstep is kept: gRPC C++ takes a while.
        self.build, self.tries, self.jobs = ROOT / "build/comparison", work / "tries", jobs
        self.tries.mkdir()
        shutil.rmtree(self.build / "lockstep", ignore_errors=True)
        prefix = work / "prefix"
        self.environment = os.environ | {"PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig"),
                                         "LD_LIBRARY_PATH": str(prefix / "lib")}
        self.environment.pop("MAKEFLAGS", None)

    def make(self, *arguments):
        """What make said, if it failed."""
        done = subprocess.run(["make", "--no-print-directory", "-C", FOLDER, f"BUILD={self.build}", *arguments],
                              env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=BUILD_SECONDS, check=False)
        return done.stdout if done.returncode else None

    def compiler(self, program):
        """The command of `make try-…` for a file called FILE. Asking pkg-config each time would take longest."""
        asked = subprocess.run(["make", "--no-print-directory", "--dry-run", "-C", FOLDER, f"BUILD={self.build}",
                                f"try-{program}", "FILE=FILE"], env=self.environment, stdout=subprocess.PIPE,
                               text=True, timeout=BUILD_SECONDS, check=True)
        command = shlex.split(asked.stdout.splitlines()[-1])
        if command.count("FILE") != 1:
            raise ValueError(f"this is not a compiler's command: {asked.stdout}")
        return command

    def compile(self, program, command, file, text, number):
        """What the compiler said, if it refused the text."""
        folder = self.tries / f"{program}-{number}"
        folder.mkdir()
        (folder / file).write_text(text)
        done = subprocess.run([str(folder / file) if word == "FILE" else word for word in command], cwd=FOLDER,
                              env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=BUILD_SECONDS, check=False)
        return done.stdout if done.returncode else None


def has_cpp():
    found = subprocess.run(["pkg-config", "--exists", "grpc++", "protobuf"], check=False).returncode == 0
    return found and shutil.which("grpc_cpp_plugin") is not None


# ---- each client with each server ----


def read_port(server):
    """The port that the server says it has, or None."""
    deadline, said = time.monotonic() + SECONDS, b""
    while b"\n" not in said:
        ready, _, _ = select.select([server.stdout], [], [], max(0, deadline - time.monotonic()))
        piece = os.read(server.stdout.fileno(), 1000) if ready else b""
        if not piece:
            return None
        said += piece
    found = re.fullmatch(rb"port (\d+)\n", said)
    return found and int(found[1])


def ask(programs, client, port, sku, milliseconds):
    done = subprocess.run([programs.build / client / "client", f"127.0.0.1:{port}", sku, str(milliseconds)],
                          env=programs.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False)
    return done.stdout


def converse(programs, client, port):
    for sku, wanted in EXPECTED.items():
        got = ask(programs, client, port, sku, 5000)
        if got != wanted:
            return f"asked for {sku}, wanted:\n{wanted}got:\n{got}"
    return None


def ask_frozen(programs, client, port):
    """The client's own deadline: nobody answers."""
    got = ask(programs, client, port, "lamp", 300)
    return None if re.fullmatch(r"(error 4: .*\n){2}", got) else got


def serve(outcome, programs, program, clients):
    server = subprocess.Popen([programs.build / program / "server"], env=programs.environment,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        port = read_port(server)
        if port is None:
            outcome.failed(f"comparison: the server of {NAMES[program]}", "it does not say its port")
            return
        for client in clients:
            outcome.check(f"comparison: {NAMES[client]} calls {NAMES[program]}", converse(programs, client, port))
        server.send_signal(signal.SIGSTOP)
        for client in clients:
            outcome.check(f"comparison: {NAMES[client]} calls {NAMES[program]}, which does not answer",
                          ask_frozen(programs, client, port))
        server.send_signal(signal.SIGCONT)
        server.terminate()
        code = server.wait(SECONDS)
        outcome.check(f"comparison: {NAMES[program]} ends well", f"it ended with {code}" if code else None)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


# ---- the mistakes ----


def submit_mistakes(programs, available, pool):
    """(mistake, program) -> what its compilation will say; None where it cannot be made."""
    jobs = {}
    for program in available:
        command = programs.compiler(program)
        for number, mistake in enumerate(MISTAKES):
            key, patch = (mistake.what, program), getattr(mistake, program)
            jobs[key] = None
            if patch is not None:
                text = changed((FOLDER / program / patch[0]).read_text(), patch[1])
                jobs[key] = pool.submit(programs.compile, program, command, patch[0], text, number)
    return jobs


def try_mistakes(programs, available):
    """(mistake, program) -> what the page says about it, or what was said that was not the compiler's refusal."""
    with concurrent.futures.ThreadPoolExecutor(programs.jobs) as pool:
        try:
            jobs = submit_mistakes(programs, available, pool)
            said = {key: job and job.result() for key, job in jobs.items()}
        finally:
            pool.shutdown(cancel_futures=True)

    def verdict(key):
        if jobs[key] is None:
            return "cannot be made"
        if said[key] is None:
            return "compiles"
        is_error = re.search(r"^\S+: (fatal )?error: ", said[key], re.MULTILINE)
        return "refused" if is_error else said[key] or "the compiler failed without a word"

    return {key: verdict(key) for key in jobs}


def build(outcome, programs):
    """Those of the three that could be built."""
    available = []
    for program, name in NAMES.items():
        if program == "cpp" and not has_cpp():
            outcome.skipped("comparison: gRPC C++", "not installed (deploy/local/dependencies --bench)")
            continue
        problem = programs.make(program, "--jobs", str(programs.jobs))
        if problem is None:
            available.append(program)
            problem = programs.make(f"try-{program}", f"FILE={program}/server.{SUFFIX[program]}")
        outcome.check(f"comparison: {name} is built", problem)
    return available


def run(outcome, work, jobs, update):
    programs = Programs(work, jobs)
    available = build(outcome, programs)
    for program in available:
        serve(outcome, programs, program, available)

    compare(outcome, "lines", lines_table(), update)
    verdicts = try_mistakes(programs, available)
    for key, verdict in verdicts.items():
        if verdict not in ("refused", "compiles", "cannot be made"):
            outcome.failed(f"comparison: {NAMES[key[1]]}: {key[0]}", verdict)
    compare(outcome, "mistakes", mistakes_table(verdicts, part_of(PAGE.read_text(), "mistakes")[2]), update)
