/* Gaps, fences and checkpoints: see relay_core.h. */
#include "order/relay_core.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/base/map.h"

typedef enum entry_state { FREE, WAITING, READY, IN_FLIGHT, FAILED } entry_state;

struct relay_entry {
  relay_entry *next;          /* in the list of its state */
  relay_entry *next_of_order; /* the later event that waits for this one */
  entry_state state;
  bool set_back;      /* it has failed before: no checkpoint waits for it */
  size_t order_count; /* of the last one of an order: how many it has in care */
  int64_t sequence;
  int64_t order_id;
  void *event;
};

typedef struct entry_list {
  relay_entry *first, *last;
} entry_list;

typedef struct gap_array {
  relay_gap *items;
  size_t count, capacity;
} gap_array;

/* An order that has its share in care: its rows from `first` on up to the highest were left out. */
typedef struct deferral {
  int64_t order_id;
  int64_t first;
} deferral;

struct relay_core {
  relay_entry *entries;
  size_t capacity, used, in_flight, failed;
  entry_list free, ready, failures;
  ls_map *last_of_order; /* order id → its last event in care */
  deferral deferred[RELAY_MAX_DEFERRED];
  size_t deferred_count;
  size_t share; /* events of one order */
  int64_t highest;
  int64_t checkpointed;
  gap_array gaps;    /* by ascending number */
  gap_array scratch; /* for the next state of `gaps` */
  gap_array checkpoint;
};

static void append(entry_list *list, relay_entry *entry) {
  entry->next = NULL;
  if (list->last != NULL)
    list->last->next = entry;
  else
    list->first = entry;
  list->last = entry;
}

static relay_entry *take(entry_list *list) {
  relay_entry *entry = list->first;
  if (entry == NULL)
    return NULL;
  list->first = entry->next;
  if (list->first == NULL)
    list->last = NULL;
  return entry;
}

static bool add_gap(gap_array *array, int64_t first, int64_t last, uint64_t limit) {
  if (first > last)
    return true;
  if (array->count == array->capacity) {
    size_t capacity = array->capacity == 0 ? 64 : array->capacity * 2;
    relay_gap *grown = realloc(array->items, capacity * sizeof *grown);
    if (grown == NULL)
      return false;
    array->items = grown;
    array->capacity = capacity;
  }
  array->items[array->count++] = (relay_gap){first, last, limit};
  return true;
}

relay_core *relay_core_new(size_t capacity, int64_t highest, const relay_gap *gaps,
                           size_t gap_count) {
  relay_core *core = calloc(1, sizeof *core);
  if (core == NULL)
    return NULL;
  core->entries = calloc(capacity, sizeof *core->entries);
  core->last_of_order = ls_map_new();
  core->capacity = capacity;
  core->share = capacity / RELAY_ORDER_SHARE > 2 ? capacity / RELAY_ORDER_SHARE : 2;
  core->highest = core->checkpointed = highest;
  bool fits = core->entries != NULL && core->last_of_order != NULL;
  for (size_t i = 0; fits && i < gap_count; i++)
    fits = add_gap(&core->gaps, gaps[i].first, gaps[i].last, gaps[i].limit);
  if (!fits) {
    relay_core_destroy(core, NULL, NULL);
    return NULL;
  }
  for (size_t i = 0; i < capacity; i++)
    append(&core->free, &core->entries[i]);
  return core;
}

void relay_core_destroy(relay_core *core, void (*release)(void *event, void *arg), void *arg) {
  if (core == NULL)
    return;
  for (size_t i = 0; release != NULL && i < core->capacity; i++)
    if (core->entries[i].state != FREE)
      release(core->entries[i].event, arg);
  ls_map_destroy(core->last_of_order);
  free(core->entries);
  free(core->gaps.items);
  free(core->scratch.items);
  free(core->checkpoint.items);
  free(core);
}

void relay_core_plan(const relay_core *core, int64_t *after, size_t *limit, const relay_gap **gaps,
                     size_t *gap_count) {
  *after = core->highest;
  *limit = core->capacity - core->used;
  *gaps = core->gaps.items;
  *gap_count = core->gaps.count;
}

/* The old gaps without the filled rows, into `next`. Those that are known to stay empty are left
 * out, if `ended` says that all that can be seen of them was taken. */
