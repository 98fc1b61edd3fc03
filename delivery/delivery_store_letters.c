/* Dead letters in the store. */
#include "delivery/delivery_store.h"
#include "delivery/delivery_store_internal.h"
#include "runtime/rpc/message.h"

/* A record that comes again (its offset was not committed) is the same dead letter. One that never
 * stood in Kafka has no offset of its own: given up on again, it is to be replayed again. */
const ls_pg_statement delivery_statement_letters = {
    .name = "delivery_letters",
    .sql =
        "INSERT INTO dead_letters AS l (source_topic, source_partition, source_offset, record_key, "
        "  record_value, record_headers, fingerprint, reason, create_time) "
        "SELECT DISTINCT ON (topic, \"partition\", \"offset\", fingerprint) topic, \"partition\", "
        "  \"offset\", key, value, headers, fingerprint, reason, statement_timestamp() "
        "FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bytea[], $6::bytea[], $7::bytea[], "
        "    $1::text[]) AS n(topic, \"partition\", \"offset\", key, value, headers, reason), "
        "  LATERAL (SELECT sha256(coalesce(key, '') || '\\x00'::bytea || coalesce(value, '')) "
        "    AS fingerprint) f "
        "ORDER BY topic, \"partition\", \"offset\", fingerprint "
        "ON CONFLICT (source_topic, source_partition, source_offset, fingerprint) DO UPDATE "
        "SET reason = excluded.reason, "
        "  replay_time = CASE WHEN excluded.source_offset < 0 THEN NULL ELSE l.replay_time END"};

static const order_record *letter_record(const void *items, size_t index) {
  return &((const delivery_letter *)items)[index].record;
}

void delivery_store_add_letters(ls_pg_params *params, const delivery_letter *letters,
                                size_t count) {
  ls_pg_params_array_begin(params, LS_PG_TEXT);
  for (size_t i = 0; i < count; i++)
    delivery_store_add_reason(params, letters[i].reason);
  ls_pg_params_array_end(params);
  delivery_store_add_records(params, letter_record, letters, count);
}

/* Rows until the first is too many or their bytes are, but at least one, and how many there were to
 * choose from. Sizes are known without reading the values. */
#define LETTERS(condition)                                                                         \
  "SELECT source_topic, source_partition, source_offset, record_key, record_value, "               \
  "  record_headers, dead_letter_id, reason, create_time, replay_time, discard_time, "             \
  "  coalesce(discard_reason, ''), candidates "                                                    \
  "FROM (SELECT *, row_number() OVER (ORDER BY dead_letter_id) AS place, "                         \
  "    sum(coalesce(octet_length(record_key), 0) + coalesce(octet_length(record_value), 0) + "     \
  "      octet_length(record_headers)) OVER (ORDER BY dead_letter_id) AS bytes, "                  \
  "    count(*) OVER () AS candidates "                                                            \
  "  FROM (SELECT * FROM dead_letters WHERE dead_letter_id > $1 AND dead_letter_id <= $2 "         \
  "    " condition " ORDER BY dead_letter_id LIMIT $3 + 1) candidate) sized "                      \
  "WHERE place = 1 OR (place <= $3 AND bytes <= $4) ORDER BY dead_letter_id"

#define LETTER_TYPES                                                                               \
  LS_PG_TEXT, LS_PG_INT4, LS_PG_INT8, LS_PG_BYTEA, LS_PG_BYTEA, LS_PG_BYTEA, LS_PG_INT8,           \
      LS_PG_TEXT, LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ, LS_PG_TIMESTAMPTZ, LS_PG_TEXT, LS_PG_INT8

enum { CANDIDATES_COLUMN = 12 };

#define LETTERS_STATEMENT(statement_name, condition)                                               \
  {                                                                                                \
    .name = statement_name, .sql = LETTERS(condition), .columns = { LETTER_TYPES }                 \
  }

