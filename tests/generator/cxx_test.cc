// A C++ program that serves and calls methods with keywords for names: the generated headers and
// the runtime's compile as C++ and link, and the calls arrive.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include "keywords.grpc-c.h"
#include "runtime/base/error.h"
#include "runtime/rpc/call.h"
#include "runtime/rpc/client.h"
#include "runtime/rpc/credentials.h"
#include "runtime/rpc/health.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/method.h"
#include "runtime/rpc/reflection.h"
#include "runtime/rpc/rpc_metrics.h"
#include "runtime/rpc/server.h"
#include "runtime/rpc/status.h"

namespace {

using Struct = Test__Keywords__V1__Struct;

constexpr int64_t wait_ms = 20000;

void require(bool ok, const char *what, const char *why) {
  if (!ok)
    throw std::runtime_error(std::string(what) + ": " + why);
}

// A message with this text in the field called class.
class Text {
public:
  explicit Text(std::string of) : text_(std::move(of)) {
    test__keywords__v1__struct__init(&message_);
    message_.class_ = text_.data();
    message_.restrict_ = 1;
  }
  Text(const Text &) = delete;
  Text &operator=(const Text &) = delete;

  const Struct *get() const {
    return &message_;
  }

private:
  Struct message_;
  std::string text_;
};

std::string text_of(const Struct *message) {
  return message->restrict_ ? message->class_ : "";
}

// What the server was told last; on its one polling thread until it has been shut down.
struct Served {
  std::string text;
};

void serve_register(ls_rpc_call *call, const Struct *request, void *) {
  Text answer("registered " + text_of(request));
  test_keywords_v1_switch_register__reply(call, answer.get());
}

void serve_int(ls_rpc_call *call, const Struct *request, void *) {
  Text answer(text_of(request));
  test_keywords_v1_switch_int_send(call, answer.get());
  test_keywords_v1_switch_int_send(call, answer.get());
  ls_rpc_call_finish(call, nullptr);
}

void start(ls_rpc_call *call, void *user_data) {
  static_cast<Served *>(user_data)->text.clear();
  ls_rpc_call_read_next(call);
}

void collect(ls_rpc_call *call, const Struct *message, void *user_data) {
  static_cast<Served *>(user_data)->text += text_of(message);
  ls_rpc_call_read_next(call);
}

void answer_all(ls_rpc_call *call, void *user_data) {
  Text answer(static_cast<Served *>(user_data)->text);
  test_keywords_v1_switch_default_reply(call, answer.get());
}

void echo(ls_rpc_call *call, const Struct *message, void *) {
  test_keywords_v1_switch_for_send(call, message);
  ls_rpc_call_read_next(call);
}

void finish(ls_rpc_call *call, void *) {
  ls_rpc_call_finish(call, nullptr);
}

// Takes ownership; "" for the end of a stream.
std::string take(Struct *message) {
  if (message == nullptr)
    return "";
  std::string text = text_of(message);
  test__keywords__v1__struct__free_unpacked(message, nullptr);
  return text;
}

void end(ls_rpc_stream *stream, const char *what) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  bool ok = ls_rpc_stream_finish(stream, &status);
  require(ok, what, ls_rpc_status_message(&status));
  ls_rpc_status_clear(&status);
}

void call_register(ls_rpc_channel *channel) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  Struct *response = nullptr;
  bool ok =
      test_keywords_v1_switch_register_(channel, Text("x").get(), nullptr, &response, &status);
  require(ok, "Register", ls_rpc_status_message(&status));
  std::string text = take(response);
  require(text == "registered x", "Register", text.c_str());

  // There is no handler for Delete.
  ls_rpc_stream *stream = test_keywords_v1_switch_delete_open(channel, Text("x").get(), nullptr);
  require(take(test_keywords_v1_switch_delete_read(stream)).empty(), "Delete", "has a response");
  require(!ls_rpc_stream_finish(stream, &status), "Delete", "is OK");
  require(status.code == LS_UNIMPLEMENTED, "Delete", ls_code_name(status.code));
  ls_rpc_status_clear(&status);
}

void call_int(ls_rpc_channel *channel) {
  ls_rpc_stream *stream = test_keywords_v1_switch_int_open(channel, Text("y").get(), nullptr);
  std::string texts;
  for (std::string text; !(text = take(test_keywords_v1_switch_int_read(stream))).empty();)
    texts += text;
  end(stream, "Int");
  require(texts == "yy", "Int", texts.c_str());
}

