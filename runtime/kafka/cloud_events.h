/* CloudEvents in Kafka's binary content mode: the attributes are headers, the value is the data. */
#ifndef LOCKSTEP_RUNTIME_KAFKA_CLOUD_EVENTS_H
#define LOCKSTEP_RUNTIME_KAFKA_CLOUD_EVENTS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#define LS_CLOUD_EVENT_PROTOBUF "application/protobuf"

/* NULL or 0: absent. */
typedef struct ls_cloud_event {
  const char *id;           /* ce_id */
  const char *source;       /* ce_source */
  const char *type;         /* ce_type */
  const char *subject;      /* ce_subject */
  const char *content_type; /* content-type */
  const char *trace_parent; /* traceparent (W3C) */
  int64_t time_us;          /* ce_time, RFC 3339; microseconds since the Unix epoch */
} ls_cloud_event;

/* The headers for an event, with ce_specversion 1.0; content_type NULL is LS_CLOUD_EVENT_PROTOBUF.
 * Copies. The caller destroys them or gives them to ls_kafka_produce. `bytes`: of all names and
 * values; may be NULL. NULL when out of memory. */
rd_kafka_headers_t *ls_cloud_event_headers(const ls_cloud_event *event, size_t *bytes);

/* Reads a message's headers; what is missing or malformed is absent. The texts live as long as the
 * message. True if it says it is a CloudEvent of version 1. */
bool ls_cloud_event_read(const rd_kafka_message_t *message, ls_cloud_event *event);

#endif
