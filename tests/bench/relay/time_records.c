/* bench-time-records SERVERS TOPIC: a waiting consumer. Says "ready" when it waits for what comes
 * into the topic from then on; at the end of its standard input it prints each record's key and
 * when it had it, in microseconds of the monotonic clock, a line each. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "topic.h"

enum { KEY_BYTES = 32, POLL_MS = 20 };

typedef struct arrival {
  int64_t time_us;
  char key[KEY_BYTES];
} arrival;

typedef struct arrivals {
  arrival *items;
  size_t count, capacity;
} arrivals;

static void note(arrivals *all, const rd_kafka_message_t *message) {
  int64_t now_us = ls_clock_monotonic_us();
  if (all->count == all->capacity) {
    all->capacity = all->capacity == 0 ? 65536 : all->capacity * 2;
    all->items = realloc(all->items, all->capacity * sizeof *all->items);
    if (all->items == NULL)
      topic_fail("arrivals", "out of memory");
  }
  arrival *item = &all->items[all->count++];
  item->time_us = now_us;
  snprintf(item->key, sizeof item->key, "%.*s", (int)message->key_len, (const char *)message->key);
}

static bool input_ended(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char text[64];
  return poll(&input, 1, 0) > 0 && read(STDIN_FILENO, text, sizeof text) <= 0;
}

int main(int argc, char **argv) {
  if (argc != 3)
    topic_fail("usage", "bench-time-records SERVERS TOPIC");
  rd_kafka_t *client = topic_open(argv[1]);
  rd_kafka_topic_partition_list_t *ends = topic_ends(client, argv[2], NULL);
  rd_kafka_resp_err_t code = rd_kafka_assign(client, ends);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    topic_fail(argv[2], rd_kafka_err2str(code));
  puts("ready");
  fflush(stdout);

  arrivals all = {0};
  for (int64_t look_us = 0; ls_clock_monotonic_us() < look_us || !input_ended();) {
    if (ls_clock_monotonic_us() >= look_us)
      look_us = ls_clock_monotonic_us() + POLL_MS * 1000;
    rd_kafka_message_t *message = rd_kafka_consumer_poll(client, POLL_MS);
    if (message == NULL)
      continue;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
      topic_fail(argv[2], rd_kafka_message_errstr(message));
    note(&all, message);
    rd_kafka_message_destroy(message);
  }
  for (size_t i = 0; i < all.count; i++)
    printf("%s %" PRId64 "\n", all.items[i].key, all.items[i].time_us);
  free(all.items);
  rd_kafka_topic_partition_list_destroy(ends);
  rd_kafka_consumer_close(client);
  rd_kafka_destroy(client);
  return 0;
}
