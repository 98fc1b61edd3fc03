/* The table, the sentences and the JSON of the demo. */
#include "deploy/local/demo_report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_WIDTH = 31, COLUMN_WIDTH = 17, NUMBER_BYTES = 32 };

/* 1234567 as "1,234,567". */
static const char *grouped(int64_t number, char out[static NUMBER_BYTES]) {
  char digits[24];
  int length = snprintf(digits, sizeof digits, "%" PRId64, number);
  size_t used = 0;
  for (int i = 0; i < length; i++) {
    out[used++] = digits[i];
    int left = length - 1 - i;
    if (digits[i] != '-' && left > 0 && left % 3 == 0)
      out[used++] = ',';
  }
  out[used] = '\0';
  return out;
}

/* --- The table --- */

typedef enum row_kind { ROW_COUNT, ROW_DECIMAL, ROW_TWO_DECIMALS } row_kind;

typedef struct row {
  const char *label;
  row_kind kind;
  double (*value)(const demo_figures *figures); /* negative: not measured */
} row;

#define COUNT_OF(member)                                                                           \
  static double value_of_##member(const demo_figures *figures) {                                   \
    return (double)figures->member;                                                                \
  }
COUNT_OF(orders)
COUNT_OF(writes)
COUNT_OF(events)
COUNT_OF(kafka_bytes)
COUNT_OF(lookups)
COUNT_OF(lookup_ids)
COUNT_OF(visible_p50_ms)
COUNT_OF(visible_p99_ms)
COUNT_OF(overtaken)
COUNT_OF(duplicates)
COUNT_OF(coalesced)
COUNT_OF(stale)
COUNT_OF(mismatches)
#undef COUNT_OF

static double bytes_per_event(const demo_figures *figures) {
  return demo_ratio(figures->kafka_bytes, figures->events);
}

static double ids_per_event(const demo_figures *figures) {
  return demo_ratio(figures->lookup_ids, figures->events);
}

static const row rows[] = {{"orders", ROW_COUNT, value_of_orders},
                           {"creates, changes and cancels", ROW_COUNT, value_of_writes},
                           {"events over Kafka", ROW_COUNT, value_of_events},
                           {"bytes over Kafka", ROW_COUNT, value_of_kafka_bytes},
                           {"  per event", ROW_COUNT, bytes_per_event},
                           {"lookups (calls)", ROW_COUNT, value_of_lookups},
                           {"orders looked up", ROW_COUNT, value_of_lookup_ids},
                           {"  per event", ROW_TWO_DECIMALS, ids_per_event},
                           {"events per second", ROW_COUNT, demo_events_per_second},
                           {"visible after, p50 ms", ROW_DECIMAL, value_of_visible_p50_ms},
                           {"visible after, p99 ms", ROW_DECIMAL, value_of_visible_p99_ms},
                           {"events without effect", ROW_COUNT, value_of_stale},
                           {"  of them overtaken", ROW_COUNT, value_of_overtaken},
                           {"  of them duplicates", ROW_COUNT, value_of_duplicates},
                           {"  of them with a newer in hand", ROW_COUNT, value_of_coalesced},
                           {"deliveries that do not match", ROW_COUNT, value_of_mismatches}};

static void append_cell(const row *line, const demo_figures *figures, ls_buffer *out) {
  double value = line->value(figures);
  char number[NUMBER_BYTES];
  if (value < 0)
    snprintf(number, sizeof number, "-");
  else if (line->kind == ROW_COUNT)
    grouped(llround(value), number);
  else
    snprintf(number, sizeof number, "%.*f", line->kind == ROW_DECIMAL ? 1 : 2, value);
  ls_buffer_printf(out, "%*s", COLUMN_WIDTH, number);
}

