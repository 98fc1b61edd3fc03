-- What a CreateOrder writes, with the same values and as many bytes: an order, two items, a row of the outbox. One
-- statement, one round trip. Ids from a sequence that a session takes 1,024 of at a time, like the service.
\set customer random(0, 999)
WITH created AS (
  INSERT INTO orders (order_id, version, status, customer_id, currency_code, total_minor_units, recipient,
                      address_lines, postal_code, city, country_code, note, cancel_reason, create_time, update_time)
  VALUES (nextval('bench_order_ids'), 1, 1, 'customer-' || lpad(:customer::text, 3, '0'), 'EUR', 7996, 'Ada Nowak',
          E'Mill Lane 7\ndoor 12', '12345', 'Lund', 'SE', '', '', now(), now())
  RETURNING order_id
), items AS (
  INSERT INTO order_items (order_id, line_number, sku, quantity, unit_minor_units)
  SELECT order_id, line_number, 'lamp-1', 2, 1999 FROM created, (VALUES (1), (2)) AS lines (line_number)
)
INSERT INTO outbox (order_id, version, type, occur_time, snapshot, trace_parent)
SELECT order_id, 1, 1, now(), :snapshot::bytea, '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' FROM created;
