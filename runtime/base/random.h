/* Randomness of the kernel, and the identifiers made of it: UUIDs and W3C trace contexts. Any
 * thread. */
#ifndef LOCKSTEP_RUNTIME_BASE_RANDOM_H
#define LOCKSTEP_RUNTIME_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/* Fills `data` with bytes fit for keys. Ends the process should the kernel have none to give. */
void ls_random_bytes(void *data, size_t bytes);

/* Writes a version 4 UUID (RFC 9562) in lower case, NUL-terminated. */
void ls_uuid_v4(char out[37]);

enum {
  LS_TRACE_PARENT_LENGTH = 55, /* without the NUL */
  LS_TRACE_ID_LENGTH = 32
};

/* Writes a new traceparent (W3C Trace Context, version 00, sampled): 55 characters and a NUL. */
void ls_trace_parent_new(char out[56]);

/* Writes the traceparent of a new span in the trace of `parent`, its flags kept; a new trace when
 * `parent` is NULL or not valid. */
void ls_trace_parent_child(const char *parent, char out[56]);

/* Whether the text is a traceparent that the specification lets one take over: versions above 00
 * may be longer, version ff and ids of zeros are not valid. */
bool ls_trace_parent_valid(const char *text, size_t length);

/* Writes the 32 hexadecimal digits of the trace id. False, and "" in `out`, for a traceparent that
 * is not valid. */
bool ls_trace_parent_trace_id(const char *text, size_t length, char out[33]);

#endif
