/* Orders made up from words and numbers. */
#include "deploy/local/demo_orders.h"

#include <stdio.h>
#include <string.h>

/* Purposes of generators; changes 1, 2, … follow. */
enum { PURPOSE_PLAN, PURPOSE_CREATE, PURPOSE_FIRST_CHANGE };

static const char *const given_names[] = {"Alva",  "Birko", "Célia", "Doruk", "Eleni", "Faro",
                                          "Gesa",  "Håkon", "Ilja",  "Jana",  "Kiran", "Łucja",
                                          "Mirko", "Noëmi", "Ota",   "Päivi"};
static const char *const family_names[] = {"Ambrel",   "Bründal", "Castrovo", "Dunmarsk",
                                           "Espenaz",  "Fjordal", "Grünvel",  "Hollinmark",
                                           "Iversand", "Jurkov",  "Kestrin",  "Lundavari"};
static const char *const streets[] = {
    "Amber Lane",    "Beacon Steps",   "Chestnut Row",   "Dyer's Yard",   "Eldergate",
    "Foundry Way",   "Gråstensvej",    "Harbour Parade", "Kiln Terrace",  "Mühlengrund",
    "Orchard Close", "Rue des Saules", "Sawmill Court",  "Tollhouse Hill"};
static const struct {
  const char *name, *country_code;
  int digits; /* of a postal code */
} cities[] = {{"Aldenmoor", "GB", 0}, {"Brekkavik", "NO", 4},   {"Château-Lorne", "FR", 5},
              {"Dornhagen", "DE", 5}, {"Estravela", "PT", 4},   {"Kell Harbour", "IE", 0},
              {"Ørestrup", "DK", 4},  {"Santa Mirela", "ES", 5}};
static const char *const goods[] = {"KETTLE",   "LAMP",     "BLANKET", "SATCHEL", "TEAPOT",
                                    "RAINCOAT", "NOTEBOOK", "TOOLBOX", "CANDLE",  "ARMCHAIR"};
static const char *const colours[] = {"AMBER", "BLUE", "CORAL", "GREY", "MOSS", "SAND"};
static const char *const remarks[] = {"Please ring twice; the bell is shy.",
                                      "Leave it with the neighbour on the left.",
                                      "A gift: no invoice in the parcel.",
                                      "The gate's code is on the note inside.",
                                      "Not before ten in the morning.",
                                      "Mind the dog, who is friendly but large.",
                                      "Für die Nachbarin im dritten Stock.",
                                      "Call before coming, the lift is out of order.",
                                      "The old parcel may be taken back, thank you."};
static const char *const currencies[] = {"EUR", "GBP", "NOK", "DKK"};

