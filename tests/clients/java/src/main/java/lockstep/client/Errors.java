package lockstep.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.Optional;

/** Errors of gRPC, and the google.rpc details in them. */
final class Errors {
  private Errors() {}

  /** The first detail of this type, such as {@code ErrorInfo.class}. */
  static <T extends Message> Optional<T> detail(Throwable error, Class<T> type) {
    Status status = StatusProto.fromThrowable(error);
    if (status == null) {
      return Optional.empty(); // the failure was on the way, not the service's
    }
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(type)) {
          return Optional.of(detail.unpack(type));
        }
      }
      return Optional.empty();
    } catch (InvalidProtocolBufferException e) {
      throw new IllegalStateException("a detail is not what it says it is", e);
    }
  }

  /** The error that the call must end with. */
  static StatusRuntimeException expect(Code code, Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException e) {
      Client.check(e.getStatus().getCode() == code, "%s instead of %s", e.getStatus(), code);
      return e;
    }
    throw new AssertionError("no " + code);
  }
}
