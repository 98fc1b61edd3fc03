-- What delivery keeps of orders, what it did with them, and what it could not do yet.

-- One row for each order that was seen. It is in step with order_version; only a newer one replaces it.
CREATE TABLE deliveries (
  order_id bigint PRIMARY KEY CHECK (order_id > 0),
  revision bigint NOT NULL CHECK (revision > 0),
  -- delivery.v1.DeliveryState
  state smallint NOT NULL CHECK (state BETWEEN 1 AND 5),
  order_version bigint NOT NULL CHECK (order_version > 0),
  -- order.v1.OrderStatus
  order_status smallint NOT NULL CHECK (order_status > 0),
  recipient text NOT NULL,
  -- Joined by line breaks, of which no line holds any.
  address_lines text NOT NULL,
  postal_code text NOT NULL,
  city text NOT NULL,
  country_code text NOT NULL,
  -- A packed delivery.v1.Delivery that holds items and nothing else.
  items bytea NOT NULL,
  tracking_code text NOT NULL DEFAULT '',
  create_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  -- Which versions events have brought: all up to event_version but the missing ones. Serves only to
  -- tell overtaken events from repeated ones.
  event_version bigint NOT NULL DEFAULT 0,
  missing_versions bigint[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 80);

CREATE INDEX deliveries_by_state ON deliveries (state, order_id);

-- Every change of a delivery. The two keys are the database's own guard: no revision is made twice, and
-- no version of an order is applied twice. Written with the delivery in one statement, hence without
-- a foreign key to check.
CREATE TABLE delivery_history (
  order_id bigint NOT NULL,
  revision bigint NOT NULL CHECK (revision > 0),
  -- delivery.v1.DeliveryCause
  cause smallint NOT NULL CHECK (cause BETWEEN 1 AND 3),
  order_version bigint CHECK ((order_version IS NOT NULL) = (cause = 1)),
  state smallint NOT NULL CHECK (state BETWEEN 1 AND 5),
  change_time timestamptz NOT NULL,
  PRIMARY KEY (order_id, revision),
  UNIQUE (order_id, order_version)
);

-- Orders to be looked up beside the stream: their lookup failed, or an operator asked for it.
CREATE TABLE pending_orders (
  order_id bigint PRIMARY KEY CHECK (order_id > 0),
  -- The version the delivery must reach; 0: whatever the order is at.
  min_version bigint NOT NULL CHECK (min_version >= 0),
  -- Asked for without a version, too: only a lookup will do.
  poked boolean NOT NULL,
  attempts int NOT NULL DEFAULT 0,
  next_attempt_time timestamptz NOT NULL,
  -- A replica is at it until then.
  lease_time timestamptz NOT NULL DEFAULT '-infinity',
  -- One more with each request, so that one that comes during an attempt is not lost with its success.
  generation bigint NOT NULL DEFAULT 1,
  reason text NOT NULL,
  create_time timestamptz NOT NULL,
  -- The record that asked for min_version, for the dead letter.
  source_topic text NOT NULL,
  source_partition int NOT NULL,
  source_offset bigint NOT NULL,
  record_key bytea,
  record_value bytea,
  record_headers bytea NOT NULL
);

CREATE INDEX pending_orders_by_time ON pending_orders (next_attempt_time);

-- Events that were given up on, as they came. A topic that was deleted and made again repeats offsets,
-- hence the fingerprint (of key and value) in the unique key.
CREATE TABLE dead_letters (
  dead_letter_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  source_topic text NOT NULL,
  source_partition int NOT NULL,
  source_offset bigint NOT NULL,
  fingerprint bytea NOT NULL,
  record_key bytea,
  record_value bytea,
  record_headers bytea NOT NULL,
  reason text NOT NULL,
  create_time timestamptz NOT NULL,
  replay_time timestamptz,
  UNIQUE (source_topic, source_partition, source_offset, fingerprint)
);

CREATE INDEX dead_letters_to_replay ON dead_letters (dead_letter_id) WHERE replay_time IS NULL;

-- The one walk over all orders that an operator may ask for.
CREATE TABLE resync (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  -- NULL: none is under way.
  request_time timestamptz,
  -- Where the walk stands: a page token of order.v1.OrderService.ListOrders.
  page_token text NOT NULL DEFAULT '',
  lease_time timestamptz NOT NULL DEFAULT '-infinity',
  -- One more with each request and each page, so that no replica moves a cursor that is not its own.
  generation bigint NOT NULL DEFAULT 0
);

INSERT INTO resync DEFAULT VALUES;
