/* What the parts of postgres_test share: a schema of the test's own on the server that the PG*
 * environment names. */
#ifndef LOCKSTEP_RUNTIME_POSTGRES_TEST_SUPPORT_H
#define LOCKSTEP_RUNTIME_POSTGRES_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/postgres/connection.h"

/* Creates the schema, and drops it with everything in it. 0 when done, as cmocka wants it. */
int test_schema_setup(void **state);
int test_schema_teardown(void **state);

/* Fails the test with the error's text. */
void expect_done(bool done, const ls_error *error);

/* A connection whose tables are in the test's schema. Timeouts of `options` are used; it may be
 * NULL. */
ls_pg_connection *test_connect(const ls_pg_options *options);

/* Runs SQL that must work. */
void test_sql(ls_pg_connection *connection, const char *sql);

/* The first value of a query that returns one int8. */
int64_t test_query_int8(ls_pg_connection *connection, const char *sql);

int run_exec_tests(void);
int run_batch_tests(void);
int run_migrate_tests(void);

#endif
