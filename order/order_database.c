/* The order service's schema. */
#include "order/order_database.h"

#include "order_migrations.h"
#include "runtime/postgres/migrate.h"

bool order_database_check(order_database *database, ls_pg_connection *connection, ls_error *error) {
  if (database->is_current)
    return true;
  if (!ls_pg_migrate(connection, "order", order_migrations, order_migrations_count,
                     database->may_migrate, NULL, error))
    return false;
  database->is_current = true;
  return true;
}
