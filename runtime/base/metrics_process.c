/* What Prometheus' client libraries say of every process, from /proc. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "runtime/base/clock.h"
#include "runtime/base/metrics.h"

enum { TEXT_BYTES = 1024 };

/* What the file begins with; empty when it cannot be read. */
static void read_text(const char *path, char text[TEXT_BYTES]) {
  size_t length = 0;
  FILE *file = fopen(path, "re");
  if (file) {
    length = fread(text, 1, TEXT_BYTES - 1, file);
    (void)fclose(file); /* only read */
  }
  text[length] = '\0';
}

/* The number that is the field at `index`, from 0, of those that blanks separate. */
static bool read_field(const char *text, int index, unsigned long long *number) {
  text += strspn(text, " ");
  for (; index > 0; index--) {
    text += strcspn(text, " ");
    text += strspn(text, " ");
  }
  if (*text < '0' || *text > '9') /* strtoull takes signs */
    return false;
  errno = 0;
  *number = strtoull(text, NULL, 10);
  return errno == 0;
}

static double read_resident_bytes(void *arg) {
  (void)arg;
  char text[TEXT_BYTES];
  unsigned long long pages;
  read_text("/proc/self/statm", text);
  return read_field(text, 1, &pages) ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
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
static bool read_start_ticks(unsigned long long *ticks) {
  char text[TEXT_BYTES];
  read_text("/proc/self/stat", text);
  const char *name_end = strrchr(text, ')'); /* field 2 may hold blanks and brackets */
  return name_end && read_field(name_end + 1, 22 - 3, ticks);
}

static double start_seconds(void) {
  double now = (double)ls_clock_wall_us() / 1e6;
  unsigned long long ticks;
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
