/* The handlers of delivery.v1.DeliveryService. */
#include "delivery/delivery_service.h"

#include <string.h>

#include "delivery/delivery_status.h"
#include "delivery/page_token.h"
#include "delivery/v1/delivery_service.grpc-c.h"

/* A page ends before it is larger: what clients take by default is 4 MiB. */
#define MAX_PAGE_BYTES ((size_t)3 << 20)

/* --- Dispatch and complete --- */

static void reply_moved(const delivery_write *write) {
  Delivery__V1__DispatchDeliveryResponse dispatched =
      DELIVERY__V1__DISPATCH_DELIVERY_RESPONSE__INIT;
  Delivery__V1__CompleteDeliveryResponse completed = DELIVERY__V1__COMPLETE_DELIVERY_RESPONSE__INIT;
  dispatched.delivery = write->move.delivery;
  completed.delivery = write->move.delivery;
  if (write->move.complete)
    delivery_v1_delivery_service_complete_delivery_reply(write->call, &completed);
  else
    delivery_v1_delivery_service_dispatch_delivery_reply(write->call, &dispatched);
}

static void answer_write(delivery_write *write, const ls_error *error) {
  const delivery_move *move = &write->move;
  if (error != NULL) {
    delivery_fail_store(write->call, error);
    return;
  }
  switch (move->outcome) {
  case DELIVERY_CHANGED:
  case DELIVERY_UNCHANGED:
    reply_moved(write);
    return;
  case DELIVERY_NOT_FOUND:
    delivery_fail_missing(write->call, move->order_id);
    return;
  case DELIVERY_REVISION_DIFFERS:
    delivery_fail_revision(write->call, move->order_id, &move->standing);
    return;
  case DELIVERY_STATE_FORBIDS:
    delivery_fail_state(write->call, move->order_id, &move->standing);
    return;
  }
}

