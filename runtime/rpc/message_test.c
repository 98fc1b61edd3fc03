/* Each rule of the wire format's check, and that nothing that passes it is too much for unpacking.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lockstep/test/v1/wire.pb-c.h"
#include "runtime/rpc/message.h"

typedef Lockstep__Test__V1__Wire Wire;

enum { MAX_DEPTH = 4 };

#define WIRE_BYTES_OF(text) (const uint8_t *)(text), sizeof(text) - 1

typedef struct wire_case {
  const char *name;
  const uint8_t *data;
  size_t bytes;
  const char *refusal; /* the end of the message; NULL: it is accepted */
} wire_case;

static const wire_case cases[] = {
    {"empty", WIRE_BYTES_OF(""), NULL},

    /* Tags. */
    {"unknown varint", WIRE_BYTES_OF("\xf0\x07\x01"), NULL},
    {"unknown bytes", WIRE_BYTES_OF("\xf2\x07\x02\xff\x00"), NULL},
    {"unknown fixed32", WIRE_BYTES_OF("\xf5\x07\x01\x02\x03\x04"), NULL},
    {"unknown fixed64", WIRE_BYTES_OF("\xf1\x07\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
    {"unknown, cut off", WIRE_BYTES_OF("\xf2\x07\x02\xff"), "field ?: value is cut off"},
    {"greatest field number", WIRE_BYTES_OF("\xf8\xff\xff\xff\x0f\x01"), NULL},
    {"field number too great", WIRE_BYTES_OF("\xf8\xff\xff\xff\x1f\x01"), "bad tag"},
    {"field number 0", WIRE_BYTES_OF("\x00\x01"), "bad tag"},
    {"tag cut off", WIRE_BYTES_OF("\x88"), "bad tag"},
    {"tag in five bytes", WIRE_BYTES_OF("\x88\x80\x80\x80\x00\x01"), NULL},
    {"tag in six bytes", WIRE_BYTES_OF("\x88\x80\x80\x80\x80\x00\x01"), "bad tag"},
    {"group", WIRE_BYTES_OF("\xf3\x07\xf4\x07"), "groups are not supported"},
    {"end of group", WIRE_BYTES_OF("\xf4\x07"), "groups are not supported"},
    {"wire type 6", WIRE_BYTES_OF("\xf6\x07"), "groups are not supported"},

    /* Scalars. */
    {"varint", WIRE_BYTES_OF("\x08\x96\x01"), NULL},
    {"negative int32 in ten bytes", WIRE_BYTES_OF("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     NULL},
    {"varint in eleven bytes", WIRE_BYTES_OF("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     "field int32_value: value is cut off"},
    {"varint cut off", WIRE_BYTES_OF("\x08\x96"), "field int32_value: value is cut off"},
    {"varint missing", WIRE_BYTES_OF("\x10"), "field sint64_value: value is cut off"},
    {"varint as bytes", WIRE_BYTES_OF("\x0a\x01\x00"), "field int32_value: wrong wire type"},
    {"varint as fixed32", WIRE_BYTES_OF("\x0d\x00\x00\x00\x00"),
     "field int32_value: wrong wire type"},
    {"bool above 1", WIRE_BYTES_OF("\x18\x05"), NULL},
    {"enum value unknown", WIRE_BYTES_OF("\x20\x63"), NULL},
    {"fixed32", WIRE_BYTES_OF("\x2d\x01\x02\x03\x04"), NULL},
    {"fixed32 cut off", WIRE_BYTES_OF("\x2d\x01\x02\x03"), "field fixed32_value: value is cut off"},
    {"fixed32 as varint", WIRE_BYTES_OF("\x28\x01"), "field fixed32_value: wrong wire type"},
    {"double", WIRE_BYTES_OF("\x31\x00\x00\x00\x00\x00\x00\xf0\x3f"), NULL},
    {"double cut off", WIRE_BYTES_OF("\x31\x00\x00\x00\x00\x00\x00\xf0"),
     "field double_value: value is cut off"},
    {"double as fixed32", WIRE_BYTES_OF("\x35\x00\x00\x00\x00"),
     "field double_value: wrong wire type"},
    {"the last of a field counts", WIRE_BYTES_OF("\x08\x01\x08\x02"), NULL},

    /* Strings and bytes. */
    {"string", WIRE_BYTES_OF("\x3a\x02\xc3\xa9"), NULL},
    {"string empty", WIRE_BYTES_OF("\x3a\x00"), NULL},
    {"string with NUL", WIRE_BYTES_OF("\x3a\x03\x61\x00\x62"),
     "field string_value: a string must not contain NUL"},
    {"string not UTF-8", WIRE_BYTES_OF("\x3a\x01\xc3"),
     "field string_value: a string must be UTF-8"},
    {"string with a surrogate", WIRE_BYTES_OF("\x3a\x03\xed\xa0\x80"),
     "field string_value: a string must be UTF-8"},
    {"string cut off", WIRE_BYTES_OF("\x3a\x03\x61\x62"), "field string_value: value is cut off"},
    {"string length cut off", WIRE_BYTES_OF("\x3a\x83"), "field string_value: value is cut off"},
    {"string length in five bytes", WIRE_BYTES_OF("\x3a\x81\x80\x80\x80\x00\x61"), NULL},
    {"string length in six bytes", WIRE_BYTES_OF("\x3a\x81\x80\x80\x80\x80\x00\x61"),
     "field string_value: value is cut off"},
    {"string length of 64 bits", WIRE_BYTES_OF("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     "field string_value: value is cut off"},
    {"string as varint", WIRE_BYTES_OF("\x38\x01"), "field string_value: wrong wire type"},
    {"bytes with NUL, not UTF-8", WIRE_BYTES_OF("\x42\x03\x00\xff\xc3"), NULL},
    {"list of strings", WIRE_BYTES_OF("\x7a\x01\x61\x7a\x00"), NULL},
    {"one bad of a list", WIRE_BYTES_OF("\x7a\x01\x61\x7a\x01\xff"),
     "field string_list: a string must be UTF-8"},
    {"text in a oneof", WIRE_BYTES_OF("\xa2\x01\x01\xff"),
     "field text_choice: a string must be UTF-8"},

    /* Lists of scalars: packed and not, both at once. */
    {"packed", WIRE_BYTES_OF("\x52\x03\x01\x96\x01"), NULL},
    {"packed, empty", WIRE_BYTES_OF("\x52\x00"), NULL},
    {"not packed", WIRE_BYTES_OF("\x50\x01\x50\x96\x01"), NULL},
    {"both", WIRE_BYTES_OF("\x50\x01\x52\x02\x01\x02\x50\x03"), NULL},
    {"packed for an unpacked field", WIRE_BYTES_OF("\x8a\x01\x02\x01\x02"), NULL},
    {"packed, element cut off", WIRE_BYTES_OF("\x52\x02\x01\x96"),
     "field int64_list: packed elements are cut off"},
    {"packed, element in eleven bytes",
     WIRE_BYTES_OF("\x52\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
     "field int64_list: packed elements are cut off"},
    {"packed fixed32", WIRE_BYTES_OF("\x5a\x08\x01\x02\x03\x04\x05\x06\x07\x08"), NULL},
    {"packed fixed32, cut off", WIRE_BYTES_OF("\x5a\x06\x01\x02\x03\x04\x05\x06"),
     "field sfixed32_list: packed elements are cut off"},
    {"fixed32 not packed", WIRE_BYTES_OF("\x5d\x01\x02\x03\x04"), NULL},
    {"packed double, cut off", WIRE_BYTES_OF("\x62\x04\x01\x02\x03\x04"),
     "field double_list: packed elements are cut off"},
    {"packed bool", WIRE_BYTES_OF("\x6a\x02\x01\x00"), NULL},
    {"packed bool above 1", WIRE_BYTES_OF("\x6a\x01\x05"),
     "field bool_list: packed booleans must be 0 or 1"},
    {"packed enum", WIRE_BYTES_OF("\x72\x02\x01\x63"), NULL},
    {"list element of another wire type", WIRE_BYTES_OF("\x55\x01\x02\x03\x04"),
     "field int64_list: wrong wire type"},

    /* Messages; the root is the first of the four that may be in one another. */
    {"message", WIRE_BYTES_OF("\x4a\x02\x08\x01"), NULL},
    {"message empty", WIRE_BYTES_OF("\x4a\x00"), NULL},
    {"message twice", WIRE_BYTES_OF("\x4a\x02\x08\x01\x4a\x03\x3a\x01\x61"),
     "field message_value: a message must not be there twice"},
    {"message twice in a oneof", WIRE_BYTES_OF("\xaa\x01\x00\xa2\x01\x00\xaa\x01\x00"),
     "field message_choice: a message must not be there twice"},
    {"message twice, but not in the same",
     WIRE_BYTES_OF("\x4a\x02\x4a\x00\x82\x01\x02\x4a\x00\x82\x01\x02\x4a\x00"), NULL},
    {"two of a oneof", WIRE_BYTES_OF("\xaa\x01\x02\x08\x01\xa2\x01\x01\x61"), NULL},
    {"message as varint", WIRE_BYTES_OF("\x48\x01"), "field message_value: wrong wire type"},
    {"four deep", WIRE_BYTES_OF("\x4a\x06\x4a\x04\x4a\x02\x08\x01"), NULL},
    {"five deep", WIRE_BYTES_OF("\x4a\x06\x4a\x04\x4a\x02\x4a\x00"),
     "field message_value.message_value.message_value.message_value: messages are nested too deep"},
    {"five deep through lists and oneofs",
     WIRE_BYTES_OF("\xaa\x01\x09\x82\x01\x06\xaa\x01\x03\x82\x01\x00"),
     "field message_choice.message_list.message_choice.message_list: messages are nested too deep"},
    {"bad at depth", WIRE_BYTES_OF("\x4a\x05\x4a\x03\x3a\x01\xff"),
     "field message_value.message_value.string_value: a string must be UTF-8"},
    {"inner tag bad", WIRE_BYTES_OF("\x4a\x01\x00"), "field message_value: bad tag"},
    {"inner longer than outer", WIRE_BYTES_OF("\x4a\x02\x3a\x05"),
     "field message_value.string_value: value is cut off"},
    {"map entry", WIRE_BYTES_OF("\x92\x01\x05\x0a\x01\x61\x10\x01"), NULL},
    {"map key not UTF-8", WIRE_BYTES_OF("\x92\x01\x05\x0a\x01\xff\x10\x01"),
     "field map_value.key: a string must be UTF-8"},
    {"message of another file", WIRE_BYTES_OF("\x9a\x01\x02\x0a\x00"),
     "field time.seconds: wrong wire type"},
};

static void each_rule_holds(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    const wire_case *c = &cases[i];
    /* A copy of its own, so that a read beyond it is found. */
    uint8_t *data = malloc(c->bytes > 0 ? c->bytes : 1);
    memcpy(data, c->data, c->bytes);
    ls_error error;
    ls_error_clear(&error);
    bool accepted = ls_rpc_message_check(&lockstep__test__v1__wire__descriptor, data, c->bytes,
                                         MAX_DEPTH, &error);
    if (accepted != (c->refusal == NULL))
      fail_msg("%s: %s", c->name, accepted ? "accepted" : error.message);
    ProtobufCMessage *message = ls_rpc_message_unpack(&lockstep__test__v1__wire__descriptor, data,
                                                      c->bytes, MAX_DEPTH, NULL, &error);
    if (accepted) {
      if (message == NULL)
        fail_msg("%s: %s", c->name, error.message);
      protobuf_c_message_free_unpacked(message, NULL);
    } else {
      assert_null(message);
      assert_int_equal(error.code, LS_INVALID_ARGUMENT);
      size_t length = strlen(error.message), wanted = strlen(c->refusal);
      if (length < wanted || strcmp(error.message + length - wanted, c->refusal) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", c->name, error.message, c->refusal);
    }
    free(data);
  }
}

static void long_path_is_cut(void **state) {
  (void)state;
  enum { LEVELS = 60 };
  uint8_t data[2 * LEVELS];
  for (size_t i = 0; i < LEVELS; i++) {
    data[2 * i] = 0x4a;
    data[2 * i + 1] = (uint8_t)(sizeof data - 2 * i - 2);
  }
  data[sizeof data - 1] = 1;
  ls_error error;
  assert_false(
      ls_rpc_message_check(&lockstep__test__v1__wire__descriptor, data, sizeof data, 100, &error));
  assert_int_equal(error.code, LS_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "message_value.message_value"));
}

static void message_in_an_arena_is_bounded(void **state) {
  (void)state;
  static const uint8_t data[] = "\x3a\x05hello\x7a\x01\x61";
  ls_error error;
  ls_arena *arena = ls_arena_new(16 << 10);
  const Wire *message = (Wire *)ls_rpc_message_unpack(&lockstep__test__v1__wire__descriptor, data,
                                                      sizeof data - 1, MAX_DEPTH, arena, &error);
  assert_non_null(message);
  assert_string_equal(message->string_value, "hello");
  assert_string_equal(message->string_list[0], "a");
  ls_arena_destroy(arena);

  arena = ls_arena_new(64);
  assert_null(ls_rpc_message_unpack(&lockstep__test__v1__wire__descriptor, data, sizeof data - 1,
                                    MAX_DEPTH, arena, &error));
  assert_int_equal(error.code, LS_RESOURCE_EXHAUSTED);
  ls_arena_destroy(arena);
}

static uint64_t next_random(uint64_t *seed) {
  *seed ^= *seed << 13;
  *seed ^= *seed >> 7;
  *seed ^= *seed << 17;
  return *seed;
}

/* Changes, cuts or repeats some of the bytes; returns how many there are then. */
static size_t mutate(uint8_t *data, size_t bytes, size_t room, uint64_t *seed) {
  for (uint64_t changes = 1 + next_random(seed) % 4; changes > 0 && bytes > 0; changes--) {
    size_t at = next_random(seed) % bytes;
    switch (next_random(seed) % 4) {
    case 0:
      data[at] = (uint8_t)next_random(seed);
      break;
    case 1:
      data[at] ^= (uint8_t)(1u << next_random(seed) % 8);
      break;
    case 2:
      bytes = at;
      break;
    default: {
      size_t length = 1 + next_random(seed) % (bytes - at);
      if (bytes + length <= room) {
        memmove(data + at + length, data + at, bytes - at);
        bytes += length;
      }
      break;
    }
    }
  }
  return bytes;
}

/* From the cases, one after the other, into each other, and changed at random. */
static void mutations_are_refused_or_unpacked(void **state) {
  (void)state;
  enum { ROUNDS = 60000, ROOM = 512 };
  uint64_t seed = 0x9e3779b97f4a7c15u;
  size_t accepted = 0;
  for (int round = 0; round < ROUNDS; round++) {
    uint8_t bytes[ROOM];
    size_t count = 0;
    for (uint64_t parts = 1 + next_random(&seed) % 5; parts > 0; parts--) {
      const wire_case *c = &cases[next_random(&seed) % (sizeof cases / sizeof cases[0])];
      memcpy(bytes + count, c->data, c->bytes);
      count += c->bytes;
    }
    if (next_random(&seed) % 8 != 0)
      count = mutate(bytes, count, sizeof bytes, &seed);
    uint8_t *data = malloc(count > 0 ? count : 1);
    memcpy(data, bytes, count);
    ls_error error;
    ls_error_clear(&error);
    bool passed =
        ls_rpc_message_check(&lockstep__test__v1__wire__descriptor, data, count, MAX_DEPTH, &error);
    ProtobufCMessage *message = ls_rpc_message_unpack(&lockstep__test__v1__wire__descriptor, data,
                                                      count, MAX_DEPTH, NULL, &error);
    if (passed != (message != NULL)) {
      for (size_t i = 0; i < count; i++)
        print_error("\\x%02x", data[i]);
      fail_msg(": round %d passed the check, but not protobuf-c", round);
    }
    if (message != NULL) {
      accepted++;
      protobuf_c_message_free_unpacked(message, NULL);
    }
    free(data);
  }
  assert_true(accepted > ROUNDS / 100 && accepted < ROUNDS * 99 / 100);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_rule_holds),
      cmocka_unit_test(long_path_is_cut),
      cmocka_unit_test(message_in_an_arena_is_bounded),
      cmocka_unit_test(mutations_are_refused_or_unpacked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
