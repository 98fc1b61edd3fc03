/* By POSIX and the kernel's random numbers. */
#include "system.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int64_t monotonic_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void random_bytes(void *out, size_t bytes) {
  if (getentropy(out, bytes) != 0) { /* without it no request can be told from another */
    perror("getentropy");
    abort();
  }
}

unsigned random_below(unsigned limit) {
  uint32_t chance;
  random_bytes(&chance, sizeof chance);
  return (chance >> 16) * limit >> 16;
}

void new_uuid(char out[UUID_BYTES]) {
  uint8_t bytes[16];
  random_bytes(bytes, sizeof bytes);
  bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40);
  bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80);
  for (size_t i = 0; i < sizeof bytes; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10)
      *out++ = '-';
    snprintf(out, 3, "%02x", bytes[i]);
    out += 2;
  }
}
