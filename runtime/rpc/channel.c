/* Channels, and what every call of theirs has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "runtime/base/thread.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/client_internal.h"
#include "runtime/rpc/core_locks.h"
#include "runtime/rpc/core_log.h"

/* gRPC's own upper bound on attempts (gRFC A6). */
enum { MOST_ATTEMPTS = 5 };

static void set_defaults(ls_rpc_channel_options *options) {
  if (options->default_timeout_ms <= 0)
    options->default_timeout_ms = 30000;
  if (options->retry_attempts == 0)
    options->retry_attempts = 4;
  if (options->retry_attempts > MOST_ATTEMPTS)
    options->retry_attempts = MOST_ATTEMPTS;
  if (options->max_receive_bytes == 0)
    options->max_receive_bytes = 16 << 20;
  if (options->send_buffer_bytes == 0)
    options->send_buffer_bytes = 64 << 10;
  if (options->max_depth == 0)
    options->max_depth = 64;
}

/* https://github.com/grpc/grpc/blob/master/doc/service_config.md */
static void write_service_config(const ls_rpc_channel_options *options, char *out, size_t room) {
  int length = snprintf(out, room, "{\"loadBalancingConfig\":[{\"round_robin\":{}}]");
  if (options->retry_attempts > 1)
    length += snprintf(out + length, room - (size_t)length,
                       ",\"methodConfig\":[{\"name\":[{}],\"retryPolicy\":{\"maxAttempts\":%u,"
                       "\"initialBackoff\":\"0.05s\",\"maxBackoff\":\"1s\",\"backoffMultiplier\":2,"
                       "\"retryableStatusCodes\":[\"UNAVAILABLE\"]}}]",
                       options->retry_attempts);
  snprintf(out + length, room - (size_t)length, "}");
}