#define PICK(list, random) (list)[demo_random_below(random, sizeof(list) / sizeof((list)[0]))]

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(demo_random *random) {
  uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

demo_random demo_random_from(uint64_t seed, uint64_t index, uint64_t purpose) {
  demo_random random = {seed};
  random.state = next(&random) ^ index;
  random.state = next(&random) ^ purpose;
  return random;
}

unsigned demo_random_below(demo_random *random, unsigned below) {
  return (unsigned)(((next(random) >> 32) * below) >> 32);
}

demo_plan demo_plan_of(uint64_t seed, uint64_t index) {
  demo_random random = demo_random_from(seed, index, PURPOSE_PLAN);
  demo_plan plan = {0};
  if (demo_random_below(&random, 3) == 0) {
    unsigned share = demo_random_below(&random, 10);
    plan.changes = share < 7 ? 1 : share < 9 ? 2 : 3;
  }
  plan.cancelled = demo_random_below(&random, 10) == 0;
  return plan;
}

static void put_address(demo_draft *draft, demo_random *random) {
  Order__V1__Address *address = &draft->address;
  snprintf(draft->recipient, sizeof draft->recipient, "%s %s", PICK(given_names, random),
           PICK(family_names, random));
  address->recipient = draft->recipient;
  snprintf(draft->lines[0], sizeof draft->lines[0], "%s %u", PICK(streets, random),
           1 + demo_random_below(random, 180));
  address->lines = draft->line_pointers;
  draft->line_pointers[0] = draft->lines[0];
  address->n_lines = 1;
  if (demo_random_below(random, 4) == 0) {
    snprintf(draft->lines[1], sizeof draft->lines[1], "Flat %u", 1 + demo_random_below(random, 40));
    draft->line_pointers[address->n_lines++] = draft->lines[1];
  }
  unsigned city = demo_random_below(random, sizeof cities / sizeof cities[0]);
  unsigned number = 10 + demo_random_below(random, 9000);
  draft->postal_code[0] = '\0';
  if (cities[city].digits > 0)
    snprintf(draft->postal_code, sizeof draft->postal_code, "%0*u", cities[city].digits, number);
  address->postal_code = draft->postal_code;
  address->city = (char *)(uintptr_t)cities[city].name;
  address->country_code = (char *)(uintptr_t)cities[city].country_code;
  draft->order.delivery_address = address;
}

static void put_items(demo_draft *draft, demo_random *random) {
  size_t count = 1 + demo_random_below(random, DEMO_MOST_ITEMS);
  for (size_t i = 0; i < count; i++) {
    Order__V1__OrderItem *item = &draft->items[i];
    order__v1__order_item__init(item);
    snprintf(draft->skus[i], sizeof draft->skus[i], "%s-%s-%03u", PICK(goods, random),
             PICK(colours, random), demo_random_below(random, 1000));
    item->sku = draft->skus[i];
    item->quantity = 1 + (int32_t)demo_random_below(random, 6);
    item->unit_minor_units = 199 + demo_random_below(random, 24800);
    draft->item_pointers[i] = item;
  }
  draft->order.items = draft->item_pointers;
  draft->order.n_items = count;
}

/* Up to some hundred bytes; half of the orders say nothing. */
static void put_note(demo_draft *draft, demo_random *random) {
  size_t used = 0;
  draft->note[0] = '\0';
  for (unsigned left = demo_random_below(random, 2) * (1 + demo_random_below(random, 8)); left > 0;
       left--) {
    const char *remark = PICK(remarks, random);
    int more = snprintf(draft->note + used, sizeof draft->note - used, "%s%s", used > 0 ? " " : "",
                        remark);
    used += (size_t)more; /* eight of the longest fit */
  }
  draft->order.note = draft->note;
}

static void begin(demo_draft *draft) {
  order__v1__order__init(&draft->order);
  order__v1__address__init(&draft->address);
  google__protobuf__field_mask__init(&draft->mask);
}

void demo_draft_create(uint64_t seed, uint64_t index, demo_draft *draft) {
  demo_random random = demo_random_from(seed, index, PURPOSE_CREATE);
  begin(draft);
  snprintf(draft->customer_id, sizeof draft->customer_id, "customer-%04u",
           demo_random_below(&random, 500));
  draft->order.customer_id = draft->customer_id;
  draft->order.currency_code = (char *)(uintptr_t)PICK(currencies, &random);
  put_address(draft, &random);
  put_items(draft, &random);
  put_note(draft, &random);
}

void demo_draft_change(uint64_t seed, uint64_t index, unsigned change, demo_draft *draft) {
  demo_random random = demo_random_from(seed, index, PURPOSE_FIRST_CHANGE - 1 + change);
  begin(draft);
  const char *path = "*";
  switch (demo_random_below(&random, 4)) {
  case 0:
    path = "delivery_address";
    put_address(draft, &random);
    break;
  case 1:
    path = "items";
    put_items(draft, &random);
    break;
  case 2:
    path = "note";
    put_note(draft, &random);
    break;
  default:
    put_address(draft, &random);
    put_items(draft, &random);
    put_note(draft, &random);
  }
  snprintf(draft->path, sizeof draft->path, "%s", path);
  draft->path_pointers[0] = draft->path;
  draft->mask.paths = draft->path_pointers;
  draft->mask.n_paths = 1;
}
