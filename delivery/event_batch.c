/* The events of one batch. */
#include "delivery/event_batch.h"

#include <stdlib.h>
#include <string.h>

#include "delivery/dead_letter_producer.h"
#include "runtime/base/log.h"
#include "runtime/kafka/cloud_events.h"

/* A batch holds a bounded number of message bytes, and decoding makes some ten times of them. */
#define ARENA_BYTES (512 * 1024 * 1024)

/* One valid event, in the order of its place in the batch within its order's. */
typedef struct slot {
  int64_t order_id;
  size_t place;
  order_record record;
  rd_kafka_message_t *message;
  order_event event;
} slot;

struct event_batch {
  size_t capacity;
  const event_topics *topics;
  ls_arena *arena;
  size_t event_count; /* taken, invalid ones included */

  /* By event: those of one order stand together. */
  slot *slots;
  size_t slot_count;
  delivery_event *events;
  const delivery_snapshot **snapshots;
  const order_record **records;
  delivery_verdict *verdicts;

  /* By order. */
  delivery_work *works;
  int64_t *order_ids;
  delivery_known *known;
  bool *settled;
  bool *refused;
  size_t order_count;

  int64_t *look_up;
  order_lookup_result *results;
  size_t look_up_count;

  delivery_letter *letters;
  size_t letter_count;
};

event_batch *event_batch_new(size_t capacity, const event_topics *topics, ls_error *error) {
  event_batch *batch = calloc(1, sizeof *batch);
  if (batch == NULL)
    goto failed;
  batch->capacity = capacity;
  batch->topics = topics;
  batch->arena = ls_arena_new(ARENA_BYTES);
  batch->slots = calloc(capacity, sizeof *batch->slots);
  batch->events = calloc(capacity, sizeof *batch->events);
  batch->snapshots = calloc(capacity, sizeof *batch->snapshots);
  batch->records = calloc(capacity, sizeof *batch->records);
  batch->verdicts = calloc(capacity, sizeof *batch->verdicts);
  batch->works = calloc(capacity, sizeof *batch->works);
  batch->order_ids = calloc(capacity, sizeof *batch->order_ids);
  batch->known = calloc(capacity, sizeof *batch->known);
  batch->settled = calloc(capacity, sizeof *batch->settled);
  batch->refused = calloc(capacity, sizeof *batch->refused);
  batch->look_up = calloc(capacity, sizeof *batch->look_up);
  batch->results = calloc(capacity, sizeof *batch->results);
  batch->letters = calloc(capacity, sizeof *batch->letters);
  if (batch->arena == NULL || batch->slots == NULL || batch->events == NULL ||
      batch->snapshots == NULL || batch->records == NULL || batch->verdicts == NULL ||
      batch->works == NULL || batch->order_ids == NULL || batch->known == NULL ||
      batch->settled == NULL || batch->refused == NULL || batch->look_up == NULL ||
      batch->results == NULL || batch->letters == NULL)
    goto failed;
  return batch;

failed:
  event_batch_destroy(batch);
  ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, NULL, "out of memory for a batch of events");
  return NULL;
}

void event_batch_destroy(event_batch *batch) {
  if (batch == NULL)
    return;
  free(batch->slots);
  free(batch->events);
  free(batch->snapshots);
  free(batch->records);
  free(batch->verdicts);
  free(batch->works);
  free(batch->order_ids);
  free(batch->known);
  free(batch->settled);
  free(batch->refused);
  free(batch->look_up);
  free(batch->results);
  free(batch->letters);
  ls_arena_destroy(batch->arena);
  free(batch);
}

/* --- Decoding --- */

static Order__V1__OrderEventType topic_type(const event_topics *topics, const char *topic) {
  if (strcmp(topic, topics->create) == 0)
    return ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED;
  if (strcmp(topic, topics->change) == 0)
    return ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CHANGED;
  if (strcmp(topic, topics->cancel) == 0)
    return ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CANCELLED;
  return ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_UNSPECIFIED;
}

static order_record record_of(const rd_kafka_message_t *message) {
  return (order_record){.topic = rd_kafka_topic_name(message->rkt),
                        .partition = message->partition,
                        .offset = message->offset,
                        .key = message->key,
                        .key_bytes = message->key_len,
                        .value = message->payload,
                        .value_bytes = message->len,
                        .headers = "",
                        .headers_bytes = 0};
}