static bool carry_gaps(const relay_core *core, const relay_row *filled, size_t count, bool ended,
                       uint64_t oldest_running, gap_array *next, ls_error *error) {
  size_t row = 0;
  for (size_t i = 0; i < core->gaps.count; i++) {
    relay_gap gap = core->gaps.items[i];
    bool over = ended && gap.limit <= oldest_running;
    int64_t from = gap.first;
    for (; row < count && filled[row].sequence <= gap.last; row++) {
      if (filled[row].sequence < from)
        return ls_error_set(error, LS_INTERNAL, false, "",
                            "outbox row %lld was read, but is in no gap",
                            (long long)filled[row].sequence);
      if (!over && !add_gap(next, from, filled[row].sequence - 1, gap.limit))
        return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
      from = filled[row].sequence + 1;
    }
    if (!over && !add_gap(next, from, gap.last, gap.limit))
      return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  }
  if (row < count)
    return ls_error_set(error, LS_INTERNAL, false, "", "outbox row %lld was read, but is in no gap",
                        (long long)filled[row].sequence);
  return true;
}

/* The gaps that the fresh rows leave, into `next`; takes fewer rows when they would be too many. */
static bool find_gaps(const relay_core *core, const relay_row *fresh, size_t *count,
                      uint64_t oldest_running, uint64_t next_transaction, gap_array *next,
                      ls_error *error) {
  int64_t highest = core->highest;
  for (size_t i = 0; i < *count; i++) {
    int64_t sequence = fresh[i].sequence;
    if (sequence <= highest)
      return ls_error_set(error, LS_INTERNAL, false, "", "outbox row %lld came after row %lld",
                          (long long)sequence, (long long)highest);
    /* Where nobody was running any more, what is not there will never be. */
    if (sequence > highest + 1 && oldest_running < next_transaction) {
      if (next->count >= RELAY_MAX_GAPS) {
        *count = i;
        return true;
      }
      if (!add_gap(next, highest + 1, sequence - 1, next_transaction))
        return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
    }
    highest = sequence;
  }
  return true;
}

/* Sees to it that linking the rows cannot fail. */
static bool reserve_orders(relay_core *core, const relay_row *rows, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (ls_map_insert(core->last_of_order, rows[i].order_id, NULL) == NULL)
      return false;
  return true;
}

static void forget_reserved(relay_core *core, const relay_row *rows, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const ls_map_value *value = ls_map_find(core->last_of_order, rows[i].order_id);
    if (value != NULL && value->pointer == NULL)
      ls_map_remove(core->last_of_order, rows[i].order_id, NULL);
  }
}

static void link_row(relay_core *core, const relay_row *row) {
  relay_entry *entry = take(&core->free);
  *entry = (relay_entry){
      .sequence = row->sequence, .order_id = row->order_id, .event = row->event, .order_count = 1};
  core->used++;
  ls_map_value *last = ls_map_find(core->last_of_order, row->order_id);
  relay_entry *before = last->pointer;
  if (before != NULL) {
    entry->state = WAITING;
    entry->order_count += before->order_count;
    before->next_of_order = entry;
  } else {
    entry->state = READY;
    append(&core->ready, entry);
  }
  last->pointer = entry;
}

static deferral *find_deferral(relay_core *core, int64_t order_id) {
  for (size_t i = 0; i < core->deferred_count; i++)
    if (core->deferred[i].order_id == order_id)
      return &core->deferred[i];
  return NULL;
}

static size_t count_of_order(const relay_core *core, int64_t order_id) {
  const ls_map_value *last = ls_map_find(core->last_of_order, order_id);
  return last != NULL && last->pointer != NULL ? ((const relay_entry *)last->pointer)->order_count
                                               : 0;
}

/* Links those rows that are not deferred. One from a gap does not make its order deferred: there
 * are few. */
static void link_rows(relay_core *core, relay_row *rows, size_t count, bool may_defer) {
  for (size_t i = 0; i < count; i++) {
    relay_row *row = &rows[i];
    row->left_out = find_deferral(core, row->order_id) != NULL;
    if (!row->left_out && may_defer && core->deferred_count < RELAY_MAX_DEFERRED &&
        count_of_order(core, row->order_id) >= core->share) {
      core->deferred[core->deferred_count++] = (deferral){row->order_id, row->sequence};
      row->left_out = true;
    }
    if (!row->left_out)
      link_row(core, row);
  }
}