/* By whether those that were replayed, and those that were discarded, are in it. */
static const ls_pg_statement list_statements[2][2] = {
    {LETTERS_STATEMENT("delivery_letters_open", "AND replay_time IS NULL AND discard_time IS NULL"),
     LETTERS_STATEMENT("delivery_letters_discarded", "AND replay_time IS NULL")},
    {LETTERS_STATEMENT("delivery_letters_replayed_too", "AND discard_time IS NULL"),
     LETTERS_STATEMENT("delivery_letters_all", "")}};

static bool select_letters(delivery_store *store, delivery_letter_filter filter, int64_t after_id,
                           int64_t last_id, int32_t limit, size_t max_bytes, ls_pg_result **rows,
                           ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, after_id);
  ls_pg_params_int8(params, last_id);
  ls_pg_params_int8(params, limit);
  ls_pg_params_int8(params, (int64_t)max_bytes);
  return ls_pg_exec(store->connection, &list_statements[filter.replayed][filter.discarded], params,
                    rows, error);
}

static bool take_headers(const order_record *record, ls_arena *arena,
                         Delivery__V1__DeadLetter *letter, ls_error *error) {
  const Delivery__V1__DeadLetter *holder = (const Delivery__V1__DeadLetter *)ls_rpc_message_unpack(
      &delivery__v1__dead_letter__descriptor, record->headers, record->headers_bytes, 8, arena,
      error);
  if (holder == NULL)
    return ls_error_prefix(error, "a dead letter's headers");
  letter->n_headers = holder->n_headers;
  letter->headers = holder->headers;
  return true;
}

static ProtobufCBinaryData binary(const void *data, size_t bytes) {
  return (ProtobufCBinaryData){.len = bytes, .data = bytes > 0 ? (uint8_t *)(uintptr_t)data : NULL};
}

static Delivery__V1__DeadLetter *read_letter(const ls_pg_result *rows, size_t row, ls_arena *arena,
                                             ls_error *error) {
  order_record record;
  Delivery__V1__DeadLetter *letter = ls_arena_alloc(arena, sizeof *letter);
  if (letter == NULL) {
    delivery_store_exhausted(error);
    return NULL;
  }
  delivery__v1__dead_letter__init(letter);
  if (!delivery_store_record(rows, row, 0, arena, &record, error) ||
      !take_headers(&record, arena, letter, error))
    return NULL;
  letter->dead_letter_id = ls_pg_get_int8(rows, row, 6);
  letter->topic = (char *)(uintptr_t)record.topic;
  letter->partition = record.partition;
  letter->offset = record.offset;
  letter->key = binary(record.key, record.key_bytes);
  letter->value = binary(record.value, record.value_bytes);
  letter->reason = ls_arena_strdup(arena, ls_pg_get_text(rows, row, 7, NULL));
  letter->create_time = delivery_store_timestamp(ls_pg_get_timestamptz(rows, row, 8), arena);
  letter->discard_reason = ls_arena_strdup(arena, ls_pg_get_text(rows, row, 11, NULL));
  if (letter->reason == NULL || letter->create_time == NULL || letter->discard_reason == NULL ||
      !delivery_store_time(rows, row, 9, arena, &letter->replay_time) ||
      !delivery_store_time(rows, row, 10, arena, &letter->discard_time)) {
    delivery_store_exhausted(error);
    return NULL;
  }
  return letter;
}

bool delivery_store_list_letters(delivery_store *store, delivery_letter_filter filter,
                                 int64_t after_id, int32_t limit, size_t max_bytes, ls_arena *arena,
                                 Delivery__V1__DeadLetter ***letters, size_t *count, bool *more,
                                 ls_error *error) {
  *count = 0;
  *more = false;
  ls_pg_result *rows;
  if (!select_letters(store, filter, after_id, INT64_MAX, limit, max_bytes, &rows, error))
    return false;
  size_t found = ls_pg_row_count(rows);
  *letters = ls_arena_alloc(arena, (found > 0 ? found : 1) * sizeof **letters);
  bool done = *letters != NULL;
  if (!done)
    delivery_store_exhausted(error);
  for (size_t row = 0; done && row < found; row++) {
    (*letters)[row] = read_letter(rows, row, arena, error);
    done = (*letters)[row] != NULL;
  }
  if (done) {
    *count = found;
    *more = found > 0 && ls_pg_get_int8(rows, 0, CANDIDATES_COLUMN) > (int64_t)found;
  }
  ls_pg_result_destroy(rows);
  return done;
}

