/* CloudEvents attributes as Kafka headers. */
#include "runtime/kafka/cloud_events.h"

#include <string.h>

#include "runtime/base/clock.h"

/* `bytes` grows by those of the header. */
static bool add(rd_kafka_headers_t *headers, const char *name, const char *value, size_t *bytes) {
  if (!value)
    return true;
  size_t name_bytes = strlen(name), value_bytes = strlen(value);
  *bytes += name_bytes + value_bytes;
  return rd_kafka_header_add(headers, name, (ssize_t)name_bytes, value, (ssize_t)value_bytes) ==
         RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_headers_t *ls_cloud_event_headers(const ls_cloud_event *event, size_t *bytes) {
  char time[LS_RFC3339_BYTES];
  bool has_time = event->time_us != 0 && ls_clock_format_rfc3339(event->time_us, 6, time);
  const char *content_type = event->content_type ? event->content_type : LS_CLOUD_EVENT_PROTOBUF;
  size_t total = 0;
  rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
  if (!headers)
    return NULL;
  bool complete = add(headers, "ce_specversion", "1.0", &total) &&
                  add(headers, "ce_id", event->id, &total) &&
                  add(headers, "ce_source", event->source, &total) &&
                  add(headers, "ce_type", event->type, &total) &&
                  add(headers, "ce_subject", event->subject, &total) &&
                  add(headers, "ce_time", has_time ? time : NULL, &total) &&
                  add(headers, "content-type", content_type, &total) &&
                  add(headers, "traceparent", event->trace_parent, &total);
  if (bytes)
    *bytes = total;
  if (complete)
    return headers;
  rd_kafka_headers_destroy(headers);
  return NULL;
}

/* librdkafka keeps a NUL behind each value. One with a NUL inside is no text. */
static const char *get(const rd_kafka_headers_t *headers, const char *name) {
  const void *value = NULL;
  size_t bytes = 0;
  if (rd_kafka_header_get_last(headers, name, &value, &bytes) != RD_KAFKA_RESP_ERR_NO_ERROR ||
      !value || strlen(value) != bytes)
    return NULL;
  return value;
}

bool ls_cloud_event_read(const rd_kafka_message_t *message, ls_cloud_event *event) {
  rd_kafka_headers_t *headers = NULL;
  *event = (ls_cloud_event){0};
  if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return false;
  event->id = get(headers, "ce_id");
  event->source = get(headers, "ce_source");
  event->type = get(headers, "ce_type");
  event->subject = get(headers, "ce_subject");
  event->content_type = get(headers, "content-type");
  event->trace_parent = get(headers, "traceparent");
  const char *time = get(headers, "ce_time");
  if (time)
    (void)ls_clock_parse_rfc3339(time, strlen(time), &event->time_us);
  const char *version = get(headers, "ce_specversion");
  return version && strncmp(version, "1.", 2) == 0;
}
