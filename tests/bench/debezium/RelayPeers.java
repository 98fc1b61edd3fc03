// What one would use instead of the relay, in one warm JVM: Debezium's embedded engine and a polling publisher, both
// sending to Kafka by the same producer. Obeys lines on standard input and answers each with one line:
//
//   drain SLOT TABLE TOPIC COUNT   Debezium, from where the slot is until COUNT records are acknowledged
//   stream SLOT TABLE TOPIC        Debezium, until "stop"
//   stop
//   poll TABLE TOPIC               the polling publisher, until the table is empty
//
// Debezium finds the publication "relay_" + TABLE. Servers are named by the PG* environment and
// KAFKA_BOOTSTRAP_SERVERS.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

import io.debezium.embedded.Connect;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.RecordChangeEvent;
import io.debezium.engine.format.ChangeEventFormat;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.connect.source.SourceRecord;

public final class RelayPeers {
  private static final String HOST = System.getenv("PGHOST");
  private static final String PORT = System.getenv("PGPORT");
  private static final String DATABASE = System.getenv("PGDATABASE");
  private static final String USER = System.getenv("PGUSER");
  private static final String PASSWORD = System.getenv("PGPASSWORD");
  private static final int POLL_ROWS = 1000;

  public static void main(String[] arguments) throws Exception {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (KafkaProducer<byte[], byte[]> producer = producer()) {
      Streaming streaming = null;
      for (String line; (line = lines.readLine()) != null;) {
        String[] words = line.split(" ");
        switch (words[0]) {
          case "drain" -> {
            Streaming drain = new Streaming(producer, words[1], words[2], words[3], Long.parseLong(words[4]));
            drain.counted.await();
            drain.stop();
            System.out.println("drained " + drain.acknowledged);
          }
          case "stream" -> {
            streaming = new Streaming(producer, words[1], words[2], words[3], Long.MAX_VALUE);
            System.out.println("streaming");
          }
          case "stop" -> {
            streaming.stop();
            System.out.println("stopped " + streaming.acknowledged);
          }
          case "poll" -> System.out.println("polled " + poll(producer, words[1], words[2]));
          default -> throw new IllegalArgumentException(line);
        }
      }
    }
  }