void call_default(ls_rpc_channel *channel) {
  ls_rpc_stream *stream = test_keywords_v1_switch_default_open(channel, nullptr);
  require(test_keywords_v1_switch_default_write(stream, Text("a").get()), "Default", "is over");
  require(test_keywords_v1_switch_default_write(stream, Text("b").get()), "Default", "is over");
  ls_rpc_stream_half_close(stream);
  std::string text = take(test_keywords_v1_switch_default_read(stream));
  require(text == "ab", "Default", text.c_str());
  require(take(test_keywords_v1_switch_default_read(stream)).empty(), "Default", "answers twice");
  end(stream, "Default");
}

void call_for(ls_rpc_channel *channel) {
  ls_rpc_stream *stream = test_keywords_v1_switch_for_open(channel, nullptr);
  for (const char *sent : {"1", "2", "3"}) {
    require(test_keywords_v1_switch_for_write(stream, Text(sent).get()), "For", "is over");
    std::string text = take(test_keywords_v1_switch_for_read(stream));
    require(text == sent, "For", text.c_str());
  }
  ls_rpc_stream_half_close(stream);
  require(take(test_keywords_v1_switch_for_read(stream)).empty(), "For", "goes on");
  end(stream, "For");
}

// A message as it comes from outside, and the other parts of the runtime that a C++ program may
// use.
void use_the_rest(ls_rpc_server *server) {
  ls_error error = {};
  ls_arena *arena = ls_arena_new(4096);
  uint8_t packed[64];
  size_t bytes = test__keywords__v1__struct__pack(Text("z").get(), packed);
  const ProtobufCMessage *message = ls_rpc_message_unpack(&test__keywords__v1__struct__descriptor,
                                                          packed, bytes, 8, arena, &error);
  require(message != nullptr, "unpack", error.message);
  require(text_of(reinterpret_cast<const Struct *>(message)) == "z", "unpack", "another text");
  ls_arena_destroy(arena);

  ls_rpc_tls tls = {};
  require(ls_rpc_tls_check(&tls, true, &error), "plaintext", error.message);
  ls_metrics *registry = ls_metrics_new(0);
  ls_rpc_metrics *metrics = ls_rpc_metrics_new(registry, &error);
  require(metrics != nullptr, "metrics", error.message);
  require(ls_rpc_metrics_add_server(metrics, server, &error), "metrics", error.message);
  ls_buffer text = LS_BUFFER_INIT;
  require(ls_metrics_write(registry, &text), "metrics", "are not written");
  ls_buffer_clear(&text);
  ls_rpc_metrics_destroy(metrics);
  ls_metrics_destroy(registry);
}

void serve_and_call() {
  // These outlive the server's thread also when a check fails.
  static test_keywords_v1_switch_handlers handlers = {};
  static Served served;
  handlers.register_ = serve_register;
  handlers.int_ = serve_int;
  handlers.default_ = {start, collect, answer_all};
  handlers.for_ = {start, echo, finish};

  ls_error error = {};
  int port = 0;
  ls_rpc_server *server = ls_rpc_server_new(nullptr, &error);
  require(server != nullptr, "server", error.message);
  require(test_keywords_v1_switch_register(server, &handlers, &served, &error), "service",
          error.message);
  ls_rpc_health *health = ls_rpc_health_new(&error);
  require(health != nullptr && ls_rpc_health_register(health, server, &error), "health",
          error.message);
  ls_rpc_reflection *reflection = ls_rpc_reflection_new(&error);
  require(reflection != nullptr && ls_rpc_reflection_register(reflection, server, &error),
          "reflection", error.message);
  require(ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error), "listen", error.message);
  use_the_rest(server);
  require(ls_rpc_server_start(server, &error), "start", error.message);

  std::string target = "127.0.0.1:" + std::to_string(port);
  ls_rpc_channel_options options = {};
  options.default_timeout_ms = wait_ms;
  ls_rpc_channel *channel = ls_rpc_channel_new(target.c_str(), &options, &error);
  require(channel != nullptr, "channel", error.message);
  call_register(channel);
  call_int(channel);
  call_default(channel);
  call_for(channel);
  ls_rpc_channel_destroy(channel);

  ls_rpc_health_shutdown(health);
  require(ls_rpc_server_shutdown(server, wait_ms), "shutdown", "calls were cancelled");
  ls_rpc_server_destroy(server);
  ls_rpc_reflection_destroy(reflection);
  ls_rpc_health_destroy(health);
}

} // namespace

int main() {
  try {
    serve_and_call();
    return EXIT_SUCCESS;
  } catch (const std::exception &failure) {
    std::fprintf(stderr, "failed: %s\n", failure.what());
    return EXIT_FAILURE;
  }
}
