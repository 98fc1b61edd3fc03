/* For wire_test.py.
 *
 *   wire copy MESSAGE     unpacks stdin as the message, and packs it again to stdout
 *   wire set CASE         packs an order of which the case says what is set
 *   wire presence         unpacks stdin as wire.optional.Order and names what is present
 *   wire defaults         prints what a new wire.explicit.Order has */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explicit.pb-c.h"
#include "implicit.pb-c.h"
#include "optional.pb-c.h"

static int pack(const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *packed = malloc(size + 1);
  if (packed == NULL)
    return EXIT_FAILURE;
  protobuf_c_message_pack(message, packed);
  int status = fwrite(packed, 1, size, stdout) == size ? EXIT_SUCCESS : EXIT_FAILURE;
  free(packed);
  return status;
}

static ProtobufCMessage *unpack_stdin(const ProtobufCMessageDescriptor *descriptor) {
  static uint8_t packed[65536];
  size_t size = fread(packed, 1, sizeof packed, stdin);
  return protobuf_c_message_unpack(descriptor, NULL, size, packed);
}

static int copy(const char *name) {
  static const ProtobufCMessageDescriptor *const all[] = {
      &wire__optional__order__descriptor, &wire__explicit__order__descriptor,
      &wire__implicit__order__descriptor, &wire__implicit__shade__descriptor};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (strcmp(all[i]->name, name) != 0)
      continue;
    ProtobufCMessage *message = unpack_stdin(all[i]);
    if (message == NULL)
      return 3;
    int status = pack(message);
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
  }
  return 2;
}

/* What gen/README.md says of presence. */
static int set(const char *which) {
  Wire__Optional__Order order = WIRE__OPTIONAL__ORDER__INIT;
  Wire__Optional__Order__Note note = WIRE__OPTIONAL__ORDER__NOTE__INIT;
  char text[] = "12.50";
  char empty[] = "";
  if (strcmp(which, "values") == 0) {
    order.quantity_case = WIRE__OPTIONAL__ORDER__QUANTITY_QUANTITY;
    order.quantity = 5;
    order.unit_price_case = WIRE__OPTIONAL__ORDER__UNIT_PRICE_UNIT_PRICE;
    order.unit_price = text;
    order.color_case = WIRE__OPTIONAL__ORDER__COLOR_COLOR;
    order.color = WIRE__OPTIONAL__COLOR__RED;
    order.total_case = WIRE__OPTIONAL__ORDER__TOTAL_TOTAL;
    order.total = 1;
    order.note = &note;
    note.text_case = WIRE__OPTIONAL__ORDER__NOTE__TEXT_TEXT;
    note.text = text;
  } else if (strcmp(which, "zeros") == 0) {
    order.quantity_case = WIRE__OPTIONAL__ORDER__QUANTITY_QUANTITY;
    order.unit_price_case = WIRE__OPTIONAL__ORDER__UNIT_PRICE_UNIT_PRICE;
    order.unit_price = empty;
    order.data_case = WIRE__OPTIONAL__ORDER__DATA_DATA;
    order.is_gift_case = WIRE__OPTIONAL__ORDER__IS_GIFT_IS_GIFT;
    order.weight_case = WIRE__OPTIONAL__ORDER__WEIGHT_WEIGHT;
    order.color_case = WIRE__OPTIONAL__ORDER__COLOR_COLOR;
    order.note = &note;
  } else if (strcmp(which, "cleared") == 0) {
    order.quantity_case = WIRE__OPTIONAL__ORDER__QUANTITY_QUANTITY;
    order.quantity = 5;
    order.quantity_case = WIRE__OPTIONAL__ORDER__QUANTITY__NOT_SET;
  } else {
    return 2;
  }
  return pack(&order.base);
}

static int presence(void) {
  Wire__Optional__Order *order =
      (Wire__Optional__Order *)unpack_stdin(&wire__optional__order__descriptor);
  if (order == NULL)
    return 3;
  if (order->quantity_case)
    printf("quantity=%" PRId32 "\n", order->quantity);
  if (order->unit_price_case)
    printf("unit_price=%s\n", order->unit_price);
  if (order->data_case)
    printf("data=%zu\n", order->data.len);
  if (order->is_gift_case)
    printf("is_gift=%d\n", order->is_gift);
  if (order->weight_case)
    printf("weight=%g\n", order->weight);
  if (order->color_case)
    printf("color=%d\n", (int)order->color);
  if (order->note != NULL)
    printf("note=%s\n", order->note->text_case ? order->note->text : "-");
  if (order->total_case)
    printf("Total=%" PRIu64 "\n", order->total);
  wire__optional__order__free_unpacked(order, NULL);
  return EXIT_SUCCESS;
}

static int defaults(void) {
  Wire__Explicit__Order order = WIRE__EXPLICIT__ORDER__INIT;
  printf("%s %d %a %a %a %a %" PRId64 " %a %a\n", order.name, (int)order.closed, order.rate,
         (double)order.third, order.endless, order.none, order.least, order.minus_zero,
         order.largest);
  Wire__Explicit__Order *unpacked = /* the descriptor has them again */
      wire__explicit__order__unpack(NULL, 2, (const uint8_t *)"\x50\x01");
  if (unpacked == NULL)
    return 3;
  printf("%s %d %a %a %a %a %" PRId64 " %a %a\n", unpacked->name, (int)unpacked->closed,
         unpacked->rate, (double)unpacked->third, unpacked->endless, unpacked->none,
         unpacked->least, unpacked->minus_zero, unpacked->largest);
  wire__explicit__order__free_unpacked(unpacked, NULL);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "copy") == 0)
    return copy(argv[2]);
  if (argc == 3 && strcmp(argv[1], "set") == 0)
    return set(argv[2]);
  if (argc == 2 && strcmp(argv[1], "presence") == 0)
    return presence();
  if (argc == 2 && strcmp(argv[1], "defaults") == 0)
    return defaults();
  return 2;
}
