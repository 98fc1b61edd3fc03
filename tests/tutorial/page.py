"""Runs docs/tutorial.md as a reader would: writes each file that it shows, runs each of its commands, all in one
shell and in the page's order, and compares what they print with what the page shows.

The page says what a block is by what stands behind its three backticks:

    c server.c              a file of that name
    make Makefile append    to be added to that file
    sh                      commands; each must succeed, unless what they print is shown next
    text                    what the commands just before print

Any other block is an error, since nobody would run it. Commands that have <!-- not run: why --> before them are not;
the page may have one such place. The port that the page uses is exchanged for a free one, and its build folder for
the one at hand."""

import difflib
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/tutorial.md"
PORT = "50051"
BUILD = "build/package"
SECONDS = 300
MOST_LINES = 29  # of the server and of the client: under 30


class Block:
    def __init__(self, line, info, text, reason):
        self.line, self.text, self.reason = line, text, reason
        language, *words = info.split() or [""]
        self.kind, self.name, self.output, self.shown = "unknown", None, None, False
        if language in ("sh", "text") and not words:
            self.kind = {"sh": "commands", "text": "output"}[language]
        elif len(words) == 1 or words[1:] == ["append"]:
            self.kind = "append" if words[1:] else "file"
            self.name = words[0]
        self.title = self.name or (text.splitlines()[0] if text else "empty")

    def __str__(self):
        return f"tutorial.md:{self.line}: {self.title}"


def read_blocks(text):
    """Each fenced block; what a command's block shows is in its `output`."""
    blocks, lines, at = [], text.splitlines(), 0
    while at < len(lines):
        fence = re.fullmatch(r"```(.*)", lines[at])
        if fence:
            before = next((line for line in reversed(lines[:at]) if line.strip()), "")
            reason = re.fullmatch(r"<!--\s*not run:\s*(\S.*?)\s*-->", before)
            end = lines.index("```", at + 1)
            block = Block(at + 1, fence[1], "".join(line + "\n" for line in lines[at + 1 : end]),
                          reason[1] if reason else None)
            if block.kind == "output" and blocks and blocks[-1].kind == "commands" and blocks[-1].output is None:
                blocks[-1].output, block.shown = block.text, True
            blocks.append(block)
            at = end
        at += 1
    return blocks


def check_reader():
    """The reader, tried."""
    blocks = read_blocks("<!-- not run: because -->\n```sh\none\n```\na\n```c a.c\nint a;\n```\n```sh\ntwo\n```\n"
                         "\n```text\nthree\n```\n```make b append\nc\n```\n```c\nint d;\n```\n")
    found = [(b.line, b.kind, b.name, b.text, b.output, b.reason) for b in blocks]
    wanted = [(2, "commands", None, "one\n", None, "because"), (6, "file", "a.c", "int a;\n", None, None),
              (9, "commands", None, "two\n", "three\n", None), (13, "output", None, "three\n", None, None),
              (16, "append", "b", "c\n", None, None), (19, "unknown", None, "int d;\n", None, None)]
    if found != wanted:
        sys.exit(f"page.py does not read Markdown right: {found}")


def free_port():
    """One that nobody listens on, below those that the kernel gives to outgoing connections."""
    for port in range(20000 + os.getpid() % 10000, 32000):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
                return str(port)
            except OSError:
                continue
    raise RuntimeError("no free port")


def code_lines(text):
    """Lines that are neither empty nor nothing but a comment."""
    without = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    return sum(1 for line in without.splitlines() if line.strip() and not line.strip().startswith("//"))


def check_lines(outcome, text, blocks):
    """The server and the client are under 30 lines, and as long as the page says."""
    for name in ("server.c", "client.c"):
        block = next((block for block in blocks if block.name == name), None)
        said = re.search(rf"^`{re.escape(name)}`, (\d+) lines:$", text, re.MULTILINE)
        problem = None
        if block is None or said is None:
            problem = "the page does not have it, or does not say how long it is"
        else:
            lines = code_lines(block.text)
            if lines > MOST_LINES or lines != int(said[1]):
                problem = f"has {lines} lines, the page says {said[1]}, and at most it may have {MOST_LINES}"
        outcome.check(f"tutorial.md: the length of {name}", problem)


