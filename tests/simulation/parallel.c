/* Runs many independent cases in several processes: see parallel.h. */
#include "tests/simulation/parallel.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST_PROCESSES = 64, PROGRESS_MS = 200, CASE_SECONDS = 120 };

/* What a process and its parent share. */
typedef struct seat {
  pid_t pid;
  _Atomic uint64_t number; /* the case it is at */
  _Atomic uint64_t done;
  promise what;
  char problem[sizeof((world *)0)->problem];
  uint64_t counts[COVERAGE_COUNT];
} seat;

typedef struct hall {
  atomic_bool stop;
  seat seats[MOST_PROCESSES];
} hall;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal) {
  interrupted = signal;
}

static void work_in_seat(hall *shared, int index, int processes, const parallel_work *work) {
  seat *mine = &shared->seats[index];
  for (uint64_t i = (uint64_t)index; i < work->count && !atomic_load(&shared->stop);
       i += (uint64_t)processes) {
    atomic_store(&mine->number, work->first + i);
    alarm(CASE_SECONDS); /* one that hangs is one that crashes */
    mine->what = work->run(work->first + i, mine->counts, mine->problem);
    atomic_fetch_add(&mine->done, 1);
    if (mine->what != KEPT)
      atomic_store(&shared->stop, true);
  }
}

static bool start(hall *shared, int index, int processes, const parallel_work *work) {
  (void)fflush(stdout);
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
      work_in_seat(shared, index, processes, work);
    _exit(0);
  }
  shared->seats[index].pid = pid;
  return pid > 0;
}

static uint64_t count_done(hall *shared, int processes) {
  uint64_t done = 0;
  for (int i = 0; i < processes; i++)
    done += atomic_load(&shared->seats[i].done);
  return done;
}

static void show_progress(const parallel_work *work, uint64_t done, bool is_last) {
  if (!isatty(STDERR_FILENO))
    return;
  fprintf(stderr, "\r%s: %llu of %llu%s", work->name, (unsigned long long)done,
          (unsigned long long)work->count, is_last ? "\n" : "");
}

static void take_broken(parallel_result *result, parallel_end end, seat *from) {
  uint64_t number = atomic_load(&from->number);
  if (result->end == PARALLEL_BROKEN && result->number < number)
    return;
  result->end = end;
  result->number = number;
  result->what = from->what;
  memcpy(result->problem, from->problem, sizeof result->problem);
}

/* One process has ended. */
static void take_end(hall *shared, int processes, pid_t pid, int status, parallel_result *result) {
  for (int i = 0; i < processes; i++) {
    seat *one = &shared->seats[i];
    if (one->pid != pid)
      continue;
    one->pid = 0;
    bool crashed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (interrupted != 0 || !(crashed || one->what != KEPT))
      return;
    if (!crashed || result->end == PARALLEL_DONE)
      take_broken(result, crashed ? PARALLEL_CRASHED : PARALLEL_BROKEN, one);
    atomic_store(&shared->stop, true);
  }
}

static void kill_all(hall *shared, int processes) {
  for (int i = 0; i < processes; i++)
    if (shared->seats[i].pid > 0)
      kill(shared->seats[i].pid, SIGKILL);
}

static void await_all(hall *shared, int running, int processes, const parallel_work *work,
                      parallel_result *result) {
  struct timespec tick = {.tv_nsec = PROGRESS_MS * 1000000L};
  while (running > 0) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid > 0) {
      running--;
      take_end(shared, processes, pid, status, result);
      continue;
    }
    if (interrupted != 0)
      kill_all(shared, processes);
    nanosleep(&tick, NULL);
    show_progress(work, count_done(shared, processes), false);
  }
  show_progress(work, count_done(shared, processes), true);
}

static void add_counts(const hall *shared, int processes, uint64_t *counts) {
  for (int i = 0; i < processes; i++)
    for (int what = 0; what < COVERAGE_COUNT; what++)
      counts[what] += shared->seats[i].counts[what];
}

parallel_result parallel_run(const parallel_work *work, int processes, uint64_t *counts) {
  parallel_result result = {.end = PARALLEL_DONE};
  hall *shared =
      mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) {
    perror("mmap");
    result.end = PARALLEL_FAILED;
    return result;
  }
  if (processes > MOST_PROCESSES)
    processes = MOST_PROCESSES;
  signal(SIGINT, on_interrupt);
  signal(SIGTERM, on_interrupt);
  int running = 0;
  while (running < processes && start(shared, running, processes, work))
    running++;
  if (running < processes) {
    perror("fork");
    atomic_store(&shared->stop, true);
    result.end = PARALLEL_FAILED;
  }
  await_all(shared, running, processes, work, &result);
  if (interrupted != 0)
    result.end = PARALLEL_INTERRUPTED;
  result.done = count_done(shared, processes);
  add_counts(shared, processes, counts);
  munmap(shared, sizeof *shared);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  return result;
}
