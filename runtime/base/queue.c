/* The queue: a ring under one mutex. */
#include "runtime/base/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "runtime/base/thread.h"

struct ls_queue {
  pthread_mutex_t mutex; /* guards all below */
  pthread_cond_t filled;
  size_t waiters;
  size_t capacity;
  size_t first;
  size_t count;
  bool closed;
  void *ring[];
};

ls_queue *ls_queue_new(size_t capacity) {
  if (capacity == 0 || capacity > (PTRDIFF_MAX - sizeof(ls_queue)) / sizeof(void *))
    return NULL;
  ls_queue *queue = malloc(sizeof *queue + capacity * sizeof(void *));
  if (!queue)
    return NULL;
  queue->waiters = queue->first = queue->count = 0;
  queue->capacity = capacity;
  queue->closed = false;
  if (!ls_condition_init(&queue->filled)) {
    free(queue);
    return NULL;
  }
  pthread_mutex_init(&queue->mutex, NULL); /* cannot fail without attributes */
  return queue;
}

bool ls_queue_push(ls_queue *queue, void *item) {
  pthread_mutex_lock(&queue->mutex);
  bool taken = !queue->closed && queue->count < queue->capacity;
  bool wake = false;
  if (taken) {
    size_t last = queue->first + queue->count;
    queue->ring[last < queue->capacity ? last : last - queue->capacity] = item;
    queue->count++;
    wake = queue->waiters > 0;
  }
  /* Inside the lock: the last pusher may be followed at once by close and destroy. */
  if (wake)
    pthread_cond_signal(&queue->filled);
  pthread_mutex_unlock(&queue->mutex);
  return taken;
}

static size_t take(ls_queue *queue, void **items, size_t max) {
  size_t taken = queue->count < max ? queue->count : max;
  for (size_t i = 0; i < taken; i++) {
    items[i] = queue->ring[queue->first];
    if (++queue->first == queue->capacity)
      queue->first = 0;
  }
  queue->count -= taken;
  /* A signal meant for another waiter may have found only us: pass the rest on. */
  if (queue->count > 0 && queue->waiters > 0)
    pthread_cond_signal(&queue->filled);
  return taken;
}

ptrdiff_t ls_queue_pop_batch(ls_queue *queue, void **items, size_t max, int64_t timeout_ms) {
  int64_t deadline_us = timeout_ms > 0 ? ls_deadline_us(timeout_ms) : -1;
  pthread_mutex_lock(&queue->mutex);
  bool in_time = timeout_ms != 0;
  while (queue->count == 0 && !queue->closed && in_time) {
    queue->waiters++;
    in_time = ls_condition_wait_until(&queue->filled, &queue->mutex, deadline_us);
    queue->waiters--;
  }
  ptrdiff_t result = (ptrdiff_t)take(queue, items, max);
  if (result == 0 && queue->closed)
    result = -1;
  pthread_mutex_unlock(&queue->mutex);
  return result;
}

void ls_queue_close(ls_queue *queue) {
  pthread_mutex_lock(&queue->mutex);
  queue->closed = true;
  pthread_cond_broadcast(&queue->filled);
  pthread_mutex_unlock(&queue->mutex);
}

size_t ls_queue_size(ls_queue *queue) {
  pthread_mutex_lock(&queue->mutex);
  size_t count = queue->count;
  pthread_mutex_unlock(&queue->mutex);
  return count;
}

void ls_queue_destroy(ls_queue *queue) {
  if (!queue)
    return;
  pthread_cond_destroy(&queue->filled);
  pthread_mutex_destroy(&queue->mutex);
  free(queue);
}
