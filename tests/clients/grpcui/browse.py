"""Does what grpcui's page does in a browser: gets the page, asks for a method's schema, invokes methods."""

import http.cookiejar
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid

CUSTOMER = f"grpcui-{uuid.uuid4()}"
COOKIE, HEADER = "_grpcui_csrf_token", "x-grpcui-csrf-token"  # how it knows its own page again


class Browser:
    """A session with grpcui: the cookies, and the token that calls must repeat."""

    def __init__(self, address):
        self.address = address
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path):
        with self.opener.open(self.address + path, timeout=10) as answer:
            return answer.read().decode()

    def invoke(self, method, request):
        token = next(cookie.value for cookie in self.cookies if cookie.name == COOKIE)
        body = {"timeout_seconds": 10, "metadata": [], "data": [request]}
        call = urllib.request.Request(f"{self.address}/invoke/{method}", json.dumps(body).encode(),
                                      {"Content-Type": "application/json", HEADER: token})
        with self.opener.open(call, timeout=20) as answer:
            return json.load(answer)


def create_request():
    return {"request_id": str(uuid.uuid4()), "order": {
        "customer_id": CUSTOMER, "currency_code": "EUR",
        "delivery_address": {"recipient": "Ada", "lines": ["Ringstrasse 1"], "city": "Zug", "country_code": "CH"},
        "items": [{"sku": "lamp", "quantity": 2, "unit_minor_units": "1990"}]}}


def page(browser):
    text = browser.get("/")
    for service in ("order.v1.OrderService", "order.v1.OrderOperations"):
        assert service in text, f"{service} is not on the page"


def schema(browser):
    found = json.loads(browser.get("/metadata?method=order.v1.OrderService.CreateOrder"))
    assert found["requestType"] == "order.v1.CreateOrderRequest" and not found["requestStream"], found
    fields = {field["protoName"] for field in found["messageTypes"]["order.v1.Order"]}
    assert {"customer_id", "delivery_address", "items", "currency_code"} <= fields, fields
    # Known only if the files that the schemas import are reflected, too.
    assert "google.protobuf.Timestamp" in found["messageTypes"], found["messageTypes"].keys()


def invoke(browser):
    created = browser.invoke("order.v1.OrderService.CreateOrder", create_request())
    assert not created["error"], created
    order = created["responses"][0]["message"]["order"]
    assert order["version"] == "1" and order["total_minor_units"] == "3980", order
    listed = browser.invoke("order.v1.OrderService.ListOrders", {"customer_id": CUSTOMER})
    assert [found["order_id"] for found in listed["responses"][0]["message"]["orders"]] == [order["order_id"]], listed


def error(browser):
    request = create_request()
    request["order"]["currency_code"] = "euro"
    refused = browser.invoke("order.v1.OrderService.CreateOrder", request)
    assert refused["error"]["name"] == "InvalidArgument" and not refused["responses"], refused
    assert "order.currency_code" in refused["error"]["message"], refused
    # grpcui decodes only details of types that the methods' own files import; the others it names.
    assert "google.rpc.BadRequest" in json.dumps(refused["error"]["details"]), refused


def start():
    """grpcui at a free port, when its page answers."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    process = subprocess.Popen(
        [os.environ["GRPCUI"], "-plaintext", "-open-browser=false", "-bind", "127.0.0.1", "-port", str(port),
         os.environ["ORDER_TARGET"]], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    browser = Browser(f"http://127.0.0.1:{port}")
    end = time.monotonic() + 30
    while True:
        try:
            browser.get("/")
            return process, browser
        except urllib.error.URLError:
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                sys.exit("grpcui does not start")
            time.sleep(0.05)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    steps = (page, schema, invoke, error)
    failed = 0
    process, browser = start()
    try:
        for step in steps:
            try:
                step(browser)
                print(f"ok {step.__name__}", flush=True)
            except Exception as problem:  # pylint: disable=broad-exception-caught # the next steps run all the same
                failed += 1
                text = " ".join(str(problem).split())
                print(f"not ok {step.__name__}: {type(problem).__name__}: {text}", flush=True)
    finally:
        process.kill()
        process.wait()
    print(f"{len(steps) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
