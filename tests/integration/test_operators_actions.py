"""--migrate and --create-topics: what they make, and how they wait for what is not there yet."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest
from confluent_kafka.admin import ConfigResource, ConfigSource

from support.sasl_broker import SaslBroker

CONFIGURATION = 78
SIDES = ["order", "delivery"]
ACTIONS = ["--migrate", "--create-topics"]
WAITS = "waiting for what is not there yet"


@pytest.fixture
def both(new_stack):
    return new_stack()


def topic_settings(kafka, topic: str) -> dict[str, str]:
    """The settings that the topic has of its own."""
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = kafka.admin()  # a name for it: what it was asked ends when it goes
    found = admin.describe_configs([resource])[resource].result(20)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {name: entry.value for name, entry in found.items() if entry.source == own}


def topics_of(stack, side: str) -> list[str]:
    return stack.event_topics if side == "order" else [stack.topics["DEAD_LETTER_TOPIC"]]


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


# ---- topics ----

@pytest.mark.parametrize("side", SIDES)
def test_topics_have_what_was_asked_for(both, side):
    service = getattr(both, side)
    service.run("--create-topics", "--topic-retention", "8760h", "--topic-min-insync-replicas", "1")
    for topic in topics_of(both, side):
        settings = topic_settings(both.kafka, topic)
        assert settings["retention.ms"] == str(8760 * 3600 * 1000)
        assert settings["min.insync.replicas"] == "1"


@pytest.mark.parametrize("side", SIDES)
def test_topics_have_the_clusters_settings_otherwise(both, side):
    getattr(both, side).run("--create-topics")
    for topic in topics_of(both, side):
        assert not {"retention.ms", "min.insync.replicas"} & topic_settings(both.kafka, topic).keys()


@pytest.mark.parametrize("arguments", [["--create-topics"], ["--migrate"], []], ids=["topics", "migrate", "serve"])
@pytest.mark.parametrize("side", SIDES)
def test_more_replicas_in_sync_than_there_are_is_no_configuration(both, side, arguments):
    service = getattr(both, side)
    service.settings.update(TOPIC_REPLICATION="2", TOPIC_MIN_INSYNC_REPLICAS="3")
    result = service.run(*arguments, check=False)
    assert result.returncode == CONFIGURATION
    assert len(result.stderr.splitlines()) == 1
    assert "TOPIC_MIN_INSYNC_REPLICAS" in result.stderr and "TOPIC_REPLICATION" in result.stderr


# ---- waiting ----

def unreachable(service, action: str, address: tuple[str, int]) -> None:
    host, port = address
    if action == "--migrate":
        service.settings.update(PGHOST=host, PGPORT=str(port))
    else:
        service.settings["KAFKA_BOOTSTRAP_SERVERS"] = f"{host}:{port}"


@pytest.fixture
def nobody():
    """An address where nobody listens."""
    with socket.socket() as reservation:
        reservation.bind(("127.0.0.1", 0))
        yield reservation.getsockname()


@pytest.fixture
def silent():
    """An address where connections are taken and nothing is answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("side", SIDES)
def test_an_action_gives_up_in_time(both, side, action, nobody):
    service = getattr(both, side)
    unreachable(service, action, nobody)
    service.settings["ACTION_TIMEOUT"] = "3s"
    begin = time.monotonic()
    result = service.run(action, check=False)
    assert 3 <= time.monotonic() - begin < 10
    assert result.returncode == 1
    messages = [record["message"] for record in records(result.stderr)]
    assert messages.count(WAITS) == 1
    assert messages[-1] == f"{side}-service cannot go on"
    assert re.search("refused|time", records(result.stderr)[-1]["error"])


