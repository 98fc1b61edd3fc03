package lockstep.client;

import com.google.gson.Gson;
import com.google.protobuf.FieldMask;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import delivery.v1.DeliveryOuterClass.Delivery;
import delivery.v1.DeliveryOuterClass.DeliveryState;
import delivery.v1.DeliveryServiceGrpc;
import delivery.v1.DeliveryServiceGrpc.DeliveryServiceBlockingStub;
import delivery.v1.DeliveryServiceOuterClass.GetDeliveryRequest;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import order.v1.OrderOuterClass.Address;
import order.v1.OrderOuterClass.Order;
import order.v1.OrderOuterClass.OrderItem;
import order.v1.OrderOuterClass.OrderStatus;
import order.v1.OrderServiceGrpc;
import order.v1.OrderServiceGrpc.OrderServiceBlockingStub;
import order.v1.OrderServiceOuterClass.CancelOrderRequest;
import order.v1.OrderServiceOuterClass.CreateOrderRequest;
import order.v1.OrderServiceOuterClass.GetOrderRequest;
import order.v1.OrderServiceOuterClass.ListOrdersRequest;
import order.v1.OrderServiceOuterClass.ListOrdersResponse;
import order.v1.OrderServiceOuterClass.UpdateOrderRequest;
import order.v1.OrderServiceOuterClass.WatchOrdersRequest;
import order.v1.OrderServiceOuterClass.WatchOrdersResponse;

/** Places, changes, follows and cancels orders, and looks at their deliveries and events. */
public final class Client {
  private static final Duration CALL_TIMEOUT = Duration.ofSeconds(10);
  private static final Duration WATCH_TIMEOUT = Duration.ofSeconds(30);
  private static final Duration EVENTS_TIMEOUT = Duration.ofSeconds(30);

  private final ManagedChannel orderChannel;
  private final ManagedChannel deliveryChannel;
  private final ManagedChannel busyChannel;
  private final OrderServiceBlockingStub orderStub;
  private final DeliveryServiceBlockingStub deliveryStub;

  private final String customer = "java-" + UUID.randomUUID();
  /** The order that most steps are about, as the service said last. */
  private Order order;
  /** The newest version of each order of this run. */
  private final Map<Long, Long> versions = new TreeMap<>();

  private int passed;
  private int failed;

  private Client() throws IOException {
    orderChannel = channel(environment("ORDER_TARGET"));
    deliveryChannel = channel(environment("DELIVERY_TARGET"));
    busyChannel = channel(environment("BUSY_TARGET"));
    orderStub = OrderServiceGrpc.newBlockingStub(orderChannel);
    deliveryStub = DeliveryServiceGrpc.newBlockingStub(deliveryChannel);
  }

  public static void main(String[] arguments) throws Exception {
    Client client = new Client();
    client.step("create", client::create);
    client.step("read", client::read);
    client.step("update", client::update);
    client.step("lose-race", client::loseRace);
    client.step("validation", client::validation);
    client.step("watch", client::watch);
    client.step("list", client::list);
    client.step("delivery", client::delivery);
    client.step("cancel", client::cancel);
    client.step("deadline", client::deadline);
    client.step("busy", client::busy);
    client.step("events", client::events);
    client.close();
    System.out.printf("%d passed, %d failed%n", client.passed, client.failed);
    System.exit(client.failed == 0 ? 0 : 1);
  }

  // ---- Channels and stubs ----

  /** One channel for each service, for the life of the program: it connects, and connects again, by itself. */
  private static ManagedChannel channel(String target) throws IOException {
    return Grpc.newChannelBuilder(target, InsecureChannelCredentials.create())
        .defaultServiceConfig(serviceConfig())
        .build();
  }

