/* Takes Abseil's search for lock cycles out of the core's way.
 *
 * Debian builds Abseil without NDEBUG, and so each lock of the core is noted in a graph and
 * searched for cycles: a tenth of the time that a call takes. It can be told not to, but from C++
 * only, by a name that has the build in it; where it has another, nothing happens. */
#include "runtime/rpc/core_locks.h"

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle) in the namespaces of Debian's builds
 * and of its releases */
static const char *const names[] = {
    "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
    "_ZN4absl7debian529SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
    "_ZN4absl12lts_2022062329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
};

void ls_rpc_core_locks_quicken(void) {
  enum { IGNORE_CYCLES = 0 }; /* absl::OnDeadlockCycle::kIgnore */
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    void (*set_mode)(int) = (void (*)(int))(uintptr_t)dlsym(RTLD_DEFAULT, names[i]);
    if (set_mode != NULL)
      set_mode(IGNORE_CYCLES);
  }
}
