/* See core_locks.c. */
#ifndef LOCKSTEP_RUNTIME_RPC_CORE_LOCKS_H
#define LOCKSTEP_RUNTIME_RPC_CORE_LOCKS_H

/* Any thread, any time; before the core starts is best. */
void ls_rpc_core_locks_quicken(void);

#endif
