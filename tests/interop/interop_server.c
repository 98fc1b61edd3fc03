/* The server of gRPC's interop tests, on this project's generator and runtime.
 *
 * usage: lockstep-interop-server PORT [CERTIFICATE-FILE KEY-FILE]
 *
 * Prints "listening on PORT" (PORT 0: any free one) once it does, and ends at SIGINT or SIGTERM.
 * With the two PEM files it speaks TLS. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "grpc/testing/test.grpc-c.h"
#include "runtime/base/thread.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/reflection.h"
#include "runtime/rpc/server.h"

#define SERVICE(name) grpc_testing_test_service_##name

/* MOST_WAITING: requests of a HalfDuplexCall. */
enum { MOST_WAITING = 256, MOST_RESPONSES = 1024, LARGEST_RESPONSE = 8 << 20, GRACE_MS = 2000 };

static const char initial_key[] = "x-grpc-test-echo-initial";
static const char trailing_key[] = "x-grpc-test-echo-trailing-bin";

static void echo_metadata(ls_rpc_call *call) {
  const char *value;
  size_t bytes;
  if (ls_rpc_call_metadata(call, initial_key, &value, &bytes))
    ls_rpc_call_add_initial_metadata(call, initial_key, value, bytes);
  if (ls_rpc_call_metadata(call, trailing_key, &value, &bytes))
    ls_rpc_call_add_trailing_metadata(call, trailing_key, value, bytes);
}

/* Ends a call whose request did not come as it said it would. */
static bool is_as_expected(ls_rpc_call *call, const Grpc__Testing__BoolValue *expect_compressed) {
  if (expect_compressed == NULL || !expect_compressed->value ||
      ls_rpc_call_message_compressed(call))
    return true;
  ls_rpc_call_fail(call, LS_INVALID_ARGUMENT, "the request should have been compressed");
  return false;
}

static bool check_response(ls_rpc_call *call, Grpc__Testing__PayloadType type, int32_t size) {
  if (type == GRPC__TESTING__PAYLOAD_TYPE__COMPRESSABLE && size >= 0 && size <= LARGEST_RESPONSE)
    return true;
  ls_rpc_call_fail(call, LS_INVALID_ARGUMENT, "a response of type %d and %d bytes cannot be made",
                   (int)type, (int)size);
  return false;
}

/* --- Unary --- */

static void empty_call(ls_rpc_call *call, const Grpc__Testing__Empty *request, void *user_data) {
  (void)request, (void)user_data;
  Grpc__Testing__Empty response = GRPC__TESTING__EMPTY__INIT;
  SERVICE(empty_call_reply)(call, &response);
}

