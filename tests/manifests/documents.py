"""What an overlay of deploy/kubernetes is made of: its documents, rendered, and what they say of pods."""

import dataclasses
import pathlib
import subprocess
from collections.abc import Iterator

import yaml

# The folders of the path to a pod's template, by kind.
TEMPLATES = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
PROGRAM_OF_IMAGE = {
    "lockstep/order-service": "order-service",
    "lockstep/delivery-service": "delivery-service",
    "lockstep/demo": "demo",
}


@dataclasses.dataclass
class Container:
    """A container, and the workload whose pods have it."""

    workload: "Workload"
    spec: dict
    is_init: bool

    @property
    def image(self) -> str:
        """The image's name without registry and tag."""
        name = self.spec.get("image", "").partition("@")[0]
        head, colon, tail = name.rpartition(":")
        if colon and "/" not in tail:
            name = head
        for ours in PROGRAM_OF_IMAGE:
            if name == ours or name.endswith(f"/{ours}"):
                return ours
        return name

    @property
    def program(self) -> str | None:
        """The name of the program of this project that it runs."""
        return PROGRAM_OF_IMAGE.get(self.image)

    @property
    def arguments(self) -> list[str]:
        """Its command line."""
        return [str(argument) for argument in self.spec.get("args", [])]

    def __str__(self) -> str:
        return f"{self.workload}: container {self.spec['name']}"


@dataclasses.dataclass
class Workload:
    """A document that makes pods."""

    document: dict
    template: dict

    @property
    def name(self) -> str:
        """Its name."""
        return self.document["metadata"]["name"]

    @property
    def pod(self) -> dict:
        """The pods' spec."""
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        """The pods' labels."""
        return self.template.get("metadata", {}).get("labels", {})

    def containers(self) -> Iterator[Container]:
        """Those that run before the others first."""
        for spec in self.pod.get("initContainers", []):
            yield Container(self, spec, True)
        for spec in self.pod.get("containers", []):
            yield Container(self, spec, False)

    def __str__(self) -> str:
        return f"{self.document['kind']} {self.name}"


class Overlay:
    """A folder of deploy/kubernetes/overlays."""

    def __init__(self, name: str, header: str, documents: list[dict]) -> None:
        self.name = name
        self.header = header
        self.documents = documents

    def of_kind(self, *kinds: str) -> Iterator[dict]:
        """The documents of these kinds."""
        return (document for document in self.documents if document["kind"] in kinds)

    def find(self, kind: str, name: str) -> dict | None:
        """A document by its name."""
        return next((document for document in self.of_kind(kind) if document["metadata"]["name"] == name), None)

    def workloads(self) -> Iterator[Workload]:
        """All that makes pods, but what operators make."""
        for document in self.documents:
            if document["kind"] in TEMPLATES:
                template = document
                for key in TEMPLATES[document["kind"]]:
                    template = template[key]
                yield Workload(document, template)

    def containers(self) -> Iterator[Container]:
        """The containers of all workloads."""
        for workload in self.workloads():
            yield from workload.containers()

    def environment(self, container: Container) -> dict[str, str | None]:
        """A container's environment; None is a value that nobody can know before it runs."""
        found: dict[str, str | None] = {}
        for source in container.spec.get("envFrom", []):
            prefix = source.get("prefix", "")
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in source:
                    document = self.find(kind, source[key]["name"]) or {}
                    values = {**document.get("data", {}), **document.get("stringData", {})}
                    found.update({prefix + name: value if kind == "ConfigMap" else None
                                  for name, value in values.items()})
        for variable in container.spec.get("env", []):
            value: str | None = variable.get("value", "")
            if "valueFrom" in variable:
                value = None
                reference = variable["valueFrom"].get("configMapKeyRef")
                if reference:
                    config_map = self.find("ConfigMap", reference["name"]) or {}
                    value = config_map.get("data", {}).get(reference["key"])
            found[variable["name"]] = value
        return found


def header_of(text: str) -> str:
    """The comment at the top of a file."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


def parse(text: str) -> list[dict]:
    """The documents of a text."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def render(command: list[str], folder: pathlib.Path) -> str:
    """What kustomize (or kubectl kustomize) makes of a folder."""
    result = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} {folder}: {result.stderr.strip()}")
    return result.stdout


def read_overlay(folder: pathlib.Path, rendered: str) -> Overlay:
    """The overlay in a folder."""
    return Overlay(folder.name, header_of((folder / "kustomization.yaml").read_text()), parse(rendered))