static bool exhausted(ls_error *error) {
  return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, NULL, "no memory for a batch of events");
}

static bool add_letter(event_batch *batch, const rd_kafka_message_t *message,
                       const order_record *record, const char *reason, ls_error *error) {
  delivery_letter *letter = &batch->letters[batch->letter_count];
  ls_cloud_event attributes = {0};
  letter->record = *record;
  letter->reason = ls_arena_strdup(batch->arena, reason);
  if (letter->reason == NULL || !order_record_pack_headers(message, batch->arena, &letter->record))
    return exhausted(error);
  batch->letter_count++;
  ls_cloud_event_read(message, &attributes);
  LS_WARN_TRACE(attributes.trace_parent, "event goes to the dead letters",
                LS_STR("topic", record->topic), LS_INT("partition", record->partition),
                LS_INT("offset", record->offset), LS_STR("reason", reason));
  return true;
}

static bool decode(event_batch *batch, rd_kafka_message_t *message, size_t place, ls_error *error) {
  slot *one = &batch->slots[batch->slot_count];
  ls_error problem = {0};
  one->record = record_of(message);
  one->message = message;
  one->place = place;
  if (!order_event_decode(&one->record, topic_type(batch->topics, one->record.topic), batch->arena,
                          &one->event, &problem)) {
    if (problem.code == LS_INVALID_ARGUMENT)
      return add_letter(batch, message, &one->record, problem.message, error);
    if (error != NULL)
      *error = problem;
    return false;
  }
  one->order_id = one->event.order_id;
  batch->slot_count++;
  return true;
}

static int compare_slots(const void *left, const void *right) {
  const slot *a = left;
  const slot *b = right;
  if (a->order_id != b->order_id)
    return a->order_id > b->order_id ? 1 : -1;
  return (a->place > b->place) - (a->place < b->place);
}

static void begin_order(event_batch *batch, size_t first) {
  size_t index = batch->order_count++;
  batch->order_ids[index] = batch->slots[first].order_id;
  batch->settled[index] = false;
  batch->refused[index] = false;
  batch->works[index] = (delivery_work){.order_id = batch->order_ids[index],
                                        .events = &batch->events[first],
                                        .snapshots = &batch->snapshots[first],
                                        .records = &batch->records[first],
                                        .verdicts = &batch->verdicts[first]};
}

bool event_batch_take(event_batch *batch, rd_kafka_message_t *const *messages, size_t count,
                      ls_error *error) {
  ls_arena_reset(batch->arena);
  batch->event_count = count;
  batch->slot_count = 0;
  batch->order_count = 0;
  batch->letter_count = 0;
  batch->look_up_count = 0;
  for (size_t i = 0; i < count; i++)
    if (!decode(batch, messages[i], i, error))
      return false;
  qsort(batch->slots, batch->slot_count, sizeof *batch->slots, compare_slots);
  for (size_t i = 0; i < batch->slot_count; i++) {
    slot *one = &batch->slots[i];
    batch->events[i] = (delivery_event){one->event.version, one->event.has_snapshot};
    batch->snapshots[i] = one->event.has_snapshot ? &one->event.snapshot : NULL;
    batch->records[i] = &one->record;
    if (i == 0 || batch->slots[i - 1].order_id != one->order_id)
      begin_order(batch, i);
    batch->works[batch->order_count - 1].event_count++;
  }
  return true;
}

/* --- Looking up --- */

size_t event_batch_order_count(const event_batch *batch) {
  return batch->order_count;
}

const int64_t *event_batch_order_ids(const event_batch *batch) {
  return batch->order_ids;
}

bool event_batch_is_settled(const event_batch *batch, size_t index) {
  return batch->settled[index];
}

void event_batch_settle(event_batch *batch, size_t index) {
  batch->settled[index] = true;
}

bool event_batch_may_look_up(const event_batch *batch) {
  for (size_t i = 0; i < batch->slot_count; i++)
    if (!batch->events[i].has_snapshot)
      return true;
  return false;
}

