/* See held_writes.h. The core has no call for this, so sendmsg, by which it writes, is defined here
 * in the C library's place: it passes everything on as it is, but for the flag MSG_MORE while a
 * thread holds its writes. */
#include "runtime/rpc/held_writes.h"

#ifdef LS_RPC_HOLDS_WRITES

#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

typedef ssize_t (*sendmsg_function)(int socket, const struct msghdr *message, int flags);

enum { SOCKETS_MAX = 64, HELD_MAX = 16 };

/* A thread's. */
static _Thread_local struct {
  bool is_holding;
  unsigned held; /* since one went out at once */
  size_t count;
  int sockets[SOCKETS_MAX]; /* with something held */
} holding;

static sendmsg_function real_sendmsg(void) {
  static _Atomic(sendmsg_function) next;
  sendmsg_function real = next;
  if (real == NULL) {
    real = (sendmsg_function)(uintptr_t)dlsym(RTLD_NEXT, "sendmsg");
    if (real == NULL)
      abort(); /* there is no C library */
    next = real;
  }
  return real;
}

/* Whether the write may be held. What is not held takes what was held before along. */
static bool hold(int socket) {
  size_t index = 0;
  while (index < holding.count && holding.sockets[index] != socket)
    index++;
  if (index == SOCKETS_MAX)
    return false;
  if (++holding.held >= HELD_MAX) {
    holding.held = 0;
    if (index < holding.count)
      holding.sockets[index] = holding.sockets[--holding.count];
    return false;
  }
  if (index == holding.count)
    holding.sockets[holding.count++] = socket;
  return true;
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
  if (holding.is_holding && hold(socket))
    flags |= MSG_MORE;
  return real_sendmsg()(socket, message, flags);
}

void ls_rpc_hold_writes(void) {
  holding.is_holding = true;
}

/* Setting TCP_NODELAY, which the core has set already, sends what waits (tcp(7)). A socket that was
 * closed meanwhile has sent it, and whatever has its number now does not mind. */
void ls_rpc_release_writes(void) {
  static const int yes = 1;
  for (size_t i = 0; i < holding.count; i++)
    (void)setsockopt(holding.sockets[i], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  holding.count = 0;
  holding.held = 0;
  holding.is_holding = false;
}

#else

void ls_rpc_hold_writes(void) {}

void ls_rpc_release_writes(void) {}

#endif