  /** proto/grpc_service_config.json: which replicas to use, and what to repeat. */
  private static Map<String, ?> serviceConfig() throws IOException {
    try (Reader json =
        new InputStreamReader(
            Client.class.getResourceAsStream("/grpc_service_config.json"), StandardCharsets.UTF_8)) {
      @SuppressWarnings("unchecked")
      Map<String, ?> config = new Gson().fromJson(json, Map.class);
      return config;
    }
  }

  /** A deadline counts from here, so each call gets a stub of its own; stubs cost next to nothing. */
  private OrderServiceBlockingStub orders() {
    return orderStub.withDeadlineAfter(CALL_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
  }

  private DeliveryServiceBlockingStub deliveries() {
    return deliveryStub.withDeadlineAfter(CALL_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
  }

  private void close() throws InterruptedException {
    for (ManagedChannel channel : List.of(orderChannel, deliveryChannel, busyChannel)) {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  // ---- The steps ----

  private void create() {
    CreateOrderRequest request = creation();
    order = orders().createOrder(request).getOrder();
    check(order.getVersion() == 1, "version %d", order.getVersion());
    check(order.getStatus() == OrderStatus.ORDER_STATUS_PLACED, "status %s", order.getStatus());
    versions.put(order.getOrderId(), order.getVersion());

    // Who does not know whether a write was done repeats it with the same request_id: it is done once.
    Order again = orders().createOrder(request).getOrder();
    check(again.equals(order), "repeated, the request gave another order: %s", again);
  }

  private void read() {
    Order read =
        orders().getOrder(GetOrderRequest.newBuilder().setOrderId(order.getOrderId()).build()).getOrder();
    check(read.equals(order), "read %s", read);
    Order sent =
        read.toBuilder()
            .clearOrderId()
            .clearVersion()
            .clearStatus()
            .clearTotalMinorUnits()
            .clearCreateTime()
            .clearUpdateTime()
            .build();
    check(sent.equals(draft()), "not as it was sent: %s", sent);
    check(read.getTotalMinorUnits() == 2 * 1990 + 250, "total %d", read.getTotalMinorUnits());
  }

  private void update() {
    Address moved = order.getDeliveryAddress().toBuilder().setCity("Basel").build();
    Order before = order;
    UpdateOrderRequest request =
        UpdateOrderRequest.newBuilder()
            .setRequestId(UUID.randomUUID().toString())
            .setOrder(
                Order.newBuilder()
                    .setOrderId(order.getOrderId())
                    .setDeliveryAddress(moved)
                    .setNote("ring twice"))
            .setUpdateMask(FieldMask.newBuilder().addPaths("delivery_address").addPaths("note"))
            .setExpectedVersion(order.getVersion())
            .build();
    takeUpdate(request);
    Order expected =
        before.toBuilder()
            .setVersion(before.getVersion() + 1)
            .setDeliveryAddress(moved)
            .setNote("ring twice")
            .setUpdateTime(order.getUpdateTime())
            .build();
    check(order.equals(expected), "updated to %s", order);
  }

  private void loseRace() {
    UpdateOrderRequest late = changeNote("ring three times", order.getVersion() - 1);
    StatusRuntimeException lost =
        Errors.expect(Status.Code.ABORTED, () -> orders().updateOrder(late));
    ErrorInfo info =
        Errors.detail(lost, ErrorInfo.class)
            .orElseThrow(() -> new AssertionError("there is no ErrorInfo"));
    check(info.getReason().equals("VERSION_MISMATCH"), "reason %s", info.getReason());
    check(info.getDomain().equals("order.lockstep"), "domain %s", info.getDomain());
    String orderId = info.getMetadataOrDefault("order_id", "");
    check(orderId.equals(Long.toString(order.getOrderId())), "order_id \"%s\"", orderId);

    // Somebody was faster. A note may be written over theirs; who minds reads the order first and decides again.
    long current = Long.parseLong(info.getMetadataOrThrow("current_version"));
    check(current == order.getVersion(), "current_version %d", current);
    takeUpdate(changeNote("ring three times", current));
  }

  private void validation() {
    Order broken = draft().toBuilder().clearCustomerId().setCurrencyCode("euro").build();
    StatusRuntimeException refused =
        Errors.expect(
            Status.Code.INVALID_ARGUMENT,
            () -> orders().createOrder(CreateOrderRequest.newBuilder().setOrder(broken).build()));
    BadRequest request =
        Errors.detail(refused, BadRequest.class)
            .orElseThrow(() -> new AssertionError("there is no BadRequest"));
    Set<String> fields =
        request.getFieldViolationsList().stream()
            .map(BadRequest.FieldViolation::getField)
            .collect(Collectors.toSet());
    check(fields.equals(Set.of("order.customer_id", "order.currency_code")), "fields %s", fields);
  }

  private void watch() throws Exception {
    WatchOrdersRequest request = WatchOrdersRequest.newBuilder().addOrderIds(order.getOrderId()).build();
    // A blocking stub has no call to cancel: the context that it is called in is what is cancelled.
    try (Context.CancellableContext context = Context.current().withCancellation()) {
      Iterator<WatchOrdersResponse> states =
          context.call(
              () ->
                  orderStub
                      .withDeadlineAfter(WATCH_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)
                      .watchOrders(request));
      Order first = states.next().getOrder();
      check(first.equals(order), "the stream began with %s", first);

      takeUpdate(changeNote("do not ring", order.getVersion()));
      Order seen = states.next().getOrder();
      check(seen.equals(order), "the stream went on with %s", seen);

      context.cancel(null);
      Errors.expect(Status.Code.CANCELLED, states::hasNext);
    }
  }

  private void list() {
    for (int i = 0; i < 7; i++) {
      Order more = orders().createOrder(creation()).getOrder();
      versions.put(more.getOrderId(), more.getVersion());
    }
    List<Long> listed = new ArrayList<>();
    List<Integer> sizes = new ArrayList<>();
    ListOrdersRequest.Builder request =
        ListOrdersRequest.newBuilder().setCustomerId(customer).setPageSize(3);
    do {
      ListOrdersResponse page = orders().listOrders(request.build());
      page.getOrdersList().forEach(each -> listed.add(each.getOrderId()));
      sizes.add(page.getOrdersCount());
      request.setPageToken(page.getNextPageToken());
    } while (!request.getPageToken().isEmpty() && sizes.size() < 10);
    check(listed.equals(List.copyOf(versions.keySet())), "listed %s of %s", listed, versions.keySet());
    check(sizes.equals(List.of(3, 3, 2)), "pages of %s", sizes);
  }

  private void delivery() {
    Delivery delivery = deliveryInStep();
    check(delivery.getState() == DeliveryState.DELIVERY_STATE_PREPARING, "state %s", delivery.getState());
    String city = delivery.getAddress().getCity();
    check(city.equals(order.getDeliveryAddress().getCity()), "to %s", city);
  }

  private void cancel() {
    CancelOrderRequest request =
        CancelOrderRequest.newBuilder()
            .setRequestId(UUID.randomUUID().toString())
            .setOrderId(order.getOrderId())
            .setReason("ordered by mistake")
            .build();
    order = orders().cancelOrder(request).getOrder();
    versions.put(order.getOrderId(), order.getVersion());
    check(order.getStatus() == OrderStatus.ORDER_STATUS_CANCELLED, "status %s", order.getStatus());
    check(order.getCancelReason().equals("ordered by mistake"), "reason %s", order.getCancelReason());
    Delivery delivery = deliveryInStep();
    check(delivery.getState() == DeliveryState.DELIVERY_STATE_CANCELLED, "state %s", delivery.getState());
  }

  /** Who has just written an order waits for its delivery to follow. */
  private Delivery deliveryInStep() {
    Delivery delivery = deliveries().getDelivery(deliveryOf(order, order.getVersion())).getDelivery();
    check(delivery.getOrderVersion() == order.getVersion(), "in step with %d", delivery.getOrderVersion());
    return delivery;
  }

  private void deadline() {
    GetDeliveryRequest never = deliveryOf(order, order.getVersion() + 1_000_000);
    long begin = System.nanoTime();
    Errors.expect(
        Status.Code.DEADLINE_EXCEEDED,
        () -> deliveryStub.withDeadlineAfter(200, TimeUnit.MILLISECONDS).getDelivery(never));
    long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begin);
    check(tookMs >= 150 && tookMs < 5_000, "after %d ms", tookMs);
  }

  private void busy() throws Exception {
    try (PatientOrders orders = new PatientOrders(busyChannel)) {
      List<CreateOrderRequest> requests = Stream.generate(this::creation).limit(100).toList();
      List<Order> created = orders.createAll(requests);
      long different = created.stream().map(Order::getOrderId).distinct().count();
      check(different == requests.size(), "%d different orders", different);
      check(orders.refusals() > 0, "nothing was refused");
      check(orders.adviceless() == 0, "%d refusals without RetryInfo", orders.adviceless());
    }
  }

  private void events() {
    OrderEvents.follow(
        environment("KAFKA_BOOTSTRAP_SERVERS"),
        environment("ORDER_EVENTS_TOPIC"),
        versions,
        order.getOrderId(),
        EVENTS_TIMEOUT);
  }

  // ---- Requests ----

  private Order draft() {
    return Order.newBuilder()
        .setCustomerId(customer)
        .setCurrencyCode("EUR")
        .setDeliveryAddress(
            Address.newBuilder()
                .setRecipient("Ada")
                .addLines("Ringstrasse 1")
                .setPostalCode("6300")
                .setCity("Zug")
                .setCountryCode("CH"))
        .addItems(OrderItem.newBuilder().setSku("lamp").setQuantity(2).setUnitMinorUnits(1990))
        .addItems(OrderItem.newBuilder().setSku("bulb").setQuantity(1).setUnitMinorUnits(250))
        .build();
  }

  private CreateOrderRequest creation() {
    return CreateOrderRequest.newBuilder()
        .setRequestId(UUID.randomUUID().toString())
        .setOrder(draft())
        .build();
  }

  private UpdateOrderRequest changeNote(String note, long expectedVersion) {
    return UpdateOrderRequest.newBuilder()
        .setRequestId(UUID.randomUUID().toString())
        .setOrder(Order.newBuilder().setOrderId(order.getOrderId()).setNote(note))
        .setUpdateMask(FieldMask.newBuilder().addPaths("note"))
        .setExpectedVersion(expectedVersion)
        .build();
  }

  private void takeUpdate(UpdateOrderRequest request) {
    long before = order.getVersion();
    order = orders().updateOrder(request).getOrder();
    versions.put(order.getOrderId(), order.getVersion());
    check(order.getVersion() == before + 1, "version %d after %d", order.getVersion(), before);
  }

  private static GetDeliveryRequest deliveryOf(Order order, long minOrderVersion) {
    return GetDeliveryRequest.newBuilder()
        .setOrderId(order.getOrderId())
        .setMinOrderVersion(minOrderVersion)
        .build();
  }

  // ---- Telling what came of it ----

  private interface Step {
    void run() throws Exception;
  }

  private void step(String name, Step step) {
    try {
      check(order != null || passed + failed == 0, "there is no order");
      step.run();
      passed++;
      System.out.println("ok " + name);
    } catch (Exception | AssertionError e) {
      failed++;
      System.out.printf("not ok %s: %s%n", name, String.valueOf(e.getMessage()).replace('\n', ' '));
    }
  }

  static void check(boolean condition, String format, Object... values) {
    if (!condition) {
      throw new AssertionError(String.format(format, values));
    }
  }

  private static String environment(String name) {
    String value = System.getenv(name);
    if (value == null) {
      throw new IllegalStateException(name + " is not set");
    }
    return value;
  }
}
