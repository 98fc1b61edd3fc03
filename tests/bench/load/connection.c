/* Frames in, frames out. Calls are found by their stream's number, in a table with room for four
 * times as many as can be open: a number whose place is taken by a call that lasts is passed over.
 */
#include "tests/bench/load/connection.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/load/header_fields.h"

enum {
  FRAME_HEADER_BYTES = 9,
  MESSAGE_HEADER_BYTES = 5,
  MOST_FRAME_BYTES = 16384,
  RECEIVE_BYTES = 256 << 10,
  FIRST_WINDOW = 65535,
  OWN_WINDOW = 1 << 30,
  MOST_STREAM_NUMBER = INT32_MAX - 2
};

enum {
  DATA = 0,
  HEADERS = 1,
  RST_STREAM = 3,
  SETTINGS = 4,
  PING = 6,
  GOAWAY = 7,
  WINDOW_UPDATE = 8,
  CONTINUATION = 9
};
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIORITY = 0x20 };
enum { SETTINGS_INITIAL_WINDOW_SIZE = 4 };

/* A growing row of bytes. */
typedef struct bytes {
  uint8_t *data;
  size_t length, room;
} bytes;

struct connection {
  int socket;
  connection_ended ended;
  void *arg;
  connection_call **calls; /* by half the stream's number, modulo their count, a power of two */
  size_t call_places;
  uint32_t next_stream;
  bytes block;       /* the fields of every request but the first */
  bytes first_block; /* which enters them into the service's table; empty once it is sent */
  bytes out;         /* being sent */
  size_t sent;
  bytes held; /* frames of requests that the service's window has no room for yet */
  size_t held_sent;
  int64_t window;  /* bytes of data that the service takes */
  int64_t granted; /* bytes of data that it may still send */
  header_table table;
  size_t received;
  uint8_t in[RECEIVE_BYTES];
};

static void *must(void *memory) {
  if (memory == NULL)
    abort();
  return memory;
}

static uint8_t *extend(bytes *self, size_t more) {
  if (self->length + more > self->room) {
    self->room = (self->length + more) * 2;
    self->data = must(realloc(self->data, self->room));
  }
  uint8_t *place = self->data + self->length;
  self->length += more;
  return place;
}

static void put_number(uint8_t *out, uint32_t value) {
  out[0] = (uint8_t)(value >> 24);
  out[1] = (uint8_t)(value >> 16);
  out[2] = (uint8_t)(value >> 8);
  out[3] = (uint8_t)value;
}

