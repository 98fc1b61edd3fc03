-- What a next version may well bring: a column that older programs neither write nor read, and an index.
ALTER TABLE orders ADD COLUMN gift_card text;
CREATE INDEX orders_by_gift_card ON orders (gift_card, order_id) WHERE gift_card IS NOT NULL;