static void unary_call(ls_rpc_call *call, const Grpc__Testing__SimpleRequest *request,
                       void *user_data) {
  (void)user_data;
  echo_metadata(call);
  if (!is_as_expected(call, request->expect_compressed))
    return;
  if (request->response_status != NULL && request->response_status->code != 0) {
    ls_rpc_call_fail(call, (ls_code)request->response_status->code, "%s",
                     request->response_status->message);
    return;
  }
  if (!check_response(call, request->response_type, request->response_size))
    return;
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  payload.body.len = (size_t)request->response_size;
  payload.body.data = ls_rpc_call_alloc(call, payload.body.len + 1);
  if (payload.body.data == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  memset(payload.body.data, 0, payload.body.len);
  if (request->response_compressed != NULL && request->response_compressed->value)
    ls_rpc_call_compress(call, true);
  Grpc__Testing__SimpleResponse response = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
  response.payload = &payload;
  SERVICE(unary_call_reply)(call, &response);
}

/* --- Requests that stream in --- */

static void input_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  int64_t *sum = ls_rpc_call_alloc(call, sizeof *sum);
  if (sum == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  *sum = 0;
  ls_rpc_call_set_state(call, sum);
  ls_rpc_call_read_next(call);
}

static void input_message(ls_rpc_call *call,
                          const Grpc__Testing__StreamingInputCallRequest *message,
                          void *user_data) {
  (void)user_data;
  if (!is_as_expected(call, message->expect_compressed))
    return;
  int64_t *sum = ls_rpc_call_state(call);
  if (message->payload != NULL)
    *sum += (int64_t)message->payload->body.len;
  ls_rpc_call_read_next(call);
}

static void input_half_close(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  Grpc__Testing__StreamingInputCallResponse response =
      GRPC__TESTING__STREAMING_INPUT_CALL_RESPONSE__INIT;
  const int64_t *sum = ls_rpc_call_state(call);
  response.aggregated_payload_size = (int32_t)*sum;
  SERVICE(streaming_input_call_reply)(call, &response);
}

/* --- Responses that stream out: a thread for each call, which may sleep between them --- */

typedef struct answer {
  int32_t size, interval_us;
  bool compressed;
} answer;

/* A request, as far as it is needed after the message has gone. */
typedef struct order {
  struct order *next;
  Grpc__Testing__PayloadType type;
  ls_code code; /* to end the call with, unless OK */
  char *message;
  size_t count;
  answer answers[];
} order;

typedef enum pace {
  AT_ONCE,       /* there is but one request */
  ONE_BY_ONE,    /* the next request is asked for once this one has been answered */
  AFTER_THE_LAST /* answers begin when all requests are there */
} pace;

typedef struct responder {
  ls_rpc_call *call;
  pace pace;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  order *first, **last;
  size_t waiting;
  bool complete;   /* no more requests will come */
  bool overloaded; /* there was no room for one */
  bool cancelled;
  bool writable;
  unsigned users; /* the thread, and the call until its done */
} responder;

static void free_orders(order *list) {
  while (list != NULL) {
    order *next = list->next;
    free(list->message);
    free(list);
    list = next;
  }
}

static void leave(responder *r) {
  pthread_mutex_lock(&r->lock);
  bool last = --r->users == 0;
  pthread_mutex_unlock(&r->lock);
  if (!last)
    return;
  free_orders(r->first);
  pthread_cond_destroy(&r->changed);
  pthread_mutex_destroy(&r->lock);
  free(r);
}

static void on_done(ls_rpc_call *call, void *arg) {
  (void)call;
  leave(arg);
}

static void on_cancel(ls_rpc_call *call, void *arg) {
  (void)call;
  responder *r = arg;
  pthread_mutex_lock(&r->lock);
  r->cancelled = true;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static void on_writable(ls_rpc_call *call, void *arg) {
  (void)call;
  responder *r = arg;
  pthread_mutex_lock(&r->lock);
  r->writable = true;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static order *next_order(responder *r) {
  pthread_mutex_lock(&r->lock);
  while (!r->complete && !r->cancelled && (r->first == NULL || r->pace == AFTER_THE_LAST))
    pthread_cond_wait(&r->changed, &r->lock);
  order *next = r->cancelled ? NULL : r->first;
  if (next != NULL) {
    r->first = next->next;
    if (r->first == NULL)
      r->last = &r->first;
    next->next = NULL;
    r->waiting--;
  }
  pthread_mutex_unlock(&r->lock);
  return next;
}

static bool send_body(responder *r, const Grpc__Testing__StreamingOutputCallResponse *response) {
  for (;;) {
    pthread_mutex_lock(&r->lock);
    r->writable = false;
    pthread_mutex_unlock(&r->lock);
    ls_rpc_send_result result = SERVICE(full_duplex_call_send)(r->call, response);
    if (result != LS_RPC_WOULD_BLOCK)
      return result != LS_RPC_CLOSED;
    pthread_mutex_lock(&r->lock);
    while (!r->writable && !r->cancelled)
      pthread_cond_wait(&r->changed, &r->lock);
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    if (cancelled)
      return false;
  }
}

/* False: the call is over, or this has ended it (`*ended`). */
static bool send_answer(responder *r, const order *of, const answer *one, bool *ended) {
  if (!check_response(r->call, of->type, one->size)) {
    *ended = true;
    return false;
  }
  struct timespec interval = {one->interval_us / 1000000, one->interval_us % 1000000 * 1000L};
  if (one->interval_us > 0)
    nanosleep(&interval, NULL);
  Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
  payload.body.len = (size_t)one->size;
  payload.body.data = calloc(1, payload.body.len + 1);
  if (payload.body.data == NULL)
    return false;
  Grpc__Testing__StreamingOutputCallResponse response =
      GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
  response.payload = &payload;
  ls_rpc_call_compress(r->call, one->compressed);
  bool sent = send_body(r, &response);
  free(payload.body.data);
  return sent;
}

static void *respond(void *arg) {
  responder *r = arg;
  bool going = true, ended = false;
  for (order *of; going && (of = next_order(r)) != NULL; free_orders(of)) {
    for (size_t i = 0; going && i < of->count; i++)
      going = send_answer(r, of, &of->answers[i], &ended);
    if (going && of->code != LS_OK) {
      ls_rpc_call_fail(r->call, of->code, "%s", of->message);
      going = false;
      ended = true;
    }
    if (going && r->pace == ONE_BY_ONE)
      ls_rpc_call_read_next(r->call);
  }
  if (!ended && r->overloaded)
    ls_rpc_call_fail(r->call, LS_RESOURCE_EXHAUSTED, "too much was asked for at once");
  else if (!ended)
    ls_rpc_call_finish(r->call, NULL);
  leave(r);
  return NULL;
}

/* NULL: the call has been ended. */
static responder *start_responder(ls_rpc_call *call, pace at) {
  responder *r = calloc(1, sizeof *r);
  if (r == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return NULL;
  }
  r->call = call;
  r->pace = at;
  r->last = &r->first;
  r->users = 2;
  pthread_mutex_init(&r->lock, NULL);
  pthread_cond_init(&r->changed, NULL);
  echo_metadata(call);
  ls_rpc_call_on_cancel(call, on_cancel, r);
  ls_rpc_call_on_writable(call, on_writable, r);
  ls_rpc_call_on_done(call, on_done, r);
  ls_rpc_call_set_state(call, r);
  pthread_t thread;
  ls_error error;
  if (!ls_thread_start(&thread, "responder", respond, r, &error)) {
    r->users = 1;
    ls_rpc_call_fail(call, error.code, "%s", error.message);
    return NULL;
  }
  pthread_detach(thread);
  return r;
}

static void complete(responder *r) {
  pthread_mutex_lock(&r->lock);
  r->complete = true;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

/* Takes a request for the thread to answer. One that there is no room for ends the stream. */
static void take(responder *r, const Grpc__Testing__StreamingOutputCallRequest *request) {
  size_t count = request->n_response_parameters;
  order *taken = count <= MOST_RESPONSES ? malloc(sizeof *taken + count * sizeof(answer)) : NULL;
  if (taken == NULL || r->waiting >= MOST_WAITING) {
    free(taken);
    r->overloaded = true;
    complete(r);
    return;
  }
  *taken = (order){.type = request->response_type, .count = count};
  const Grpc__Testing__EchoStatus *status = request->response_status;
  if (status != NULL && status->code != 0) {
    taken->code = (ls_code)status->code;
    taken->message = strdup(status->message);
  }
  for (size_t i = 0; i < count; i++) {
    const Grpc__Testing__ResponseParameters *parameters = request->response_parameters[i];
    taken->answers[i] = (answer){parameters->size, parameters->interval_us,
                                 parameters->compressed != NULL && parameters->compressed->value};
    if (taken->answers[i].compressed) /* before anything is sent, or it is too late */
      ls_rpc_call_compress(r->call, true);
  }
  pthread_mutex_lock(&r->lock);
  *r->last = taken;
  r->last = &taken->next;
  r->waiting++;
  pthread_cond_signal(&r->changed);
  pthread_mutex_unlock(&r->lock);
}

static void output_call(ls_rpc_call *call, const Grpc__Testing__StreamingOutputCallRequest *request,
                        void *user_data) {
  (void)user_data;
  responder *r = start_responder(call, AT_ONCE);
  if (r == NULL)
    return;
  take(r, request);
  complete(r);
}

static void full_duplex_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  if (start_responder(call, ONE_BY_ONE) != NULL)
    ls_rpc_call_read_next(call);
}

static void duplex_message(ls_rpc_call *call,
                           const Grpc__Testing__StreamingOutputCallRequest *message,
                           void *user_data) {
  (void)user_data;
  take(ls_rpc_call_state(call), message);
}

static void duplex_half_close(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  complete(ls_rpc_call_state(call));
}

static void half_duplex_start(ls_rpc_call *call, void *user_data) {
  (void)user_data;
  if (start_responder(call, AFTER_THE_LAST) != NULL)
    ls_rpc_call_read_next(call);
}

static void half_duplex_message(ls_rpc_call *call,
                                const Grpc__Testing__StreamingOutputCallRequest *message,
                                void *user_data) {
  duplex_message(call, message, user_data);
  ls_rpc_call_read_next(call);
}

static const SERVICE(handlers) handlers = {
    .empty_call = empty_call,
    .unary_call = unary_call,
    .streaming_output_call = output_call,
    .streaming_input_call = {input_start, input_message, input_half_close},
    .full_duplex_call = {full_duplex_start, duplex_message, duplex_half_close},
    .half_duplex_call = {half_duplex_start, half_duplex_message, duplex_half_close},
};

/* --- The program --- */

static bool serve(ls_rpc_server *server, int asked_port, ls_error *error) {
  ls_rpc_health *health = ls_rpc_health_new(error);
  ls_rpc_reflection *reflection = ls_rpc_reflection_new(error);
  char address[32];
  snprintf(address, sizeof address, "[::]:%d", asked_port);
  int port = 0;
  bool serving =
      health != NULL && reflection != NULL && SERVICE(register)(server, &handlers, NULL, error) &&
      ls_rpc_health_register(health, server, error) &&
      ls_rpc_reflection_register(reflection, server, error) &&
      ls_rpc_server_listen(server, address, &port, error) && ls_rpc_server_start(server, error);
  if (serving) {
    ls_rpc_health_set(health, "", true);
    printf("listening on %d\n", port);
    (void)fflush(stdout);
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    int signal_number;
    sigwait(&ends, &signal_number);
    ls_rpc_health_shutdown(health);
    ls_rpc_server_shutdown(server, GRACE_MS);
  }
  ls_rpc_server_destroy(server);
  ls_rpc_reflection_destroy(reflection);
  ls_rpc_health_destroy(health);
  return serving;
}

int main(int argc, char **argv) {
  char *end = NULL;
  long port = argc > 1 ? strtol(argv[1], &end, 10) : -1;
  if ((argc != 2 && argc != 4) || *end != '\0' || port < 0 || port > 65535) {
    fprintf(stderr, "usage: %s PORT [CERTIFICATE-FILE KEY-FILE]\n", argv[0]);
    return EXIT_FAILURE;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, NULL);

  ls_rpc_server_options options = {.max_calls = 256};
  if (argc == 4)
    options.tls = (ls_rpc_tls){.enabled = true, .certificate_file = argv[2], .key_file = argv[3]};
  ls_error error;
  ls_rpc_server *server = ls_rpc_server_new(&options, &error);
  if (server != NULL && serve(server, (int)port, &error))
    return EXIT_SUCCESS;
  fprintf(stderr, "%s: %s\n", argv[0], error.message);
  return EXIT_FAILURE;
}
