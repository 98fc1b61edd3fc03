/* The simulated world: the order service's database, relays, Kafka, consumers, retriers and the
 * delivery service's database, all in memory. The parts that decide are the product's own
 * (order/relay_core.h, delivery/delivery_decide.h, delivery/delivery.h); what lies between them is
 * modelled here, step by step as the services do it.
 *
 * Nothing runs by itself: every step is a call, and what it does depends on the world and on its
 * number alone. Any order and any version has one state, so a state is known by {order, version}.
 *
 * One thread for each world. */
#ifndef LOCKSTEP_TESTS_SIMULATION_WORLD_H
#define LOCKSTEP_TESTS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "delivery/delivery.h"
#include "delivery/delivery_decide.h"
#include "order/relay_core.h"
#include "tests/simulation/coverage.h"

enum {
  ORDERS = 3, /* numbered from 1 */
  MAX_ROWS = 64,
  MAX_WRITTEN = 40, /* rows that steps may write */
  TRANSACTIONS = 3,
  RELAYS = 2,
  MAX_FLIGHTS = 24,
  TOPICS = 4,
  PARTITIONS = 2, /* at most, of a topic */
  LOGS = TOPICS * PARTITIONS,
  MAX_RECORDS = 256, /* of a log */
  MAX_FED = 96,      /* from here on steps feed it no more */
  CONSUMERS = 2,
  MAX_BATCH = 8,
  RETRIERS = 2,
  MAX_ATTEMPTS = 3, /* at a pending order */
  MAX_LETTERS = 96,
  NOBODY = -1,
  NOWHERE = -1
};

/* The promises that a step can break, as the project numbers them. */
typedef enum promise { KEPT, P3 = 3, P4, P5, P6, P8 = 8, P9, P10, P11, P12, P13, P14, P15 } promise;

/* --- The order service --- */

typedef enum change_kind {
  CHANGE_CREATE,
  CHANGE_UPDATE,
  CHANGE_CANCEL,
  CHANGE_REPUBLISH
} change_kind;

typedef struct order_row {
  int64_t version;    /* committed; 0: there is no order */
  uint64_t cancelled; /* bit v: version v is a cancelled one */
  uint64_t large;     /* bit v: version v is too large to be sent with payload */
  int holder;         /* the transaction that has the row's lock, or NOBODY */
} order_row;

typedef enum row_state { ROW_NONE, ROW_RUNNING, ROW_COMMITTED, ROW_ROLLED_BACK } row_state;

typedef struct outbox_row {
  row_state state;
  int order;
  int64_t version;
  change_kind change;
  bool large;
  bool full, domain; /* the mode at the time it took its number */
  bool in_kafka;
  bool was_overtaken; /* a later one was read while its transaction ran */
} outbox_row;

typedef struct sim_transaction {
  uint64_t id; /* 0: none is running */
  int locked;  /* the order that it has locked and not written yet; 0: none */
  change_kind change;
  bool large;
  int64_t rows[ORDERS];
  int row_count;
} sim_transaction;

/* A relay's place. */
typedef struct checkpoint {
  uint64_t id; /* of the transaction that wrote it */
  int64_t highest;
  relay_gap gaps[MAX_ROWS];
  size_t gap_count;
} checkpoint;

typedef struct order_side {
  order_row orders[ORDERS + 1];
  outbox_row rows[MAX_ROWS + 1];
  int64_t last_sequence;
  uint64_t next_id;
  uint64_t durable_id; /* ids up to it are not given out again after a crash */
  sim_transaction transactions[TRANSACTIONS];
  bool full, domain; /* the mode */
  checkpoint stored;
  checkpoint durable; /* what is left of it after a crash */
} order_side;

/* --- Relays --- */

typedef enum relay_state { RELAY_IDLE, RELAY_LEADING, RELAY_ZOMBIE } relay_state;

typedef struct sent_event {
  int64_t sequence;
  relay_entry *entry;
  bool full, domain, oversized;
  bool in_care;
} sent_event;

/* What a snapshot has shown, until it is given to the core. */
typedef struct relay_reading {
  bool open;
  size_t limit;
  int64_t after;
  int64_t fresh[MAX_ROWS], filled[MAX_ROWS];
  size_t fresh_count, filled_count;
  uint64_t oldest_running, next_id;
} relay_reading;

typedef struct sim_relay {
  relay_state state;
  relay_core *core;
  relay_reading reading;
  sent_event events[MAX_ROWS + 1]; /* by sequence */
} sim_relay;

/* A send on its way. */
typedef struct sim_flight {
  int relay; /* NOBODY: given up by its relay, but it may still land */
  int64_t sequence;
  bool full, domain;
  bool too_large; /* the broker will not have it */
  bool landed;
} sim_flight;

/* --- Kafka --- */

typedef struct record {
  int8_t order;    /* 0: garbage */
  bool full;       /* has the state in it */
  bool is_handled; /* some committed transaction has seen to it */
  int16_t version; /* 0: a poke */
} record;

typedef struct topic_log {
  record records[MAX_RECORDS];
  int length;
  int committed;  /* the group's offset */
  int owner;      /* the consumer that it is assigned to */
  unsigned epoch; /* of the assignment */
} topic_log;

