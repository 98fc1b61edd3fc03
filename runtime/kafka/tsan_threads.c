/* For ThreadSanitizer builds only: C11 threads by way of POSIX ones.
 *
 * librdkafka uses C11's threads, mutexes and conditions, which ThreadSanitizer does not see: a
 * thread it did not see start crashes in it, and what such a mutex protects looks like a race.
 * These definitions take the place of the C library's, whose types have the same layout underneath.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "a C11 mutex is a POSIX one");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "a C11 condition is a POSIX one");
_Static_assert(sizeof(once_flag) == sizeof(pthread_once_t), "a C11 once flag is a POSIX one");

/* librdkafka itself is not instrumented: its atomic reference counts are not seen, so what it does
 * to its own memory by way of the C library, and to the locks in it, would be reported. What these
 * locks order in our code is seen all the same. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void) {
  return "called_from_lib:librdkafka.so\n"
         "race:^mtx_\n"
         "race:^cnd_\n";
}

typedef struct start {
  thrd_start_t run;
  void *arg;
} start;

static void *run_start(void *arg) {
  start begin = *(start *)arg;
  free(arg);
  return (void *)(intptr_t)begin.run(begin.arg);
}

static int outcome(int code) {
  switch (code) {
  case 0:
    return thrd_success;
  case EBUSY:
    return thrd_busy;
  case ETIMEDOUT:
    return thrd_timedout;
  case ENOMEM:
    return thrd_nomem;
  default:
    return thrd_error;
  }
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *arg) {
  start *begin = malloc(sizeof *begin);
  if (!begin)
    return thrd_nomem;
  *begin = (start){.run = run, .arg = arg};
  int code = pthread_create(thread, NULL, run_start, begin);
  if (code != 0)
    free(begin);
  return outcome(code);
}

int thrd_join(thrd_t thread, int *result) {
  void *value = NULL;
  int code = pthread_join(thread, &value);
  if (code == 0 && result)
    *result = (int)(intptr_t)value;
  return outcome(code);
}

int mtx_init(mtx_t *mutex, int type) {
  pthread_mutexattr_t attributes;
  int code = pthread_mutexattr_init(&attributes);
  if (code != 0)
    return outcome(code);
  if (type & mtx_recursive)
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
  code = pthread_mutex_init((pthread_mutex_t *)mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return outcome(code);
}

int mtx_lock(mtx_t *mutex) {
  return outcome(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex) {
  return outcome(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex) {
  return outcome(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

void mtx_destroy(mtx_t *mutex) {
  pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int cnd_init(cnd_t *condition) {
  return outcome(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

int cnd_signal(cnd_t *condition) {
  return outcome(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition) {
  return outcome(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex) {
  return outcome(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex,
                  const struct timespec *restrict until) {
  return outcome(
      pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}

void cnd_destroy(cnd_t *condition) {
  pthread_cond_destroy((pthread_cond_t *)condition);
}

void call_once(once_flag *flag, void (*run)(void)) {
  pthread_once((pthread_once_t *)flag, run);
}
