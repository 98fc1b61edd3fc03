"""What deploy/compose.yaml and deploy/systemd promise, as rules. Each takes what was read and gives its findings, one
line each; none is good news."""

import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ("order-service", "delivery-service")
EXIT_CONFIG = 78
# How much longer than SHUTDOWN_GRACE a service may take to end: the last commit, the last answers.
AFTER_GRACE_SECONDS = 10
# What systemd says of how far a service can reach, times ten, 0 to 100.
MOST_EXPOSURE = 15
# Containers that may write to their own file system, with the reason.
WRITABLE = {"kafka": "the image's start script writes the settings beside the program"}


@dataclasses.dataclass
class Program:
    """One of our programs, and what it says of itself."""

    path: pathlib.Path
    flags: set[str]
    variables: set[str]  # with those that name a secret's file

    def refuses(self, environment: dict[str, str]) -> str:
        """What it says when it does not accept these settings; empty if it does."""
        # Nobody listens on port 1: it fails at once, but only after it has accepted its settings.
        result = subprocess.run(
            [self.path, "--probe", "127.0.0.1:1"], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60, check=False)
        return result.stderr.strip() if result.returncode == EXIT_CONFIG else ""


def service_program(build: pathlib.Path, name: str) -> Program:
    """The service's program, with the options of its reference page."""
    path = build / name.removesuffix("-service") / name
    reference = subprocess.run([path, "--config-reference"], capture_output=True, text=True, check=True).stdout
    flags: set[str] = set()
    variables: set[str] = set()
    for line in reference.splitlines():
        if line.startswith("| `--"):
            cells = line.split("|")
            flags.update(re.findall(r"`(--[a-z0-9-]+)`", cells[1]))
            variables.update(re.findall(r"`([A-Z][A-Z0-9_]*)`", cells[2]))
    return Program(path, flags, variables)


def demo_program(build: pathlib.Path) -> Program:
    """The demo's driver, with the flags of its help. It takes nothing from the environment."""
    path = build / "deploy/local/lockstep-demo"
    text = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    return Program(path, set(re.findall(r"^ +(--[a-z0-9-]+)", text, re.MULTILINE)), set())


def seconds(text: str) -> float:
    """Of 10s, 1m0s, 500ms, or a plain number of seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError(f"not a duration: {text}")
    return sum(float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] for number, unit in parts)


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def listening_ports(environment: dict[str, str]) -> dict[str, int]:
    names = ("LISTEN_ADDRESS", "OPERATIONS_ADDRESS", "METRICS_ADDRESS")
    return {name: port_of(environment[name]) for name in names if environment.get(name)}


def kubernetes_memory(name: str, folder: pathlib.Path = ROOT / "deploy/kubernetes/base") -> int:
    """The limit of the service's container, in MiB."""
    text = (folder / f"{name}.yaml").read_text()
    found = re.findall(r"limits:\n(?:\s*[a-z-]+: .*\n)*?\s*memory: (\d+)Mi\b", text)
    if len(set(found)) != 1:
        raise ValueError(f"{name}.yaml has memory limits {found}, not one")
    return int(found[0])


def project_version() -> str:
    text = (ROOT / "CMakeLists.txt").read_text()
    found = re.search(r"project\([^)]*\bVERSION\s+([0-9.]+)", text)
    if found is None:
        raise ValueError("CMakeLists.txt has no version")
    return found[1]


def settings_findings(where: str, program: Program, environment: dict[str, str]) -> list[str]:
    """Names that are no options, and values that the program refuses. Files of secrets are given a stand-in."""
    findings = [f"{where}: {name} is no setting of {program.path.name}"
                for name in sorted(environment) if name not in program.variables]
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write("stand-in")
        secret.flush()
        tried = {name: secret.name if name.endswith("_FILE") and value else value
                 for name, value in environment.items()}
        refusal = program.refuses(tried)
    if refusal:
        findings.append(f"{where}: {refusal}")
    return findings


# ---- Compose ----


def image_of(service: dict) -> tuple[str, str]:
    name, _, tag = service.get("image", "").rpartition(":")
    return (name, tag) if name else (tag, "")


def mounted_secrets(service: dict) -> set[str]:
    return {secret.get("target") or f"/run/secrets/{secret['source']}" for secret in service.get("secrets") or []}


def compose_confinement(name: str, service: dict) -> list[str]:
    findings = []
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        findings.append("keeps capabilities")
    if service.get("security_opt") != ["no-new-privileges:true"] or service.get("privileged"):
        findings.append("may gain privileges")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", service.get("user") or ""):
        findings.append("does not name a user and a group that are not root's, by number")
    if not service.get("read_only") and name not in WRITABLE:
        findings.append("can write to its own file system")
    if service.get("read_only") and name in WRITABLE:
        findings.append("is read-only, yet listed as an exception")
    for limit in ("mem_limit", "pids_limit"):
        if int(service.get(limit) or 0) <= 0:
            findings.append(f"has no {limit}")
    if not service.get("logging"):
        findings.append("keeps logs without end")
    return findings