static uint32_t get_number(const uint8_t *in) {
  return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

/* A frame's header; gives where its payload goes. */
static uint8_t *put_frame(bytes *out, size_t length, uint8_t type, uint8_t flags, uint32_t stream) {
  uint8_t *frame = extend(out, FRAME_HEADER_BYTES + length);
  put_number(frame, (uint32_t)length << 8 | type);
  frame[4] = flags;
  put_number(frame + 5, stream);
  return frame + FRAME_HEADER_BYTES;
}

/* --- Fields of requests --- */

static void put_text(bytes *out, const char *text) {
  size_t length = strlen(text); /* below 127 */
  uint8_t *place = extend(out, length + 1);
  place[0] = (uint8_t)length;
  memcpy(place + 1, text, length);
}

/* Fields that the service is to keep: those of the first request are written out and get the
 * numbers 62 and up, the last one the lowest, by which later requests name them. */
static void make_blocks(connection *self, const char *path, const char *authority) {
  const struct {
    uint8_t name_index; /* in the static table; 0: not there */
    const char *name, *value;
  } fields[] = {{4, NULL, path},          {1, NULL, authority},
                {0, "te", "trailers"},    {31, NULL, "application/grpc"},
                {58, NULL, "order-load"}, {0, "grpc-timeout", "30S"}};
  enum { COUNT = sizeof fields / sizeof fields[0] };
  static const uint8_t method_and_scheme[] = {0x80 | 3, 0x80 | 6}; /* POST, http */
  memcpy(extend(&self->first_block, 2), method_and_scheme, 2);
  memcpy(extend(&self->block, 2), method_and_scheme, 2);
  for (size_t i = 0; i < COUNT; i++) {
    *extend(&self->first_block, 1) = 0x40 | fields[i].name_index;
    if (fields[i].name != NULL)
      put_text(&self->first_block, fields[i].name);
    put_text(&self->first_block, fields[i].value);
    *extend(&self->block, 1) = (uint8_t)(0x80 | (62 + COUNT - 1 - i));
  }
}

/* --- Opening --- */

static int connect_to(const char *address, ls_error *error) {
  char host[256];
  const char *colon = strrchr(address, ':');
  if (colon == NULL || (size_t)(colon - address) >= sizeof host) {
    ls_error_set(error, LS_INVALID_ARGUMENT, false, NULL, "no address: %s", address);
    return -1;
  }
  memcpy(host, address, (size_t)(colon - address));
  host[colon - address] = '\0';
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
  int failure = getaddrinfo(host, colon + 1, &hints, &found);
  if (failure != 0) {
    ls_error_set(error, LS_UNAVAILABLE, false, NULL, "%s: %s", address, gai_strerror(failure));
    return -1;
  }
  int one = 1;
  int result = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (result < 0 || connect(result, found->ai_addr, found->ai_addrlen) != 0 ||
      setsockopt(result, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
    ls_error_set(error, LS_UNAVAILABLE, false, NULL, "%s: %s", address, strerror(errno));
    if (result >= 0)
      close(result);
    result = -1;
  }
  freeaddrinfo(found);
  return result;
}

connection *connection_open(const char *address, const char *path, size_t most_calls,
                            connection_ended ended, void *arg, ls_error *error) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  int socket = connect_to(address, error);
  if (socket < 0)
    return NULL;
  connection *self = must(calloc(1, sizeof *self));
  self->socket = socket;
  self->ended = ended;
  self->arg = arg;
  self->call_places = 64;
  while (self->call_places < most_calls * 4)
    self->call_places *= 2;
  self->calls = must(calloc(self->call_places, sizeof(connection_call *)));
  self->next_stream = 1;
  self->window = FIRST_WINDOW;
  self->granted = OWN_WINDOW;
  header_table_init(&self->table);
  make_blocks(self, path, address);

  memcpy(extend(&self->out, sizeof preface - 1), preface, sizeof preface - 1);
  uint8_t *settings = put_frame(&self->out, 6, SETTINGS, 0, 0);
  settings[0] = 0;
  settings[1] = SETTINGS_INITIAL_WINDOW_SIZE;
  put_number(settings + 2, OWN_WINDOW);
  put_number(put_frame(&self->out, 4, WINDOW_UPDATE, 0, 0), OWN_WINDOW - FIRST_WINDOW);
  return self;
}

void connection_close(connection *self) {
  if (self == NULL)
    return;
  close(self->socket);
  free(self->calls);
  free(self->block.data);
  free(self->first_block.data);
  free(self->out.data);
  free(self->held.data);
  free(self);
}

int connection_socket(const connection *self) {
  return self->socket;
}

bool connection_wants_to_write(const connection *self) {
  return self->sent < self->out.length;
}

/* --- Sending --- */

static connection_call **place_of(connection *self, uint32_t stream) {
  return &self->calls[(stream >> 1) & (self->call_places - 1)];
}

void connection_start(connection *self, connection_call *call, const uint8_t *request,
                      size_t length) {
  while (*place_of(self, self->next_stream) != NULL)
    self->next_stream += 2;
  uint32_t stream = self->next_stream;
  self->next_stream += 2;
  if (stream > MOST_STREAM_NUMBER)
    abort(); /* a thousand million calls on one connection */
  *place_of(self, stream) = call;
  call->status = -1;
  call->answer_bytes = 0;

  bytes *block = self->first_block.length > 0 ? &self->first_block : &self->block;
  memcpy(put_frame(&self->out, block->length, HEADERS, END_HEADERS, stream), block->data,
         block->length);
  self->first_block.length = 0;

  size_t data_bytes = MESSAGE_HEADER_BYTES + length; /* below MOST_FRAME_BYTES */
  bool has_room = self->held.length == 0 && self->window >= (int64_t)data_bytes;
  if (has_room)
    self->window -= (int64_t)data_bytes;
  uint8_t *data =
      put_frame(has_room ? &self->out : &self->held, data_bytes, DATA, END_STREAM, stream);
  data[0] = 0; /* not compressed */
  put_number(data + 1, (uint32_t)length);
  memcpy(data + MESSAGE_HEADER_BYTES, request, length);
}

/* Moves what the window has room for by now to what is being sent. */
static void release_held(connection *self) {
  while (self->held_sent < self->held.length) {
    const uint8_t *frame = self->held.data + self->held_sent;
    size_t data_bytes = get_number(frame) >> 8;
    if (self->window < (int64_t)data_bytes)
      return;
    self->window -= (int64_t)data_bytes;
    memcpy(extend(&self->out, FRAME_HEADER_BYTES + data_bytes), frame,
           FRAME_HEADER_BYTES + data_bytes);
    self->held_sent += FRAME_HEADER_BYTES + data_bytes;
  }
  self->held.length = self->held_sent = 0;
}

bool connection_flush(connection *self, ls_error *error) {
  if (self->held.length > 0)
    release_held(self);
  while (self->sent < self->out.length) {
    ssize_t written = send(self->socket, self->out.data + self->sent, self->out.length - self->sent,
                           MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written >= 0)
      self->sent += (size_t)written;
    else if (errno == EAGAIN)
      return true;
    else if (errno != EINTR)
      return ls_error_set(error, LS_UNAVAILABLE, false, NULL, "sending: %s", strerror(errno));
  }
  self->out.length = self->sent = 0;
  return true;
}

/* --- Receiving --- */

static void end_call(connection *self, connection_call **place) {
  connection_call *call = *place;
  const uint8_t *message = NULL;
  size_t length = 0;
  *place = NULL;
  if (call->answer_bytes >= MESSAGE_HEADER_BYTES && call->answer[0] == 0 &&
      get_number(call->answer + 1) == call->answer_bytes - MESSAGE_HEADER_BYTES) {
    message = call->answer + MESSAGE_HEADER_BYTES;
    length = call->answer_bytes - MESSAGE_HEADER_BYTES;
  }
  self->ended(call, call->status, message, length, self->arg);
}

static void take_data(connection *self, connection_call *call, const uint8_t *data, size_t length) {
  self->granted -= (int64_t)length;
  if (self->granted < OWN_WINDOW / 2) {
    put_number(put_frame(&self->out, 4, WINDOW_UPDATE, 0, 0),
               (uint32_t)(OWN_WINDOW - self->granted));
    self->granted = OWN_WINDOW;
  }
  if (call == NULL)
    return;
  if (call->answer_bytes + length > call->answer_room) {
    call->answer_room = (call->answer_bytes + length) * 2;
    call->answer = must(realloc(call->answer, call->answer_room));
  }
  memcpy(call->answer + call->answer_bytes, data, length);
  call->answer_bytes += length;
}

typedef struct frame {
  uint8_t type, flags;
  uint32_t stream;
  const uint8_t *payload;
  size_t length;
} frame;

static bool take_frame(connection *self, const frame *in, ls_error *error) {
  connection_call **place = place_of(self, in->stream);
  switch (in->type) {
  case DATA:
    if ((in->flags & PADDED) != 0)
      return ls_error_set(error, LS_UNIMPLEMENTED, false, NULL, "padded data");
    take_data(self, *place, in->payload, in->length);
    break;
  case HEADERS:
    if (in->flags != END_HEADERS && in->flags != (END_HEADERS | END_STREAM))
      return ls_error_set(error, LS_UNIMPLEMENTED, false, NULL,
                          "fields that are padded, or in more than one frame");
    if (*place == NULL ||
        !header_fields_read(&self->table, in->payload, in->length, &(*place)->status))
      return ls_error_set(error, LS_INTERNAL, false, NULL, "fields that cannot be read");
    break;
  case SETTINGS: /* the windows of streams are larger than any request */
    if ((in->flags & ACK) == 0)
      put_frame(&self->out, 0, SETTINGS, ACK, 0);
    return true;
  case PING:
    if ((in->flags & ACK) == 0 && in->length == 8)
      memcpy(put_frame(&self->out, 8, PING, ACK, 0), in->payload, 8);
    return true;
  case WINDOW_UPDATE:
    if (in->stream == 0 && in->length == 4)
      self->window += get_number(in->payload) & INT32_MAX;
    return true;
  case RST_STREAM: /* after the answer, that no more of the request is needed */
    if (*place != NULL)
      end_call(self, place);
    return true;
  case GOAWAY:
    return ls_error_set(error, LS_UNAVAILABLE, false, NULL, "the service closes the connection");
  case CONTINUATION:
    return ls_error_set(error, LS_UNIMPLEMENTED, false, NULL, "fields in more than one frame");
  default:
    return true;
  }
  if ((in->flags & END_STREAM) != 0 && *place != NULL)
    end_call(self, place);
  return true;
}

/* Takes the frames that are whole; what is left of the last one is moved to the front. */
static bool take_frames(connection *self, ls_error *error) {
  size_t at = 0;
  while (self->received - at >= FRAME_HEADER_BYTES) {
    const uint8_t *head = self->in + at;
    frame in = {.type = head[3],
                .flags = head[4],
                .stream = get_number(head + 5) & INT32_MAX,
                .payload = head + FRAME_HEADER_BYTES,
                .length = get_number(head) >> 8};
    if (in.length > MOST_FRAME_BYTES)
      return ls_error_set(error, LS_INTERNAL, false, NULL, "a frame that is too long");
    if (self->received - at < FRAME_HEADER_BYTES + in.length)
      break;
    if (!take_frame(self, &in, error))
      return false;
    at += FRAME_HEADER_BYTES + in.length;
  }
  self->received -= at;
  memmove(self->in, self->in + at, self->received);
  return true;
}

bool connection_receive(connection *self, ls_error *error) {
  for (;;) {
    size_t room = sizeof self->in - self->received;
    ssize_t count = recv(self->socket, self->in + self->received, room, MSG_DONTWAIT);
    if (count == 0)
      return ls_error_set(error, LS_UNAVAILABLE, false, NULL, "the service has hung up");
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0 && errno == EAGAIN)
      return true;
    if (count < 0)
      return ls_error_set(error, LS_UNAVAILABLE, false, NULL, "receiving: %s", strerror(errno));
    self->received += (size_t)count;
    if (!take_frames(self, error))
      return false;
    if ((size_t)count < room)
      return true;
  }
}
