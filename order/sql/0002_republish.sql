-- Events that are sent once more: a row that repeats its order's newest version, written under the order's
-- lock like any other, so that it goes out behind those of the versions before it.
ALTER TABLE outbox ADD COLUMN republished boolean NOT NULL DEFAULT false;