bool delivery_store_letters_to_replay(delivery_store *store, int64_t after_id, int64_t last_id,
                                      int32_t limit, size_t max_bytes, ls_arena *arena,
                                      delivery_stored_letter **letters, size_t *count,
                                      ls_error *error) {
  *count = 0;
  ls_pg_result *rows;
  if (!select_letters(store, (delivery_letter_filter){false, false}, after_id, last_id, limit,
                      max_bytes, &rows, error))
    return false;
  size_t found = ls_pg_row_count(rows);
  *letters = ls_arena_alloc(arena, (found > 0 ? found : 1) * sizeof **letters);
  bool done = *letters != NULL;
  if (!done)
    delivery_store_exhausted(error);
  for (size_t row = 0; done && row < found; row++) {
    (*letters)[row].dead_letter_id = ls_pg_get_int8(rows, row, 6);
    done = delivery_store_record(rows, row, 0, arena, &(*letters)[row].record, error);
  }
  if (done)
    *count = found;
  ls_pg_result_destroy(rows);
  return done;
}

bool delivery_store_letter(delivery_store *store, int64_t dead_letter_id, ls_arena *arena,
                           delivery_stored_letter *stored, Delivery__V1__DeadLetter **letter,
                           ls_error *error) {
  *letter = NULL;
  ls_pg_result *rows;
  if (!select_letters(store, (delivery_letter_filter){true, true}, dead_letter_id - 1,
                      dead_letter_id, 1, 1, &rows, error))
    return false;
  bool done = true;
  if (ls_pg_row_count(rows) > 0) {
    *letter = read_letter(rows, 0, arena, error);
    stored->dead_letter_id = dead_letter_id;
    done = *letter != NULL && delivery_store_record(rows, 0, 0, arena, &stored->record, error);
  }
  ls_pg_result_destroy(rows);
  return done;
}

static const ls_pg_statement last_statement = {
    .name = "delivery_letters_last",
    .sql = "SELECT coalesce(max(dead_letter_id), 0) FROM dead_letters",
    .columns = {LS_PG_INT8}};

bool delivery_store_last_letter(delivery_store *store, int64_t *dead_letter_id, ls_error *error) {
  ls_pg_result *rows;
  if (!delivery_store_connect(store, error) ||
      !ls_pg_exec(store->connection, &last_statement, NULL, &rows, error))
    return false;
  *dead_letter_id = ls_pg_get_int8(rows, 0, 0);
  ls_pg_result_destroy(rows);
  return true;
}

static const ls_pg_statement replayed_statement = {
    .name = "delivery_letters_replayed",
    .sql = "UPDATE dead_letters SET replay_time = statement_timestamp() "
           "WHERE dead_letter_id = ANY($1)"};

bool delivery_store_mark_replayed(delivery_store *store, const int64_t *dead_letter_ids,
                                  size_t count, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8_array(params, dead_letter_ids, count);
  return ls_pg_exec(store->connection, &replayed_statement, params, NULL, error);
}

/* What was said first stays. */
static const ls_pg_statement discard_statement = {
    .name = "delivery_letters_discard",
    .sql = "UPDATE dead_letters SET discard_time = statement_timestamp(), discard_reason = $2 "
           "WHERE dead_letter_id = $1 AND discard_time IS NULL"};

bool delivery_store_discard_letter(delivery_store *store, int64_t dead_letter_id,
                                   const char *reason, ls_error *error) {
  if (!delivery_store_connect(store, error))
    return false;
  ls_pg_params *params = delivery_store_params(store, 0);
  ls_pg_params_int8(params, dead_letter_id);
  ls_pg_params_text(params, reason);
  return ls_pg_exec(store->connection, &discard_statement, params, NULL, error);
}
