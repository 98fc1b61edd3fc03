/* What the demo says at its end: a table, plain sentences, JSON. Pure but for the buffer. */
#ifndef LOCKSTEP_DEPLOY_LOCAL_DEMO_REPORT_H
#define LOCKSTEP_DEPLOY_LOCAL_DEMO_REPORT_H

#include <stddef.h>

#include "deploy/local/demo_figures.h"
#include "runtime/base/text.h"

/* Each appends to `out`; out of memory shows in out->failed. `cases` are those that were run, 1 to
 * DEMO_CASES of them, each at most once. */

/* The cases side by side, in lines of at most 100 characters. */
void demo_report_table(const demo_figures *cases, size_t count, ls_buffer *out);

/* What the figures say, one sentence a line. Claims follow from the figures only; what cannot be
 * compared because a case is missing is left out. */
void demo_report_sentences(const demo_figures *cases, size_t count, ls_buffer *out);

/* One JSON object. `broker` is what the events went through, UTF-8. */
void demo_report_json(const demo_figures *cases, size_t count, const char *broker, ls_buffer *out);

#endif
