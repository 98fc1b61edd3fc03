/* The core of the event consumer. */
#include "delivery/delivery_decide.h"

#include <string.h>

#define NO_EVENT SIZE_MAX

/* --- Which versions have come --- */

static void remember_missing(delivery_tracker *tracker, int64_t version) {
  if (tracker->missing_count == DELIVERY_MAX_MISSING) {
    memmove(&tracker->missing[0], &tracker->missing[1],
            (DELIVERY_MAX_MISSING - 1) * sizeof tracker->missing[0]);
    tracker->missing_count--;
  }
  tracker->missing[tracker->missing_count++] = version;
}

delivery_arrival delivery_tracker_note(delivery_tracker *tracker, int64_t version) {
  if (version > tracker->event_version) {
    int64_t first = tracker->event_version + 1;
    if (version - first > DELIVERY_MAX_MISSING)
      first = version - DELIVERY_MAX_MISSING;
    for (int64_t between = first; between < version; between++)
      remember_missing(tracker, between);
    tracker->event_version = version;
    return DELIVERY_ARRIVAL_NEWEST;
  }
  for (size_t i = 0; i < tracker->missing_count; i++) {
    if (tracker->missing[i] != version)
      continue;
    tracker->missing_count--;
    memmove(&tracker->missing[i], &tracker->missing[i + 1],
            (tracker->missing_count - i) * sizeof tracker->missing[0]);
    return DELIVERY_ARRIVAL_OVERTAKEN;
  }
  return DELIVERY_ARRIVAL_DUPLICATE;
}

/* --- What stands in the batch --- */

/* The events that matter among those of one order; NO_EVENT where there is none. */
typedef struct standouts {
  size_t newest;   /* highest version above the applied one, a snapshot before a bare version */
  size_t snapshot; /* highest version above the applied one that has a snapshot */
  size_t poke;     /* the last without a version */
} standouts;

static bool supersedes(const delivery_event *event, const delivery_event *other) {
  if (event->version != other->version)
    return event->version > other->version;
  return event->has_snapshot && !other->has_snapshot;
}

static standouts find_standouts(int64_t applied, const delivery_event *events, size_t count) {
  standouts found = {NO_EVENT, NO_EVENT, NO_EVENT};
  for (size_t i = 0; i < count; i++) {
    const delivery_event *event = &events[i];
    if (event->version == 0) {
      found.poke = i;
      continue;
    }
    if (event->version <= applied)
      continue;
    if (found.newest == NO_EVENT || supersedes(event, &events[found.newest]))
      found.newest = i;
    if (event->has_snapshot &&
        (found.snapshot == NO_EVENT || supersedes(event, &events[found.snapshot])))
      found.snapshot = i;
  }
  return found;
}

/* Every event as if it were stale; what is not gets its fate afterwards. */
static void judge_stale(const delivery_known *known, const delivery_event *events, size_t count,
                        const standouts *found, delivery_tracker *tracker,
                        delivery_verdict *verdicts) {
  for (size_t i = 0; i < count; i++) {
    delivery_verdict *verdict = &verdicts[i];
    *verdict = (delivery_verdict){.fate = DELIVERY_FATE_STALE};
    if (events[i].version == 0) {
      /* One lookup answers for all of them. */
      verdict->coalesced = i != found->poke || found->newest != NO_EVENT;
      continue;
    }
    delivery_arrival arrival = delivery_tracker_note(tracker, events[i].version);
    verdict->overtaken = arrival == DELIVERY_ARRIVAL_OVERTAKEN;
    verdict->duplicate = arrival == DELIVERY_ARRIVAL_DUPLICATE;
    if (events[i].version > known->applied_version) {
      int64_t newest = events[found->newest].version;
      verdict->coalesced =
          events[i].version < newest || (i != found->newest && !verdict->duplicate);
    }
  }
}

static void set_fate(delivery_verdict *verdict, delivery_fate fate) {
  *verdict = (delivery_verdict){.fate = fate};
}

