/* Tests of writes that are held, on a TCP connection of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/rpc/held_writes.h"

enum { HELD_MAX = 16, WAIT_MS = 10000 };

typedef struct connection {
  int from, to;
} connection;

static int open_connection(void **state) {
  static connection both;
  int yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  both.from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (const struct sockaddr *)&address, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &length) != 0 ||
      connect(both.from, (const struct sockaddr *)&address, length) != 0)
    return -1;
  both.to = accept(listener, NULL, NULL);
  close(listener);
  *state = &both;
  return setsockopt(both.from, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static int close_connection(void **state) {
  const connection *both = *state;
  close(both->from);
  close(both->to);
  return 0;
}

static void write_one(const connection *both) {
  char byte = 'x';
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  assert_int_equal(sendmsg(both->from, &message, MSG_NOSIGNAL), 1);
}

/* What comes by the time that `count` bytes are there. */
static size_t read_bytes(const connection *both, size_t count) {
  char bytes[64];
  struct pollfd readable = {.fd = both->to, .events = POLLIN};
  size_t got = 0;
  while (got < count && poll(&readable, 1, WAIT_MS) == 1)
    got += (size_t)recv(both->to, bytes, sizeof bytes, MSG_DONTWAIT);
  return got;
}

static bool is_silent(const connection *both) {
  char byte;
  return recv(both->to, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0;
}

static void goes_at_once_unless_held(void **state) {
  write_one(*state);
  assert_int_equal(read_bytes(*state, 1), 1);
}

static void is_held_until_released(void **state) {
  ls_rpc_hold_writes();
  write_one(*state);
  write_one(*state);
  assert_true(is_silent(*state));
  ls_rpc_release_writes();
  assert_int_equal(read_bytes(*state, 2), 2);
  write_one(*state);
  assert_int_equal(read_bytes(*state, 1), 1);
}

static void some_go_at_once(void **state) {
  ls_rpc_hold_writes();
  for (int i = 0; i < HELD_MAX - 1; i++)
    write_one(*state);
  assert_true(is_silent(*state));
  write_one(*state);
  assert_int_equal(read_bytes(*state, HELD_MAX), HELD_MAX);
  ls_rpc_release_writes();
}

static int close_receiver(void **state) {
  return close(((const connection *)*state)->to);
}

static void a_closed_socket_does_no_harm(void **state) {
  const connection *both = *state;
  ls_rpc_hold_writes();
  write_one(both);
  close(both->from);
  ls_rpc_release_writes();
  assert_int_equal(read_bytes(both, 1), 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(goes_at_once_unless_held, open_connection, close_connection),
      cmocka_unit_test_setup_teardown(is_held_until_released, open_connection, close_connection),
      cmocka_unit_test_setup_teardown(some_go_at_once, open_connection, close_connection),
      cmocka_unit_test_setup_teardown(a_closed_socket_does_no_harm, open_connection,
                                      close_receiver),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
