/* Finds grpc-status in what HTTP/2 sends as header blocks (HPACK, RFC 7541), and nothing else. */
#ifndef LOCKSTEP_TESTS_BENCH_LOAD_HEADER_FIELDS_H
#define LOCKSTEP_TESTS_BENCH_LOAD_HEADER_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEADER_TABLE_BYTES = 4096, HEADER_MOST_ENTRIES = HEADER_TABLE_BYTES / 32 };

/* An entry of the dynamic table: what of it matters. */
typedef struct header_entry {
  size_t name_bytes, bytes;
  int status; /* -1: another field than grpc-status, -2: grpc-status with a value not known */
} header_entry;

/* What a connection's blocks refer to. */
typedef struct header_table {
  header_entry entries[HEADER_MOST_ENTRIES]; /* a ring; the newest is before `next` */
  size_t next, count, bytes, limit;
} header_table;

void header_table_init(header_table *table);

/* Reads a whole block. `status` gets the value of grpc-status; unchanged if there is none. False:
 * the block cannot be read, and no later one can. */
bool header_fields_read(header_table *table, const uint8_t *block, size_t bytes, int *status);

#endif
