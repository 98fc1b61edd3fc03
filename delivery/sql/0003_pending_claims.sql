-- Which attempt has an order: one more with each claim, so that an attempt that took longer than its lease does not
-- end what another has claimed since.
ALTER TABLE pending_orders ADD COLUMN claim bigint NOT NULL DEFAULT 0;