bool relay_core_observe(relay_core *core, relay_row *filled, size_t filled_count, relay_row *fresh,
                        size_t fresh_count, uint64_t oldest_running, uint64_t next_transaction,
                        size_t *taken_filled, size_t *taken_fresh, ls_error *error) {
  size_t room = core->capacity - core->used;
  size_t from_gaps = filled_count < room ? filled_count : room;
  bool all_filled = from_gaps == filled_count;
  /* No fresh row before the last filled one: it may be an earlier version of the same order. */
  size_t from_fresh = fresh_count < room - from_gaps ? fresh_count : room - from_gaps;
  *taken_filled = *taken_fresh = 0;

  gap_array *next = &core->scratch;
  next->count = 0;
  if (!carry_gaps(core, filled, from_gaps, all_filled, oldest_running, next, error) ||
      !find_gaps(core, fresh, &from_fresh, oldest_running, next_transaction, next, error))
    return false;
  if (!reserve_orders(core, filled, from_gaps) || !reserve_orders(core, fresh, from_fresh)) {
    forget_reserved(core, filled, from_gaps);
    forget_reserved(core, fresh, from_fresh);
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  }

  link_rows(core, filled, from_gaps, false);
  link_rows(core, fresh, from_fresh, true);
  if (core->deferred_count > 0) {
    forget_reserved(core, filled, from_gaps);
    forget_reserved(core, fresh, from_fresh);
  }
  gap_array old = core->gaps;
  core->gaps = *next;
  *next = old;
  if (from_fresh > 0)
    core->highest = fresh[from_fresh - 1].sequence;
  *taken_filled = from_gaps;
  *taken_fresh = from_fresh;
  return true;
}

/* --- Deferred orders --- */

/* How many more of the order may be taken; 0 while it has more than half of its share, so that it
 * is not read row by row. */
static size_t room_of_order(const relay_core *core, int64_t order_id) {
  size_t count = count_of_order(core, order_id);
  size_t room = core->capacity - core->used;
  if (count > core->share / 2)
    return 0;
  return core->share - count < room ? core->share - count : room;
}

bool relay_core_plan_deferred(const relay_core *core, int64_t *order_id, int64_t *first,
                              int64_t *last, size_t *limit) {
  for (size_t i = 0; i < core->deferred_count; i++) {
    const deferral *deferred = &core->deferred[i];
    *limit = room_of_order(core, deferred->order_id);
    if (*limit == 0)
      continue;
    *order_id = deferred->order_id;
    *first = deferred->first;
    *last = core->highest;
    return true;
  }
  return false;
}

static bool check_deferred(const relay_core *core, const deferral *deferred, int64_t order_id,
                           const relay_row *rows, size_t count, ls_error *error) {
  int64_t first = deferred != NULL ? deferred->first : INT64_MAX;
  bool valid = deferred != NULL && count <= room_of_order(core, order_id);
  for (size_t i = 0; valid && i < count; i++) {
    valid = rows[i].order_id == order_id && rows[i].sequence >= first &&
            rows[i].sequence <= core->highest;
    first = rows[i].sequence + 1;
  }
  return valid || ls_error_set(error, LS_INTERNAL, false, "",
                               "outbox rows were read that are not those of deferred order %lld",
                               (long long)order_id);
}

static bool is_missing(const relay_core *core, int64_t sequence) {
  for (size_t i = 0; i < core->gaps.count; i++)
    if (sequence >= core->gaps.items[i].first && sequence <= core->gaps.items[i].last)
      return true;
  return false;
}

/* A row that has filled its gap since the gaps were read is left to the next look at them, which
 * finds it there. It is the order's last: none is written before its transaction has ended. */
bool relay_core_observe_deferred(relay_core *core, int64_t order_id, relay_row *rows, size_t count,
                                 ls_error *error) {
  deferral *deferred = find_deferral(core, order_id);
  if (!check_deferred(core, deferred, order_id, rows, count, error))
    return false;
  bool is_over = count < room_of_order(core, order_id);
  if (!reserve_orders(core, rows, count))
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  for (size_t i = 0; i < count; i++) {
    rows[i].left_out = is_missing(core, rows[i].sequence);
    if (rows[i].left_out)
      continue;
    link_row(core, &rows[i]);
    deferred->first = rows[i].sequence + 1;
  }
  forget_reserved(core, rows, count);
  if (is_over)
    *deferred = core->deferred[--core->deferred_count];
  return true;
}

