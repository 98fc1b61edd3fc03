/* The topics: see kafka.h. */
#include "tests/simulation/kafka.h"

#include <stdio.h>

int kafka_log_of(const world *w, int topic, int order) {
  return topic * PARTITIONS + (order > 0 ? order - 1 : 0) % w->kafka.partitions[topic];
}

int kafka_choose_log(const world *w, unsigned wish) {
  int topic = (int)(wish % TOPICS);
  return topic * PARTITIONS + (int)(wish / TOPICS) % w->kafka.partitions[topic];
}

bool kafka_may_feed(const world *w, int log) {
  return w->kafka.logs[log].length < MAX_FED;
}

static void note_in_domain_topic(world *w, int order, int64_t version) {
  kafka_side *kafka = &w->kafka;
  if (kafka->seen[order] & version_bit(version))
    return;
  kafka->seen[order] |= version_bit(version);
  if (version < kafka->last_seen[order])
    world_fail(w, P5, "version %lld of order %c came to the domain topic after version %lld",
               (long long)version, order_name(order), (long long)kafka->last_seen[order]);
  else
    kafka->last_seen[order] = version;
}

void kafka_append(world *w, int log, int order, int64_t version, bool full) {
  topic_log *to = &w->kafka.logs[log];
  if (to->length == MAX_RECORDS) {
    world_fail(w, P10, "%s has no end", kafka_log_name(log));
    return;
  }
  SAY(w, "%s[%d] = order %c, version %lld%s", kafka_log_name(log), to->length, order_name(order),
      (long long)version, full ? ", with payload" : "");
  to->records[to->length++] =
      (record){.order = (int8_t)order, .version = (int16_t)version, .full = full};
  if (log / PARTITIONS == TOPIC_DOMAIN && version > 0)
    note_in_domain_topic(w, order, version);
}

const char *kafka_log_name(int log) {
  static const char *const topics[TOPICS] = {"domain", "create", "change", "cancel"};
  static char names[4][16];
  static unsigned next;
  char *name = names[next++ % 4];
  snprintf(name, sizeof names[0], "%s/%d", topics[log / PARTITIONS], log % PARTITIONS);
  return name;
}
