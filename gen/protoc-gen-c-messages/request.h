/* The request that protobuf-c is to see. */
#ifndef LOCKSTEP_GEN_REQUEST_H
#define LOCKSTEP_GEN_REQUEST_H

#include "gen/plugin/text.h"
#include "gen/plugin/wire.h"

/* Adds the CodeGeneratorRequest `request` to `out`, without the services of its files, and with an
 * underscore after the name of each field that C or C++ reserves and protobuf-c does not rename by
 * itself. All else is copied byte for byte. `request` has passed wire_check. */
void request_for_messages(gen_text *out, wire_bytes request);

#endif
