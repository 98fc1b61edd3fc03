/* From names of a schema to names in C.
 *
 * The first group repeats protobuf-c's rules, so that what is generated here refers to what
 * protobuf-c generates; the second is this generator's own. All strings are the pool's. */
#ifndef LOCKSTEP_GEN_NAMING_H
#define LOCKSTEP_GEN_NAMING_H

#include <stdbool.h>

#include "gen/plugin/pool.h"

/* "order.v1.Outer.Inner" → "Order__V1__Outer__Inner", a message's C type. */
char *name_type(gen_pool *pool, const char *full_name);

/* "order.v1.Outer.Inner" → "order__v1__outer__inner", what a message's functions and descriptor
 * start with. */
char *name_type_prefix(gen_pool *pool, const char *full_name);

/* "CreateOrder" → "create_order": an underscore before each capital that follows anything but a
 * capital. */
char *name_snake(gen_pool *pool, const char *name);

char *name_lower(gen_pool *pool, const char *name);
char *name_upper(gen_pool *pool, const char *name);

/* "order.v1.OrderService" → "order_v1_order_service", what everything of a service starts with. */
char *name_service(gen_pool *pool, const char *full_name);

/* "order/v1/order.proto" → "order_v1_order_proto". */
char *name_file(gen_pool *pool, const char *path);

/* "order/v1/order.proto" → "order/v1/order", what the names of its generated files start with. */
char *name_base(gen_pool *pool, const char *path);

/* [A-Za-z_][A-Za-z0-9_]*, and such words with dots between. */
bool name_is_identifier(const char *name);
bool name_is_full_name(const char *name);

/* True for a relative path that can stand in an #include and in a comment. */
bool name_is_path(const char *path);

#endif
