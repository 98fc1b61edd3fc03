/* The order service's database: see orders.h. */
#include "tests/simulation/orders.h"

#include <string.h>

static const char *const change_names[] = {"creates", "changes", "cancels", "republishes"};

bool orders_begin(world *w, int transaction) {
  order_side *side = &w->order;
  if (side->transactions[transaction].id != 0)
    return false;
  side->transactions[transaction].id = side->next_id++;
  side->transactions[transaction].locked = 0;
  side->transactions[transaction].row_count = 0;
  SAY(w, "transaction %d begins, with id %llu", transaction,
      (unsigned long long)side->transactions[transaction].id);
  return true;
}

static bool is_allowed(const order_row *row, change_kind change) {
  switch (change) {
  case CHANGE_CREATE:
    return row->version == 0;
  case CHANGE_REPUBLISH:
    return row->version > 0;
  default:
    return row->version > 0 && (row->cancelled & version_bit(row->version)) == 0;
  }
}

change_kind orders_choose_change(const world *w, int order, unsigned wish) {
  const order_row *row = &w->order.orders[order];
  if (row->version == 0)
    return CHANGE_CREATE;
  if (!is_allowed(row, CHANGE_CANCEL) || wish % 8 == 7)
    return CHANGE_REPUBLISH;
  return wish % 8 == 6 ? CHANGE_CANCEL : CHANGE_UPDATE;
}

bool orders_lock(world *w, int transaction, int order, change_kind change, bool large) {
  sim_transaction *t = &w->order.transactions[transaction];
  order_row *row = &w->order.orders[order];
  if (t->id == 0 || t->locked != 0 || t->row_count == ORDERS)
    return false;
  if (row->holder != NOBODY) {
    world_cover(w, COVER_LOCK_REFUSED);
    return false;
  }
  if (!is_allowed(row, change))
    return false;
  row->holder = transaction;
  t->locked = order;
  t->change = change;
  t->large = large;
  SAY(w, "transaction %d locks order %c", transaction, order_name(order));
  return true;
}

bool orders_insert(world *w, int transaction) {
  order_side *side = &w->order;
  sim_transaction *t = &side->transactions[transaction];
  if (t->id == 0 || t->locked == 0 || side->last_sequence >= MAX_WRITTEN)
    return false;
  const order_row *row = &side->orders[t->locked];
  int64_t sequence = ++side->last_sequence;
  bool repeats = t->change == CHANGE_REPUBLISH;
  side->rows[sequence] = (outbox_row){.state = ROW_RUNNING,
                                      .order = t->locked,
                                      .version = row->version + (repeats ? 0 : 1),
                                      .change = t->change,
                                      .large = t->large,
                                      .full = side->full,
                                      .domain = side->domain};
  if (repeats)
    side->rows[sequence].large = (row->large & version_bit(row->version)) != 0;
  t->rows[t->row_count++] = sequence;
  t->locked = 0;
  SAY(w, "transaction %d %s order %c: row %lld, version %lld%s", transaction,
      change_names[t->change], order_name(side->rows[sequence].order), (long long)sequence,
      (long long)side->rows[sequence].version, side->rows[sequence].large ? ", large" : "");
  return true;
}

static void commit_row(world *w, int64_t sequence) {
  outbox_row *row = &w->order.rows[sequence];
  order_row *order = &w->order.orders[row->order];
  row->state = ROW_COMMITTED;
  if (row->was_overtaken)
    world_cover(w, COVER_COMMITTED_LATE);
  if (row->change == CHANGE_REPUBLISH) {
    world_cover(w, COVER_REPUBLISHED);
    if (row->version != order->version)
      world_fail(w, P3, "row %lld repeats version %lld of order %c, which is at %lld",
                 (long long)sequence, (long long)row->version, order_name(row->order),
                 (long long)order->version);
    return;
  }
  if (row->version != order->version + 1)
    world_fail(w, P3, "row %lld has version %lld of order %c, which was at %lld",
               (long long)sequence, (long long)row->version, order_name(row->order),
               (long long)order->version);
  order->version = row->version;
  if (row->large)
    order->large |= version_bit(row->version);
  if (row->change == CHANGE_CANCEL) {
    order->cancelled |= version_bit(row->version);
    world_cover(w, COVER_ORDER_CANCELLED);
  }
}

