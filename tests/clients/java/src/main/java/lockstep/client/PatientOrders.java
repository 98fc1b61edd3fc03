package lockstep.client;

import com.google.common.util.concurrent.ListenableFuture;
import com.google.protobuf.Duration;
import com.google.rpc.RetryInfo;
import io.grpc.Channel;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import order.v1.OrderOuterClass.Order;
import order.v1.OrderServiceGrpc;
import order.v1.OrderServiceGrpc.OrderServiceFutureStub;
import order.v1.OrderServiceOuterClass.CreateOrderRequest;
import order.v1.OrderServiceOuterClass.CreateOrderResponse;

/**
 * Creates orders, and comes back later with what a busy service refuses.
 *
 * <p>The retry policy of a service config would not do: it does not know how long to wait, and gives up early. The
 * service says how long, in RetryInfo.
 */
final class PatientOrders implements AutoCloseable {
  private static final long ATTEMPT_SECONDS = 20;
  private static final long GIVE_UP_SECONDS = 60;
  private static final long LONGEST_DELAY_MS = 2_000;

  private final OrderServiceFutureStub stub;
  private final ScheduledExecutorService scheduler = Executors.newSingleThreadScheduledExecutor();
  private final AtomicInteger refusals = new AtomicInteger();
  private final AtomicInteger adviceless = new AtomicInteger();

  PatientOrders(Channel channel) {
    stub = OrderServiceGrpc.newFutureStub(channel);
  }

  /** All at once; each request must have a request_id, for it may be sent more than once. */
  List<Order> createAll(List<CreateOrderRequest> requests) throws Exception {
    List<CompletableFuture<Order>> calls = new ArrayList<>();
    for (CreateOrderRequest request : requests) {
      CompletableFuture<Order> result = new CompletableFuture<>();
      calls.add(result);
      attempt(request, 0, result);
    }
    CompletableFuture.allOf(calls.toArray(CompletableFuture[]::new)).get(GIVE_UP_SECONDS, TimeUnit.SECONDS);
    return calls.stream().map(CompletableFuture::join).toList();
  }

  private void attempt(CreateOrderRequest request, long lastDelayMs, CompletableFuture<Order> result) {
    ListenableFuture<CreateOrderResponse> call =
        stub.withDeadlineAfter(ATTEMPT_SECONDS, TimeUnit.SECONDS).createOrder(request);
    call.addListener(
        () -> {
          try {
            result.complete(call.get().getOrder());
          } catch (ExecutionException e) {
            if (Status.fromThrowable(e).getCode() == Status.Code.RESOURCE_EXHAUSTED) {
              retry(request, delayMs(e, lastDelayMs), result);
            } else {
              result.completeExceptionally(e.getCause());
            }
          } catch (InterruptedException e) {
            result.completeExceptionally(e);
          }
        },
        scheduler);
  }

  private void retry(CreateOrderRequest request, long delayMs, CompletableFuture<Order> result) {
    refusals.incrementAndGet();
    // A share more or less, so that those refused together do not come back together.
    double share = ThreadLocalRandom.current().nextDouble(0.75, 1.25);
    scheduler.schedule(
        () -> attempt(request, delayMs, result), (long) (delayMs * share), TimeUnit.MILLISECONDS);
  }

  /** The service's own word the first time, then twice as long each time. */
  private long delayMs(Throwable refusal, long lastDelayMs) {
    Optional<RetryInfo> advice = Errors.detail(refusal, RetryInfo.class);
    if (advice.isEmpty()) {
      adviceless.incrementAndGet();
    }
    if (lastDelayMs > 0) {
      return Math.min(2 * lastDelayMs, LONGEST_DELAY_MS);
    }
    Duration delay = advice.map(RetryInfo::getRetryDelay).orElse(Duration.newBuilder().setNanos(100_000_000).build());
    return Math.max(1, delay.getSeconds() * 1_000 + delay.getNanos() / 1_000_000);
  }

  /** How often the service refused. */
  int refusals() {
    return refusals.get();
  }

  /** How many of the refusals did not say when to come back. */
  int adviceless() {
    return adviceless.get();
  }

  @Override
  public void close() {
    scheduler.shutdownNow();
  }
}
