// bench-rpc-peer-client ADDRESS IN_FLIGHT WARM CALLS: as bench-rpc-client, by gRPC's callback stub for C++.
//
// Request and response are used again by each call of a slot, so that protobuf allocates nothing after the first. Each
// call has a deadline of 30 s, as each of lockstep's has.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "bench/rpc/bench.grpc.pb.h"

namespace {

using lockstep::bench::v1::EchoRequest;
using lockstep::bench::v1::EchoResponse;
using lockstep::bench::v1::EchoService;

constexpr char kText[] = "5e1c2a9e-9b7c-4c5e-8f6a-2f0f3d1b7a44";

[[noreturn]] void fail(const std::string &what, const std::string &why) {
  std::fprintf(stderr, "bench-rpc-peer-client: %s: %s\n", what.c_str(), why.c_str());
  std::exit(1);
}

class Run;

// One of the calls under way.
struct Slot {
  Run *run = nullptr;
  std::int64_t number = 0;
  std::optional<grpc::ClientContext> context;
  EchoRequest request;
  EchoResponse response;
};

// A run of calls, each started by the answer of another, on whichever thread gRPC calls back.
class Run {
public:
  Run(EchoService::Stub *stub, std::int64_t calls) : stub_(stub), calls_(calls) {}

  void callAll(std::vector<Slot> &slots) {
    for (Slot &slot : slots) {
      slot.run = this;
      slot.request.set_text(kText);
      callNext(slot);
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }

private:
  void callNext(Slot &slot) {
    slot.number = started_.fetch_add(1);
    if (slot.number >= calls_)
      return;
    slot.context.emplace();
    slot.context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    slot.request.set_number(slot.number);
    stub_->async()->Echo(&*slot.context, &slot.request, &slot.response,
                         [&slot](grpc::Status status) { slot.run->onAnswer(slot, status); });
  }

  void onAnswer(Slot &slot, const grpc::Status &status) {
    if (!status.ok())
      fail("Echo", status.error_message());
    if (slot.response.number() != slot.number || slot.response.text() != kText)
      fail("Echo", "the answer is not what was asked");
    callNext(slot);
    if (answered_.fetch_add(1) + 1 < calls_) // from here on this may be gone
      return;
    std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
    changed_.notify_one();
  }

  EchoService::Stub *const stub_;
  const std::int64_t calls_;
  std::atomic<std::int64_t> started_{0}, answered_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

double cpuSeconds() {
  timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 5)
    fail("usage", "bench-rpc-peer-client ADDRESS IN_FLIGHT WARM CALLS");
  const auto inFlight = std::strtoull(argv[2], nullptr, 10);
  const auto warm = std::strtoll(argv[3], nullptr, 10);
  const auto calls = std::strtoll(argv[4], nullptr, 10);
  if (inFlight == 0 || warm <= 0 || calls <= 0)
    fail("usage", "IN_FLIGHT, WARM and CALLS are at least 1");
  auto stub = EchoService::NewStub(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  std::vector<Slot> slots(inFlight);
  Run(stub.get(), warm).callAll(slots);
  const double cpuBefore = cpuSeconds();
  const auto begin = std::chrono::steady_clock::now();
  Run(stub.get(), calls).callAll(slots);
  const std::chrono::duration<double> used = std::chrono::steady_clock::now() - begin;
  std::printf("{\"calls\": %lld, \"seconds\": %.6f, \"cpu_seconds\": %.3f}\n", calls, used.count(),
              cpuSeconds() - cpuBefore);
  return 0;
}
