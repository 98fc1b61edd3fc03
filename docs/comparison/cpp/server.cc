// The stock service on gRPC C++, by its synchronous API. Prints "port N" when it serves; ends by
// SIGTERM.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <string>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "stock/v1/stock.grpc.pb.h"

struct Kind {
  int level;
  std::chrono::milliseconds count_time;
};

static const std::map<std::string, Kind> shelf = {
    {"lamp", {3, std::chrono::seconds(0)}},
    {"crate", {40, std::chrono::seconds(10)}},
};

static grpc::Status refusal(const std::string &sku) {
  google::rpc::ErrorInfo info;
  info.set_reason("NO_SUCH_SKU");
  info.set_domain("stock.example");
  (*info.mutable_metadata())["sku"] = sku;
  google::rpc::Status details;
  details.set_code(grpc::StatusCode::NOT_FOUND);
  details.set_message("no such sku");
  details.add_details()->PackFrom(info);
  return grpc::Status(grpc::StatusCode::NOT_FOUND, details.message(), details.SerializeAsString());
}

class Stock final : public stock::v1::StockService::Service {
  grpc::Status GetLevel(grpc::ServerContext *context, const stock::v1::GetLevelRequest *request,
                        stock::v1::GetLevelResponse *response) override {
    auto found = shelf.find(request->sku());
    if (found == shelf.end())
      return refusal(request->sku());
    if (context->deadline() - std::chrono::system_clock::now() < found->second.count_time)
      return grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "counting takes longer");
    response->set_level(found->second.level);
    return grpc::Status::OK;
  }

  grpc::Status WatchLevel(grpc::ServerContext *, const stock::v1::WatchLevelRequest *request,
                          grpc::ServerWriter<stock::v1::WatchLevelResponse> *writer) override {
    auto found = shelf.find(request->sku());
    if (found == shelf.end())
      return refusal(request->sku());
    stock::v1::WatchLevelResponse message;
    for (int level = found->second.level; level >= 0; level--) {
      message.set_level(level);
      if (!writer->Write(message))
        break;
    }
    return grpc::Status::OK;
  }
};

int main() {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  Stock service;
  int port = 0, signal_number = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    std::fprintf(stderr, "server: cannot serve\n");
    return 1;
  }
  std::printf("port %d\n", port);
  std::fflush(stdout);
  sigwait(&stop, &signal_number);
  server->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(2));
  return 0;
}
