/* The handlers of order.v1.OrderService. */
#include "order/order_service.h"

#include "order/order_check.h"
#include "order/order_page_token.h"
#include "order/order_status.h"
#include "order/v1/order_service.grpc-c.h"

/* A page ends before it is larger: what clients take by default is 4 MiB. */
#define MAX_PAGE_BYTES ((size_t)3 << 20)

/* --- Writes --- */

static void reply(const order_write_job *job) {
  Order__V1__Order *order = (Order__V1__Order *)job->write.order; /* packed, never changed */
  Order__V1__CreateOrderResponse created = ORDER__V1__CREATE_ORDER_RESPONSE__INIT;
  Order__V1__UpdateOrderResponse updated = ORDER__V1__UPDATE_ORDER_RESPONSE__INIT;
  Order__V1__CancelOrderResponse cancelled = ORDER__V1__CANCEL_ORDER_RESPONSE__INIT;
  switch (job->write.kind) {
  case ORDER_WRITE_CREATE:
    created.order = order;
    order_v1_order_service_create_order_reply(job->call, &created);
    return;
  case ORDER_WRITE_UPDATE:
    updated.order = order;
    order_v1_order_service_update_order_reply(job->call, &updated);
    return;
  case ORDER_WRITE_CANCEL:
    cancelled.order = order;
    order_v1_order_service_cancel_order_reply(job->call, &cancelled);
    return;
  case ORDER_WRITE_REPUBLISH: /* not by this service */
    return;
  }
}

static void answer_write(order_write_job *job) {
  ls_rpc_call *call = job->call;
  switch (job->write.outcome) {
  case ORDER_CHANGED:
  case ORDER_UNCHANGED:
  case ORDER_REPEATED:
    reply(job);
    return;
  case ORDER_MISSING:
    order_fail_missing(call, job->write.order_id);
    return;
  case ORDER_ALREADY_CANCELLED:
    order_fail_cancelled(call, job->write.order);
    return;
  case ORDER_VERSION_MISMATCH:
    order_fail_version(call, job->write.order);
    return;
  case ORDER_REQUEST_ID_REUSED:
    order_fail_reused(call);
    return;
  case ORDER_OUT_OF_MEMORY:
    order_fail_overloaded(call);
    return;
  case ORDER_UNAVAILABLE:
    order_fail_unavailable(call);
    return;
  case ORDER_UNDECIDED:
    ls_rpc_call_fail(call, LS_CANCELLED, "the call is over");
    return;
  case ORDER_DEFERRED:
  case ORDER_REPUBLISHED:
  case ORDER_FAILED:
    break;
  }
  ls_rpc_call_fail(call, LS_INTERNAL, "the order store refused the order");
}

/* Memory that the call has no room for is as good as a full queue: nothing was done. */
static order_write_job *new_write(ls_rpc_call *call, order_write_kind kind) {
  order_write_job *job = ls_rpc_call_alloc(call, sizeof *job);
  if (job != NULL)
    *job = (order_write_job){.write = {.kind = kind}, .call = call, .answer = answer_write};
  return job;
}

static void push_write(order_service *service, order_write_job *job) {
  job->write.trace_parent = ls_rpc_call_trace_parent(job->call);
  if (!order_writer_push(service->writer, job))
    order_fail_overloaded(job->call);
}