static void apply_snapshot(const delivery_event *events, size_t index, delivery_decision *decision,
                           delivery_verdict *verdicts) {
  decision->source = DELIVERY_FROM_SNAPSHOT;
  decision->snapshot_event = index;
  decision->applied_event = index;
  decision->version = events[index].version;
  set_fate(&verdicts[index], DELIVERY_FATE_APPLIED);
}

/* --- What to do --- */

static bool satisfies(const delivery_lookup *lookup, int64_t min_version) {
  return lookup->kind == DELIVERY_LOOKUP_FOUND && lookup->version >= min_version;
}

static void leave_open(const standouts *found, delivery_verdict *verdicts) {
  if (found->newest != NO_EVENT)
    set_fate(&verdicts[found->newest], DELIVERY_FATE_OPEN);
  if (found->snapshot != NO_EVENT)
    set_fate(&verdicts[found->snapshot], DELIVERY_FATE_OPEN);
  if (found->poke != NO_EVENT)
    set_fate(&verdicts[found->poke], DELIVERY_FATE_OPEN);
}

static void decide_by_lookup(const delivery_known *known, const delivery_event *events,
                             const delivery_lookup *lookup, const standouts *found,
                             delivery_decision *decision, delivery_verdict *verdicts) {
  bool newest_is_bare = found->newest != NO_EVENT && !events[found->newest].has_snapshot;
  if (satisfies(lookup, decision->min_version)) {
    if (lookup->version <= known->applied_version)
      return;
    decision->source = DELIVERY_FROM_LOOKUP;
    decision->version = lookup->version;
    decision->applied_event = found->newest != NO_EVENT ? found->newest : found->poke;
    set_fate(&verdicts[decision->applied_event], DELIVERY_FATE_APPLIED);
    return;
  }
  /* What is at hand is applied, the rest is tried again. */
  if (found->snapshot != NO_EVENT)
    apply_snapshot(events, found->snapshot, decision, verdicts);
  decision->pending = true;
  decision->poked = found->poke != NO_EVENT;
  decision->pending_event = newest_is_bare ? found->newest : found->poke;
  if (!newest_is_bare)
    decision->min_version = 0; /* the event knows no version: whatever a lookup finds will do */
  set_fate(&verdicts[decision->pending_event], DELIVERY_FATE_PENDING);
}

void delivery_decide(const delivery_known *known, const delivery_event *events, size_t count,
                     const delivery_lookup *lookup, delivery_decision *decision,
                     delivery_verdict *verdicts) {
  memset(decision, 0, sizeof *decision);
  decision->tracker = known->tracker;
  standouts found = find_standouts(known->applied_version, events, count);
  judge_stale(known, events, count, &found, &decision->tracker, verdicts);
  decision->tracker_changed = decision->tracker.event_version != known->tracker.event_version ||
                              decision->tracker.missing_count != known->tracker.missing_count;

  bool newest_is_bare = found.newest != NO_EVENT && !events[found.newest].has_snapshot;
  if (found.newest != NO_EVENT)
    decision->min_version = events[found.newest].version;
  if (newest_is_bare || found.poke != NO_EVENT) {
    if (lookup->kind == DELIVERY_LOOKUP_NONE) {
      decision->look_up = true;
      leave_open(&found, verdicts);
    } else {
      decide_by_lookup(known, events, lookup, &found, decision, verdicts);
    }
  } else if (found.snapshot != NO_EVENT) {
    apply_snapshot(events, found.snapshot, decision, verdicts);
  }
}

delivery_attempt delivery_decide_attempt(const delivery_waiting *waiting,
                                         const delivery_lookup *lookup, int32_t max_attempts) {
  if (satisfies(lookup, waiting->min_version))
    return DELIVERY_ATTEMPT_FOUND;
  if (!waiting->poked && waiting->applied_version >= waiting->min_version)
    return DELIVERY_ATTEMPT_REACHED;
  return waiting->attempts + 1 >= max_attempts ? DELIVERY_ATTEMPT_GIVEN_UP : DELIVERY_ATTEMPT_AGAIN;
}
