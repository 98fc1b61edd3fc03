/* Named places at which a test has the process die, as by SIGKILL from outside but at that very
 * place: after a commit and before its answer, between an acknowledgement and the checkpoint.
 *
 * Only in builds with LOCKSTEP_FAULTS; elsewhere the points are nothing. There, LOCKSTEP_CRASH_AT
 * names the point, NAME or NAME:N for the N-th time it is reached, and the line "NAME" is written
 * to the file LOCKSTEP_CRASH_FILE first, so that a test knows the point was reached. */
#ifndef LOCKSTEP_RUNTIME_BASE_FAULT_H
#define LOCKSTEP_RUNTIME_BASE_FAULT_H

/* Kills the process if this is the point it was told to die at. Any thread. `detail` is appended to
 * the name; "" where there is none. There only in builds with LOCKSTEP_FAULTS; by the macros below.
 */
void ls_fault_reach(const char *name, const char *detail);

#ifdef LOCKSTEP_FAULTS

#define LS_FAULT_POINT(name) ls_fault_reach((name), "")
#define LS_FAULT_POINT_OF(name, detail) ls_fault_reach((name), (detail))

#else

#define LS_FAULT_POINT(name) ((void)0)
#define LS_FAULT_POINT_OF(name, detail) ((void)(detail))

#endif

#endif