static grpc_channel *create_core(const char *target, const ls_rpc_channel_options *options,
                                 grpc_channel_credentials *credentials) {
  char service_config[512];
  write_service_config(options, service_config, sizeof service_config);
  struct {
    const char *key;
    int value;
  } numbers[] = {
      {GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
       options->max_receive_bytes > INT32_MAX ? INT32_MAX : (int)options->max_receive_bytes},
      {GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1},
      {GRPC_ARG_MAX_METADATA_SIZE, 16 << 10},
      /* A peer that comes back is found again within seconds. */
      {GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100},
      {GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000},
      {GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000},
      {GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 2000},
      /* One that hangs is left alone before long; servers here take pings every 10 s. */
      {GRPC_ARG_KEEPALIVE_TIME_MS, 12000},
      {GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000},
      /* Two channels are two connections: what one does to its peer is its own. */
      {GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
  };
  enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
  grpc_arg items[NUMBERS + 2];
  size_t count = 0;
  for (; count < NUMBERS; count++) {
    items[count].type = GRPC_ARG_INTEGER;
    items[count].key = (char *)(uintptr_t)numbers[count].key;
    items[count].value.integer = numbers[count].value;
  }
  items[count].type = GRPC_ARG_STRING;
  items[count].key = (char *)(uintptr_t)GRPC_ARG_SERVICE_CONFIG;
  items[count++].value.string = service_config;
  if (options->tls.enabled && options->tls_server_name != NULL) {
    items[count].type = GRPC_ARG_STRING;
    items[count].key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG;
    items[count++].value.string = (char *)(uintptr_t)options->tls_server_name;
  }
  grpc_channel_args arguments = {count, items};
  return grpc_channel_create(target, credentials, &arguments);
}

static void *run_queue(void *arg) {
  ls_rpc_poll(arg);
  return NULL;
}

ls_rpc_channel *ls_rpc_channel_new(const char *target, const ls_rpc_channel_options *options,
                                   ls_error *error) {
  ls_rpc_channel *channel = calloc(1, sizeof *channel);
  if (channel == NULL) {
    ls_error_set(error, LS_RESOURCE_EXHAUSTED, false, "", "out of memory");
    return NULL;
  }
  if (options != NULL)
    channel->options = *options;
  set_defaults(&channel->options);

  sigset_t signals;
  ls_thread_block_signals(&signals);
  ls_rpc_core_log_install();
  ls_rpc_core_locks_quicken();
  grpc_init();
  grpc_channel_credentials *credentials = ls_rpc_channel_credentials(&channel->options.tls, error);
  if (credentials != NULL) {
    channel->core = create_core(target, &channel->options, credentials);
    grpc_channel_credentials_release(credentials);
  }
  pthread_sigmask(SIG_SETMASK, &signals, NULL);
  if (credentials == NULL)
    goto failed;

  pthread_mutex_init(&channel->lock, NULL);
  ls_condition_init(&channel->idle);
  channel->queue = grpc_completion_queue_create_for_next(NULL);
  if (ls_thread_start(&channel->thread, "rpc-client", run_queue, channel->queue, error))
    return channel;
  grpc_completion_queue_shutdown(channel->queue);
  ls_rpc_poll(channel->queue);
  grpc_completion_queue_destroy(channel->queue);
  pthread_cond_destroy(&channel->idle);
  pthread_mutex_destroy(&channel->lock);
  grpc_channel_destroy(channel->core);

failed:
  grpc_shutdown();
  free(channel);
  return NULL;
}

void ls_rpc_channel_destroy(ls_rpc_channel *channel) {
  if (channel == NULL)
    return;
  pthread_mutex_lock(&channel->lock);
  channel->closing = true;
  for (ls_rpc_client_call *call = channel->calls; call != NULL; call = call->next)
    grpc_call_cancel(call->core, NULL);
  while (channel->calls != NULL)
    ls_condition_wait_until(&channel->idle, &channel->lock, -1);
  pthread_mutex_unlock(&channel->lock);
  grpc_completion_queue_shutdown(channel->queue);
  pthread_join(channel->thread, NULL);
  grpc_completion_queue_destroy(channel->queue);
  grpc_channel_destroy(channel->core);
  grpc_shutdown();
  pthread_cond_destroy(&channel->idle);
  pthread_mutex_destroy(&channel->lock);
  free(channel);
}

static void forget(ls_rpc_received *received) {
  ls_rpc_metadata_clear(&received->initial);
  ls_rpc_metadata_clear(&received->trailing);
  received->compressed = false;
}

/* What is sent before the first message. */
static bool collect_metadata(ls_rpc_client_call *call, const ls_rpc_call_options *options,
                             ls_error *error) {
  for (size_t i = 0; i < options->metadata_count; i++) {
    const ls_rpc_metadata *item = &options->metadata[i];
    if (!ls_rpc_metadata_add(&call->metadata, item->key, item->value, item->value_bytes, error))
      return false;
  }
  return !options->compress ||
         ls_rpc_metadata_add(&call->metadata, GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY, "gzip", 4,
                             error);
}

void ls_rpc_client_call_start(ls_rpc_client_call *call, ls_rpc_channel *channel,
                              const ls_rpc_method *method, const ls_rpc_call_options *options) {
  static const ls_rpc_call_options none = {0};
  if (options == NULL)
    options = &none;
  int64_t timeout_ms =
      options->timeout_ms == 0 ? channel->options.default_timeout_ms : options->timeout_ms;
  gpr_timespec deadline =
      timeout_ms < 0 ? gpr_inf_future(GPR_CLOCK_MONOTONIC) : ls_rpc_deadline(timeout_ms);
  call->channel = channel;
  call->method = method;
  call->core =
      grpc_channel_create_call(channel->core, NULL, GRPC_PROPAGATE_DEFAULTS, channel->queue,
                               grpc_slice_from_static_string(method->path), NULL, deadline, NULL);
  call->message = grpc_empty_slice();
  call->received = options->received;
  if (call->received != NULL)
    forget(call->received);
  grpc_metadata_array_init(&call->initial);
  grpc_metadata_array_init(&call->trailing);
  ls_error error;
  if (!collect_metadata(call, options, &error))
    grpc_call_cancel_with_status(call->core, (grpc_status_code)error.code, error.message, NULL);
  if (options->wait_for_ready)
    call->initial_flags =
        GRPC_INITIAL_METADATA_WAIT_FOR_READY | GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;

  pthread_mutex_lock(&channel->lock);
  call->next = channel->calls;
  call->link = &channel->calls;
  if (call->next != NULL)
    call->next->link = &call->next;
  channel->calls = call;
  if (channel->closing)
    grpc_call_cancel(call->core, NULL);
  pthread_mutex_unlock(&channel->lock);
}

void ls_rpc_client_call_send_initial(ls_rpc_client_call *call, grpc_op *op) {
  op->op = GRPC_OP_SEND_INITIAL_METADATA;
  op->flags = call->initial_flags;
  op->data.send_initial_metadata.count = call->metadata.count;
  op->data.send_initial_metadata.metadata = call->metadata.items;
}

void ls_rpc_client_call_receive_initial(ls_rpc_client_call *call, grpc_op *op) {
  op->op = GRPC_OP_RECV_INITIAL_METADATA;
  op->data.recv_initial_metadata.recv_initial_metadata = &call->initial;
}

void ls_rpc_client_call_receive_status(ls_rpc_client_call *call, grpc_op *op) {
  op->op = GRPC_OP_RECV_STATUS_ON_CLIENT;
  op->data.recv_status_on_client.trailing_metadata = &call->trailing;
  op->data.recv_status_on_client.status = &call->code;
  op->data.recv_status_on_client.status_details = &call->message;
}

void ls_rpc_client_call_status(ls_rpc_client_call *call, ls_rpc_status *status) {
  ls_rpc_status_receive(status, call->code, call->message, &call->trailing);
  if (call->received != NULL) {
    ls_rpc_metadata_copy(&call->received->initial, &call->initial);
    ls_rpc_metadata_copy(&call->received->trailing, &call->trailing);
  }
}

ls_rpc_received *ls_rpc_received_new(void) {
  return calloc(1, sizeof(ls_rpc_received));
}

void ls_rpc_received_destroy(ls_rpc_received *received) {
  if (received == NULL)
    return;
  forget(received);
  free(received);
}

bool ls_rpc_received_initial(const ls_rpc_received *received, const char *key, const char **value,
                             size_t *value_bytes) {
  return ls_rpc_metadata_find(received->initial.items, received->initial.count, key, value,
                              value_bytes);
}

bool ls_rpc_received_trailing(const ls_rpc_received *received, const char *key, const char **value,
                              size_t *value_bytes) {
  return ls_rpc_metadata_find(received->trailing.items, received->trailing.count, key, value,
                              value_bytes);
}

bool ls_rpc_received_compressed(const ls_rpc_received *received) {
  return received->compressed;
}

ProtobufCMessage *ls_rpc_client_call_message(ls_rpc_client_call *call, grpc_byte_buffer *buffer,
                                             ls_rpc_status *status) {
  if (call->received != NULL)
    call->received->compressed = ls_rpc_was_compressed(call->core);
  ls_error error;
  ls_error_clear(&error);
  ProtobufCMessage *message =
      ls_rpc_unpack(call->method->response, buffer, call->channel->options.max_depth, NULL, &error);
  if (message == NULL) {
    ls_code code = error.code == LS_RESOURCE_EXHAUSTED ? LS_RESOURCE_EXHAUSTED : LS_INTERNAL;
    ls_rpc_status_set(status, code, "%s answered %s", call->method->path, error.message);
  }
  return message;
}

void ls_rpc_client_call_end(ls_rpc_client_call *call) {
  ls_rpc_channel *channel = call->channel;
  grpc_slice_unref(call->message);
  grpc_metadata_array_destroy(&call->initial);
  grpc_metadata_array_destroy(&call->trailing);
  ls_rpc_metadata_clear(&call->metadata);

  pthread_mutex_lock(&channel->lock);
  *call->link = call->next;
  if (call->next != NULL)
    call->next->link = call->link;
  grpc_call *core = call->core;
  pthread_mutex_unlock(&channel->lock);
  grpc_call_unref(core);
  pthread_mutex_lock(&channel->lock);
  if (channel->calls == NULL)
    pthread_cond_broadcast(&channel->idle);
  pthread_mutex_unlock(&channel->lock);
}
