/* The client's side of a service: blocking and asynchronous calls, and streams of both styles. */
#include "gen/protoc-gen-grpc-c/emit.h"

static bool streams_requests(schema_kind kind) {
  return kind == SCHEMA_CLIENT_STREAMING || kind == SCHEMA_BIDIRECTIONAL;
}

/* These follow the method's own comment, as paragraphs of it. */
static const char unary_comment[] =
    "$method$ at the client, blocking. True: `*response` is the answer, to be freed with\n"
    "$free$*response, NULL). False: `status` says why.\n"
    "`options`, `response` and `status` may be NULL. See ls_rpc_unary.\n";

static const char events_comment[] =
    "$method$ at the client, with callbacks on the channel's thread; any of them may be NULL. "
    "`events`\n"
    "must live until done. Each message is asked for with ls_rpc_stream_read_next. See\n"
    "ls_rpc_stream_start.\n";

static const char unary_header[] =
    "$deprecated$bool $name$(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, $Response$ **response,\n"
    "    ls_rpc_status *status);\n"
    "\n"
    "/* $method$ at the client, asynchronous: `done` (NULL: nobody) is called once, on the "
    "channel's thread;\n"
    " * response is NULL unless the status is OK, and lives only during the callback. False: out "
    "of memory,\n"
    " * `done` is not called. See ls_rpc_unary_start. */\n"
    "typedef void (*$name$_done)(\n"
    "    const ls_rpc_status *status, const $Response$ *response, void *arg);\n"
    "$deprecated$bool $name$_async(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, $name$_done done,\n"
    "    void *arg);\n"
    "\n";

static const char unary_source[] =
    "bool $name$(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, $Response$ **response,\n"
    "    ls_rpc_status *status) {\n"
    "  ProtobufCMessage *message = NULL;\n"
    "  bool ok = ls_rpc_unary(\n"
    "      channel, &methods_$prefix$[$index$],\n"
    "      (const ProtobufCMessage *)request, options, response != NULL ? &message : NULL, "
    "status);\n"
    "  if (response != NULL)\n"
    "    *response = ($Response$ *)message;\n"
    "  return ok;\n"
    "}\n"
    "\n"
    "static void finish_$name$(\n"
    "    ls_rpc_function done, const ls_rpc_status *status, const ProtobufCMessage *response,\n"
    "    void *arg) {\n"
    "  if (done != NULL)\n"
    "    (($name$_done)done)(\n"
    "        status, (const $Response$ *)response, arg);\n"
    "}\n"
    "\n"
    "bool $name$_async(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, $name$_done done,\n"
    "    void *arg) {\n"
    "  return ls_rpc_unary_start(\n"
    "      channel, &methods_$prefix$[$index$],\n"
    "      (const ProtobufCMessage *)request, options, finish_$name$,\n"
    "      (ls_rpc_function)done, arg);\n"
    "}\n"
    "\n";

static const char events_header[] =
    "typedef struct $name$_events {\n"
    "  void (*message)(ls_rpc_stream *stream, const $Response$ *message,\n"
    "      void *arg);\n"
    "  void (*writable)(ls_rpc_stream *stream, void *arg);\n"
    "  void (*done)(ls_rpc_stream *stream, const ls_rpc_status *status, void *arg);\n"
    "} $name$_events;\n";

static const char start_and_open_with_request_header[] =
    "$deprecated$ls_rpc_stream *$name$_start(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, const $name$_events *events,\n"
    "    void *arg);\n"
    "\n"
    "/* $method$ at the client, blocking; to be ended with ls_rpc_stream_finish. See "
    "ls_rpc_stream_open. */\n"
    "$deprecated$ls_rpc_stream *$name$_open(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options);\n"
    "\n";

static const char start_and_open_header[] =
    "$deprecated$ls_rpc_stream *$name$_start(\n"
    "    ls_rpc_channel *channel, const ls_rpc_call_options *options,\n"
    "    const $name$_events *events, void *arg);\n"
    "\n"
    "/* Queues one request of a started stream; ls_rpc_stream_half_close ends them. See\n"
    " * ls_rpc_stream_send. */\n"
    "$deprecated$static inline ls_rpc_send_result $name$_stream_send(\n"
    "    ls_rpc_stream *stream, const $Request$ *message) {\n"
    "  return ls_rpc_stream_send(stream, (const ProtobufCMessage *)message);\n"
    "}\n"
    "\n"
    "/* $method$ at the client, blocking; to be ended with ls_rpc_stream_finish. See "
    "ls_rpc_stream_open. */\n"
    "$deprecated$ls_rpc_stream *$name$_open(\n"
    "    ls_rpc_channel *channel, const ls_rpc_call_options *options);\n"
    "\n"
    "/* Writes one request of an opened stream; false when the stream is over. */\n"
    "$deprecated$static inline bool $name$_write(\n"
    "    ls_rpc_stream *stream, const $Request$ *message) {\n"
    "  return ls_rpc_stream_write(stream, (const ProtobufCMessage *)message);\n"
    "}\n"
    "\n";