/* --- Sending --- */

relay_entry *relay_core_next(relay_core *core) {
  relay_entry *entry = take(&core->ready);
  if (entry == NULL)
    return NULL;
  entry->state = IN_FLIGHT;
  core->in_flight++;
  return entry;
}

void relay_core_failed(relay_core *core, relay_entry *entry) {
  entry->state = FAILED;
  entry->set_back = true;
  core->in_flight--;
  core->failed++;
  append(&core->failures, entry);
}

size_t relay_core_retry(relay_core *core) {
  size_t count = core->failed;
  for (relay_entry *entry; (entry = take(&core->failures)) != NULL;) {
    entry->state = READY;
    append(&core->ready, entry);
  }
  core->failed = 0;
  return count;
}

void *relay_core_acknowledged(relay_core *core, relay_entry *entry) {
  if (entry->next_of_order != NULL) {
    entry->next_of_order->state = READY;
    append(&core->ready, entry->next_of_order);
    ((relay_entry *)ls_map_find(core->last_of_order, entry->order_id)->pointer)->order_count--;
  } else {
    ls_map_remove(core->last_of_order, entry->order_id, NULL);
  }
  entry->state = FREE;
  core->in_flight--;
  core->used--;
  append(&core->free, entry);
  return entry->event;
}

void *relay_entry_event(const relay_entry *entry) {
  return entry->event;
}

int64_t relay_entry_sequence(const relay_entry *entry) {
  return entry->sequence;
}

static int by_first(const void *left, const void *right) {
  int64_t a = ((const relay_gap *)left)->first;
  int64_t b = ((const relay_gap *)right)->first;
  return (a > b) - (a < b);
}

bool relay_core_checkpoint(relay_core *core, int64_t *highest, const relay_gap **gaps,
                           size_t *gap_count, ls_error *error) {
  int64_t reach = core->highest;
  for (size_t i = 0; i < core->capacity; i++) {
    const relay_entry *entry = &core->entries[i];
    if (entry->state != FREE && !entry->set_back && entry->sequence > core->checkpointed &&
        entry->sequence <= reach)
      reach = entry->sequence - 1;
  }
  for (size_t i = 0; i < core->deferred_count; i++)
    if (core->deferred[i].first <= reach)
      reach = core->deferred[i].first - 1;

  gap_array *out = &core->checkpoint;
  out->count = 0;
  bool fits = true;
  for (size_t i = 0; fits && i < core->gaps.count; i++) {
    relay_gap gap = core->gaps.items[i];
    if (gap.first <= reach)
      fits = add_gap(out, gap.first, gap.last < reach ? gap.last : reach, gap.limit);
  }
  /* Rows that are there, so no transaction need be waited for: no id is below 1. */
  for (size_t i = 0; fits && i < core->capacity; i++) {
    const relay_entry *entry = &core->entries[i];
    if (entry->state != FREE && entry->sequence <= reach)
      fits = add_gap(out, entry->sequence, entry->sequence, 1);
  }
  if (!fits)
    return ls_error_set(error, LS_RESOURCE_EXHAUSTED, true, "", "out of memory");
  if (out->count > 0)
    qsort(out->items, out->count, sizeof *out->items, by_first);
  core->checkpointed = reach;
  *highest = reach;
  *gaps = out->items;
  *gap_count = out->count;
  return true;
}

size_t relay_core_size(const relay_core *core) {
  return core->used;
}

size_t relay_core_in_flight(const relay_core *core) {
  return core->in_flight;
}

size_t relay_core_failed_count(const relay_core *core) {
  return core->failed;
}

size_t relay_core_deferred_count(const relay_core *core) {
  return core->deferred_count;
}

int64_t relay_core_missing(const relay_core *core) {
  int64_t missing = 0;
  for (size_t i = 0; i < core->gaps.count; i++)
    missing += core->gaps.items[i].last - core->gaps.items[i].first + 1;
  return missing;
}

int64_t relay_core_highest(const relay_core *core) {
  return core->highest;
}
