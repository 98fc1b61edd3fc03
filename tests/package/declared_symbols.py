#!/usr/bin/env python3
"""Names what the headers under a folder declare: functions and variables that a library has to have.

usage: declared_symbols.py FOLDER

clang reads all headers in one file, and tells what is declared where; static and inline functions are the headers'
own.
"""

import json
import pathlib
import subprocess
import sys


class Places:
    """Which file a declaration is in. clang names a place's file only where it differs from the place before."""

    def __init__(self):
        self.file = ""

    def see(self, node):
        """Follows one declaration's places in the order in which they were written; gives the file it stands in."""
        at = self._see_place(node.get("loc", {}))
        span = node.get("range", {})
        self._see_place(span.get("begin", {}))
        self._see_place(span.get("end", {}))
        return at

    def _see_place(self, place):
        if "spellingLoc" in place or "expansionLoc" in place:
            self._see_place(place.get("spellingLoc", {}))
            return self._see_place(place.get("expansionLoc", {}))
        if "offset" not in place:
            return ""
        self.file = place.get("file", self.file)
        return self.file


def declarations(node, places, found):
    """Adds (file, name) of all that is declared outside of functions, at any depth of extern "C"."""
    at = places.see(node)
    kind = node.get("kind", "")
    if kind == "FunctionDecl" and node.get("storageClass") != "static" and not node.get("inline"):
        found.append((at, node["name"]))
    if kind == "VarDecl" and node.get("storageClass") == "extern":
        found.append((at, node["name"]))
    # What is inside moves the place on, too; but a function's parameters are nobody's symbols.
    for child in node.get("inner", []):
        declarations(child, places, found if kind in ("TranslationUnitDecl", "LinkageSpecDecl") else [])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1]).resolve()
    headers = sorted(root.rglob("*.h"))
    if not headers:
        sys.exit(f"no headers in {root}")
    source = "".join(f'#include "{header}"\n' for header in headers)
    flags = subprocess.run(["pkg-config", "--cflags", "libprotobuf-c"], check=True, capture_output=True, text=True)
    tree = subprocess.run(
        ["clang", "-x", "c", "-std=gnu17", "-D_GNU_SOURCE", f"-I{root}", *flags.stdout.split(), "-fsyntax-only",
         "-Xclang", "-ast-dump=json", "-"],
        input=source, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = []
    sys.setrecursionlimit(10000)
    declarations(json.loads(tree), Places(), found)
    names = {name for file, name in found if file and pathlib.Path(file).resolve().is_relative_to(root)}
    print("\n".join(sorted(names)))


if __name__ == "__main__":
    main()
