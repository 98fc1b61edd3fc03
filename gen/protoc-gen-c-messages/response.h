/* What protobuf-c's plugin answers. */
#ifndef LOCKSTEP_GEN_RESPONSE_H
#define LOCKSTEP_GEN_RESPONSE_H

#include <stdbool.h>

#include "gen/plugin/adapt.h"
#include "gen/plugin/text.h"
#include "gen/plugin/wire.h"

/* Adds the CodeGeneratorResponse `response` to `out`: with each file as adapt_output has it, and
 * what this plugin supports. False if the bytes are no response; `out` has a part of it then. */
bool response_for_protoc(const gen_adapter *adapter, gen_text *out, wire_bytes response);

/* Adds a response that is an error alone. */
void response_of_error(gen_text *out, const char *error);

#endif
