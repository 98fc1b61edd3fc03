-- From which row of the outbox on each mode holds. A row keeps the mode it had first: were it sent again, after
-- a crash, in another mode than before, it could enter a topic behind later versions of its order.
CREATE TABLE event_modes (
  after_sequence bigint   NOT NULL PRIMARY KEY, -- of rows with higher numbers, up to the next mode's
  event_payload  smallint NOT NULL CHECK (event_payload IN (1, 2)), -- order.v1.EventPayload
  event_topics   smallint NOT NULL CHECK (event_topics IN (1, 2))   -- order.v1.EventTopics
);

INSERT INTO event_modes SELECT 0, event_payload, event_topics FROM outbox_relay;

-- Notes a switch of the mode in outbox_relay. The relay reads rows only with a lock on event_modes that this one
-- excludes: while it is held, no row is being read, and those read before have numbers that were given out before. So
-- no row is ever read under two modes. A dump does not stand in the way. Modes of which all rows are done are
-- forgotten.
CREATE FUNCTION outbox_note_mode() RETURNS trigger LANGUAGE plpgsql AS $function$
DECLARE
  boundary bigint;
BEGIN
  LOCK TABLE event_modes IN EXCLUSIVE MODE;
  SELECT CASE WHEN is_called THEN last_value ELSE 0 END INTO STRICT boundary FROM outbox_sequence;
  DELETE FROM event_modes WHERE after_sequence <
    (SELECT max(after_sequence) FROM event_modes
      WHERE after_sequence < least(OLD.highest + 1, coalesce(OLD.gap_first[1], OLD.highest + 1)));
  INSERT INTO event_modes VALUES (boundary, NEW.event_payload, NEW.event_topics)
    ON CONFLICT (after_sequence) DO UPDATE
    SET event_payload = excluded.event_payload, event_topics = excluded.event_topics;
  RETURN NEW;
END
$function$;

CREATE TRIGGER outbox_note_mode BEFORE UPDATE OF event_payload, event_topics ON outbox_relay
  FOR EACH ROW WHEN ((OLD.event_payload, OLD.event_topics) IS DISTINCT FROM (NEW.event_payload, NEW.event_topics))
  EXECUTE FUNCTION outbox_note_mode();
