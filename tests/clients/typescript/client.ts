// A client of order-service and delivery-service, to copy from; ../README.md says what each step shows.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import { type CallOptions, type Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type CloudEvent, Kafka as KafkaBinding } from "cloudevents";
import { type EachMessagePayload, Kafka, logLevel } from "kafkajs";

import { DeliveryState } from "./generated/delivery/v1/delivery.js";
import { DeliveryServiceClient } from "./generated/delivery/v1/delivery_service.js";
import { BadRequest, ErrorInfo, RetryInfo } from "./generated/google/rpc/error_details.js";
import { Status } from "./generated/google/rpc/status.js";
import { Order, OrderStatus } from "./generated/order/v1/order.js";
import { OrderEvent, OrderEventType } from "./generated/order/v1/order_event.js";
import { CreateOrderRequest, OrderServiceClient } from "./generated/order/v1/order_service.js";
import type { WatchOrdersResponse } from "./generated/order/v1/order_service.js";

function environment(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

// The service config that comes with the schemas: use all replicas, wait for one, repeat what was UNAVAILABLE.
const options = { "grpc.service_config": readFileSync(environment("SERVICE_CONFIG"), "utf8") };
const plaintext = credentials.createInsecure();
const orders = new OrderServiceClient(environment("ORDER_TARGET"), plaintext, options);
const deliveries = new DeliveryServiceClient(environment("DELIVERY_TARGET"), plaintext, options);
const busyOrders = new OrderServiceClient(environment("BUSY_TARGET"), plaintext, options);

const customerId = `typescript-${randomUUID()}`;

type Method<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => unknown;

// Makes a call with a deadline; without one it waits for ever when nobody answers.
function call<Request, Response>(
  client: Client,
  method: Method<Request, Response>,
  request: Request,
  milliseconds = 10_000,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + milliseconds;
    method.call(client, request, new Metadata(), { deadline }, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error;
}

// The detail of that type in grpc-status-details-bin.
function detail<T>(error: ServiceError, typeName: string, type: { decode(value: Uint8Array): T }): T | undefined {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) return undefined;
  const packed = Status.decode(bytes).details.find((any) => any.typeUrl.endsWith(`/${typeName}`));
  return packed && type.decode(packed.value);
}

// Waits for a call that must fail with the code; gives the error.
async function expectError(code: status, result: Promise<unknown>): Promise<ServiceError> {
  try {
    await result;
  } catch (error) {
    if (!isServiceError(error)) throw error;
    assert.equal(error.code, code, error.message);
    return error;
  }
  throw new assert.AssertionError({ message: `no ${status[code]}` });
}

// What creates an order. The requestId makes it safe to repeat, whatever became of the first try.
function newRequest(note = ""): CreateOrderRequest {
  return CreateOrderRequest.fromPartial({
    requestId: randomUUID(),
    order: {
      customerId,
      deliveryAddress: {
        recipient: "Ada",
        lines: ["Ringstrasse 1"],
        postalCode: "6300",
        city: "Zug",
        countryCode: "CH",
      },
      items: [{ sku: "lamp", quantity: 2, unitMinorUnits: 1990n }],
      currencyCode: "EUR",
      note,
    },
  });
}

async function createOrder(request: CreateOrderRequest): Promise<Order> {
  return whole((await call(orders, orders.createOrder, request)).order);
}

// Changes the note alone, if the order is still at the version that the change was made for. What else is said of the
// order does not count.
async function updateNote(orderId: bigint, note: string, expectedVersion: bigint): Promise<Order> {
  const order = Order.fromPartial({ orderId, note, items: [{ sku: "ignored", quantity: 1 }] });
  const request = { requestId: randomUUID(), order, updateMask: ["note"], expectedVersion };
  return whole((await call(orders, orders.updateOrder, request)).order);
}

// In proto3 a message within another may be absent.
function whole<T>(message: T | undefined): T {
  assert(message !== undefined, "the answer is empty");
  return message;
}

// Creates an order on a service that may be busy; gives how often it was refused.
async function createWithPatience(client: OrderServiceClient, request: CreateOrderRequest): Promise<number> {
  const giveUp = Date.now() + 60_000;
  let refusals = 0;
  let delay = 0;
  for (;;) {
    try {
      await call(client, client.createOrder, request, 20_000);
      return refusals;
    } catch (error) {
      if (!isServiceError(error) || error.code !== status.RESOURCE_EXHAUSTED || Date.now() > giveUp) throw error;
      refusals++;
      // At first as long as the service asks for, then twice as long each time, and never all at once.
      const { seconds, nanos } = whole(whole(detail(error, "google.rpc.RetryInfo", RetryInfo)).retryDelay);
      const asked = Number(seconds) * 1000 + nanos / 1e6;
      delay = delay === 0 ? asked : Math.min(2000, delay * 2);
      await sleep(Math.max(asked, delay * (0.5 + Math.random())));
    }
  }
}

// Hands on the topic's CloudEvents from the beginning, until the handler says that it has seen enough.
async function readEvents(topic: string, handle: (event: CloudEvent<Buffer>) => boolean): Promise<void> {
  const kafka = new Kafka({
    brokers: environment("KAFKA_BOOTSTRAP_SERVERS").split(","),
    clientId: customerId,
    logLevel: logLevel.NOTHING,
  });
  const consumer = kafka.consumer({ groupId: customerId });
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    await new Promise<void>((resolve, reject) => {
      AbortSignal.timeout(30_000).addEventListener("abort", () => reject(new Error("not all events have come")));
      consumer.on("consumer.crash", ({ payload }) => reject(payload.error));
      const eachMessage = async ({ message }: EachMessagePayload) => {
        try {
          // The binding wants texts for headers, where Kafka has bytes.
          const headers = Object.fromEntries(
            Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)]),
          );
          const record = { key: String(message.key), value: message.value, headers, body: message.value };
          if (handle(KafkaBinding.toEvent<Buffer>(record) as CloudEvent<Buffer>)) resolve();
        } catch (error) {
          reject(error); // thrown on, it would have kafkajs read the message again
        }
      };
      consumer.run({ autoCommit: false, eachMessage }).catch(reject);
    });
  } finally {
    await consumer.disconnect();
  }
}