@pytest.mark.parametrize("action", ACTIONS)
def test_without_patience_there_is_one_attempt(both, action, nobody):
    unreachable(both.order, action, nobody)
    both.order.settings["ACTION_TIMEOUT"] = "0"
    begin = time.monotonic()
    result = both.order.run(action, check=False)
    assert time.monotonic() - begin < 5
    assert result.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("address", ["nobody", "silent"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_signal_ends_the_wait_at_once(both, action, address, number, request):
    service = both.delivery
    unreachable(service, action, request.getfixturevalue(address))
    service.start(action, wait=False)
    service.wait_log('"message":"configuration"' if address == "silent" else WAITS)
    begin = time.monotonic()
    service.signal(number)
    assert service.wait_ended() == 128 + number
    assert time.monotonic() - begin < 1


def test_migrating_waits_for_the_database(both):
    service = both.order
    both.postgres.stop()
    try:
        service.start("--migrate", wait=False)
        service.wait_log(WAITS)
    finally:
        both.postgres.start()
    assert service.wait_ended(30) == 0
    assert service.log().count(WAITS) == 1
    service.start()


def test_creating_topics_waits_for_kafka(both):
    service = both.delivery
    both.kafka.stop()
    try:
        service.start("--create-topics", wait=False)
        service.wait_log(WAITS)
    finally:
        both.kafka.start()
    assert service.wait_ended(60) == 0
    assert service.log().count(WAITS) == 1
    assert both.topics["DEAD_LETTER_TOPIC"] in both.kafka.topics()


def test_creating_topics_waits_for_brokers_and_then_says_what_is_wrong(both):
    """A cluster that starts has fewer brokers than replicas; one that has started does not get more."""
    both.order.settings.update(TOPIC_REPLICATION="2", ACTION_TIMEOUT="3s")
    begin = time.monotonic()
    result = both.order.run("--create-topics", check=False)
    assert 3 <= time.monotonic() - begin < 15
    assert result.returncode == CONFIGURATION
    assert [record["message"] for record in records(result.stderr)].count(WAITS) == 1
    assert "replication factor" in records(result.stderr)[-1]["error"].lower()


# ---- what waiting does not mend ----

def refused(service) -> dict:
    """Migrates, which must fail at once; its last line."""
    begin = time.monotonic()
    result = service.run("--migrate", check=False)
    assert time.monotonic() - begin < 10
    assert result.returncode == 1
    assert WAITS not in result.stderr
    return records(result.stderr)[-1]


@pytest.mark.parametrize("side", SIDES)
def test_a_refusal_is_not_waited_for(both, side):
    service = getattr(both, side)
    database, user = service.settings["PGDATABASE"], service.settings["PGUSER"]
    service.settings["PGPASSWORD"] = "wrong"
    last = refused(service)
    assert last["error_source"] == "28P01" and "password authentication failed" in last["error"]
    del service.settings["PGPASSWORD"]
    service.settings["PGDATABASE"] = "no_such_database"
    last = refused(service)
    assert last["error_source"] == "3D000" and "no_such_database" in last["error"]
    service.settings.update(PGDATABASE=database, PGUSER="no_such_role", PGPASSWORD="wrong")
    assert refused(service)["error_source"].startswith("28")
    service.settings.update(PGUSER=user, PGPASSFILE="/no/such/file")
    del service.settings["PGPASSWORD"]
    assert refused(service)["error_code"] == "UNAUTHENTICATED"


def test_a_schema_that_is_newer_is_not_waited_for(both):
    both.order.run("--migrate")
    with both.order_database_connection() as database:
        database.execute("INSERT INTO lockstep_schema_migrations (component, number, name, checksum) "
                         "SELECT component, 9999, 'from_the_future', checksum FROM lockstep_schema_migrations LIMIT 1")
    assert "newer than this program" in refused(both.order)["error"]


def test_kafkas_refusal_is_not_waited_for(both):
    service = both.order
    broker = SaslBroker()
    service.settings.update(broker.settings, KAFKA_SASL_PASSWORD="guessed")
    begin = time.monotonic()
    result = service.run("--create-topics", check=False)
    assert time.monotonic() - begin < 15
    assert result.returncode == 1
    assert records(result.stderr)[-1]["error_code"] == "UNAUTHENTICATED"
    assert "guessed" in broker.passwords and "guessed" not in result.stderr
    broker.close()


def test_actions_name_their_limit_in_help(both):
    text = subprocess.run([both.order.program, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--action-timeout DURATION  ACTION_TIMEOUT" in text
