/* Drives calls and counts their answers, on one thread. Closed: so many calls are in flight at any
 * time, each sent when another is answered. Open: so many are sent a second whether answered or
 * not, and how long those took that were done counts from the time they were due, so that a service
 * that stalls cannot hide it; how long a refusal took counts from when the call was sent: that the
 * load cannot send as fast as it should is no fault of the service. */
#ifndef LOCKSTEP_TESTS_BENCH_LOAD_LOAD_H
#define LOCKSTEP_TESTS_BENCH_LOAD_LOAD_H

#include "runtime/base/error.h"
#include "tests/bench/load/latencies.h"
#include "tests/bench/load/requests.h"

enum { LOAD_CODES = 17, LOAD_MOST_CHANNELS = 64 };

typedef struct load_options {
  load_requests *requests;
  const char *address;
  size_t channels;  /* connections, 1 to LOAD_MOST_CHANNELS */
  size_t in_flight; /* closed: kept in flight; open: at most */
  int64_t calls;    /* to send; 0: until the time is over */
  int64_t duration_ms;
  double rate; /* calls a second; 0: closed */
} load_options;

typedef struct load_result {
  int64_t answers[LOAD_CODES]; /* by ls_code */
  int64_t wrong;               /* of those that say OK */
  const char *first_wrong;
  int64_t sent;
  int64_t held_back;   /* open: due while all of in_flight were out, and never sent */
  double seconds;      /* from the first call sent to the last answer */
  double send_seconds; /* to the last call sent */
  latencies done;      /* of OK */
  latencies refused;   /* of RESOURCE_EXHAUSTED */
} load_result;

/* Returns when every call is answered. False: the connection failed, or no answer came for long. */
bool load_run(const load_options *options, load_result *result, ls_error *error);

#endif
