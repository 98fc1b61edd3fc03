/* bench-produce-stage SERVERS TOPIC COUNT: the relay's last stage alone. Events that are in memory
 * go through the relay's sender as the relay has it: as many in flight as it allows itself, woken
 * for acknowledgements. */
#include <poll.h>
#include <stdlib.h>

#include "order/relay_sender.h"
#include "order/v1/order_event.pb-c.h"
#include "produce_work.h"
#include "runtime/base/wake.h"

enum { IN_FLIGHT = 8192, WAIT_MS = 1000 };

typedef struct stage {
  relay_sender *sender;
  ls_wake *wake;
  size_t sent, acknowledged, bytes;
} stage;

static void on_sent(relay_event *event, const ls_error *failure, void *arg) {
  stage *s = arg;
  if (failure != NULL)
    produce_work_fail("record", failure->message);
  s->acknowledged++;
  s->bytes += event->record_bytes;
}

static relay_event *make_event(size_t index) {
  relay_event *event = calloc(1, sizeof *event + PRODUCE_SNAPSHOT_BYTES);
  if (event == NULL)
    produce_work_fail("events", "out of memory");
  event->sequence = (int64_t)index + 1;
  event->order_id = produce_order_id(index);
  event->version = 1;
  event->occur_time_us = produce_occur_time_us(index);
  event->type = ORDER__V1__ORDER_EVENT_TYPE__ORDER_EVENT_TYPE_CREATED;
  event->full_payload = event->domain_topic = true;
  event->snapshot_bytes = PRODUCE_SNAPSHOT_BYTES;
  produce_fill_snapshot(event->snapshot, index);
  return event;
}

/* Sends events [sent, until) and waits for all of them. */
static void send_all(stage *s, relay_event **events, size_t until) {
  ls_error error = {0};
  while (s->acknowledged < until) {
    for (; s->sent < until && s->sent - s->acknowledged < IN_FLIGHT; s->sent++)
      if (!relay_sender_send(s->sender, events[s->sent], &error))
        produce_work_fail("record", error.message);
    struct pollfd woken = {.fd = ls_wake_fd(s->wake), .events = POLLIN};
    poll(&woken, 1, WAIT_MS);
    ls_wake_drain(s->wake);
    relay_sender_poll(s->sender);
  }
}

int main(int argc, char **argv) {
  produce_work work = produce_work_read(argc, argv);
  size_t total = work.count + 1;
  relay_event **events = calloc(total, sizeof(relay_event *));
  if (events == NULL)
    produce_work_fail("events", "out of memory");
  for (size_t i = 0; i < total; i++)
    events[i] = make_event(i);

  ls_error error = {0};
  const outbox_relay_options options = {.kafka = {.bootstrap_servers = work.servers},
                                        .domain_topic = work.topic,
                                        .source = PRODUCE_SOURCE,
                                        .max_event_bytes = 1000000};
  stage s = {.wake = ls_wake_new(&error)};
  if (s.wake == NULL)
    produce_work_fail("wake", error.message);
  s.sender = relay_sender_new(&options, on_sent, &s, ls_wake_fd(s.wake), &error);
  if (s.sender == NULL)
    produce_work_fail("sender", error.message);

  send_all(&s, events, 1); /* connects */
  s.bytes = 0;
  produce_moment begin = produce_now();
  send_all(&s, events, total);
  produce_work_report(&work, begin, s.bytes);

  relay_sender_destroy(s.sender);
  ls_wake_destroy(s.wake);
  for (size_t i = 0; i < total; i++)
    free(events[i]);
  free(events);
  return 0;
}
