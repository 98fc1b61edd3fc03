/* The stock service on lockstep. Prints "port N" when it serves; ends by SIGTERM. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "stock/v1/stock.grpc-c.h"

static const struct {
  const char *sku;
  int32_t level;
  int64_t count_ms;
} shelf[] = {{"lamp", 3, 0}, {"crate", 40, 10000}};

static int find(const char *sku) {
  for (int i = 0; i < 2; i++)
    if (strcmp(shelf[i].sku, sku) == 0)
      return i;
  return -1;
}

static void refuse(ls_rpc_call *call, const char *sku) {
  ls_rpc_status status = LS_RPC_STATUS_INIT;
  ls_rpc_status_set(&status, LS_NOT_FOUND, "no such sku");
  ls_rpc_status_add_error_info(&status, "NO_SUCH_SKU", "stock.example", "sku", sku, NULL);
  ls_rpc_call_finish(call, &status);
  ls_rpc_status_clear(&status);
}

static void get_level(ls_rpc_call *call, const Stock__V1__GetLevelRequest *request,
                      void *user_data) {
  (void)user_data;
  int found = find(request->sku);
  if (found < 0) {
    refuse(call, request->sku);
    return;
  }
  if (ls_rpc_call_time_left_ms(call) < shelf[found].count_ms) {
    ls_rpc_call_fail(call, LS_DEADLINE_EXCEEDED, "counting takes longer");
    return;
  }
  Stock__V1__GetLevelResponse response = STOCK__V1__GET_LEVEL_RESPONSE__INIT;
  response.level = shelf[found].level;
  stock_v1_stock_service_get_level_reply(call, &response);
}

static void send_levels(ls_rpc_call *call, void *arg) {
  Stock__V1__WatchLevelResponse *next = arg;
  while (next->level >= 0) {
    ls_rpc_send_result result = stock_v1_stock_service_watch_level_send(call, next);
    if (result == LS_RPC_WOULD_BLOCK)
      return;
    if (result == LS_RPC_CLOSED)
      break;
    next->level--;
  }
  ls_rpc_call_finish(call, NULL);
}

static void watch_level(ls_rpc_call *call, const Stock__V1__WatchLevelRequest *request,
                        void *user_data) {
  (void)user_data;
  int found = find(request->sku);
  if (found < 0) {
    refuse(call, request->sku);
    return;
  }
  Stock__V1__WatchLevelResponse *next = ls_rpc_call_alloc(call, sizeof *next);
  if (next == NULL) {
    ls_rpc_call_fail(call, LS_RESOURCE_EXHAUSTED, "out of memory");
    return;
  }
  stock__v1__watch_level_response__init(next);
  next->level = shelf[found].level;
  ls_rpc_call_on_writable(call, send_levels, next);
  ls_rpc_call_on_cancel(call, send_levels, next);
  send_levels(call, next);
}

int main(void) {
  static const stock_v1_stock_service_handlers handlers = {
      .get_level = get_level,
      .watch_level = watch_level,
  };
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, NULL);

  ls_error error;
  int port = 0, signal_number = 0;
  ls_rpc_server *server = ls_rpc_server_new(NULL, &error);
  if (server == NULL || !stock_v1_stock_service_register(server, &handlers, NULL, &error) ||
      !ls_rpc_server_listen(server, "127.0.0.1:0", &port, &error) ||
      !ls_rpc_server_start(server, &error)) {
    fprintf(stderr, "server: %s\n", error.message);
    return 1;
  }
  printf("port %d\n", port);
  fflush(stdout);
  sigwait(&stop, &signal_number);
  ls_rpc_server_shutdown(server, 2000);
  ls_rpc_server_destroy(server);
  return 0;
}
