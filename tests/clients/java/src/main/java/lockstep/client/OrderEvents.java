package lockstep.client;

import static lockstep.client.Client.check;

import com.google.protobuf.InvalidProtocolBufferException;
import io.cloudevents.CloudEvent;
import io.cloudevents.SpecVersion;
import io.cloudevents.kafka.CloudEventDeserializer;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import order.v1.OrderEventOuterClass.OrderEvent;
import order.v1.OrderEventOuterClass.OrderEventType;
import order.v1.OrderOuterClass.OrderStatus;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads the orders' events from Kafka: CloudEvents in binary mode, with an order.v1.OrderEvent as data. */
final class OrderEvents {
  private OrderEvents() {}

  /**
   * Reads the topic from its beginning until each of these orders has come to its version.
   *
   * @param versions the newest version of each order
   * @param cancelled the order whose last event must be its cancellation
   */
  static void follow(
      String servers, String topic, Map<Long, Long> versions, long cancelled, Duration timeout) {
    // Without a group: who wants all events, each time, has no use for stored offsets.
    Map<String, Object> settings =
        Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, servers, ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    Map<Long, OrderEvent> newest = new HashMap<>();
    Instant end = Instant.now().plus(timeout);
    try (KafkaConsumer<String, CloudEvent> consumer =
        new KafkaConsumer<>(settings, new StringDeserializer(), new CloudEventDeserializer())) {
      List<TopicPartition> partitions =
          consumer.partitionsFor(topic, timeout).stream()
              .map(partition -> new TopicPartition(topic, partition.partition()))
              .toList();
      consumer.assign(partitions);
      consumer.seekToBeginning(partitions);
      while (!reached(newest, versions)) {
        check(Instant.now().isBefore(end), "came to %s, not to %s", versionsOf(newest), versions);
        for (ConsumerRecord<String, CloudEvent> record : consumer.poll(Duration.ofMillis(200))) {
          if (versions.containsKey(Long.parseLong(record.key()))) { // the others are other clients'
            take(record, newest);
          }
        }
      }
    } catch (InvalidProtocolBufferException e) {
      throw new AssertionError("an event is not an order.v1.OrderEvent: " + e.getMessage(), e);
    }
    check(versionsOf(newest).equals(versions), "came to %s, not to %s", versionsOf(newest), versions);
    OrderEvent last = newest.get(cancelled);
    check(last.getType() == OrderEventType.ORDER_EVENT_TYPE_CANCELLED, "the last event is %s", last.getType());
    check(last.getOrder().getStatus() == OrderStatus.ORDER_STATUS_CANCELLED, "with the order %s", last.getOrder());
  }

  private static void take(ConsumerRecord<String, CloudEvent> record, Map<Long, OrderEvent> newest)
      throws InvalidProtocolBufferException {
    CloudEvent event = record.value();
    OrderEvent data = OrderEvent.parseFrom(event.getData().toBytes());
    check(event.getSpecVersion() == SpecVersion.V1, "specversion %s", event.getSpecVersion());
    check(event.getSource().toString().equals("/lockstep/order"), "source %s", event.getSource());
    check(event.getType().equals(typeOf(data)), "type %s of %s", event.getType(), data.getType());
    check(event.getSubject().equals(record.key()), "subject %s", event.getSubject());
    String orderId = Long.toString(data.getOrderId());
    check(record.key().equals(orderId), "key %s of order %s", record.key(), orderId);
    check(event.getId().equals(data.getOrderId() + ":" + data.getVersion()), "id %s", event.getId());
    check(event.getId().equals(data.getEventId()), "id %s, but event_id %s", event.getId(), data.getEventId());
    check("application/protobuf".equals(event.getDataContentType()), "content type %s", event.getDataContentType());
    check(event.getDataSchema() == null, "dataschema %s", event.getDataSchema());
    Instant occurred = Instant.ofEpochSecond(data.getOccurTime().getSeconds(), data.getOccurTime().getNanos());
    check(event.getTime().toInstant().equals(occurred), "time %s, but occur_time %s", event.getTime(), occurred);
    check(data.getOrder().getVersion() == data.getVersion(), "%s with %s", event.getId(), data.getOrder());

    // The same event may come twice, but within a topic no older one after a newer.
    OrderEvent before = newest.put(data.getOrderId(), data);
    check(before == null || before.getVersion() <= data.getVersion(), "%s came late", event.getId());
  }

  private static String typeOf(OrderEvent event) {
    return switch (event.getType()) {
      case ORDER_EVENT_TYPE_CREATED -> "order.v1.OrderCreated";
      case ORDER_EVENT_TYPE_CHANGED -> "order.v1.OrderChanged";
      case ORDER_EVENT_TYPE_CANCELLED -> "order.v1.OrderCancelled";
      default -> "none";
    };
  }

  private static boolean reached(Map<Long, OrderEvent> newest, Map<Long, Long> versions) {
    return versions.entrySet().stream()
        .allMatch(
            each ->
                newest.containsKey(each.getKey())
                    && newest.get(each.getKey()).getVersion() >= each.getValue());
  }

  private static Map<Long, Long> versionsOf(Map<Long, OrderEvent> events) {
    Map<Long, Long> versions = new HashMap<>();
    events.forEach((orderId, event) -> versions.put(orderId, event.getVersion()));
    return versions;
  }
}