static void roll_back_row(world *w, int64_t sequence) {
  w->order.rows[sequence].state = ROW_ROLLED_BACK;
  world_cover(w, COVER_ROLLED_BACK_ROW);
}

static void unlock_all(world *w, int transaction) {
  for (int i = 1; i <= ORDERS; i++)
    if (w->order.orders[i].holder == transaction)
      w->order.orders[i].holder = NOBODY;
}

bool orders_end(world *w, int transaction, bool commit) {
  order_side *side = &w->order;
  sim_transaction *t = &side->transactions[transaction];
  if (t->id == 0)
    return false;
  SAY(w, "transaction %d %s", transaction, commit ? "commits" : "rolls back");
  for (int i = 0; i < t->row_count; i++)
    if (commit)
      commit_row(w, t->rows[i]);
    else
      roll_back_row(w, t->rows[i]);
  unlock_all(w, transaction);
  world_cover(w, commit ? COVER_COMMITTED : COVER_ROLLED_BACK);
  if (commit && t->row_count > 0) {
    if (t->id > side->durable_id)
      side->durable_id = t->id;
    orders_flush(w); /* a commit waits for the disk, and takes along what came before it */
  }
  t->id = 0;
  return true;
}

bool orders_write(world *w, int order, change_kind change, bool large) {
  for (int i = 0; i < TRANSACTIONS; i++) {
    if (w->order.transactions[i].id != 0)
      continue;
    if (w->order.last_sequence >= MAX_WRITTEN || w->order.orders[order].holder != NOBODY)
      return false;
    orders_begin(w, i);
    return orders_lock(w, i, order, change, large) && orders_insert(w, i) && orders_end(w, i, true);
  }
  return false;
}

uint64_t orders_oldest_running(const world *w) {
  uint64_t oldest = w->order.next_id;
  for (int i = 0; i < TRANSACTIONS; i++) {
    uint64_t id = w->order.transactions[i].id;
    if (id != 0 && id < oldest)
      oldest = id;
  }
  return oldest;
}

static void copy_checkpoint(checkpoint *to, const checkpoint *from) {
  to->id = from->id;
  to->highest = from->highest;
  to->gap_count = from->gap_count;
  memcpy(to->gaps, from->gaps, from->gap_count * sizeof from->gaps[0]);
}

void orders_flush(world *w) {
  order_side *side = &w->order;
  copy_checkpoint(&side->durable, &side->stored);
  if (side->stored.id > side->durable_id)
    side->durable_id = side->stored.id;
}

void orders_crash(world *w, bool forgets, int skipped) {
  order_side *side = &w->order;
  world_cover(w, COVER_ORDERS_DATABASE_CRASHED);
  SAY(w, "order's database crashes%s", forgets ? " and loses what was not on the disk" : "");
  for (int i = 0; i < TRANSACTIONS; i++)
    orders_end(w, i, false);
  if (forgets) {
    if (side->stored.highest != side->durable.highest)
      world_cover(w, COVER_CHECKPOINT_LOST);
    copy_checkpoint(&side->stored, &side->durable);
    if (side->next_id > side->durable_id + 1)
      world_cover(w, COVER_IDS_REPEATED);
    side->next_id = side->durable_id + 1;
  }
  for (; skipped > 0 && side->last_sequence < MAX_WRITTEN; skipped--) {
    side->rows[++side->last_sequence] = (outbox_row){.state = ROW_NONE};
    world_cover(w, COVER_NUMBERS_SKIPPED);
  }
}