// What the steps hand on: the order's newest state, and all orders of this run.
let newest: Order;
const orderIds: bigint[] = [];

const steps: Record<string, () => Promise<void>> = {
  async create() {
    const request = newRequest("ring twice");
    newest = await createOrder(request);
    assert(newest.orderId > 0n && newest.version === 1n);
    assert.deepEqual(await createOrder(request), newest);
    orderIds.push(newest.orderId);
  },

  async read() {
    const { order } = await call(orders, orders.getOrder, { orderId: newest.orderId, minVersion: 0n });
    assert.deepEqual(order, newest);
    assert.equal(newest.customerId, customerId);
    assert.equal(newest.items[0]?.sku, "lamp");
    assert.equal(newest.totalMinorUnits, 3980n);
  },

  async update() {
    const before = newest;
    newest = await updateNote(before.orderId, "ring once", before.version);
    const { version, note, updateTime } = newest;
    assert.deepEqual(newest, { ...before, version, note, updateTime }); // nothing but these three has changed
    assert.equal(version, before.version + 1n);
    assert.equal(note, "ring once");
  },

  async "lose-race"() {
    const late = updateNote(newest.orderId, "too late", newest.version - 1n);
    const error = await expectError(status.ABORTED, late);
    const info = whole(detail(error, "google.rpc.ErrorInfo", ErrorInfo));
    assert.equal(info.reason, "VERSION_MISMATCH");
    assert.equal(info.domain, "order.lockstep");
    assert.equal(info.metadata["order_id"], String(newest.orderId));
    // A person would look at the order again before trying; here the change fits any version.
    const current = BigInt(whole(info.metadata["current_version"]));
    assert.equal(current, newest.version);
    newest = await updateNote(newest.orderId, "in time", current);
    assert.equal(newest.version, current + 1n);
  },

  async validation() {
    const request = newRequest();
    whole(request.order).currencyCode = "euro";
    whole(request.order?.items[0]).quantity = 0;
    const error = await expectError(status.INVALID_ARGUMENT, createOrder(request));
    const { fieldViolations } = whole(detail(error, "google.rpc.BadRequest", BadRequest));
    const fields = fieldViolations.map((violation) => violation.field).sort();
    assert.deepEqual(fields, ["order.currency_code", "order.items[0].quantity"]);
  },

  async watch() {
    const deadline = Date.now() + 60_000;
    const stream = orders.watchOrders({ orderIds: [newest.orderId] }, new Metadata(), { deadline });
    const states: AsyncIterator<WatchOrdersResponse> = stream[Symbol.asyncIterator]();
    assert.deepEqual((await states.next()).value.order, newest);
    newest = await updateNote(newest.orderId, "while watched", newest.version);
    assert.deepEqual((await states.next()).value.order, newest);
    stream.cancel();
    await expectError(status.CANCELLED, states.next());
  },

  async list() {
    for (let number = 0; number < 7; number++) {
      const { orderId } = await createOrder(newRequest(`number ${number}`));
      orderIds.push(orderId);
    }
    const listed: bigint[] = [];
    let pages = 0;
    let pageToken = "";
    do {
      const request = { customerId, pageSize: 3, pageToken, status: OrderStatus.ORDER_STATUS_UNSPECIFIED };
      const page = await call(orders, orders.listOrders, request);
      assert(page.orders.length <= 3);
      listed.push(...page.orders.map((order) => order.orderId));
      pages++;
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.deepEqual(listed, [...orderIds].sort((a, b) => Number(a - b)));
    assert(pages >= 3);
  },

  async delivery() {
    // Waits until the delivery service has taken in what was just written.
    const request = { orderId: newest.orderId, minOrderVersion: newest.version, includeHistory: false };
    const delivery = whole((await call(deliveries, deliveries.getDelivery, request, 30_000)).delivery);
    assert.equal(delivery.orderVersion, newest.version);
    assert.equal(delivery.state, DeliveryState.DELIVERY_STATE_PREPARING);
    assert.equal(delivery.address?.city, "Zug");
  },

  async cancel() {
    const reason = "found one in the attic";
    const cancel = { requestId: randomUUID(), orderId: newest.orderId, expectedVersion: newest.version, reason };
    newest = whole((await call(orders, orders.cancelOrder, cancel)).order);
    assert.equal(newest.status, OrderStatus.ORDER_STATUS_CANCELLED);
    assert.equal(newest.cancelReason, reason);
    const request = { orderId: newest.orderId, minOrderVersion: newest.version, includeHistory: false };
    const delivery = whole((await call(deliveries, deliveries.getDelivery, request, 30_000)).delivery);
    assert.equal(delivery.state, DeliveryState.DELIVERY_STATE_CANCELLED);
    assert.equal(delivery.orderVersion, newest.version);
  },

  async deadline() {
    const begin = Date.now();
    const request = { orderId: newest.orderId, minOrderVersion: newest.version + 1000n, includeHistory: false };
    await expectError(status.DEADLINE_EXCEEDED, call(deliveries, deliveries.getDelivery, request, 200));
    assert(Date.now() - begin < 5000);
  },

  async busy() {
    const calls = Array.from({ length: 100 }, () => createWithPatience(busyOrders, newRequest()));
    const refusals = (await Promise.all(calls)).reduce((sum, count) => sum + count);
    assert(refusals > 0, "no call was refused");
  },

  async events() {
    const answer = await call(orders, orders.batchGetOrders, { orderIds });
    const expected = new Map(answer.orders.map((order) => [order.orderId, order]));
    const types = new Map([
      [OrderEventType.ORDER_EVENT_TYPE_CREATED, "order.v1.OrderCreated"],
      [OrderEventType.ORDER_EVENT_TYPE_CHANGED, "order.v1.OrderChanged"],
      [OrderEventType.ORDER_EVENT_TYPE_CANCELLED, "order.v1.OrderCancelled"],
    ]);
    const seen = new Map<bigint, OrderEvent>();
    await readEvents(environment("ORDER_EVENTS_TOPIC"), (event) => {
      const data = OrderEvent.decode(whole(event.data));
      if (!expected.has(data.orderId)) return false;
      assert.equal(event.specversion, "1.0");
      assert.equal(event.source, "/lockstep/order");
      assert.equal(event.type, types.get(data.type));
      assert.equal(event.subject, String(data.orderId));
      assert.equal(event.id, `${data.orderId}:${data.version}`);
      assert.equal(event.id, data.eventId);
      assert.equal(Date.parse(whole(event.time)), data.occurTime?.getTime());
      assert.equal(event.datacontenttype, "application/protobuf");
      assert.equal(event.dataschema, undefined);
      assert.equal(data.order?.version, data.version);
      // The same event may come twice; an older one never comes behind a newer one of its order.
      assert(data.version >= (seen.get(data.orderId)?.version ?? 0n));
      seen.set(data.orderId, data);
      return [...expected].every(([orderId, order]) => (seen.get(orderId)?.version ?? 0n) >= order.version);
    });
    for (const [orderId, order] of expected) assert.deepEqual(seen.get(orderId)?.order, order);
    assert.equal(seen.get(newest.orderId)?.type, OrderEventType.ORDER_EVENT_TYPE_CANCELLED);
  },
};

let failed = 0;
for (const [name, step] of Object.entries(steps)) {
  try {
    await step();
    console.log(`ok ${name}`);
  } catch (error) {
    failed++;
    console.log(`not ok ${name}: ${String(error).replace(/\s+/g, " ")}`);
  }
}
for (const client of [orders, deliveries, busyOrders]) client.close();
console.log(`${Object.keys(steps).length - failed} passed, ${failed} failed`);
process.exitCode = failed > 0 ? 1 : 0;
