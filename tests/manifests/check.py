"""The check of deploy/kubernetes/overlays: each is rendered, held against the schemas of Kubernetes and of the
operators, looked at by kube-score, and by the rules of rules.py. Run by tests/checks/manifests."""

import argparse
import collections
import fnmatch
import functools
import json
import pathlib
import shutil
import subprocess
import sys

import rules
from documents import Overlay, read_overlay, render
from programs import ROOT, Programs

HERE = pathlib.Path(__file__).parent
OVERLAYS = ROOT / "deploy/kubernetes/overlays"
COMPONENTS = ROOT / "deploy/kubernetes/components"


class Reasons:
    """A file with lines "WORDS... : reason": what is not to be complained about, and why. Each must be of use."""

    def __init__(self, file: pathlib.Path, words: int) -> None:
        self.file = file
        self.reasons: dict[tuple[str, ...], str] = {}
        self.used: set[tuple[str, ...]] = set()
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            key, _, reason = line.partition(" : ")
            if len(key.split()) != words or not reason.strip():
                raise SystemExit(f"{file.name}:{number}: not {words} words, \" : \" and a reason")
            self.reasons[tuple(key.split())] = reason.strip()

    def covers(self, *words: str) -> bool:
        """Whether there is a reason; "*" stands for any text."""
        matching = {key for key in self.reasons
                    if all(fnmatch.fnmatchcase(word, one) for one, word in zip(key, words, strict=True))}
        self.used |= matching
        return bool(matching)

    def unused(self) -> list[str]:
        """Complaints about reasons for what is not there."""
        return [f"{self.file.name}: nothing is excused by \"{' '.join(key)}\"" for key in self.reasons
                if key not in self.used]


def conform(command: str, schemas: pathlib.Path, version: str, text: str, without: Reasons) -> list[str]:
    """What kubeconform finds with the schemas of one version of Kubernetes."""
    result = subprocess.run(
        [command, "-strict", "-output", "json", "-verbose", "-schema-location",
         f"{schemas}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-schema-location",
         f"{schemas}/custom/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"],
        input=text, capture_output=True, text=True, check=False, timeout=120)
    try:
        resources = json.loads(result.stdout)["resources"]
    except (ValueError, KeyError):
        return [f"kubeconform: {result.stdout}{result.stderr}"]
    found = []
    for one in resources:
        if one["status"] == "statusValid":
            continue
        if "could not find schema" in one["msg"] and without.covers(one["version"], one["kind"]):
            continue
        found.append(f"Kubernetes {version}: {one['kind']} {one['name']}: {one['msg']}")
    return found


def score(command: str, overlay: Overlay, text: str, exceptions: Reasons) -> list[str]:
    """What kube-score finds that is not excused."""
    result = subprocess.run([command, "score", "--output-format", "json", "--ignore-container-cpu-limit", "-"],
                            input=text, capture_output=True, text=True, check=False, timeout=120)
    try:
        objects = json.loads(result.stdout) or []
    except ValueError:
        return [f"kube-score: {result.stdout}{result.stderr}"]
    found = []
    for one in objects:
        kind, name = one["type_meta"]["kind"], one["object_meta"]["name"]
        for check in one["checks"] or []:
            if check["skipped"] or check["grade"] >= 10:
                continue
            if exceptions.covers(overlay.name, f"{kind}/{name}", check["check"]["id"]):
                continue
            comments = {f"{comment['path']} {comment['summary']}".strip() for comment in check["comments"] or []}
            found.append(f"kube-score: {kind} {name}: {check['check']['id']}: {'; '.join(sorted(comments))}")
    return found


def unused_components(folders: list[pathlib.Path]) -> list[str]:
    """A component of no overlay would not be checked."""
    text = "".join((folder / "kustomization.yaml").read_text() for folder in folders)
    names = [component.parent.name for component in COMPONENTS.glob("*/kustomization.yaml")]
    return [f"component {name} is in no overlay" for name in names if f"- ../../components/{name}\n" not in text]


def same_by_kubectl(folder: pathlib.Path, overlay: Overlay) -> list[str]:
    """`kubectl apply -k` has a kustomize of its own, which must understand the overlay likewise."""
    try:
        other = read_overlay(folder, render(["kubectl", "kustomize"], folder))
    except RuntimeError as error:
        return [str(error)]
    key = functools.partial(json.dumps, sort_keys=True)
    if sorted(map(key, other.documents)) != sorted(map(key, overlay.documents)):
        return ["kubectl kustomize makes other documents of it than kustomize does"]
    return []


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("kustomize", "kubeconform", "kube-score"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--schemas", type=pathlib.Path, required=True)
    parser.add_argument("--kubernetes", nargs="+", required=True)
    arguments = parser.parse_args()

    complaints: dict[str, list[str]] = collections.defaultdict(list)
    without, exceptions = Reasons(HERE / "without-schema", 2), Reasons(HERE / "exceptions", 3)
    folders = sorted(file.parent for file in OVERLAYS.glob("*/kustomization.yaml"))
    if not folders:
        sys.exit(f"there is no overlay in {OVERLAYS}")
    with Programs() as programs:
        for folder in folders:
            try:
                text = render([arguments.kustomize, "build"], folder)
            except RuntimeError as error:
                complaints[folder.name].append(str(error))
                continue
            overlay = read_overlay(folder, text)
            if shutil.which("kubectl"):
                complaints[folder.name] += same_by_kubectl(folder, overlay)
            for version in arguments.kubernetes:
                complaints[folder.name] += conform(arguments.kubeconform, arguments.schemas, version, text, without)
            complaints[folder.name] += score(arguments.kube_score, overlay, text, exceptions)
            complaints[folder.name] += [f"{name}: {sentence}" for name, sentence in rules.findings(overlay, programs)]
            print(f"{folder.name}: {len(overlay.documents)} documents, Kubernetes {' '.join(arguments.kubernetes)}, "
                  f"{len(rules.RULES)} rules: {len(complaints[folder.name])} findings")
    complaints["all"] += unused_components(folders) + without.unused() + exceptions.unused()
    for name, sentences in complaints.items():
        for sentence in sentences:
            print(f"{name}: {sentence}")
    return 1 if any(complaints.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
