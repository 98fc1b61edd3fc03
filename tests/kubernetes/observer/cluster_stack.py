"""The cluster's PostgreSQL, Kafka and services as the campaign's tools expect them, seen from a pod within."""

import pathlib

import psycopg
from processes import Kafka

TOPICS = {"DOMAIN_TOPIC": "order-topic", "CREATE_TOPIC": "order-create-topic", "CHANGE_TOPIC": "order-change-topic",
          "CANCEL_TOPIC": "order-cancel-topic", "DEAD_LETTER_TOPIC": "order-dead-letter-topic"}
PASSWORD_FILE = pathlib.Path("/run/secrets/postgresql/password")


class Address:
    """What stands for a service: where it is called."""

    def __init__(self, address: str) -> None:
        self.address = address


class ClusterKafka(Kafka):
    """The broker by its Service."""

    def __init__(self) -> None:
        super().__init__("/nonexistent")
        self.environment = {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"}


class ClusterStack:
    """As processes.Stack, as far as one can look from outside the services' pods."""

    topics = TOPICS
    event_topics = [name for setting, name in TOPICS.items() if setting != "DEAD_LETTER_TOPIC"]
    group = "delivery"
    services: list = []

    def __init__(self) -> None:
        self.kafka = ClusterKafka()
        self.order = Address("order-service:50051")
        self.delivery = Address("delivery-service:50052")

    def order_database_connection(self) -> psycopg.Connection:
        return _connect("orders")

    def delivery_database_connection(self) -> psycopg.Connection:
        return _connect("delivery")


class ClusterGround:
    """As ground.RoundStack and its ground: a stack whose processes are not at hand."""

    orders: list = []
    deliveries: list = []

    def __init__(self) -> None:
        self.stack = ClusterStack()
        self.ground = self
        self.kafka = self.stack.kafka


def _connect(database: str) -> psycopg.Connection:
    return psycopg.connect(host="postgresql", dbname=database, user="postgres", password=PASSWORD_FILE.read_text(),
                           connect_timeout=5, autocommit=True)
