-- Which attempt has an order: another number with each claim, so that an attempt that took longer than its lease does
-- not end what another has claimed since, not even after the order was done with and asked for again.
CREATE SEQUENCE pending_claims;
ALTER TABLE pending_orders ADD COLUMN claim bigint NOT NULL DEFAULT 0;
