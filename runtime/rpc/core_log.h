/* What gRPC's C core logs goes to the log of the process. */
#ifndef LOCKSTEP_RUNTIME_RPC_CORE_LOG_H
#define LOCKSTEP_RUNTIME_RPC_CORE_LOG_H

/* Takes over the core's log: its errors are warnings (of each place at most one a second), the rest
 * is for debugging and only made when the log's level is debug now, or GRPC_VERBOSITY asks for it.
 * Servers and channels call it; any number of times, any thread. */
void ls_rpc_core_log_install(void);

#endif
