/* A bounded queue of pointers between threads, taken in batches: what turns single requests into
 * one statement. Any number of pushing and popping threads. */
#ifndef LOCKSTEP_RUNTIME_BASE_QUEUE_H
#define LOCKSTEP_RUNTIME_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_queue ls_queue;

/* Holds at most `capacity` (at least 1) items. NULL when out of memory. */
ls_queue *ls_queue_new(size_t capacity);

/* Appends without ever blocking. False, and the item stays the caller's, when full or closed. */
bool ls_queue_push(ls_queue *queue, void *item);

/* Takes what is there, in order, at most `max` (at least 1), into `items`. With nothing there it
 * waits up to `timeout_ms` (0: not at all; negative: without end). Gives the number taken, 0 after
 * the timeout, -1 once the queue is closed and empty: a closed queue is still emptied. */
ptrdiff_t ls_queue_pop_batch(ls_queue *queue, void **items, size_t max, int64_t timeout_ms);

/* Refuses pushes from now on and wakes all who wait. May be called again. */
void ls_queue_close(ls_queue *queue);

/* Items in it now. */
size_t ls_queue_size(ls_queue *queue);

/* Nobody may use it any more; items still in it are the caller's to have freed. NULL is fine. */
void ls_queue_destroy(ls_queue *queue);

#endif
