-- One row by key, as pgbench --select-only reads it: the order without its items.
\set order_id random(1, :orders)
SELECT order_id, version, status, customer_id, currency_code, total_minor_units, recipient, address_lines, postal_code,
       city, country_code, note, cancel_reason, create_time, update_time
  FROM orders WHERE order_id = :order_id;
