"""The ground the other tests stand on: PostgreSQL and Kafka start, and what was acknowledged survives their being
stopped, killed and paused."""

import confluent_kafka
import psycopg
import pytest

from processes import wait_until


@pytest.fixture
def table(postgres):
    name = postgres.new_database("order_service")
    with postgres.connect(name, "order_service") as connection:
        connection.execute("CREATE TABLE kept (number int PRIMARY KEY)")
    yield name
    postgres.drop_database(name)


def numbers(postgres, database):
    with postgres.connect(database, "order_service") as connection:
        return [row[0] for row in connection.execute("SELECT number FROM kept ORDER BY number")]


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_postgres_keeps_what_was_committed(postgres, table, how):
    connection = postgres.connect(table, "order_service")
    connection.execute("INSERT INTO kept VALUES (1)")
    if how == "kill":
        postgres.kill()
        assert not postgres.answers()
        with pytest.raises(psycopg.OperationalError):
            postgres.connect(table, "order_service")
    else:
        postgres.restart()
    with pytest.raises(psycopg.OperationalError):
        connection.execute("INSERT INTO kept VALUES (2)")

    postgres.start()
    assert numbers(postgres, table) == [1]


def test_postgres_loses_what_was_not_committed(postgres, table):
    connection = postgres.connect(table, "order_service")
    connection.autocommit = False
    connection.execute("INSERT INTO kept VALUES (1)")
    postgres.kill()
    postgres.start()
    assert numbers(postgres, table) == []


def test_postgres_pauses_and_goes_on(postgres, table):
    connection = postgres.connect(table, "order_service")
    postgres.pause()
    try:
        assert not postgres.answers()
    finally:
        postgres.resume()
    connection.execute("INSERT INTO kept VALUES (1)")
    assert numbers(postgres, table) == [1]


def test_a_service_cannot_reach_the_other_ones_database(postgres):
    for user, database in (("order_service", "delivery"), ("delivery_service", "orders")):
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            postgres.connect(database, user)


def produce(kafka, topic, values):
    failures = []
    producer = kafka.producer()
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: error and failures.append(error))
    assert producer.flush(30) == 0
    assert failures == []


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_kafka_keeps_what_was_acknowledged(kafka, how):
    kafka.delete_topics()
    kafka.create_topic("kept", partitions=3)
    sent = [b"%d" % number for number in range(1000)]
    produce(kafka, "kept", sent)
    if how == "kill":
        kafka.kill()
        assert not kafka.answers()
        kafka.start()
    else:
        kafka.restart()

    assert kafka.answers()
    assert sorted(message.value() for message in kafka.read("kept", len(sent))) == sorted(sent)
    produce(kafka, "kept", [b"afterwards"])
    assert sum(kafka.end_offsets("kept").values()) == len(sent) + 1


def test_kafka_keeps_committed_offsets(kafka):
    kafka.delete_topics()
    kafka.create_topic("kept")
    produce(kafka, "kept", [b"1", b"2", b"3"])
    consumer = kafka.consumer(group_id="keeper")
    consumer.commit(offsets=[confluent_kafka.TopicPartition("kept", 0, 2)], asynchronous=False)
    consumer.close()
    kafka.kill()
    kafka.start()
    assert kafka.committed_offsets("keeper", "kept") == {0: 2}


def test_kafka_pauses_and_goes_on(kafka):
    kafka.delete_topics()
    kafka.create_topic("kept")
    kafka.pause()
    try:
        assert not kafka.answers()
    finally:
        kafka.resume()
    wait_until(kafka.answers, 20, "Kafka answers again")
    produce(kafka, "kept", [b"1"])
    assert [message.value() for message in kafka.read("kept", 1)] == [b"1"]


def test_kafka_makes_no_topic_by_itself(kafka):
    kafka.delete_topics()
    errors = []
    producer = kafka.producer(message_timeout_ms=3000)
    producer.produce("unknown", b"1", on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors[0] is not None
    assert kafka.topics() == set()


def test_kcat_reads_what_was_produced(kafka, kcat):
    kafka.delete_topics()
    kafka.create_topic("kept")
    produce(kafka, "kept", [b"hello"])
    assert kcat("-C", "-t", "kept", "-o", "beginning", "-c", 1) == "hello\n"
