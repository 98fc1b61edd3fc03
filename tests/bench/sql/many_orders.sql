-- As many orders as the variable orders says, with two items each, as if CreateOrder had made them.
INSERT INTO orders (order_id, version, status, customer_id, currency_code, total_minor_units, recipient, address_lines,
                    postal_code, city, country_code, note, cancel_reason, create_time, update_time)
SELECT number, 1, 1, 'customer-' || lpad((number % 1000)::text, 3, '0'), 'EUR', 7996, 'Ada Nowak',
       E'Mill Lane 7\ndoor 12', '12345', 'Lund', 'SE', '', '', now(), now()
  FROM generate_series(1, :orders) AS number;
INSERT INTO order_items (order_id, line_number, sku, quantity, unit_minor_units)
SELECT number, line_number, 'lamp-1', 2, 1999
  FROM generate_series(1, :orders) AS number, generate_series(1, 2) AS line_number;
SELECT setval('order_id_block', :orders / 1024 + 1);
