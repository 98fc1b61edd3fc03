-- All that GetOrder answers: the order with its items.
\set order_id random(1, :orders)
SELECT order_id, version, status, customer_id, currency_code, total_minor_units, recipient, address_lines, postal_code,
       city, country_code, note, cancel_reason, create_time, update_time, sku, quantity, unit_minor_units
  FROM orders JOIN order_items USING (order_id) WHERE order_id = :order_id ORDER BY line_number;
