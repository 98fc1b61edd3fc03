"""Each rule of rules.py is seen to find what it is for: what the tree holds is broken in one way, and the finding that
names it must come, alone."""

import copy
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import rules

DEPLOY = rules.ROOT / "deploy"
BUILD = pathlib.Path(os.environ.get("LOCKSTEP_BUILD_DIR", rules.ROOT / "build/gcc"))
PROGRAMS = {name: rules.service_program(BUILD, name) for name in rules.SERVICES} | {"demo": rules.demo_program(BUILD)}
STAGES = {"order-service", "delivery-service", "demo"}
SECRETS = {"postgresql", "order-service-database", "delivery-service-database"}
MEMORY = {"order-service": 256, "delivery-service": 320}


def compose_config(file: pathlib.Path) -> subprocess.CompletedProcess:
    command = subprocess.run([rules.ROOT / "tests/units/install-compose-config"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout.strip()
    return subprocess.run([command, str(file)], capture_output=True, text=True, check=False)


class Compose(unittest.TestCase):
    """compose.yaml, broken."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.sound = json.loads(compose_config(DEPLOY / "compose.yaml").stdout)

    def setUp(self) -> None:
        self.project = copy.deepcopy(self.sound)
        self.services = self.project["services"]
        self.order = self.services["order-service"]

    def findings(self) -> list[str]:
        return rules.compose_findings(self.project, PROGRAMS, "0.1.0", STAGES, MEMORY, SECRETS)

    def assert_found(self, *expected: str) -> None:
        found = self.findings()
        self.assertEqual(len(found), len(expected), found)
        for finding, text in zip(found, expected):
            self.assertIn(text, finding)

    def test_what_is_there_is_sound(self) -> None:
        self.assertEqual(self.findings(), [])

    def test_a_file_that_breaks_the_specification_is_refused(self) -> None:
        for broken in ("services:\n  a:\n    image: b\n    memory: 5\n",
                       "services:\n  a:\n    image: b\n    depends_on: [c]\n",
                       "services:\n  a:\n    image: b\n    secrets: [c]\n"):
            with tempfile.TemporaryDirectory() as directory:
                file = pathlib.Path(directory) / "compose.yaml"
                file.write_text("name: broken\n" + broken)
                result = compose_config(file)
            self.assertEqual(result.returncode, 1, broken)
            self.assertNotEqual(result.stderr, "")

    def test_a_setting_that_the_program_does_not_have(self) -> None:
        self.order["environment"]["LISTEN_ADRESS"] = "0.0.0.0:1"
        self.assert_found("order-service: settings: LISTEN_ADRESS is no setting of order-service")

    def test_a_value_that_the_program_refuses(self) -> None:
        self.order["environment"]["SHUTDOWN_GRACE"] = "10s"
        self.services["order-topics"]["environment"]["TOPIC_PARTITIONS"] = "six"
        self.assert_found("order-topics: settings: order-service: ")

    def test_a_flag_that_the_program_does_not_have(self) -> None:
        self.services["delivery-schema"]["command"] = ["--migrat"]
        self.services["demo"]["command"][0] = "--order=here"
        self.assert_found("delivery-schema: delivery-service has no flag --migrat",
                          "demo: lockstep-demo has no flag --order")

    def test_settings_for_a_program_that_has_none(self) -> None:
        self.services["demo"]["environment"] = {"LOG_LEVEL": "info"}
        self.assert_found("demo: LOG_LEVEL is no setting of demo")

    def test_confinement(self) -> None:
        for change, expected in (
                ({"cap_drop": ["CHOWN"]}, "keeps capabilities"), ({"cap_add": ["CHOWN"]}, "keeps capabilities"),
                ({"security_opt": None}, "may gain privileges"), ({"privileged": True}, "may gain privileges"),
                ({"user": "0:0"}, "does not name a user"), ({"user": "nobody"}, "does not name a user"),
                ({"read_only": False}, "can write to its own file system"), ({"pids_limit": 0}, "has no pids_limit"),
                ({"logging": None}, "keeps logs without end")):
            with self.subTest(expected):
                self.setUp()
                self.order.update(change)
                self.assert_found(f"order-service: {expected}")

    def test_an_exception_that_is_none(self) -> None:
        self.services["kafka"]["read_only"] = True
        self.assert_found("kafka: is read-only, yet listed as an exception")

    def test_memory(self) -> None:
        self.services["kafka"]["mem_limit"] = "0"
        self.order["mem_limit"] = str(255 * 2**20)
        self.assert_found("kafka: has no mem_limit", "order-service: mem_limit is not the 256 MiB of Kubernetes")

    def test_images(self) -> None:
        self.services["kafka"]["image"] = "apache/kafka:latest"
        self.services["postgresql"]["image"] = "postgres"
        self.order["image"] = "lockstep/order-service:0.2.0"
        self.services["demo"]["build"]["target"] = "order-service"
        self.assertEqual(sorted(self.findings()), [
            "demo: build target order-service is not the stage of image lockstep/demo",
            "kafka: image apache/kafka:latest names no version",
            "order-service: image lockstep/order-service:0.2.0 is not of version 0.1.0",
            "postgresql: image postgres names no version"])

    def test_ports(self) -> None:
        self.order["ports"][0]["host_ip"] = "0.0.0.0"
        self.order["ports"][1]["target"] = 50062
        self.assert_found("port 50051 is published beyond this machine", "port 50062 is published, but nobody listens")

    def test_the_order_of_things(self) -> None:
        self.order["depends_on"]["order-schema"]["condition"] = "service_started"
        self.services["demo"]["depends_on"]["order-service"]["condition"] = "service_completed_successfully"
        self.assertEqual(sorted(self.findings()), [
            "demo: waits for order-service by service_completed_successfully, not service_healthy",
            "order-service: waits for order-schema by service_started, not service_completed_successfully"])

    def test_health(self) -> None:
        self.order["healthcheck"]["test"][3] = "127.0.0.1:50052"
        self.services["kafka"]["healthcheck"] = None
        self.services["postgresql"]["healthcheck"]["test"] = ["CMD-SHELL", "pg_isready"]
        self.assertEqual(sorted(finding.split(" [")[0] for finding in self.findings()), [
            "kafka: has no health check that is a plain command", "order-service: health check",
            "postgresql: has no health check that is a plain command"])

    def test_too_little_time_to_end(self) -> None:
        self.order["stop_grace_period"] = "15s"
        self.services["delivery-service"]["environment"]["SHUTDOWN_GRACE"] = "25s"
        self.assertEqual(sorted(self.findings()), ["delivery-service: is killed before its shutdown can end",
                                                   "order-service: is killed before its shutdown can end"])

    def test_secrets(self) -> None:
        self.services["postgresql"]["environment"]["POSTGRES_PASSWORD"] = "open"
        self.order["environment"]["PGPASSWORD_FILE"] = "/run/secrets/other"
        self.project["secrets"]["postgresql"]["file"] = "/elsewhere/superuser"
        self.assertEqual(sorted(self.findings()), [
            "order-service: PGPASSWORD_FILE is /run/secrets/other, which is no secret of it",
            "postgresql: POSTGRES_PASSWORD is a password in the open",
            "secret postgresql: nobody makes /elsewhere/superuser"])

    def test_a_file_that_is_not_there(self) -> None:
        self.services["postgresql"]["volumes"][1]["source"] = "/nowhere/databases.sh"
        self.assert_found("postgresql: /nowhere/databases.sh is not there")

    def test_a_service_that_is_not_there(self) -> None:
        del self.services["delivery-service"]
        del self.services["demo"]
        self.assert_found("there is no delivery-service")


class Unit(unittest.TestCase):
    """order-service.service and its example, broken."""

    def setUp(self) -> None:
        self.unit = (DEPLOY / "systemd/order-service.service").read_text()
        self.example = (DEPLOY / "systemd/order-service.env.example").read_text()
        self.users = (DEPLOY / "systemd/sysusers.d/lockstep.conf").read_text()

    def replaced(self, old: str, new: str) -> str:
        self.assertIn(old, self.unit)
        return self.unit.replace(old, new)

    def findings(self, unit: str | None = None, example: str | None = None, users: str | None = None) -> list[str]:
        return rules.unit_findings(
            "order-service", self.unit if unit is None else unit, self.example if example is None else example,
            self.users if users is None else users, PROGRAMS["order-service"], MEMORY["order-service"])

    def test_what_is_there_is_sound(self) -> None:
        self.assertEqual(self.findings(), [])
        self.assertEqual(rules.systemd_findings("order-service", self.unit, PROGRAMS["order-service"]), [])

    def test_each_promise_of_the_unit(self) -> None:
        for old, new, expected in (
                ("Type=exec", "Type=simple", "Type is"),
                ("ExecStart=/usr/local/bin/order-service", "ExecStart=/usr/bin/order-service", "ExecStart is"),
                ("User=order-service", "User=root", "User is"),
                ("EnvironmentFile=/etc/lockstep/order", "EnvironmentFile=/etc/order", "EnvironmentFile is"),
                ("Restart=on-failure", "Restart=always", "Restart is"),
                ("RestartPreventExitStatus=78", "RestartPreventExitStatus=77", "RestartPreventExitStatus is"),
                ("MemoryMax=256M", "MemoryMax=255M", "MemoryMax is"),
                ("TasksMax=128", "CPUQuota=50%\nTasksMax=128", "CPUQuota limits processor time"),
                ("TasksMax=128\n", "", "TasksMax is missing"),
                ("LimitNOFILE=65536\n", "", "LimitNOFILE is missing"),
                ("RestartSec=1\n", "", "RestartSec is missing"),
                ("TimeoutStopSec=30", "TimeoutStopSec=15", "it is killed before its shutdown can end"),
                ("=%d/database-password", "=%d/password", "PGPASSWORD_FILE is %d/password, which is not loaded"),
                ("Environment=SHUTDOWN_GRACE", "Environment=SHUTDOWN_PAUSE", "SHUTDOWN_PAUSE is no setting"),
                ("SHUTDOWN_GRACE=10s", "SHUTDOWN_GRACE=10s\nEnvironment=PGHOST=here", "PGHOST is in the unit and in"),
                ("MIGRATE_ON_START=true", "MIGRATE_ON_START=perhaps", "MIGRATE_ON_START")):
            with self.subTest(new):
                found = self.findings(unit=self.replaced(old, new))
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])

    def test_each_promise_of_the_example(self) -> None:
        for line, expected in (("LISTEN_ADRESS=1", "settings: LISTEN_ADRESS is no setting"),
                               ("#LISTEN_ADRESS=1", "the example's LISTEN_ADRESS is no setting"),
                               ("TOPIC_PARTITIONS=six", "settings: order-service: "),
                               ("PGPASSWORD=open", "the example has a password in the open")):
            with self.subTest(line):
                found = self.findings(example=f"{self.example}{line}\n")
                self.assertTrue(any(expected in finding for finding in found), found)

    def test_a_user_that_nobody_makes(self) -> None:
        self.assertEqual(self.findings(users="u somebody -\n"), ["order-service.service: no user order-service is made"])
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "users.conf"
            file.write_text(self.users.replace("u delivery-service", "u deliveries"))
            self.assertEqual(rules.sysusers_findings(file), ["users.conf: makes no user delivery-service"])
            file.write_text("nonsense order-service\n")
            self.assertEqual(len(rules.sysusers_findings(file)), 3)

    def test_systemd_is_asked(self) -> None:
        program = PROGRAMS["order-service"]
        for old, new, expected in (("TasksMax=128", "TaskMax=128", "Unknown key"),
                                   ("MemoryMax=256M", "MemoryMax=much", "Invalid memory limit"),
                                   ("/usr/local/bin/order-service", "/nowhere/order-service", "not executable"),
                                   ("SystemCallFilter=@system-service", "SystemCallFilter=@all", "@all"),
                                   ("ProtectSystem=strict\nProtectHome=yes\n", "", "exposed above")):
            with self.subTest(new):
                found = rules.systemd_findings("order-service", self.replaced(old, new), program)
                self.assertEqual(len(found), 1, found)
                self.assertIn(expected, found[0])


class Parts(unittest.TestCase):
    """What the rules stand on."""

    def test_durations(self) -> None:
        self.assertEqual([rules.seconds(text) for text in ("30", "10s", "1m0s", "500ms", "1h")],
                         [30, 10, 60, 0.5, 3600])
        for text in ("", "s", "5 s", "1d"):
            with self.assertRaises(ValueError):
                rules.seconds(text)

    def test_the_memory_of_kubernetes(self) -> None:
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "a.yaml"
            file.write_text("resources:\n  requests:\n    memory: 1Mi\n  limits:\n    cpu: 1\n    memory: 2Mi\n")
            self.assertEqual(rules.kubernetes_memory("a", pathlib.Path(directory)), 2)
            file.write_text("resources:\n  requests:\n    memory: 1Mi\n")
            with self.assertRaises(ValueError):
                rules.kubernetes_memory("a", pathlib.Path(directory))

    def test_programs_name_their_options(self) -> None:
        for name in rules.SERVICES:
            self.assertIn("PGPASSWORD_FILE", PROGRAMS[name].variables)
            self.assertIn("--migrate", PROGRAMS[name].flags)
        self.assertIn("--order-address", PROGRAMS["demo"].flags)


if __name__ == "__main__":
    unittest.main()