def compose_image(service: dict, version: str, stages: set[str]) -> list[str]:
    findings = []
    name, tag = image_of(service)
    if not tag or tag == "latest":
        findings.append(f"image {service.get('image')} names no version")
    if name.startswith("lockstep/") and tag != version:
        findings.append(f"image {service['image']} is not of version {version}")
    target = (service.get("build") or {}).get("target")
    if service.get("build") and (target not in stages or name != f"lockstep/{target}"):
        findings.append(f"build target {target} is not the stage of image {name}")
    return findings


def compose_ports(service: dict) -> list[str]:
    findings = []
    listening = set(listening_ports(service.get("environment") or {}).values())
    for port in service.get("ports") or []:
        if port.get("host_ip") != "127.0.0.1":
            findings.append(f"port {port['target']} is published beyond this machine")
        if port["target"] not in listening:
            findings.append(f"port {port['target']} is published, but nobody listens there")
    return findings


def compose_life(name: str, service: dict, services: dict[str, dict]) -> list[str]:
    """How it starts, is found healthy, and ends."""
    findings = []
    environment = service.get("environment") or {}
    is_task = service.get("restart") == "no"
    for other, wish in (service.get("depends_on") or {}).items():
        expected = ("service_completed_successfully" if services[other].get("restart") == "no"
                    else "service_healthy")
        if wish.get("condition") != expected:
            findings.append(f"waits for {other} by {wish.get('condition')}, not {expected}")
    test = (service.get("healthcheck") or {}).get("test") or []
    if not is_task and test[:1] != ["CMD"]:
        findings.append("has no health check that is a plain command")
    if name in SERVICES and not is_task:
        port = listening_ports(environment).get("LISTEN_ADDRESS")
        if test != ["CMD", f"/usr/local/bin/{name}", "--probe", f"127.0.0.1:{port}"]:
            findings.append(f"health check {test} does not ask its own server")
        if seconds(service.get("stop_grace_period") or "10s") < (
                seconds(environment.get("SHUTDOWN_GRACE", "10s")) + AFTER_GRACE_SECONDS):
            findings.append("is killed before its shutdown can end")
    return findings


def compose_secrets(service: dict) -> list[str]:
    findings = []
    mounted = mounted_secrets(service)
    for variable, value in (service.get("environment") or {}).items():
        if variable.endswith("PASSWORD"):
            findings.append(f"{variable} is a password in the open")
        if variable.endswith("PASSWORD_FILE") and value not in mounted:
            findings.append(f"{variable} is {value}, which is no secret of it")
    return findings


def compose_files(service: dict) -> list[str]:
    return [f"{volume['source']} is not there" for volume in service.get("volumes") or []
            if volume["type"] == "bind" and not os.path.exists(volume["source"])]


def compose_program(service: dict, programs: dict[str, Program]) -> list[str]:
    """Of our own containers: settings and flags that their program has."""
    name = image_of(service)[0].removeprefix("lockstep/")
    if name not in programs:
        return []
    program = programs[name]
    findings = []
    for word in service.get("command") or []:
        flag = word.split("=")[0]
        if flag.startswith("--") and flag not in program.flags:
            findings.append(f"{program.path.name} has no flag {flag}")
    environment = service.get("environment") or {}
    return findings + (settings_findings("settings", program, environment) if name in SERVICES else
                       [f"{variable} is no setting of {name}" for variable in environment])


def compose_findings(project: dict, programs: dict[str, Program], version: str, stages: set[str],
                     memory: dict[str, int], made_secrets: set[str]) -> list[str]:
    """`memory`: each service's limit in MiB; `made_secrets`: the files that deploy/compose/passwords makes."""
    services = project["services"]
    findings = []
    for name, service in services.items():
        of_one = [*compose_confinement(name, service), *compose_image(service, version, stages),
                  *compose_ports(service), *compose_life(name, service, services), *compose_secrets(service),
                  *compose_files(service), *compose_program(service, programs)]
        findings += [f"{name}: {finding}" for finding in of_one]
    for name in SERVICES:
        if name not in services:
            findings.append(f"there is no {name}")
        elif int(services[name].get("mem_limit") or 0) != memory[name] * 2**20:
            findings.append(f"{name}: mem_limit is not the {memory[name]} MiB of Kubernetes")
    for name, secret in (project.get("secrets") or {}).items():
        if pathlib.Path(secret["file"]).name not in made_secrets:
            findings.append(f"secret {name}: nobody makes {secret['file']}")
    return findings