void demo_report_table(const demo_figures *cases, size_t count, ls_buffer *out) {
  ls_buffer_printf(out, "%-*s", LABEL_WIDTH, "");
  for (size_t i = 0; i < count; i++)
    ls_buffer_printf(out, "%*s", COLUMN_WIDTH,
                     demo_case_is_full(cases[i].which) ? "full payload" : "zero payload");
  ls_buffer_printf(out, "\n%-*s", LABEL_WIDTH, "");
  for (size_t i = 0; i < count; i++)
    ls_buffer_printf(out, "%*s", COLUMN_WIDTH,
                     demo_case_is_domain(cases[i].which) ? "domain topic" : "topic per event");
  ls_buffer_append_text(out, "\n");
  for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
    ls_buffer_printf(out, "%-*s", LABEL_WIDTH, rows[r].label);
    for (size_t i = 0; i < count; i++)
      append_cell(&rows[r], &cases[i], out);
    ls_buffer_append_text(out, "\n");
  }
}

/* --- The sentences --- */

/* The sum over the cases with this payload (or these topics). */
typedef struct side {
  int64_t events, bytes, lookups, lookup_ids, overtaken;
} side;

static void add_to(side *sum, const demo_figures *figures) {
  sum->events += figures->events;
  sum->bytes += figures->kafka_bytes;
  sum->lookups += figures->lookups;
  sum->lookup_ids += figures->lookup_ids;
  sum->overtaken += figures->overtaken;
}

static void say_payload(const side *full, const side *zero, ls_buffer *out) {
  double full_bytes = demo_ratio(full->bytes, full->events);
  double zero_bytes = demo_ratio(zero->bytes, zero->events);
  if (full_bytes <= 0 || zero_bytes <= 0)
    return;
  bool fewer = zero_bytes < full_bytes;
  ls_buffer_printf(out,
                   "Zero payload sent %.1f times %s bytes an event over Kafka than full payload "
                   "(%.0f, not %.0f)\n"
                   "and needed %.2f lookups an event for it, in calls of %.1f orders each",
                   fewer ? full_bytes / zero_bytes : zero_bytes / full_bytes,
                   fewer ? "fewer" : "more", zero_bytes, full_bytes,
                   demo_ratio(zero->lookup_ids, zero->events),
                   demo_ratio(zero->lookup_ids, zero->lookups));
  if (full->lookup_ids == 0)
    ls_buffer_append_text(out, "; full payload needed none.\n");
  else
    ls_buffer_printf(out, "; full payload needed %.2f.\n",
                     demo_ratio(full->lookup_ids, full->events));
}

static void say_topics(const side *domain, const side *per_event, ls_buffer *out) {
  if (domain->events == 0 || per_event->events == 0)
    return;
  if (domain->overtaken == 0 && per_event->overtaken == 0) {
    ls_buffer_append_text(out,
                          "No event came after a newer one of its order, neither with one domain "
                          "topic nor with a topic\nper event; ");
    return;
  }
  char first[NUMBER_BYTES], second[NUMBER_BYTES];
  ls_buffer_printf(out,
                   "With a topic per event %s events (%.1f %%) came after a newer one of their "
                   "order, with one\ndomain topic %s (%.1f %%); ",
                   grouped(per_event->overtaken, first),
                   100 * demo_ratio(per_event->overtaken, per_event->events),
                   grouped(domain->overtaken, second),
                   100 * demo_ratio(domain->overtaken, domain->events));
}

static void say_visible(const demo_figures *cases, size_t count, ls_buffer *out) {
  const demo_figures *quickest = NULL, *slowest = NULL;
  for (size_t i = 0; i < count; i++) {
    if (cases[i].visible_p50_ms < 0)
      continue;
    if (quickest == NULL || cases[i].visible_p50_ms < quickest->visible_p50_ms)
      quickest = &cases[i];
    if (slowest == NULL || cases[i].visible_p50_ms > slowest->visible_p50_ms)
      slowest = &cases[i];
  }
  if (quickest == NULL)
    return;
  ls_buffer_printf(out, "Delivery showed half of the writes within %.1f ms of their answer (%s)",
                   quickest->visible_p50_ms, demo_case_title(quickest->which));
  if (slowest == quickest)
    ls_buffer_append_text(out, ".\n");
  else
    ls_buffer_printf(out, "\nto %.1f ms (%s).\n", slowest->visible_p50_ms,
                     demo_case_title(slowest->which));
}

