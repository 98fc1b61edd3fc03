/* client ADDRESS SKU MILLISECONDS, on lockstep: asks for the level, then watches it. */
#include <stdio.h>
#include <stdlib.h>

#include "stock/v1/stock.grpc-c.h"

static void explain(const ls_rpc_status *status) {
  printf("error %d: %s\n", (int)status->code, ls_rpc_status_message(status));
  Google__Rpc__ErrorInfo *info = ls_rpc_status_error_info(status);
  if (info == NULL)
    return;
  printf("reason %s of %s\n", info->reason, info->domain);
  for (size_t i = 0; i < info->n_metadata; i++)
    printf("%s = %s\n", info->metadata[i]->key, info->metadata[i]->value);
  google__rpc__error_info__free_unpacked(info, NULL);
}

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: client ADDRESS SKU MILLISECONDS\n");
    return 64;
  }
  ls_error error;
  ls_rpc_channel *channel = ls_rpc_channel_new(argv[1], NULL, &error);
  if (channel == NULL) {
    fprintf(stderr, "client: %s\n", error.message);
    return 1;
  }
  ls_rpc_call_options options = {.timeout_ms = atoi(argv[3])};
  ls_rpc_status status = LS_RPC_STATUS_INIT;

  Stock__V1__GetLevelRequest request = STOCK__V1__GET_LEVEL_REQUEST__INIT;
  request.sku = argv[2];
  Stock__V1__GetLevelResponse *response;
  if (stock_v1_stock_service_get_level(channel, &request, &options, &response, &status)) {
    printf("level %d\n", response->level);
    stock__v1__get_level_response__free_unpacked(response, NULL);
  } else {
    explain(&status);
  }

  Stock__V1__WatchLevelRequest watch = STOCK__V1__WATCH_LEVEL_REQUEST__INIT;
  watch.sku = argv[2];
  ls_rpc_stream *stream = stock_v1_stock_service_watch_level_open(channel, &watch, &options);
  Stock__V1__WatchLevelResponse *message;
  while ((message = stock_v1_stock_service_watch_level_read(stream)) != NULL) {
    printf("now %d\n", message->level);
    stock__v1__watch_level_response__free_unpacked(message, NULL);
  }
  if (!ls_rpc_stream_finish(stream, &status))
    explain(&status);

  ls_rpc_status_clear(&status);
  ls_rpc_channel_destroy(channel);
  return 0;
}
