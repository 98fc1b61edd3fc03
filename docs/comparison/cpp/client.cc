// client ADDRESS SKU MILLISECONDS, on gRPC C++: asks for the level, then watches it.
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include <grpcpp/grpcpp.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "stock/v1/stock.grpc.pb.h"

static void explain(const grpc::Status &status) {
  std::printf("error %d: %s\n", status.error_code(), status.error_message().c_str());
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (!details.ParseFromString(status.error_details()) || details.details_size() == 0 ||
      !details.details(0).UnpackTo(&info))
    return;
  std::printf("reason %s of %s\n", info.reason().c_str(), info.domain().c_str());
  for (const auto &[key, value] : info.metadata())
    std::printf("%s = %s\n", key.c_str(), value.c_str());
}

int main(int argc, char **argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: client ADDRESS SKU MILLISECONDS\n");
    return 64;
  }
  auto stub = stock::v1::StockService::NewStub(
      grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  std::chrono::milliseconds timeout(std::atoi(argv[3]));

  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + timeout);
  stock::v1::GetLevelRequest request;
  request.set_sku(argv[2]);
  stock::v1::GetLevelResponse response;
  grpc::Status status = stub->GetLevel(&context, request, &response);
  if (status.ok())
    std::printf("level %d\n", response.level());
  else
    explain(status);

  grpc::ClientContext watch_context;
  watch_context.set_deadline(std::chrono::system_clock::now() + timeout);
  stock::v1::WatchLevelRequest watch;
  watch.set_sku(argv[2]);
  auto reader = stub->WatchLevel(&watch_context, watch);
  stock::v1::WatchLevelResponse message;
  while (reader->Read(&message))
    std::printf("now %d\n", message.level());
  status = reader->Finish();
  if (!status.ok())
    explain(status);
  return 0;
}
