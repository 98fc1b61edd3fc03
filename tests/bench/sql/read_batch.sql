-- All that BatchGetOrders answers: the orders of 256 ids and their items. pgbench has no arrays, so that they wait in a
-- table: a look-up of one row for each 768 that are read. Both statements go in one round trip.
\set number random(1, :batches)
\startpipeline
SELECT order_id, version, status, customer_id, currency_code, total_minor_units, recipient, address_lines, postal_code,
       city, country_code, note, cancel_reason, create_time, update_time
  FROM orders WHERE order_id = ANY ((SELECT order_ids FROM bench_batches WHERE number = :number)::bigint[]);
SELECT order_id, sku, quantity, unit_minor_units
  FROM order_items WHERE order_id = ANY ((SELECT order_ids FROM bench_batches WHERE number = :number)::bigint[]);
\endpipeline