/* Ends the sentence that say_topics began, if it did. */
static void say_match(const demo_figures *cases, size_t count, bool goes_on, ls_buffer *out) {
  int64_t orders = 0, mismatches = 0;
  for (size_t i = 0; i < count; i++) {
    orders += cases[i].orders;
    mismatches += cases[i].mismatches;
  }
  char first[NUMBER_BYTES], second[NUMBER_BYTES];
  if (mismatches == 0)
    ls_buffer_printf(out, "%s %s deliveries equal their orders.\n", goes_on ? "all" : "All",
                     grouped(orders, first));
  else
    ls_buffer_printf(out, "%s of %s deliveries do not equal their orders.\n",
                     grouped(mismatches, first), grouped(orders, second));
}

void demo_report_sentences(const demo_figures *cases, size_t count, ls_buffer *out) {
  side full = {0}, zero = {0}, domain = {0}, per_event = {0};
  for (size_t i = 0; i < count; i++) {
    add_to(demo_case_is_full(cases[i].which) ? &full : &zero, &cases[i]);
    add_to(demo_case_is_domain(cases[i].which) ? &domain : &per_event, &cases[i]);
  }
  say_payload(&full, &zero, out);
  say_topics(&domain, &per_event, out);
  say_match(cases, count, domain.events > 0 && per_event.events > 0, out);
  say_visible(cases, count, out);
}

/* --- JSON --- */

static void append_json_text(const char *text, ls_buffer *out) {
  ls_buffer_append_text(out, "\"");
  for (; *text != '\0'; text++) {
    unsigned char byte = (unsigned char)*text;
    if (byte == '"' || byte == '\\')
      ls_buffer_printf(out, "\\%c", byte);
    else if (byte < 0x20)
      ls_buffer_printf(out, "\\u%04x", byte);
    else
      ls_buffer_append(out, text, 1);
  }
  ls_buffer_append_text(out, "\"");
}

static void append_json_measure(const char *name, double value, ls_buffer *out) {
  if (value < 0)
    ls_buffer_printf(out, ", \"%s\": null", name);
  else
    ls_buffer_printf(out, ", \"%s\": %.3f", name, value);
}

static void append_json_case(const demo_figures *figures, ls_buffer *out) {
  ls_buffer_printf(out, "{\"payload\": \"%s\", \"topics\": \"%s\"",
                   demo_case_is_full(figures->which) ? "full" : "zero",
                   demo_case_is_domain(figures->which) ? "domain" : "per_event");
  ls_buffer_printf(out, ", \"orders\": %" PRId64 ", \"events\": %" PRId64, figures->orders,
                   figures->events);
  ls_buffer_printf(out, ", \"lookups\": %" PRId64 ", \"lookup_ids\": %" PRId64, figures->lookups,
                   figures->lookup_ids);
  ls_buffer_printf(out, ", \"kafka_bytes\": %" PRId64, figures->kafka_bytes);
  append_json_measure("events_per_second", demo_events_per_second(figures), out);
  append_json_measure("visible_p50_ms", figures->visible_p50_ms, out);
  append_json_measure("visible_p99_ms", figures->visible_p99_ms, out);
  ls_buffer_printf(out,
                   ", \"overtaken\": %" PRId64 ", \"duplicates\": %" PRId64 ", \"stale\": %" PRId64,
                   figures->overtaken, figures->duplicates, figures->stale);
  ls_buffer_printf(out, ", \"mismatches\": %" PRId64 "}", figures->mismatches);
}

void demo_report_json(const demo_figures *cases, size_t count, const char *broker, ls_buffer *out) {
  ls_buffer_append_text(out, "{\"broker\": ");
  append_json_text(broker, out);
  ls_buffer_append_text(out, ", \"cases\": [");
  for (size_t i = 0; i < count; i++) {
    ls_buffer_append_text(out, i == 0 ? "\n  " : ",\n  ");
    append_json_case(&cases[i], out);
  }
  ls_buffer_append_text(out, "\n]}\n");
}
