-- The databases and their roles, for psql by an administrator, once:
--
--   psql --set ON_ERROR_STOP=1 --file roles.sql
--
-- Passwords are set afterwards (\password ROLE) to what the Secrets say. Neither service may connect to the other's database.

CREATE ROLE order_service_migration LOGIN;
CREATE ROLE order_service LOGIN IN ROLE order_service_migration;
CREATE DATABASE orders OWNER order_service_migration;
REVOKE ALL ON DATABASE orders FROM PUBLIC;
-- The relay adds and drops partitions of the outbox, which only their owner may: what order_service does, it does as the
-- owner. Its password is another, so that each can be changed, or locked, by itself.
ALTER ROLE order_service SET role TO order_service_migration;

CREATE ROLE delivery_service_migration LOGIN;
CREATE ROLE delivery_service LOGIN;
CREATE DATABASE delivery OWNER delivery_service_migration;
REVOKE ALL ON DATABASE delivery FROM PUBLIC;
GRANT CONNECT ON DATABASE delivery TO delivery_service;
\connect delivery
-- It reads and writes rows, and changes no schema.
ALTER DEFAULT PRIVILEGES FOR ROLE delivery_service_migration GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO delivery_service;
ALTER DEFAULT PRIVILEGES FOR ROLE delivery_service_migration GRANT USAGE, SELECT ON SEQUENCES TO delivery_service;
