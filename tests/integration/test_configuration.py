"""Command lines, environment, exit codes and the databases' schemas."""

import re

import pytest

CONFIGURATION = 78
SIDES = ["order", "delivery"]


@pytest.fixture
def both(new_stack):
    return new_stack()


def one_line(result):
    """What a bad start says on stderr: one line."""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


BAD = {
    "a word for a number": ({"WRITE_BATCH": "many"}, [], "WRITE_BATCH"),
    "a number out of bounds": ({"RPC_THREADS": "0"}, [], "RPC_THREADS"),
    "a duration without a unit": ({"SHUTDOWN_GRACE": "10"}, [], "SHUTDOWN_GRACE"),
    "no level": ({"LOG_LEVEL": "loud"}, [], "LOG_LEVEL"),
    "neither true nor false": ({"TLS": "perhaps"}, [], "TLS"),
    "a file that is not there": ({"TLS_CERTIFICATE_FILE": "/no/such/file"}, [], "TLS_CERTIFICATE_FILE"),
    "a secret's file that is not there": ({"PGPASSWORD_FILE": "/no/such/file"}, [], "PGPASSWORD_FILE"),
    "an unknown flag": ({}, ["--colour", "blue"], "--colour"),
    "a flag without its value": ({}, ["--listen-address"], "--listen-address"),
    "a stray word": ({}, ["start"], "start"),
    "a bad value of a flag": ({}, ["--max-calls=-1"], "--max-calls"),
    "two actions": ({}, ["--migrate", "--create-topics"], "--create-topics"),
}


@pytest.mark.parametrize("settings, arguments, culprit", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("side", SIDES)
def test_a_bad_configuration_ends_the_start_with_one_clear_line(both, side, settings, arguments, culprit):
    service = getattr(both, side)
    service.settings.update(settings)
    result = service.run(*arguments, check=False)
    assert result.returncode == CONFIGURATION
    assert culprit in one_line(result)
    assert result.stdout == ""


@pytest.mark.parametrize("side", SIDES)
def test_a_secret_is_never_told(both, side):
    service = getattr(both, side)
    service.settings["PGPASSWORD"] = "s3cr3t-of-the-test"
    wrong = service.run("--migrate", check=False)
    assert wrong.returncode == 1
    assert "authentication failed" in wrong.stderr
    refused = service.run("--pg-password", "s3cr3t-of-the-test", check=False)
    assert refused.returncode == CONFIGURATION
    service.settings["RPC_THREADS"] = "0"
    for text in (wrong.stderr, one_line(refused), service.run(check=False).stderr):
        assert "s3cr3t" not in text


@pytest.mark.parametrize("side", SIDES)
def test_tls_without_a_certificate_is_no_configuration(both, side):
    service = getattr(both, side)
    both.prepare()
    service.settings["TLS"] = "true"
    result = service.run(check=False, timeout=30)
    assert result.returncode != 0
    assert "certificate" in result.stderr


@pytest.mark.parametrize("side", SIDES)
def test_an_address_in_use_ends_the_start(both, side):
    both.prepare()
    service = getattr(both, side)
    service.start()
    service.settings["METRICS_ADDRESS"] = ""
    result = service.run(check=False, timeout=30)
    assert result.returncode == 1
    assert service.address in result.stderr
    assert service.serving()


# ---- what it tells of itself ----

@pytest.mark.parametrize("side", SIDES)
def test_help_and_reference_name_every_option(both, side):
    service = getattr(both, side)
    text = service.run("--help").stdout
    reference = service.run("--config-reference").stdout
    flags = set(re.findall(r"--[a-z][a-z-]+", text))
    variables = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", reference))
    assert {"--listen-address", "--migrate", "--create-topics", "--probe", "--kafka-bootstrap-servers"} <= flags
    assert {"LISTEN_ADDRESS", "PGHOST", "KAFKA_BOOTSTRAP_SERVERS", "SHUTDOWN_GRACE", "LOG_LEVEL"} <= variables
    for variable in variables - {f"{secret}_FILE" for secret in variables}:
        assert variable in text, f"{variable} is not in --help"
    assert reference.count("\n|") > 40


@pytest.mark.parametrize("side", SIDES)
def test_version(both, side):
    assert re.fullmatch(rf"{side}-service \d+\.\d+\.\d+\n", getattr(both, side).run("--version").stdout)


@pytest.mark.parametrize("side", SIDES)
def test_help_works_whatever_the_environment_says(both, side):
    service = getattr(both, side)
    service.settings["RPC_THREADS"] = "none"
    assert service.run("--help").stdout.startswith(f"{side}-service")


@pytest.mark.parametrize("side", SIDES)
def test_flags_win_over_the_environment(both, side):
    both.prepare()
    service = getattr(both, side)
    address = service.address
    service.address = "203.0.113.1:1"  # nothing of this machine: would not start
    service.start("--listen-address", address, wait=False)
    service.address = address
    service.wait_serving()


@pytest.mark.parametrize("side", SIDES)
def test_the_probe_tells_whether_it_serves(both, side):
    both.prepare()
    service = getattr(both, side)
    assert service.run("--probe", service.address, check=False).returncode == 1
    service.start()
    assert service.run("--probe", service.address, check=False).returncode == 0


# ---- schemas ----

def connection(stack, side):
    return getattr(stack, f"{side}_database_connection")()


def schema(stack, side):
    with connection(stack, side) as database:
        columns = database.execute("SELECT table_name, column_name, data_type FROM information_schema.columns "
                                   "WHERE table_schema = 'public' ORDER BY 1, 2").fetchall()
        applied = database.execute("SELECT * FROM lockstep_schema_migrations ORDER BY 1, 2").fetchall()
    return columns, applied


@pytest.mark.parametrize("side", SIDES)
def test_migrating_again_changes_nothing(both, side):
    service = getattr(both, side)
    service.run("--migrate")
    before = schema(both, side)
    assert before[1]
    service.run("--migrate")
    assert schema(both, side) == before


@pytest.mark.parametrize("side", SIDES)
def test_a_schema_newer_than_the_program_is_refused(both, side):
    service = getattr(both, side)
    both.prepare()
    with connection(both, side) as database:
        database.execute("INSERT INTO lockstep_schema_migrations (component, number, name, checksum) "
                         "SELECT component, 9999, '9999_from_the_future', checksum FROM lockstep_schema_migrations LIMIT 1")
    for arguments in ([], ["--migrate"]):
        result = service.run(*arguments, check=False, timeout=30)
        assert result.returncode == 1
        assert "newer than this program" in result.stderr


@pytest.mark.parametrize("side", SIDES)
def test_without_leave_to_migrate_an_old_schema_is_refused(both, side):
    result = getattr(both, side).run(check=False, timeout=30)
    assert result.returncode == 1
    assert "--migrate" in result.stderr


@pytest.mark.parametrize("side", SIDES)
def test_with_leave_to_migrate_it_starts_on_an_empty_database(both, side):
    both.order.run("--create-topics")
    service = getattr(both, side)
    service.settings["MIGRATE_ON_START"] = "true"
    service.start()


def test_topics_are_created_once(both):
    both.order.run("--create-topics")
    both.order.run("--create-topics")
    assert set(both.event_topics) <= both.kafka.topics()
    topics = both.kafka.admin().list_topics(timeout=20).topics
    assert [len(topics[topic].partitions) for topic in both.event_topics] == [6, 6, 6, 6]
