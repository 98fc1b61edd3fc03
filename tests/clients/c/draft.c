/* Two lamps' worth of an order. */
#include "draft.h"

void order_draft_make(order_draft *self, char *customer) {
  self->lines[0] = "Ringstrasse 1";
  order__v1__address__init(&self->address);
  self->address.recipient = "Ada";
  self->address.n_lines = 1;
  self->address.lines = self->lines;
  self->address.postal_code = "6300";
  self->address.city = "Zug";
  self->address.country_code = "CH";

  for (size_t i = 0; i < 2; i++) {
    order__v1__order_item__init(&self->items[i]);
    self->item_list[i] = &self->items[i];
  }
  self->items[0].sku = "lamp";
  self->items[0].quantity = 2;
  self->items[0].unit_minor_units = 1990;
  self->items[1].sku = "bulb";
  self->items[1].quantity = 1;
  self->items[1].unit_minor_units = 250;

  order__v1__order__init(&self->order);
  self->order.customer_id = customer;
  self->order.currency_code = "EUR";
  self->order.delivery_address = &self->address;
  self->order.n_items = 2;
  self->order.items = self->item_list;
}
