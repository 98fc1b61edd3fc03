// bench-rpc-peer-server: as bench-rpc-server, by gRPC's callback server for C++ with its defaults.
//
// Messages live in the call's own arena, which is what its default allocator does, and the reactor is the context's:
// there is nothing to gain by an arena of protobuf's for one string and one number.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>

#include <grpcpp/grpcpp.h>

#include "bench/rpc/bench.grpc.pb.h"

namespace {

class EchoHandler final : public lockstep::bench::v1::EchoService::CallbackService {
public:
  grpc::ServerUnaryReactor *Echo(grpc::CallbackServerContext *context, const lockstep::bench::v1::EchoRequest *request,
                                 lockstep::bench::v1::EchoResponse *response) override {
    calls_.fetch_add(1, std::memory_order_relaxed);
    response->set_text(request->text());
    response->set_number(request->number());
    auto *reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  std::uint64_t calls() const { return calls_.load(); }

private:
  std::atomic<std::uint64_t> calls_{0};
};

} // namespace

int main() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  EchoHandler service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "bench-rpc-peer-server: cannot serve\n");
    return 1;
  }
  std::printf("{\"port\": %d}\n", port);
  std::fflush(stdout);
  int signal_number = 0;
  sigwait(&stop, &signal_number);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  server->Wait();
  std::printf("{\"calls\": %llu}\n", static_cast<unsigned long long>(service.calls()));
  return 0;
}