static void create_order(ls_rpc_call *call, const Order__V1__CreateOrderRequest *request,
                         void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_create(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  order_write_job *job = new_write(call, ORDER_WRITE_CREATE);
  bool is_named = request->request_id[0] != '\0';
  if (job == NULL || (is_named && !order_fingerprint_create(request, job->write.fingerprint))) {
    order_fail_overloaded(call);
    return;
  }
  job->write.request.create = request;
  push_write(user_data, job);
}

static void update_order(ls_rpc_call *call, const Order__V1__UpdateOrderRequest *request,
                         void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_update(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  order_write_job *job = new_write(call, ORDER_WRITE_UPDATE);
  bool is_named = request->request_id[0] != '\0';
  if (job == NULL || (is_named && !order_fingerprint_update(request, job->write.fingerprint))) {
    order_fail_overloaded(call);
    return;
  }
  job->write.request.update = request;
  push_write(user_data, job);
}

static void cancel_order(ls_rpc_call *call, const Order__V1__CancelOrderRequest *request,
                         void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_cancel(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  order_write_job *job = new_write(call, ORDER_WRITE_CANCEL);
  bool is_named = request->request_id[0] != '\0';
  if (job == NULL || (is_named && !order_fingerprint_cancel(request, job->write.fingerprint))) {
    order_fail_overloaded(call);
    return;
  }
  job->write.request.cancel = request;
  push_write(user_data, job);
}

/* --- Reads --- */

static void push_read(order_service *service, order_read *read) {
  if (!order_reader_push(service->reader, read))
    order_fail_overloaded(read->call);
}

typedef struct get_read {
  order_read read; /* first: the two have one address */
  const Order__V1__GetOrderRequest *request;
} get_read;

static void answer_get(order_read *read, const order_list *orders, const ls_error *error) {
  const Order__V1__GetOrderRequest *request = ((get_read *)read)->request;
  if (orders == NULL) {
    order_fail_store(read->call, error);
    return;
  }
  Order__V1__Order *order = order_list_find(orders, request->order_id);
  if (order == NULL) {
    order_fail_missing(read->call, request->order_id);
  } else if (order->version < request->min_version) {
    order_fail_not_reached(read->call, order, request->min_version);
  } else {
    Order__V1__GetOrderResponse response = ORDER__V1__GET_ORDER_RESPONSE__INIT;
    response.order = order;
    order_v1_order_service_get_order_reply(read->call, &response);
  }
}

static void get_order(ls_rpc_call *call, const Order__V1__GetOrderRequest *request,
                      void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_get(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  get_read *get = ls_rpc_call_alloc(call, sizeof *get);
  if (get == NULL) {
    order_fail_overloaded(call);
    return;
  }
  *get = (get_read){
      .read = {.call = call, .order_ids = &request->order_id, .count = 1, .answer = answer_get},
      .request = request};
  push_read(user_data, &get->read);
}

static void answer_batch_get(order_read *read, const order_list *orders, const ls_error *error) {
  if (orders == NULL) {
    order_fail_store(read->call, error);
    return;
  }
  Order__V1__BatchGetOrdersResponse response = ORDER__V1__BATCH_GET_ORDERS_RESPONSE__INIT;
  response.orders = ls_rpc_call_alloc(read->call, read->count * sizeof(Order__V1__Order *));
  response.missing_order_ids = ls_rpc_call_alloc(read->call, read->count * sizeof(int64_t));
  if (response.orders == NULL || response.missing_order_ids == NULL) {
    order_fail_overloaded(read->call);
    return;
  }
  for (size_t i = 0; i < read->count; i++) {
    Order__V1__Order *order = order_list_find(orders, read->order_ids[i]);
    if (order != NULL)
      response.orders[response.n_orders++] = order;
    else
      response.missing_order_ids[response.n_missing_order_ids++] = read->order_ids[i];
  }
  order_v1_order_service_batch_get_orders_reply(read->call, &response);
}

static void batch_get_orders(ls_rpc_call *call, const Order__V1__BatchGetOrdersRequest *request,
                             void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_batch_get(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  order_read *read = ls_rpc_call_alloc(call, sizeof *read);
  int64_t *ids = ls_rpc_call_alloc(call, request->n_order_ids * sizeof *ids);
  if (read == NULL || ids == NULL) {
    order_fail_overloaded(call);
    return;
  }
  size_t count = order_sort_ids(request->order_ids, request->n_order_ids, ids);
  *read = (order_read){.call = call, .order_ids = ids, .count = count, .answer = answer_batch_get};
  push_read(user_data, read);
}

typedef struct list_read {
  order_read read; /* first: the two have one address */
  const Order__V1__ListOrdersRequest *request;
  int64_t after_order_id;
} list_read;

static void answer_list_failed(order_read *read, const order_list *orders, const ls_error *error) {
  (void)orders;
  order_fail_store(read->call, error);
}

/* How many of the orders go on the page; at least one if there is one. */
static size_t page_length(const order_list *found, size_t page_size) {
  size_t bytes = 0;
  size_t length = 0;
  while (length < found->count && length < page_size) {
    bytes += order__v1__order__get_packed_size(found->orders[length]);
    if (length > 0 && bytes > MAX_PAGE_BYTES)
      break;
    length++;
  }
  return length;
}

static void list_task(order_read *read, order_store *store) {
  const list_read *list = (const list_read *)read;
  const Order__V1__ListOrdersRequest *request = list->request;
  int32_t page_size = request->page_size == 0                    ? ORDER_DEFAULT_PAGE_SIZE
                      : request->page_size > ORDER_MAX_PAGE_SIZE ? ORDER_MAX_PAGE_SIZE
                                                                 : request->page_size;
  order_query query = {.customer_id = request->customer_id,
                       .status = request->status,
                       .after_order_id = list->after_order_id,
                       .limit = page_size + 1}; /* one more shows whether there is a next page */
  order_list found;
  ls_error error = {0};
  bool done = order_store_list(store, &query, &found, &error);
  if (!done && !order_store_is_connected(store))
    done = order_store_ready(store, &error) && order_store_list(store, &query, &found, &error);
  if (!done) {
    order_fail_store(read->call, &error);
    return;
  }
  Order__V1__ListOrdersResponse response = ORDER__V1__LIST_ORDERS_RESPONSE__INIT;
  char token[ORDER_PAGE_TOKEN_BYTES];
  response.orders = found.orders;
  response.n_orders = page_length(&found, (size_t)page_size);
  if (response.n_orders < found.count) {
    order_page_token_make(request, found.orders[response.n_orders - 1]->order_id, token);
    response.next_page_token = token;
  }
  order_v1_order_service_list_orders_reply(read->call, &response);
}

static void list_orders(ls_rpc_call *call, const Order__V1__ListOrdersRequest *request,
                        void *user_data) {
  order_violations violations = {.count = 0};
  int64_t after_order_id = 0;
  if (order_check_list(request, &violations) && !order_page_token_read(request, &after_order_id))
    order_violations_add(&violations, "page_token",
                         "must be the next_page_token of a page of the same query");
  if (violations.count > 0) {
    order_fail_invalid(call, &violations);
    return;
  }
  list_read *list = ls_rpc_call_alloc(call, sizeof *list);
  if (list == NULL) {
    order_fail_overloaded(call);
    return;
  }
  *list = (list_read){.read = {.call = call, .answer = answer_list_failed, .task = list_task},
                      .request = request,
                      .after_order_id = after_order_id};
  push_read(user_data, &list->read);
}

typedef struct versions_read {
  order_read read; /* first: the two have one address */
  const Order__V1__ListOrderVersionsRequest *request;
} versions_read;

static void versions_task(order_read *read, order_store *store) {
  const Order__V1__ListOrderVersionsRequest *request = ((const versions_read *)read)->request;
  int32_t page_size = request->page_size == 0 ? ORDER_DEFAULT_VERSIONS_PAGE_SIZE
                      : request->page_size > ORDER_MAX_VERSIONS_PAGE_SIZE
                          ? ORDER_MAX_VERSIONS_PAGE_SIZE
                          : request->page_size;
  order_versions found;
  ls_error error = {0};
  if (!order_store_versions(store, request->after_order_id, INT64_MAX, page_size + 1, &found,
                            &error)) {
    order_fail_store(read->call, &error);
    return;
  }
  Order__V1__ListOrderVersionsResponse response = ORDER__V1__LIST_ORDER_VERSIONS_RESPONSE__INIT;
  response.is_last = found.count <= (size_t)page_size; /* one more was asked for */
  response.n_order_ids = response.is_last ? found.count : (size_t)page_size;
  response.order_ids = found.order_ids;
  response.n_versions = response.n_order_ids;
  response.versions = found.versions;
  order_v1_order_service_list_order_versions_reply(read->call, &response);
}

static void list_order_versions(ls_rpc_call *call,
                                const Order__V1__ListOrderVersionsRequest *request,
                                void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_list_versions(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  versions_read *versions = ls_rpc_call_alloc(call, sizeof *versions);
  if (versions == NULL) {
    order_fail_overloaded(call);
    return;
  }
  *versions =
      (versions_read){.read = {.call = call, .answer = answer_list_failed, .task = versions_task},
                      .request = request};
  push_read(user_data, &versions->read);
}

/* --- Following --- */

static void watch_orders(ls_rpc_call *call, const Order__V1__WatchOrdersRequest *request,
                         void *user_data) {
  order_violations violations = {.count = 0};
  if (!order_check_watch(request, &violations)) {
    order_fail_invalid(call, &violations);
    return;
  }
  order_follow_begin(((order_service *)user_data)->follow, call, request);
}

static const order_v1_order_service_handlers handlers = {
    .create_order = create_order,
    .get_order = get_order,
    .batch_get_orders = batch_get_orders,
    .list_orders = list_orders,
    .list_order_versions = list_order_versions,
    .update_order = update_order,
    .cancel_order = cancel_order,
    .watch_orders = watch_orders,
};

bool order_service_register(order_service *service, ls_rpc_server *server, ls_error *error) {
  return order_v1_order_service_register(server, &handlers, service, error);
}
