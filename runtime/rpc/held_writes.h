/* Answers that go out together.
 *
 * gRPC's core writes each answer to its connection by itself, as it is given: a system call, a
 * segment and a wake-up of the other side for each. Who gives many one after the other holds them:
 * the kernel is told that more comes, and puts what there is into full segments. Of every 16 writes
 * one goes out at once all the same, so that the other side does not idle, and the kernel waits 200
 * ms at most. Without effect in builds with a sanitizer. */
#ifndef LOCKSTEP_RUNTIME_RPC_HELD_WRITES_H
#define LOCKSTEP_RUNTIME_RPC_HELD_WRITES_H

#ifdef __cplusplus
extern "C" {
#endif

/* From here on this thread's writes to connections are held. Call it again as you like. */
void ls_rpc_hold_writes(void);

/* What is held goes out, and later writes go at once. Before this thread waits for anything. */
void ls_rpc_release_writes(void);

#ifdef __cplusplus
}
#endif

#endif
