/* Which runtime the generated files are for. */
#ifndef LOCKSTEP_GEN_VERSION_H
#define LOCKSTEP_GEN_VERSION_H

/* LS_RPC_GENERATED_VERSION of the runtime that the output is for (runtime/rpc/method.h). */
#define GENERATED_VERSION 2

#endif
