-- What a next version may well bring: a column that older programs neither write nor read, and an index.
ALTER TABLE deliveries ADD COLUMN carrier text;
CREATE INDEX deliveries_by_carrier ON deliveries (carrier, order_id) WHERE carrier IS NOT NULL;
