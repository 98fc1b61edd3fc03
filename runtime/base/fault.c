/* Dying at a named point: see fault.h. Part of builds with LOCKSTEP_FAULTS only. */
#include "runtime/base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How often the point has been reached. */
static atomic_uint reached;

static void leave_word(const char *wanted, size_t length) {
  const char *file = getenv("LOCKSTEP_CRASH_FILE");
  int descriptor = file != NULL ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
  if (descriptor < 0)
    return;
  if (write(descriptor, wanted, length) == (ssize_t)length)
    (void)!write(descriptor, "\n", 1);
  close(descriptor);
}

void ls_fault_reach(const char *name, const char *detail) {
  const char *wanted = getenv("LOCKSTEP_CRASH_AT");
  if (wanted == NULL)
    return;
  const char *colon = strrchr(wanted, ':');
  size_t length = colon != NULL ? (size_t)(colon - wanted) : strlen(wanted);
  unsigned long turn = colon != NULL ? strtoul(colon + 1, NULL, 10) : 1;
  size_t name_length = strlen(name);
  if (length != name_length + strlen(detail) || memcmp(wanted, name, name_length) != 0 ||
      memcmp(wanted + name_length, detail, length - name_length) != 0)
    return;
  if (atomic_fetch_add(&reached, 1) + 1 != turn)
    return;
  leave_word(wanted, length);
  (void)kill(getpid(), SIGKILL);
  pause(); /* the signal is on its way */
}