# ---- systemd ----


def unit_settings(text: str) -> dict[str, list[str]]:
    """Key to values, whatever the section: no key of ours is in two."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def environment_file(text: str, with_examples: bool = False) -> dict[str, str]:
    """NAME=value lines; with those that are commented out if asked for."""
    pattern = r"^#?([A-Z][A-Z0-9_]*)=(.*)$" if with_examples else r"^([A-Z][A-Z0-9_]*)=(.*)$"
    return dict(re.findall(pattern, text, re.MULTILINE))


def unit_findings(name: str, unit: str, example: str, users: str, program: Program, memory: int) -> list[str]:
    """Of NAME.service and NAME.env.example. `users`: the sysusers file; `memory`: its limit in MiB."""
    settings = unit_settings(unit)
    findings = []

    def expect(key: str, *values: str) -> None:
        if settings.get(key) != list(values):
            findings.append(f"{key} is {settings.get(key)}, not {list(values)}")

    expect("Type", "exec")
    expect("ExecStart", f"/usr/local/bin/{name}")
    expect("User", name)
    expect("EnvironmentFile", f"/etc/lockstep/{name}.env")
    expect("Restart", "on-failure")
    expect("RestartPreventExitStatus", str(EXIT_CONFIG))
    expect("MemoryMax", f"{memory}M")
    if re.search(rf"^u {re.escape(name)} ", users, re.MULTILINE) is None:
        findings.append(f"no user {name} is made")
    findings += [f"{key} limits processor time" for key in settings if key in ("CPUQuota", "LimitCPU")]
    findings += [f"{key} is missing" for key in ("TasksMax", "LimitNOFILE", "RestartSec") if key not in settings]

    environment = dict(value.split("=", 1) for value in settings.get("Environment", []))
    twice = environment.keys() & environment_file(example, with_examples=True).keys()
    findings += [f"{variable} is in the unit and in the example" for variable in sorted(twice)]
    credentials = {value.split(":")[0] for value in settings.get("LoadCredential", [])}
    for variable, value in environment.items():
        if value.startswith("%d/") and value.removeprefix("%d/") not in credentials:
            findings.append(f"{variable} is {value}, which is not loaded")
    if "PASSWORD=" in example:
        findings.append("the example has a password in the open")
    if seconds(settings.get("TimeoutStopSec", ["0"])[-1]) < (
            seconds(environment.get("SHUTDOWN_GRACE", "10s")) + AFTER_GRACE_SECONDS):
        findings.append("it is killed before its shutdown can end")
    findings += settings_findings("settings", program, environment | environment_file(example))
    findings += [f"the example's {variable} is no setting of {name}"
                 for variable in environment_file(example, with_examples=True) if variable not in program.variables]
    return [f"{name}.service: {finding}" for finding in findings]


def systemd_version() -> int:
    text = subprocess.run(["systemd-analyze", "--version"], capture_output=True, text=True, check=True).stdout
    return int(text.split()[1])


def systemd_findings(name: str, unit: str, program: Program) -> list[str]:
    """What systemd itself says of the unit."""
    with tempfile.TemporaryDirectory(prefix="lockstep-units.") as directory:
        file = pathlib.Path(directory) / f"{name}.service"
        file.write_text(unit.replace(f"/usr/local/bin/{name}", str(program.path.resolve())))
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", file], capture_output=True, text=True,
                                  check=False)
        secured = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSURE}", file],
            capture_output=True, text=True, check=False)
    said = verified.stderr.splitlines()
    if systemd_version() < 254:  # the unit says what becomes of these then
        said = [line for line in said if re.search(r"'(RestartSteps|RestartMaxDelaySec)'", line) is None]
    findings = [line.removeprefix(f"{directory}/") for line in said if name in line]
    if secured.returncode != 0:
        exposed = [line for line in secured.stdout.splitlines() if "Overall exposure" in line]
        findings.append(f"{name}.service: exposed above {MOST_EXPOSURE / 10}: {' '.join(exposed) or secured.stderr}")
    return findings


def sysusers_findings(file: pathlib.Path) -> list[str]:
    """Whether the users can be made on a machine that has none of them."""
    with tempfile.TemporaryDirectory(prefix="lockstep-units.") as directory:
        result = subprocess.run(["systemd-sysusers", "--dry-run", f"--root={directory}", file], capture_output=True,
                                text=True, check=False)
    said = result.stdout + result.stderr
    findings = [f"{file.name}: {said}"] if result.returncode != 0 else []
    return findings + [f"{file.name}: makes no user {name}" for name in SERVICES
                       if f"Creating user '{name}'" not in said]