/* Memory that the call has no room for is as good as a full queue: nothing was done. */
static void push_write(delivery_service *service, ls_rpc_call *call, const delivery_move *move) {
  delivery_write *write = ls_rpc_call_alloc(call, sizeof *write);
  if (write == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  *write = (delivery_write){.move = *move, .call = call, .answer = answer_write};
  if (!delivery_writer_push(service->writer, write))
    delivery_fail_overloaded(call);
}

static void dispatch_delivery(ls_rpc_call *call,
                              const Delivery__V1__DispatchDeliveryRequest *request,
                              void *user_data) {
  delivery_violations violations = {.count = 0};
  if (!delivery_check_dispatch(request, &violations)) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  push_write(user_data, call,
             &(delivery_move){.order_id = request->order_id,
                              .tracking_code = request->tracking_code,
                              .expected_revision = request->expected_revision});
}

static void complete_delivery(ls_rpc_call *call,
                              const Delivery__V1__CompleteDeliveryRequest *request,
                              void *user_data) {
  delivery_violations violations = {.count = 0};
  if (!delivery_check_complete(request, &violations)) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  push_write(user_data, call,
             &(delivery_move){.order_id = request->order_id,
                              .complete = true,
                              .expected_revision = request->expected_revision});
}

/* --- Reads --- */

static void push_read(delivery_service *service, delivery_read *read) {
  if (!delivery_reader_push(service->reader, read))
    delivery_fail_overloaded(read->call);
}

typedef struct get_read {
  delivery_read read; /* first: the two have one address */
  const Delivery__V1__GetDeliveryRequest *request;
} get_read;

static void answer_get(delivery_read *read, const delivery_list *found, const ls_error *error) {
  const Delivery__V1__GetDeliveryRequest *request = ((get_read *)read)->request;
  if (found == NULL) {
    delivery_fail_store(read->call, error);
    return;
  }
  const Delivery__V1__Delivery *delivery = delivery_list_find(found, request->order_id);
  if (delivery == NULL)
    delivery_fail_missing(read->call, request->order_id);
  else
    delivery_reply(read->call, request, delivery);
}

static void get_delivery(ls_rpc_call *call, const Delivery__V1__GetDeliveryRequest *request,
                         void *user_data) {
  delivery_service *service = user_data;
  delivery_violations violations = {.count = 0};
  if (!delivery_check_get(request, &violations)) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  if (request->min_order_version > 0) {
    delivery_wait_begin(service->wait, call, request);
    return;
  }
  get_read *get = ls_rpc_call_alloc(call, sizeof *get);
  if (get == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  *get = (get_read){.read = {.call = call,
                             .order_ids = &request->order_id,
                             .count = 1,
                             .with_history = request->include_history,
                             .answer = answer_get},
                    .request = request};
  push_read(service, &get->read);
}

/* The deliveries asked for, without what others asked for besides. */
static bool fill_batch(const delivery_read *read, const delivery_list *found,
                       Delivery__V1__BatchGetDeliveriesResponse *response) {
  Delivery__V1__Delivery *shown = ls_rpc_call_alloc(read->call, read->count * sizeof *shown);
  response->deliveries = ls_rpc_call_alloc(read->call, read->count * sizeof *response->deliveries);
  response->missing_order_ids =
      ls_rpc_call_alloc(read->call, read->count * sizeof *response->missing_order_ids);
  if (shown == NULL || response->deliveries == NULL || response->missing_order_ids == NULL)
    return false;
  for (size_t i = 0; i < read->count; i++) {
    const Delivery__V1__Delivery *delivery = delivery_list_find(found, read->order_ids[i]);
    if (delivery == NULL) {
      response->missing_order_ids[response->n_missing_order_ids++] = read->order_ids[i];
      continue;
    }
    shown[i] = *delivery;
    shown[i].n_history = 0;
    response->deliveries[response->n_deliveries++] = &shown[i];
  }
  return true;
}

static void answer_batch_get(delivery_read *read, const delivery_list *found,
                             const ls_error *error) {
  Delivery__V1__BatchGetDeliveriesResponse response =
      DELIVERY__V1__BATCH_GET_DELIVERIES_RESPONSE__INIT;
  if (found == NULL)
    delivery_fail_store(read->call, error);
  else if (!fill_batch(read, found, &response))
    delivery_fail_overloaded(read->call);
  else
    delivery_v1_delivery_service_batch_get_deliveries_reply(read->call, &response);
}

static void batch_get_deliveries(ls_rpc_call *call,
                                 const Delivery__V1__BatchGetDeliveriesRequest *request,
                                 void *user_data) {
  delivery_violations violations = {.count = 0};
  if (!delivery_check_ids(request->order_ids, request->n_order_ids, &violations)) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  delivery_read *read = ls_rpc_call_alloc(call, sizeof *read);
  int64_t *ids = ls_rpc_call_alloc(call, request->n_order_ids * sizeof *ids);
  if (read == NULL || ids == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  memcpy(ids, request->order_ids, request->n_order_ids * sizeof *ids);
  *read = (delivery_read){.call = call,
                          .order_ids = ids,
                          .count = delivery_sort_ids(ids, request->n_order_ids),
                          .answer = answer_batch_get};
  push_read(user_data, read);
}

typedef struct list_read {
  delivery_read read; /* first: the two have one address */
  const Delivery__V1__ListDeliveriesRequest *request;
  int64_t after_order_id;
} list_read;

static page_query list_query(const Delivery__V1__ListDeliveriesRequest *request) {
  return (page_query){PAGE_DELIVERIES, (uint8_t)request->state};
}

static void answer_failed(delivery_read *read, const delivery_list *found, const ls_error *error) {
  (void)found;
  delivery_fail_store(read->call, error);
}

/* How many of the deliveries go on the page; at least one if there is one. */
static size_t page_length(Delivery__V1__Delivery *const *deliveries, size_t count,
                          size_t page_size) {
  size_t bytes = 0;
  size_t length = 0;
  while (length < count && length < page_size) {
    bytes += delivery__v1__delivery__get_packed_size(deliveries[length]);
    if (length > 0 && bytes > MAX_PAGE_BYTES)
      break;
    length++;
  }
  return length;
}

static void list_task(delivery_read *read, delivery_store *store, ls_arena *arena) {
  const list_read *list = (const list_read *)read;
  int32_t page_size = delivery_page_size(list->request->page_size);
  Delivery__V1__ListDeliveriesResponse response = DELIVERY__V1__LIST_DELIVERIES_RESPONSE__INIT;
  size_t count;
  ls_error error = {0};
  /* One more shows whether there is a next page. */
  if (!delivery_store_list(store, list->after_order_id, list->request->state, page_size + 1, arena,
                           &response.deliveries, &count, &error)) {
    delivery_fail_store(read->call, &error);
    return;
  }
  char token[PAGE_TOKEN_BYTES];
  response.n_deliveries = page_length(response.deliveries, count, (size_t)page_size);
  if (response.n_deliveries < count) {
    page_token_make(list_query(list->request),
                    response.deliveries[response.n_deliveries - 1]->order_id, token);
    response.next_page_token = token;
  }
  delivery_v1_delivery_service_list_deliveries_reply(read->call, &response);
}

static void list_deliveries(ls_rpc_call *call, const Delivery__V1__ListDeliveriesRequest *request,
                            void *user_data) {
  delivery_violations violations = {.count = 0};
  int64_t after_order_id = 0;
  if (delivery_check_list(request, &violations) &&
      !page_token_read(list_query(request), request->page_token, &after_order_id))
    delivery_violate(&violations, "page_token",
                     "must be the next_page_token of a page of the same query");
  if (violations.count > 0) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  list_read *list = ls_rpc_call_alloc(call, sizeof *list);
  if (list == NULL) {
    delivery_fail_overloaded(call);
    return;
  }
  *list = (list_read){.read = {.call = call, .answer = answer_failed, .task = list_task},
                      .request = request,
                      .after_order_id = after_order_id};
  push_read(user_data, &list->read);
}

/* --- Following --- */

static void watch_deliveries(ls_rpc_call *call, const Delivery__V1__WatchDeliveriesRequest *request,
                             void *user_data) {
  delivery_violations violations = {.count = 0};
  if (!delivery_check_ids(request->order_ids, request->n_order_ids, &violations)) {
    delivery_fail_invalid(call, &violations);
    return;
  }
  delivery_follow_begin(((delivery_service *)user_data)->follow, call, request);
}

static const delivery_v1_delivery_service_handlers handlers = {
    .get_delivery = get_delivery,
    .batch_get_deliveries = batch_get_deliveries,
    .list_deliveries = list_deliveries,
    .dispatch_delivery = dispatch_delivery,
    .complete_delivery = complete_delivery,
    .watch_deliveries = watch_deliveries,
};

bool delivery_service_register(delivery_service *service, ls_rpc_server *server, ls_error *error) {
  return delivery_v1_delivery_service_register(server, &handlers, service, error);
}