delivery_known *event_batch_known(event_batch *batch) {
  return batch->known;
}

const int64_t *event_batch_to_look_up(event_batch *batch, size_t *count) {
  static const delivery_lookup none = {DELIVERY_LOOKUP_NONE, 0};
  batch->look_up_count = 0;
  for (size_t i = 0; i < batch->order_count; i++) {
    delivery_work *work = &batch->works[i];
    if (batch->settled[i])
      continue;
    work->lookup = none;
    work->found = NULL;
    work->lookup_problem = NULL;
    delivery_decide(&batch->known[i], work->events, work->event_count, &none, &work->decision,
                    work->verdicts);
    if (work->decision.look_up)
      batch->look_up[batch->look_up_count++] = work->order_id;
  }
  *count = batch->look_up_count;
  return batch->look_up;
}

order_lookup_result *event_batch_results(event_batch *batch) {
  return batch->results;
}

ls_arena *event_batch_arena(event_batch *batch) {
  return batch->arena;
}

/* What may go to pending_orders needs its headers. */
static bool pack_headers(event_batch *batch, const delivery_work *work) {
  size_t first = (size_t)(work->events - batch->events);
  for (size_t i = first; i < first + work->event_count; i++)
    if (!order_record_pack_headers(batch->slots[i].message, batch->arena, &batch->slots[i].record))
      return false;
  return true;
}

static bool take_result(event_batch *batch, delivery_work *work,
                        const order_lookup_result *result) {
  work->lookup = result->lookup;
  work->found = result->snapshot;
  work->lookup_problem = result->problem;
  if (result->lookup.kind == DELIVERY_LOOKUP_FOUND) {
    if (result->lookup.version >= work->decision.min_version)
      return true;
    work->lookup_problem = "the order service's answer is older than the event";
  }
  return pack_headers(batch, work);
}

bool event_batch_take_results(event_batch *batch, ls_error *error) {
  size_t next = 0;
  for (size_t i = 0; i < batch->order_count && next < batch->look_up_count; i++)
    if (batch->order_ids[i] == batch->look_up[next] &&
        !take_result(batch, &batch->works[i], &batch->results[next++]))
      return exhausted(error);
  return true;
}

delivery_work *event_batch_works(event_batch *batch) {
  return batch->works;
}

/* --- Ends --- */

bool event_batch_refuse(event_batch *batch, size_t index, const char *reason, ls_error *error) {
  size_t first = (size_t)(batch->works[index].events - batch->events);
  for (size_t i = first; i < first + batch->works[index].event_count; i++)
    if (!add_letter(batch, batch->slots[i].message, &batch->slots[i].record, reason, error))
      return false;
  batch->refused[index] = true;
  batch->settled[index] = true;
  return true;
}

const delivery_letter *event_batch_letters(const event_batch *batch, size_t *count) {
  *count = batch->letter_count;
  return batch->letters;
}

bool event_batch_count(const event_batch *batch, const delivery_counters *counters) {
  uint64_t fates[4] = {0};
  uint64_t overtaken = 0, duplicates = 0, coalesced = 0;
  for (size_t order = 0; order < batch->order_count; order++) {
    const delivery_work *work = &batch->works[order];
    for (size_t i = 0; i < work->event_count && !batch->refused[order]; i++) {
      const delivery_verdict *verdict = &work->verdicts[i];
      fates[verdict->fate]++;
      overtaken += verdict->overtaken;
      duplicates += verdict->duplicate;
      coalesced += verdict->coalesced;
    }
  }
  ls_counter_add(counters->consumed, batch->event_count);
  ls_counter_add(counters->applied, fates[DELIVERY_FATE_APPLIED]);
  ls_counter_add(counters->stale, fates[DELIVERY_FATE_STALE]);
  ls_counter_add(counters->pending, fates[DELIVERY_FATE_PENDING]);
  ls_counter_add(counters->overtaken, overtaken);
  ls_counter_add(counters->duplicates, duplicates);
  ls_counter_add(counters->coalesced, coalesced);
  ls_counter_add(counters->dead_lettered, batch->letter_count);
  ls_histogram_observe(counters->batch_events, (double)batch->event_count);
  return fates[DELIVERY_FATE_PENDING] > 0;
}
