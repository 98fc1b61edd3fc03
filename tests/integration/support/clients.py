"""Clients of both services, and what their refusals say.

A call without a timeout of its own gets one, so that a service that hangs fails a test instead of stopping it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from delivery.v1 import delivery_operations_pb2_grpc, delivery_service_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from order.v1 import order_operations_pb2_grpc, order_service_pb2_grpc

from processes import Service

CALL_SECONDS = 20


class _Timeout(grpc.UnaryUnaryClientInterceptor):
    def intercept_unary_unary(self, continuation, client_call_details, request):
        if client_call_details.timeout is None:
            client_call_details = client_call_details._replace(timeout=CALL_SECONDS)
        return continuation(client_call_details, request)


def _channel(service: Service) -> grpc.Channel:
    return grpc.intercept_channel(service.channel, _Timeout())


def order_service(service: Service) -> order_service_pb2_grpc.OrderServiceStub:
    return order_service_pb2_grpc.OrderServiceStub(_channel(service))


def order_operations(service: Service) -> order_operations_pb2_grpc.OrderOperationsStub:
    return order_operations_pb2_grpc.OrderOperationsStub(_channel(service))


def delivery_service(service: Service) -> delivery_service_pb2_grpc.DeliveryServiceStub:
    return delivery_service_pb2_grpc.DeliveryServiceStub(_channel(service))


def delivery_operations(service: Service) -> delivery_operations_pb2_grpc.DeliveryOperationsStub:
    return delivery_operations_pb2_grpc.DeliveryOperationsStub(_channel(service))


@dataclasses.dataclass(frozen=True)
class Failure:
    """A call's status and its google.rpc details."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = dataclasses.field(default_factory=dict)
    fields: dict[str, str] = dataclasses.field(default_factory=dict)
    retry_seconds: float = 0.0


def failure_of(error: grpc.RpcError) -> Failure:
    found: dict[str, Any] = {}
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else []:
        info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            found.update(reason=info.reason, domain=info.domain, metadata=dict(info.metadata))
        elif detail.Unpack(request):
            found["fields"] = {violation.field: violation.description for violation in request.field_violations}
        elif detail.Unpack(retry):
            found["retry_seconds"] = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return Failure(error.code(), error.details(), **found)


def failure(call: Callable[..., Any], *arguments: Any, **options: Any) -> Failure:
    """Makes a call that must fail; returns how it did."""
    with pytest.raises(grpc.RpcError) as raised:
        call(*arguments, **options)
    return failure_of(raised.value)


def raw_call(service: Service, method: str, request: bytes, seconds: float = CALL_SECONDS) -> bytes:
    """A unary call with bytes as they are: "order.v1.OrderService/GetOrder"."""
    return service.channel.unary_unary(f"/{method}")(request, timeout=seconds)
