/* Clocks and RFC 3339: see clock.h. */
#include "runtime/base/clock.h"

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

void ls_clock_sleep_ms(int64_t duration_ms) {
  struct timespec duration = {.tv_sec = duration_ms / 1000,
                              .tv_nsec = duration_ms % 1000 * 1000000};
  nanosleep(&duration, NULL);
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

/* The inverse of days_from_date (civil_from_days in Howard Hinnant's "chrono-Compatible Low-Level
 * Date Algorithms"): a year begins on March 1 here, an era has 400 of them. */
static void date_from_days(int64_t days, int *year, int *month, int *day) {
  days += 719468; /* since March 1 of the year 0 */
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  int of_era = (int)(days - era * 146097);
  int year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  int month_from_march = (5 * day_of_year + 2) / 153;
  *day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  *month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  *year = (int)(era * 400) + year_of_era + (*month <= 2);
}

/* With leading zeros. */
static char *put_digits(char *at, int count, int number, char after) {
  for (int i = count - 1; i >= 0; i--, number /= 10)
    at[i] = (char)('0' + number % 10);
  at[count] = after;
  return at + count + 1;
}

/* By hand: printf and gmtime_r take a microsecond, and every event has its time. */
bool ls_clock_format_rfc3339(int64_t wall_us, int fraction_digits, char out[LS_RFC3339_BYTES]) {
  out[0] = '\0';
  int64_t seconds = wall_us / US_PER_SECOND;
  int fraction = (int)(wall_us % US_PER_SECOND);
  if (fraction < 0) {
    fraction += (int)US_PER_SECOND;
    seconds--;
  }
  if (seconds < FIRST_SECOND || seconds > LAST_SECOND)
    return false;
  int64_t days = seconds / SECONDS_PER_DAY;
  int of_day = (int)(seconds % SECONDS_PER_DAY);
  if (of_day < 0) {
    of_day += (int)SECONDS_PER_DAY;
    days--;
  }
  int year, month, day;
  date_from_days(days, &year, &month, &day);
  char *at = put_digits(out, 4, year, '-');
  at = put_digits(at, 2, month, '-');
  at = put_digits(at, 2, day, 'T');
  at = put_digits(at, 2, of_day / 3600, ':');
  at = put_digits(at, 2, of_day / 60 % 60, ':');
  at = put_digits(at, 2, of_day % 60, '.');
  if (fraction_digits == 3)
    at = put_digits(at, 3, fraction / 1000, 'Z');
  else if (fraction_digits == 6)
    at = put_digits(at, 6, fraction, 'Z');
  else
    at[-1] = 'Z';
  *at = '\0';
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
