/* What Prometheus' client libraries say of every process, from /proc. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/metrics.h"

static double read_resident_bytes(void *arg) {
  (void)arg;
  long long pages = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  if (file) {
    if (fscanf(file, "%*s %lld", &pages) != 1)
      pages = 0;
    fclose(file);
  }
  return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double read_cpu_seconds(void *arg) {
  (void)arg;
  struct timespec used;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double read_open_descriptors(void *arg) {
  (void)arg;
  DIR *directory = opendir("/proc/self/fd");
  if (!directory)
    return 0;
  int count = -1; /* the directory's own */
  for (const struct dirent *entry; (entry = readdir(directory));) {
    if (entry->d_name[0] != '.')
      count++;
  }
  closedir(directory);
  return count;
}

static double read_max_descriptors(void *arg) {
  (void)arg;
  struct rlimit limit;
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

/* Field 22 of /proc/self/stat: when the process started, in ticks since boot. */
static bool read_start_ticks(uint64_t *ticks) {
  char text[1024];
  FILE *file = fopen("/proc/self/stat", "re");
  if (!file)
    return false;
  size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = '\0';
  const char *after_name = strrchr(text, ')'); /* the name may hold blanks and brackets */
  return after_name && sscanf(after_name + 1,
                              " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                              "%*s %*s %*s %" SCNu64,
                              ticks) == 1;
}

static double start_seconds(void) {
  double now = (double)ls_clock_wall_us() / 1e6;
  uint64_t ticks;
  struct timespec since_boot;
  if (!read_start_ticks(&ticks) || clock_gettime(CLOCK_BOOTTIME, &since_boot) != 0)
    return now;
  double age = (double)since_boot.tv_sec + (double)since_boot.tv_nsec / 1e9 -
               (double)ticks / (double)sysconf(_SC_CLK_TCK);
  return now - age;
}

bool ls_metrics_add_process(ls_metrics *metrics) {
  ls_gauge *start = ls_metrics_gauge(metrics, "process_start_time_seconds",
                                     "Start time of the process in seconds since 1970.", NULL);
  ls_gauge_set(start, start_seconds()); /* once: the wall clock may jump later */
  return ls_metrics_gauge_callback(metrics, "process_resident_memory_bytes",
                                   "Resident memory in bytes.", NULL, read_resident_bytes, NULL) &&
         ls_metrics_counter_callback(metrics, "process_cpu_seconds_total",
                                     "User and system CPU time in seconds.", NULL, read_cpu_seconds,
                                     NULL) &&
         ls_metrics_gauge_callback(metrics, "process_open_fds", "Open file descriptors.", NULL,
                                   read_open_descriptors, NULL) &&
         ls_metrics_gauge_callback(metrics, "process_max_fds", "Limit of open file descriptors.",
                                   NULL, read_max_descriptors, NULL);
}