def shell_script(blocks, folder):
    """Writes the files where the script finds them, and gives the script. Each block says when it is done."""
    script = ["set -u"]
    for number, block in enumerate(blocks):
        if block.reason or block.kind not in ("file", "append", "commands"):
            continue
        if block.kind == "commands":
            strict = block.output is None
            script += [f"{'set -e' if strict else 'set +e'} -o pipefail",
                       "{", block.text.rstrip("\n"), f"}} >{shlex.quote(str(folder / f'{number}.out'))} 2>&1"]
        else:
            (folder / f"{number}.file").write_text(block.text)
            sign = ">>" if block.kind == "append" else ">"
            script += ["set -e", f"cat {shlex.quote(str(folder / f'{number}.file'))} {sign}{shlex.quote(block.name)}"]
        script.append(f"touch {shlex.quote(str(folder / f'{number}.done'))}")
    return "\n".join(script) + "\n"


def environment(work, jobs):
    """A reader's who has nothing of lockstep yet, with a home of his own."""
    result = dict(os.environ)
    for name in ("PKG_CONFIG_PATH", "LD_LIBRARY_PATH", "CMAKE_PREFIX_PATH", "CFLAGS", "LDLIBS", "LDFLAGS"):
        result.pop(name, None)
    if shutil.which("ccache"):
        asked = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True, check=True)
        result["CCACHE_DIR"] = asked.stdout.strip()
    home = work / "home"
    home.mkdir()
    return result | {"HOME": str(home), "PATH": f"{work / 'bin'}:{result['PATH']}", "LC_ALL": "C.UTF-8",
                     "MAKEFLAGS": f"-j{jobs}", "CMAKE_BUILD_PARALLEL_LEVEL": str(jobs)}


def run(outcome, work, build, jobs):
    check_reader()
    text = PAGE.read_text()
    blocks = read_blocks(text)
    check_lines(outcome, text, blocks)
    not_run = [block for block in blocks if block.reason]
    odd = [str(block) for block in blocks if block.kind == "unknown" or (block.kind == "output" and not block.shown)]
    outcome.check("tutorial.md: every block is a file, commands, or what they print",
                  "\n".join(odd) or ("" if len(not_run) == 1 else f"{len(not_run)} places are not run"))

    folder = work / "page"
    folder.mkdir()
    port = free_port()
    for block in blocks:
        block.text = block.text.replace(PORT, port).replace(BUILD, shlex.quote(str(build)))
    script = folder / "script"
    script.write_text(shell_script(blocks, folder))
    with open(folder / "log", "wb") as log:
        shell = subprocess.Popen(["bash", str(script)], cwd=ROOT, env=environment(work, jobs),
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        try:
            shell.wait(SECONDS)
            late = ""
        except subprocess.TimeoutExpired:
            late = f"the page takes longer than {SECONDS} s\n"
        finally:
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shell.wait()
    report(outcome, blocks, folder, port, build, late + (folder / "log").read_text())


def report(outcome, blocks, folder, port, build, log):
    for number, block in enumerate(blocks):
        if block.kind not in ("file", "append", "commands"):
            continue
        if block.reason:
            print(f"        {block}: not run: {block.reason}")
            continue
        output = folder / f"{number}.out"
        got = output.read_text(errors="replace") if output.exists() else ""
        got = got.replace(port, PORT).replace(str(build), BUILD)
        if not (folder / f"{number}.done").exists():
            outcome.failed(str(block), got + log)
        elif block.output is not None and got != block.output:
            outcome.failed(str(block), "".join(difflib.unified_diff(
                block.output.splitlines(True), got.splitlines(True), "shown", "printed")))
        else:
            outcome.passed(str(block))