static const char read_header[] = "/* The next message of an opened stream, to be freed with\n"
                                  " * $free$message, NULL); NULL when there is none. */\n"
                                  "$deprecated$static inline $Response$ *$name$_read(\n"
                                  "    ls_rpc_stream *stream) {\n"
                                  "  return ($Response$ *)ls_rpc_stream_read(stream);\n"
                                  "}\n"
                                  "\n";

static const char events_source[] =
    "static void on_$name$_message(\n"
    "    ls_rpc_stream *stream, const ProtobufCMessage *message, const void *events, void *arg) {\n"
    "  const $name$_events *typed = events;\n"
    "  if (typed->message != NULL)\n"
    "    typed->message(stream, (const $Response$ *)message, arg);\n"
    "}\n"
    "\n"
    "static void on_$name$_writable(\n"
    "    ls_rpc_stream *stream, const void *events, void *arg) {\n"
    "  const $name$_events *typed = events;\n"
    "  if (typed->writable != NULL)\n"
    "    typed->writable(stream, arg);\n"
    "}\n"
    "\n"
    "static void on_$name$_done(\n"
    "    ls_rpc_stream *stream, const ls_rpc_status *status, const void *events, void *arg) {\n"
    "  const $name$_events *typed = events;\n"
    "  if (typed->done != NULL)\n"
    "    typed->done(stream, status, arg);\n"
    "}\n"
    "\n"
    "static const ls_rpc_stream_dispatch events_$name$ = {\n"
    "    .message = on_$name$_message,\n"
    "    .writable = on_$name$_writable,\n"
    "    .done = on_$name$_done,\n"
    "};\n"
    "\n";

static const char start_and_open_with_request_source[] =
    "ls_rpc_stream *$name$_start(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options, const $name$_events *events,\n"
    "    void *arg) {\n"
    "  return ls_rpc_stream_start(\n"
    "      channel, &methods_$prefix$[$index$],\n"
    "      (const ProtobufCMessage *)request, options, &events_$name$,\n"
    "      events, arg);\n"
    "}\n"
    "\n"
    "ls_rpc_stream *$name$_open(\n"
    "    ls_rpc_channel *channel, const $Request$ *request,\n"
    "    const ls_rpc_call_options *options) {\n"
    "  return ls_rpc_stream_open(\n"
    "      channel, &methods_$prefix$[$index$],\n"
    "      (const ProtobufCMessage *)request, options);\n"
    "}\n"
    "\n";

static const char start_and_open_source[] =
    "ls_rpc_stream *$name$_start(\n"
    "    ls_rpc_channel *channel, const ls_rpc_call_options *options,\n"
    "    const $name$_events *events, void *arg) {\n"
    "  return ls_rpc_stream_start(\n"
    "      channel, &methods_$prefix$[$index$], NULL, options,\n"
    "      &events_$name$, events, arg);\n"
    "}\n"
    "\n"
    "ls_rpc_stream *$name$_open(\n"
    "    ls_rpc_channel *channel, const ls_rpc_call_options *options) {\n"
    "  return ls_rpc_stream_open(\n"
    "      channel, &methods_$prefix$[$index$], NULL, options);\n"
    "}\n"
    "\n";

static void emit_stream_header(gen_text *out, schema_kind kind, const text_hole *holes) {
  text_fill(out, events_header, holes);
  text_fill(out,
            streams_requests(kind) ? start_and_open_header : start_and_open_with_request_header,
            holes);
  text_fill(out, read_header, holes);
}

static void emit_method_comment(gen_text *out, const schema_method *method,
                                const text_hole *holes) {
  gen_text comment = {0};
  if (method->comment != NULL)
    text_format(&comment, "%s\n\n", method->comment);
  text_fill(&comment, method->kind == SCHEMA_UNARY ? unary_comment : events_comment, holes);
  text_comment(out, "", comment.data);
  text_clear(&comment);
}

void emit_client_header(gen_text *out, const schema_service *service) {
  for (size_t i = 0; i < service->method_count; i++) {
    const schema_method *method = &service->methods[i];
    emit_method of_method;
    emit_method_holes(&of_method, service, i);
    emit_method_comment(out, method, of_method.holes);
    if (method->kind == SCHEMA_UNARY)
      text_fill(out, unary_header, of_method.holes);
    else
      emit_stream_header(out, method->kind, of_method.holes);
  }
}

void emit_client_source(gen_text *out, const schema_service *service) {
  for (size_t i = 0; i < service->method_count; i++) {
    schema_kind kind = service->methods[i].kind;
    emit_method of_method;
    emit_method_holes(&of_method, service, i);
    if (kind == SCHEMA_UNARY) {
      text_fill(out, unary_source, of_method.holes);
      continue;
    }
    text_fill(out, events_source, of_method.holes);
    text_fill(out,
              streams_requests(kind) ? start_and_open_source : start_and_open_with_request_source,
              of_method.holes);
  }
}