typedef struct kafka_side {
  topic_log logs[LOGS];
  int partitions[TOPICS];
  uint64_t seen[ORDERS + 1];     /* bit v: version v is in the domain topic */
  int64_t last_seen[ORDERS + 1]; /* the highest of these */
} kafka_side;

/* --- The delivery service's database --- */

typedef struct delivery_row {
  delivery_standing standing; /* revision 0: there is none */
  int64_t content;            /* the version that it shows the state of */
  bool content_cancelled;
  delivery_tracker tracker;
  uint64_t applied;                     /* bit v: the history has version v */
  Delivery__V1__DeliveryState expected; /* by the simulation's own rules */
} delivery_row;

typedef struct pending_row {
  bool exists;
  bool poked;
  int64_t min_version;
  int32_t attempts;
  int64_t generation;
  int lease; /* the retrier that is at it, or NOBODY */
  int64_t claim_number;
  int source_log, source_offset;
  int tries; /* that really were made since the row is there */
} pending_row;

typedef struct letter {
  int order; /* 0: garbage */
  int64_t version;
  int log, offset; /* NOWHERE: it never stood in Kafka */
  bool replayed;
} letter;

typedef struct delivery_tables {
  delivery_row deliveries[ORDERS + 1];
  pending_row pending[ORDERS + 1];
  int64_t lettered[ORDERS + 1]; /* the highest version among the order's dead letters */
  bool poke_owed[ORDERS + 1];   /* a poke waits for its lookup */
  int64_t owed[ORDERS + 1];     /* the highest version that committed offsets have passed */
  int64_t generation, claim_number;
  int64_t consumed, fates[4], dead_lettered;
  int letter_count;
} delivery_tables;

/* --- Consumers and retriers --- */

typedef struct sim_work {
  int order;
  size_t count;
  delivery_event events[MAX_BATCH];
  int places[MAX_BATCH]; /* in the batch */
  bool looks_up;
  bool answers_poke;     /* one that was owed when the lookup was made */
  int64_t known_version; /* what was applied when it was read */
  delivery_lookup lookup;
  delivery_decision decision;
  delivery_verdict verdicts[MAX_BATCH];
} sim_work;

typedef struct place {
  int log, offset;
} place;

typedef enum consumer_stage {
  CONSUMER_IDLE,
  CONSUMER_TAKEN,
  CONSUMER_KNOWS,
  CONSUMER_LOOKED_UP
} consumer_stage;

typedef struct sim_consumer {
  consumer_stage stage;
  bool assigned[LOGS]; /* as far as it knows */
  unsigned epochs[LOGS];
  int positions[LOGS];
  int done[LOGS];     /* to be committed, or NOWHERE */
  bool has_committed; /* with its last act */
  place batch[MAX_BATCH];
  int batch_count;
  sim_work works[ORDERS];
  int work_count;
} sim_consumer;

typedef struct claim {
  int order;
  int64_t number;
  delivery_waiting waiting;
  int64_t generation;
  delivery_lookup lookup;
} claim;

typedef enum retrier_stage { RETRIER_IDLE, RETRIER_CLAIMED, RETRIER_LOOKED_UP } retrier_stage;

typedef struct sim_retrier {
  retrier_stage stage;
  claim claims[ORDERS];
  int claim_count;
} sim_retrier;

/* --- All of it --- */

typedef struct world {
  order_side order;
  sim_relay relays[RELAYS];
  int leader;
  size_t capacity; /* of a relay */
  sim_flight flights[MAX_FLIGHTS];
  int flight_count;
  kafka_side kafka;
  delivery_tables delivery;
  letter letters[MAX_LETTERS];
  sim_consumer consumers[CONSUMERS];
  sim_retrier retriers[RETRIERS];

  promise broken; /* the first one */
  char problem[400];
  bool is_traced;
  uint64_t *coverage; /* COVERAGE_COUNT of them */
} world;

/* The numbers of a schedule that shape the world before its first step. */
enum { WORLD_SHAPES = 8 * 4 * 4 };

/* Makes it anew. What it counts goes to `counts`, which must outlive it. */
void world_reset(world *w, unsigned shape, uint64_t *counts, bool is_traced);

/* Frees what it holds. */
void world_clear(world *w);

/* A promise is broken; the first one counts. Returns false. */
bool world_fail(world *w, promise what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void world_say(const world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For people who read the trace: nothing is made of the words unless there is one. */
#define SAY(w, ...)                                                                                \
  do {                                                                                             \
    if ((w)->is_traced)                                                                            \
      world_say(w, __VA_ARGS__);                                                                   \
  } while (0)

static inline void world_cover(world *w, coverage what) {
  w->coverage[what]++;
}

static inline uint64_t version_bit(int64_t version) {
  return UINT64_C(1) << version;
}

static inline bool order_is_cancelled(const world *w, int order, int64_t version) {
  return (w->order.orders[order].cancelled & version_bit(version)) != 0;
}

/* "A", "B", ... */
static inline char order_name(int order) {
  return "-ABC"[order];
}

#endif