  private static KafkaProducer<byte[], byte[]> producer() {
    Properties settings = new Properties();
    settings.put("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"));
    settings.put("acks", "all");
    settings.put("enable.idempotence", "true");
    settings.put("linger.ms", "1");
    settings.put("batch.size", Integer.toString(256 << 10));
    settings.put("buffer.memory", Integer.toString(64 << 20));
    return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
  }

  /** Records handed to the producer together, and what has become of them. */
  private static final class Batch {
    final List<RecordChangeEvent<SourceRecord>> records;
    final CountDownLatch open;
    final AtomicReference<Exception> failure = new AtomicReference<>();

    Batch(List<RecordChangeEvent<SourceRecord>> records) {
      this.records = records;
      this.open = new CountDownLatch(records.size());
    }

    void await() throws InterruptedException {
      open.await();
      if (failure.get() != null)
        throw new IllegalStateException(failure.get());
    }
  }

  /** A run of Debezium's engine. */
  private static final class Streaming implements DebeziumEngine.ChangeConsumer<RecordChangeEvent<SourceRecord>> {
    final CountDownLatch counted = new CountDownLatch(1);
    volatile long acknowledged;
    private final KafkaProducer<byte[], byte[]> producer;
    private final long count;
    private final DebeziumEngine<RecordChangeEvent<SourceRecord>> engine;
    private final Thread thread;
    private volatile boolean stopping;
    private long sent;
    private Batch before;

    Streaming(KafkaProducer<byte[], byte[]> producer, String slot, String table, String topic, long count) {
      this.producer = producer;
      this.count = count;
      engine = DebeziumEngine.create(ChangeEventFormat.of(Connect.class)).using(properties(slot, table, topic))
          .using((boolean success, String message, Throwable error) -> {
            if (!success && !stopping) {
              System.err.println("engine: " + message + " " + error);
              System.exit(1);
            }
          }).notifying(this).build();
      thread = new Thread(engine, "engine");
      thread.start();
    }

    void stop() throws Exception {
      stopping = true;
      engine.close();
      thread.join();
    }

    /** A batch is waited for when the next one has been sent, so that one is acknowledged while the next is made:
     * faster than Debezium's own server, which waits for each. */
    @Override
    public void handleBatch(List<RecordChangeEvent<SourceRecord>> records,
        DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer) throws InterruptedException {
      Batch batch = new Batch(records);
      for (RecordChangeEvent<SourceRecord> event : records) {
        SourceRecord record = event.record();
        producer.send(new ProducerRecord<>(record.topic(), bytes(record.key()), bytes(record.value())),
            (metadata, failure) -> {
              if (failure != null)
                batch.failure.set(failure);
              batch.open.countDown();
            });
      }
      sent += records.size();
      if (before != null)
        finish(before, committer);
      before = batch;
      if (sent >= count) {
        finish(batch, committer);
        before = null;
        counted.countDown();
      }
    }

    private void finish(Batch batch, DebeziumEngine.RecordCommitter<RecordChangeEvent<SourceRecord>> committer)
        throws InterruptedException {
      batch.await();
      committer.markProcessed(batch.records.get(batch.records.size() - 1)); // whose offset is all that is kept
      committer.markBatchFinished();
      acknowledged += batch.records.size();
    }
  }

  /** Key and payload as they are: text and bytea. */
  private static byte[] bytes(Object value) {
    if (value instanceof byte[] bytes)
      return bytes;
    if (value instanceof ByteBuffer buffer) {
      byte[] bytes = new byte[buffer.remaining()];
      buffer.duplicate().get(bytes);
      return bytes;
    }
    return ((String) value).getBytes(StandardCharsets.UTF_8);
  }

  private static Properties properties(String slot, String table, String topic) {
    Properties settings = new Properties();
    settings.put("name", slot);
    settings.put("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
    settings.put("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
    settings.put("offset.flush.interval.ms", "1000");
    settings.put("database.hostname", HOST);
    settings.put("database.port", PORT);
    settings.put("database.dbname", DATABASE);
    settings.put("database.user", USER);
    settings.put("database.password", PASSWORD);
    settings.put("topic.prefix", "bench");
    settings.put("plugin.name", "pgoutput");
    settings.put("slot.name", slot);
    settings.put("slot.drop.on.stop", "false");
    settings.put("publication.name", "relay_" + table);
    settings.put("publication.autocreate.mode", "disabled");
    settings.put("snapshot.mode", "no_data");
    settings.put("table.include.list", "public." + table);
    settings.put("tombstones.on.delete", "false");
    settings.put("poll.interval.ms", "1");
    settings.put("max.batch.size", "8192");
    settings.put("max.queue.size", "32768");
    settings.put("transforms", "outbox");
    settings.put("transforms.outbox.type", "io.debezium.transforms.outbox.EventRouter");
    settings.put("transforms.outbox.route.topic.replacement", topic);
    return settings;
  }

  /** As one would write it: read the oldest rows, send them, wait once, delete them by their ids, commit. A row that is
   * deleted too late is sent twice, no worse, so that no commit waits for the disk; the relay's checkpoints do not. */
  private static long poll(KafkaProducer<byte[], byte[]> producer, String table, String topic) throws Exception {
    long count = 0;
    String url = "jdbc:postgresql://" + HOST + ":" + PORT + "/" + DATABASE;
    try (Connection connection = DriverManager.getConnection(url, USER, PASSWORD)) {
      connection.createStatement().execute("SET synchronous_commit = off");
      connection.setAutoCommit(false);
      try (PreparedStatement select = connection.prepareStatement(
               "SELECT id, aggregateid, payload FROM " + table + " ORDER BY id LIMIT " + POLL_ROWS);
           PreparedStatement delete = connection.prepareStatement("DELETE FROM " + table + " WHERE id = ANY (?)")) {
        AtomicReference<Exception> failed = new AtomicReference<>();
        Long[] ids = new Long[POLL_ROWS];
        for (int rows = POLL_ROWS; rows > 0;) {
          rows = 0;
          try (ResultSet result = select.executeQuery()) {
            for (; result.next(); rows++) {
              ids[rows] = result.getLong(1);
              byte[] key = result.getString(2).getBytes(StandardCharsets.UTF_8);
              producer.send(new ProducerRecord<>(topic, key, result.getBytes(3)), (metadata, failure) -> {
                if (failure != null)
                  failed.set(failure);
              });
            }
          }
          producer.flush();
          if (failed.get() != null)
            throw failed.get();
          if (rows > 0) {
            delete.setArray(1, connection.createArrayOf("bigint", Arrays.copyOf(ids, rows)));
            if (delete.executeUpdate() != rows)
              throw new IllegalStateException("somebody else deletes rows");
          }
          connection.commit();
          count += rows;
        }
      }
    }
    return count;
  }
}
