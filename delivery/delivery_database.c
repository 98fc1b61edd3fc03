/* The delivery service's schema. */
#include "delivery/delivery_database.h"

#include "delivery_migrations.h"
#include "runtime/postgres/migrate.h"

bool delivery_database_migrate(delivery_database *database, ls_pg_connection *connection,
                               size_t *applied, ls_error *error) {
  return ls_pg_migrate(connection, "delivery", delivery_migrations, delivery_migrations_count,
                       database->may_migrate, applied, error);
}

bool delivery_database_check(delivery_database *database, ls_pg_connection *connection,
                             ls_error *error) {
  if (atomic_load(&database->is_current))
    return true;
  if (!delivery_database_migrate(database, connection, NULL, error))
    return false;
  atomic_store(&database->is_current, true);
  return true;
}
