/* The core of the event consumer: what becomes of the events of one order in one batch.
 *
 * A pure function of what is known about the order, the events in the order they came, and what the
 * lookup found, if there was one. It is asked twice: first to learn whether a lookup is needed;
 * then, with the order's row locked and the lookup's result at hand, for what to write. What was
 * known may have moved on between the two (another consumer, a retry): versions only rise, so the
 * second answer never needs a lookup that the first did not. No I/O, no clock, no allocation. Any
 * thread. */
#ifndef LOCKSTEP_DELIVERY_DELIVERY_DECIDE_H
#define LOCKSTEP_DELIVERY_DELIVERY_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Versions that are remembered as missing; beyond it the lowest are forgotten, and their events
 * count as duplicates. */
#define DELIVERY_MAX_MISSING 64

/* Which versions events have brought: all up to `event_version`, but the missing ones. It serves
 * only to tell overtaken events from repeated ones. */
typedef struct delivery_tracker {
  int64_t event_version; /* highest version any event brought; 0: none */
  size_t missing_count;
  int64_t missing[DELIVERY_MAX_MISSING]; /* below event_version, ascending */
} delivery_tracker;

/* What is known about the order before the batch. All zero: nothing. */
typedef struct delivery_known {
  int64_t applied_version; /* 0: there is no delivery */
  delivery_tracker tracker;
} delivery_known;

/* One event. */
typedef struct delivery_event {
  int64_t version;   /* 0: unknown */
  bool has_snapshot; /* full payload; needs a version */
} delivery_event;

/* What a lookup has said. */
typedef enum delivery_lookup_kind {
  DELIVERY_LOOKUP_NONE,    /* not made */
  DELIVERY_LOOKUP_FOUND,   /* the order is at `version` */
  DELIVERY_LOOKUP_MISSING, /* the order service has no such order */
  DELIVERY_LOOKUP_FAILED   /* it failed for this order */
} delivery_lookup_kind;

typedef struct delivery_lookup {
  delivery_lookup_kind kind;
  int64_t version; /* of FOUND */
} delivery_lookup;

/* What becomes of an event. */
typedef enum delivery_fate {
  DELIVERY_FATE_OPEN,    /* a lookup is to decide; only in answers with look_up */
  DELIVERY_FATE_APPLIED, /* its version or a newer one is applied because of it */
  DELIVERY_FATE_STALE,   /* it changes nothing */
  DELIVERY_FATE_PENDING  /* its lookup failed and is retried beside the stream */
} delivery_fate;

typedef struct delivery_verdict {
  delivery_fate fate;
  bool overtaken; /* of stale: a newer event came before it */
  bool duplicate; /* of stale: the same event came before it */
  bool coalesced; /* of stale: another event of this batch saved its work */
} delivery_verdict;

typedef enum delivery_source {
  DELIVERY_FROM_NOWHERE,  /* nothing to apply */
  DELIVERY_FROM_SNAPSHOT, /* the snapshot of events[snapshot_event] */
  DELIVERY_FROM_LOOKUP    /* what the lookup found */
} delivery_source;

/* What to do about the order. */
typedef struct delivery_decision {
  bool look_up;             /* no verdict yet: look the order up and ask again */
  int64_t min_version;      /* of the lookup and of pending; 0: any version will do */
  delivery_source source;   /* what to apply */
  size_t snapshot_event;    /* with DELIVERY_FROM_SNAPSHOT */
  int64_t version;          /* the version that is applied, unless FROM_NOWHERE */
  bool pending;             /* to be retried until it is at min_version */
  bool poked;               /* with pending: only a lookup will do, whatever the stream brings */
  size_t pending_event;     /* the event whose record goes to pending_orders */
  size_t applied_event;     /* the one whose fate is APPLIED, unless FROM_NOWHERE */
  delivery_tracker tracker; /* after the batch */
  bool tracker_changed;
} delivery_decision;

/* `events` are those of one order, in the order they came (count ≥ 1); `verdicts` has room for as
 * many. At most one event is APPLIED and at most one PENDING; all others are STALE. */
void delivery_decide(const delivery_known *known, const delivery_event *events, size_t count,
                     const delivery_lookup *lookup, delivery_decision *decision,
                     delivery_verdict *verdicts);

/* An order that waits in pending_orders, when an attempt at it has been made. */
typedef struct delivery_waiting {
  int64_t min_version;     /* what it waits for; 0: whatever the order is at */
  bool poked;              /* only a lookup will do */
  int64_t applied_version; /* what the delivery is at; 0: there is none */
  int32_t attempts;        /* before this one */
} delivery_waiting;

typedef enum delivery_attempt {
  DELIVERY_ATTEMPT_FOUND,   /* done: what the lookup found is to be applied */
  DELIVERY_ATTEMPT_REACHED, /* done: the stream has brought what was waited for */
  DELIVERY_ATTEMPT_AGAIN,   /* to be tried again later */
  DELIVERY_ATTEMPT_GIVEN_UP /* out of tries: a dead letter */
} delivery_attempt;

/* What becomes of an attempt whose lookup was answered, or failed for this order alone. */
delivery_attempt delivery_decide_attempt(const delivery_waiting *waiting,
                                         const delivery_lookup *lookup, int32_t max_attempts);

/* Notes that an event brought `version` (≥ 1): tells whether it is the first of its kind in order,
 * was overtaken, or is a repetition. */
typedef enum delivery_arrival {
  DELIVERY_ARRIVAL_NEWEST,
  DELIVERY_ARRIVAL_OVERTAKEN,
  DELIVERY_ARRIVAL_DUPLICATE
} delivery_arrival;
delivery_arrival delivery_tracker_note(delivery_tracker *tracker, int64_t version);

#endif
