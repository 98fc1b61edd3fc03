/* gRPC calls over HTTP/2 with as little work as can be (RFC 9113, and gRPC's "PROTOCOL-HTTP2"):
 * unary, one method a connection, nothing compressed, no TLS. What it saves beside a client of the
 * core goes to the service, with which the load shares the processors. For the service the calls
 * are like any other's: fields in the dynamic table, a deadline on each, flow control. */
#ifndef LOCKSTEP_TESTS_BENCH_LOAD_CONNECTION_H
#define LOCKSTEP_TESTS_BENCH_LOAD_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/base/error.h"

typedef struct connection connection;

/* What a call carries through: of who makes it. */
typedef struct connection_call {
  void *owner;
  uint8_t *answer; /* kept from call to call */
  size_t answer_bytes, answer_room;
  int status; /* grpc-status; -1: none yet */
} connection_call;

/* A call has ended. `message` is NULL if the answer holds none (or none that is whole). May start
 * another one. */
typedef void (*connection_ended)(connection_call *call, int status, const uint8_t *message,
                                 size_t bytes, void *arg);

/* Connects to host:port; blocks. At most `most_calls` are to be open at a time. NULL on failure. */
connection *connection_open(const char *address, const char *path, size_t most_calls,
                            connection_ended ended, void *arg, ls_error *error);
void connection_close(connection *self);

/* For poll(2). */
int connection_socket(const connection *self);
bool connection_wants_to_write(const connection *self);

/* Begins a call; `call` is the connection's until it has ended. The request waits until
 * connection_flush. */
void connection_start(connection *self, connection_call *call, const uint8_t *request,
                      size_t bytes);

/* Sends what can be sent without waiting. */
bool connection_flush(connection *self, ls_error *error);

/* Takes what has come, without waiting. */
bool connection_receive(connection *self, ls_error *error);

#endif
