/* Keeps the dynamic table as far as it takes to know which field an index means. */
#include "tests/bench/load/header_fields.h"

#include <string.h>

enum { OTHER = -1, UNKNOWN_STATUS = -2, ENTRY_OVERHEAD = 32 };

static const char status_name[] = "grpc-status";

/* Lengths of the names of RFC 7541, Appendix A. */
static const uint8_t static_name_bytes[] = {
    0, 10, 7,  7,  5,  5,  7,  7,  7,  7,  7,  7,  7, 7,  7,  14, 15, 15, 13, 6,  27,
    3, 5,  13, 13, 19, 16, 16, 14, 16, 13, 12, 6,  4, 4,  6,  7,  4,  4,  8,  17, 13,
    8, 19, 13, 4,  8,  12, 18, 19, 5,  7,  7,  11, 6, 10, 25, 17, 10, 4,  3,  16};
enum { STATIC_ENTRIES = sizeof static_name_bytes - 1 };
_Static_assert(STATIC_ENTRIES == 61, "as many as RFC 7541 has");

typedef struct cursor {
  const uint8_t *data;
  size_t at, bytes;
  bool failed;
} cursor;

typedef struct text {
  const uint8_t *data;
  size_t bytes;
  bool is_packed; /* by Huffman's code, and not to be read */
} text;

void header_table_init(header_table *table) {
  *table = (header_table){.limit = HEADER_TABLE_BYTES};
}

static void evict(header_table *table, size_t limit) {
  while (table->count > 0 && table->bytes > limit) {
    size_t oldest = (table->next + HEADER_MOST_ENTRIES - table->count) % HEADER_MOST_ENTRIES;
    table->bytes -= table->entries[oldest].bytes;
    table->count--;
  }
}

static void insert(header_table *table, header_entry entry) {
  if (entry.bytes > table->limit) {
    evict(table, 0);
    return;
  }
  evict(table, table->limit - entry.bytes);
  table->entries[table->next] = entry;
  table->next = (table->next + 1) % HEADER_MOST_ENTRIES;
  table->count++;
  table->bytes += entry.bytes;
}

/* The entry of an index; NULL if there is none. Entries of the static table get into `room`. */
static const header_entry *find(const header_table *table, size_t index, header_entry *room) {
  if (index == 0 || index > STATIC_ENTRIES + table->count)
    return NULL;
  if (index <= STATIC_ENTRIES) {
    *room = (header_entry){.name_bytes = static_name_bytes[index], .status = OTHER};
    return room;
  }
  size_t age = index - STATIC_ENTRIES;
  return &table->entries[(table->next + HEADER_MOST_ENTRIES - age) % HEADER_MOST_ENTRIES];
}

static size_t read_number(cursor *in, unsigned prefix_bits) {
  size_t most = (1U << prefix_bits) - 1;
  if (in->at >= in->bytes) {
    in->failed = true;
    return 0;
  }
  size_t value = in->data[in->at++] & most;
  if (value < most)
    return value;
  for (unsigned shift = 0; in->at < in->bytes && shift < 28; shift += 7) {
    uint8_t byte = in->data[in->at++];
    value += (size_t)(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0)
      return value;
  }
  in->failed = true;
  return 0;
}

static text read_text(cursor *in) {
  if (in->at >= in->bytes) {
    in->failed = true;
    return (text){NULL, 0, true};
  }
  bool is_packed = (in->data[in->at] & 0x80) != 0;
  size_t bytes = read_number(in, 7);
  if (in->failed || bytes > in->bytes - in->at) {
    in->failed = true;
    return (text){NULL, 0, true};
  }
  text result = {in->data + in->at, bytes, is_packed};
  in->at += bytes;
  return result;
}

static int status_of(text value) {
  int status = 0;
  if (value.is_packed || value.bytes == 0 || value.bytes > 2)
    return UNKNOWN_STATUS;
  for (size_t i = 0; i < value.bytes; i++)
    status = status * 10 + (value.data[i] - '0');
  return status;
}

/* A field that is written out, at least its value. */
static header_entry read_literal(header_table *table, cursor *in, unsigned prefix_bits,
                                 bool is_kept) {
  header_entry entry = {.status = OTHER}, room;
  size_t index = read_number(in, prefix_bits);
  if (index == 0) {
    text name = read_text(in);
    entry.name_bytes = name.bytes;
    in->failed = in->failed || (is_kept && name.is_packed); /* how long would it be? */
    if (!name.is_packed && name.bytes == sizeof status_name - 1 &&
        memcmp(name.data, status_name, name.bytes) == 0)
      entry.status = UNKNOWN_STATUS;
  } else {
    const header_entry *named = find(table, index, &room);
    if (named == NULL) {
      in->failed = true;
      return entry;
    }
    entry.name_bytes = named->name_bytes;
    entry.status = named->status == OTHER ? OTHER : UNKNOWN_STATUS;
  }
  text value = read_text(in);
  in->failed = in->failed || (is_kept && value.is_packed);
  entry.bytes = entry.name_bytes + value.bytes + ENTRY_OVERHEAD;
  if (entry.status != OTHER)
    entry.status = status_of(value);
  return entry;
}

bool header_fields_read(header_table *table, const uint8_t *block, size_t bytes, int *status) {
  cursor in = {.data = block, .bytes = bytes};
  while (in.at < in.bytes && !in.failed) {
    uint8_t first = block[in.at];
    header_entry entry = {.status = OTHER}, room;
    if ((first & 0x80) != 0) {
      const header_entry *found = find(table, read_number(&in, 7), &room);
      if (found == NULL)
        return false;
      entry = *found;
    } else if ((first & 0x40) != 0) {
      entry = read_literal(table, &in, 6, true);
      if (!in.failed)
        insert(table, entry);
    } else if ((first & 0x20) != 0) {
      size_t limit = read_number(&in, 5);
      in.failed = in.failed || limit > HEADER_TABLE_BYTES;
      table->limit = limit;
      evict(table, limit);
    } else {
      entry = read_literal(table, &in, 4, false);
    }
    if (entry.status != OTHER)
      *status = entry.status;
  }
  return !in.failed;
}
