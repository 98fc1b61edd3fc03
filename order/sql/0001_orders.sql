-- Orders, the requests that made them, and the outbox that tells of them.

-- The newest version of each order. Rules that a row can show are checked here too; the others are
-- the service's.
CREATE TABLE orders (
  order_id          bigint      NOT NULL PRIMARY KEY CHECK (order_id >= 1),
  version           bigint      NOT NULL CHECK (version >= 1),
  status            smallint    NOT NULL CHECK (status IN (1, 2)), -- order.v1.OrderStatus
  customer_id       text COLLATE "C" NOT NULL CHECK (octet_length(customer_id) BETWEEN 1 AND 64),
  currency_code     text        NOT NULL CHECK (octet_length(currency_code) = 3),
  total_minor_units bigint      NOT NULL CHECK (total_minor_units BETWEEN 0 AND 9000000000000000),
  recipient         text        NOT NULL CHECK (recipient <> ''),
  address_lines     text        NOT NULL CHECK (address_lines <> ''), -- joined by line feeds
  postal_code       text        NOT NULL,
  city              text        NOT NULL CHECK (city <> ''),
  country_code      text        NOT NULL CHECK (octet_length(country_code) = 2),
  note              text        NOT NULL CHECK (octet_length(note) <= 4096),
  cancel_reason     text        NOT NULL CHECK (octet_length(cancel_reason) <= 256),
  create_time       timestamptz NOT NULL,
  update_time       timestamptz NOT NULL
) WITH (fillfactor = 85); -- a change finds room on the same page, and no index is touched

CREATE INDEX orders_by_customer ON orders (customer_id, order_id);
CREATE INDEX orders_cancelled ON orders (order_id) WHERE status = 2;

-- Written only under the lock of the order's row, which is why no foreign key is paid for.
CREATE TABLE order_items (
  order_id         bigint  NOT NULL,
  line_number      integer NOT NULL CHECK (line_number BETWEEN 1 AND 200),
  sku              text    NOT NULL CHECK (octet_length(sku) BETWEEN 1 AND 64),
  quantity         integer NOT NULL CHECK (quantity BETWEEN 1 AND 1000000),
  unit_minor_units bigint  NOT NULL CHECK (unit_minor_units BETWEEN 0 AND 1000000000000),
  PRIMARY KEY (order_id, line_number)
);

-- Ids are taken 1,024 at a time: number n is for the ids from (n - 1) * 1024 + 1 to n * 1024.
CREATE SEQUENCE order_id_block;

-- What was answered to a request that named itself. Old rows are removed by the service.
CREATE TABLE order_requests (
  request_id  text COLLATE "C" NOT NULL PRIMARY KEY CHECK (octet_length(request_id) BETWEEN 1 AND 64),
  order_id    bigint      NOT NULL,
  fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32), -- of the request's body
  response    bytea       NOT NULL, -- an order.v1.Order
  create_time timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX order_requests_by_create_time ON order_requests (create_time);

-- The place and the settings of the relay: one row. Everything at or below highest is done, but for
-- the sequence numbers in the gaps: gap n is gap_first[n] to gap_last[n], and all transactions that
-- may still fill it have ids below gap_limit[n].
CREATE TABLE outbox_relay (
  id             boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (id),
  highest        bigint      NOT NULL DEFAULT 0,
  gap_first      bigint[]    NOT NULL DEFAULT '{}',
  gap_last       bigint[]    NOT NULL DEFAULT '{}',
  gap_limit      bigint[]    NOT NULL DEFAULT '{}',
  event_payload  smallint    NOT NULL DEFAULT 1 CHECK (event_payload IN (1, 2)), -- order.v1.EventPayload
  event_topics   smallint    NOT NULL DEFAULT 1 CHECK (event_topics IN (1, 2)),  -- order.v1.EventTopics
  mode_set_time  timestamptz NOT NULL DEFAULT now(),
  partition_size bigint      NOT NULL DEFAULT 1000000 CHECK (partition_size >= 1),
  CHECK (cardinality(gap_first) = cardinality(gap_last)),
  CHECK (cardinality(gap_first) = cardinality(gap_limit))
) WITH (fillfactor = 20);

INSERT INTO outbox_relay DEFAULT VALUES;

-- CACHE 1: numbers that a session keeps for later would look like gaps that never end.
CREATE SEQUENCE outbox_sequence CACHE 1;

-- One row for each version of each order, in the transaction that made it; never changed, removed by
-- dropping partitions. transaction_id stands before sequence so that its default is evaluated first:
-- by the time a row takes its number, its transaction has an id, and whoever sees that all ids below
-- some limit have ended knows that the numbers given out before that are all there or never will be.
CREATE TABLE outbox (
  transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
  sequence       bigint      NOT NULL DEFAULT nextval('outbox_sequence'),
  order_id       bigint      NOT NULL,
  version        bigint      NOT NULL,
  type           smallint    NOT NULL, -- order.v1.OrderEventType
  occur_time     timestamptz NOT NULL,
  snapshot       bytea       NOT NULL, -- an order.v1.Order
  trace_parent   text,
  PRIMARY KEY (sequence)
) PARTITION BY RANGE (sequence);

-- Which sequence numbers each partition is for: first_sequence up to, not including, limit_sequence.
CREATE VIEW outbox_partitions AS
SELECT relation.relname::text AS name, bounds[1]::bigint AS first_sequence, bounds[2]::bigint AS limit_sequence
  FROM pg_catalog.pg_inherits
  JOIN pg_catalog.pg_class AS relation ON relation.oid = pg_inherits.inhrelid,
  LATERAL regexp_match(pg_catalog.pg_get_expr(relation.relpartbound, relation.oid),
                       'FROM \(''?(\d+)''?\) TO \(''?(\d+)''?\)') AS bounds
 WHERE pg_inherits.inhparent = 'outbox'::regclass AND relation.relispartition;

-- Sees to it that there are partitions for the numbers to be given out next and `ahead` whole ones
-- after that; gives the number of those it made. May be called by anybody at any time.
--
-- ATTACH PARTITION lets writers go on; CREATE TABLE … PARTITION OF would wait for every open
-- transaction that has written to the outbox, and have all others wait behind it. Vacuum would never
-- earn what it costs on a table that is only inserted to and then dropped.
CREATE FUNCTION outbox_add_partitions(ahead integer) RETURNS integer LANGUAGE plpgsql AS $function$
DECLARE
  span           bigint;
  next_number    bigint;
  first_number   bigint;
  partition_name text;
  made           integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('outbox_add_partitions', 0));
  SELECT partition_size INTO STRICT span FROM outbox_relay;
  SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END INTO STRICT next_number
    FROM outbox_sequence;
  SELECT max(limit_sequence) INTO first_number FROM outbox_partitions;
  IF first_number IS NULL OR first_number < next_number THEN
    first_number := greatest(first_number, (next_number - 1) / span * span + 1);
  END IF;
  WHILE first_number <= next_number + ahead * span LOOP
    partition_name := 'outbox_p' || first_number;
    EXECUTE format('CREATE TABLE %I (LIKE outbox INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES) '
                   'WITH (autovacuum_enabled = false, toast.autovacuum_enabled = false)', partition_name);
    EXECUTE format('ALTER TABLE outbox ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   partition_name, first_number, first_number + span);
    first_number := first_number + span;
    made := made + 1;
  END LOOP;
  RETURN made;
END
$function$;

SELECT outbox_add_partitions(4);
