/* Clocks and RFC 3339: see clock.h. */
#include "runtime/base/clock.h"

#include <stdio.h>
#include <time.h>

static const int64_t US_PER_SECOND = 1000000;
static const int64_t SECONDS_PER_DAY = 86400;
static const int64_t FIRST_SECOND = -62135596800; /* 0001-01-01T00:00:00Z */
static const int64_t LAST_SECOND = 253402300799;  /* 9999-12-31T23:59:59Z */

static int64_t read_clock_us(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now); /* cannot fail for these clocks */
  return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t ls_clock_monotonic_us(void) {
  return read_clock_us(CLOCK_MONOTONIC);
}

int64_t ls_clock_monotonic_ms(void) {
  return ls_clock_monotonic_us() / 1000;
}

int64_t ls_clock_wall_us(void) {
  return read_clock_us(CLOCK_REALTIME);
}

/* Days since 1970-01-01 in the Gregorian calendar, counted in years that begin in March, so that
 * the leap day is a year's last. */
static int64_t days_from_date(int64_t year, int month, int day) {
  int64_t y = month <= 2 ? year - 1 : year;
  int64_t century4 = (y >= 0 ? y : y - 399) / 400;
  int64_t year_of_400 = y - century4 * 400;
  int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
  int64_t day_of_400 = year_of_400 * 365 + year_of_400 / 4 - year_of_400 / 100 + day_of_year;
  return century4 * 146097 + day_of_400 - 719468;
}

static int days_in_month(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  return month == 2 && leap ? 29 : days[month - 1];
}

bool ls_clock_format_rfc3339(int64_t wall_us, int fraction_digits, char out[LS_RFC3339_BYTES]) {
  out[0] = '\0';
  int64_t seconds = wall_us / US_PER_SECOND;
  int64_t fraction = wall_us % US_PER_SECOND;
  if (fraction < 0) {
    fraction += US_PER_SECOND;
    seconds--;
  }
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND)
    return false;
  time_t moment = (time_t)seconds;
  struct tm date;
  if (!gmtime_r(&moment, &date))
    return false;
  char text[64]; /* as large as the compiler believes the numbers could be */
  int length = snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d", date.tm_year + 1900,
                        date.tm_mon + 1, date.tm_mday, date.tm_hour, date.tm_min, date.tm_sec);
  if (length != 19)
    return false;
  if (fraction_digits == 3)
    snprintf(out, LS_RFC3339_BYTES, "%.19s.%03dZ", text, (int)(fraction / 1000));
  else if (fraction_digits == 6)
    snprintf(out, LS_RFC3339_BYTES, "%.19s.%06dZ", text, (int)fraction);
  else
    snprintf(out, LS_RFC3339_BYTES, "%.19sZ", text);
  return true;
}

typedef struct date_reader {
  const char *at;
  const char *end;
} date_reader;

static bool read_digits(date_reader *reader, int count, int *value) {
  if (reader->end - reader->at < count)
    return false;
  *value = 0;
  for (int i = 0; i < count; i++) {
    char digit = *reader->at++;
    if (digit < '0' || digit > '9')
      return false;
    *value = *value * 10 + (digit - '0');
  }
  return true;
}

static bool read_one_of(date_reader *reader, const char *choices, char *taken) {
  if (reader->at == reader->end)
    return false;
  for (const char *choice = choices; *choice; choice++) {
    if (*reader->at == *choice) {
      *taken = *reader->at++;
      return true;
    }
  }
  return false;
}

static bool read_fraction_us(date_reader *reader, int *fraction_us) {
  *fraction_us = 0;
  char taken;
  if (!read_one_of(reader, ".", &taken))
    return true;
  int digits = 0;
  int digit;
  while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
    read_digits(reader, 1, &digit);
    if (digits++ < 6)
      *fraction_us = *fraction_us * 10 + digit;
  }
  for (int i = digits; i < 6; i++)
    *fraction_us *= 10;
  return digits > 0;
}

static bool read_offset_seconds(date_reader *reader, int *offset) {
  *offset = 0;
  char taken;
  if (read_one_of(reader, "Zz", &taken))
    return true;
  char sign;
  int hours, minutes;
  if (!read_one_of(reader, "+-", &sign) || !read_digits(reader, 2, &hours) ||
      !read_one_of(reader, ":", &taken) || !read_digits(reader, 2, &minutes) || hours > 23 ||
      minutes > 59)
    return false;
  *offset = (hours * 60 + minutes) * 60 * (sign == '-' ? -1 : 1);
  return true;
}

bool ls_clock_parse_rfc3339(const char *text, size_t length, int64_t *wall_us) {
  date_reader reader = {text, text + length};
  char taken;
  int year, month, day, hour, minute, second, fraction, offset;
  if (!read_digits(&reader, 4, &year) || !read_one_of(&reader, "-", &taken) ||
      !read_digits(&reader, 2, &month) || !read_one_of(&reader, "-", &taken) ||
      !read_digits(&reader, 2, &day) || !read_one_of(&reader, "Tt ", &taken) ||
      !read_digits(&reader, 2, &hour) || !read_one_of(&reader, ":", &taken) ||
      !read_digits(&reader, 2, &minute) || !read_one_of(&reader, ":", &taken) ||
      !read_digits(&reader, 2, &second) || !read_fraction_us(&reader, &fraction) ||
      !read_offset_seconds(&reader, &offset) || reader.at != reader.end)
    return false;
  bool leap_second = second == 60 && (minute == 59 || minute == 29); /* half-hour offsets */
  if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
      minute > 59 || (second > 59 && !leap_second))
    return false;
  int64_t seconds = days_from_date(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 +
                    second - offset;
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND)
    return false;
  *wall_us = seconds * US_PER_SECOND + fraction;
  return true;
}

#define NS_PER_SECOND INT64_C(1000000000)
#define LONGEST_STEADY_WAIT_NS (60 * NS_PER_SECOND)

static int64_t nanoseconds(const struct timespec *time) {
  return (int64_t)time->tv_sec * NS_PER_SECOND + time->tv_nsec;
}

struct timespec ls_clock_steady_deadline(const struct timespec *wall) {
  struct timespec now, steady;
  (void)timespec_get(&now, TIME_UTC);
  (void)clock_gettime(CLOCK_MONOTONIC, &steady);
  int64_t left = nanoseconds(wall) - nanoseconds(&now);
  if (left > LONGEST_STEADY_WAIT_NS)
    left = LONGEST_STEADY_WAIT_NS;
  int64_t end = nanoseconds(&steady) + (left > 0 ? left : 0);
  return (struct timespec){.tv_sec = (time_t)(end / NS_PER_SECOND),
                           .tv_nsec = (long)(end % NS_PER_SECOND)};
}
