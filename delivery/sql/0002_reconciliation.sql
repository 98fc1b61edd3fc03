-- Dead letters that were set aside, and the comparison with the order service that runs by itself.

ALTER TABLE dead_letters
  ADD COLUMN discard_time timestamptz,
  ADD COLUMN discard_reason text,
  ADD CHECK ((discard_time IS NULL) = (discard_reason IS NULL));

DROP INDEX dead_letters_to_replay;
CREATE INDEX dead_letters_to_replay ON dead_letters (dead_letter_id)
  WHERE replay_time IS NULL AND discard_time IS NULL;

-- Here because the comparison found the delivery behind, not because an event was.
ALTER TABLE pending_orders ADD COLUMN reconciling boolean NOT NULL DEFAULT false;

-- Where the comparison stands: one row. Whoever has the lease compares the next page.
CREATE TABLE reconciliation (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  -- Orders up to this id have been compared in this pass.
  after_order_id bigint NOT NULL DEFAULT 0,
  next_time timestamptz NOT NULL DEFAULT statement_timestamp(),
  lease_time timestamptz NOT NULL DEFAULT '-infinity',
  -- One more with each page and each new beginning, so that no replica moves a cursor that is not its own.
  generation bigint NOT NULL DEFAULT 0,
  -- This pass; NULL: it has not begun.
  begin_time timestamptz,
  compared bigint NOT NULL DEFAULT 0,
  behind bigint NOT NULL DEFAULT 0,
  ahead bigint NOT NULL DEFAULT 0,
  -- The last one that was completed.
  last_begin_time timestamptz,
  last_end_time timestamptz,
  last_compared bigint NOT NULL DEFAULT 0,
  last_behind bigint NOT NULL DEFAULT 0,
  last_ahead bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

INSERT INTO reconciliation DEFAULT VALUES;
