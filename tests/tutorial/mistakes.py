"""Mistakes that one can make with each of the programs of docs/comparison, for the page's table.

A mistake is, for each program, the file and what is changed in it: pairs of texts, the first of which must be there,
or of a pattern and its replacement. None: the mistake cannot be made there, there being nothing to make it with."""

import dataclasses
import re


@dataclasses.dataclass
class Mistake:
    what: str
    otherwise: str  # what comes of it where the compiler says nothing
    lockstep: tuple | None
    cpp: tuple | None
    core: tuple | None


def changed(text, changes):
    """The text with the changes. ValueError when one of them does not apply."""
    for old, new in changes:
        if isinstance(old, re.Pattern):
            result, times = old.subn(new, text)
        else:
            result, times = text.replace(old, new), text.count(old)
        if times == 0 or result == text:
            raise ValueError(f"nothing to change for {old!r}")
        text = result
    return text


def function(head):
    """A pattern for a function at the left margin, which ends with the first brace there."""
    return re.compile(rf"^{head}.*?^}}\n\n?", re.MULTILINE | re.DOTALL)


CPP_WATCH = re.compile(r"^  grpc::Status WatchLevel\(.*?^  }\n", re.MULTILINE | re.DOTALL)

MISTAKES = [
    Mistake(
        "the server sends a response of another method", "the client reads what is not there",
        ("server.c", [("Stock__V1__GetLevelResponse", "Stock__V1__WatchLevelResponse"),
                      ("STOCK__V1__GET_LEVEL_RESPONSE__INIT", "STOCK__V1__WATCH_LEVEL_RESPONSE__INIT")]),
        ("server.cc", [("stock::v1::GetLevelResponse *response", "stock::v1::WatchLevelResponse *response")]),
        ("server.c", [("Stock__V1__GetLevelResponse", "Stock__V1__WatchLevelResponse"),
                      ("STOCK__V1__GET_LEVEL_RESPONSE__INIT", "STOCK__V1__WATCH_LEVEL_RESPONSE__INIT")])),
    Mistake(
        "the server streams messages of another service", "the client reads what is not there",
        ("server.c", [("Stock__V1__WatchLevelResponse", "Stock__V1__GetPriceResponse"),
                      ("stock__v1__watch_level_response", "stock__v1__get_price_response"),
                      ("next->level", "next->price")]),
        ("server.cc", [("stock::v1::WatchLevelResponse message;", "stock::v1::GetPriceResponse message;"),
                       ("message.set_level", "message.set_price")]),
        ("server.c", [("Stock__V1__WatchLevelResponse", "Stock__V1__GetPriceResponse"),
                      ("STOCK__V1__WATCH_LEVEL_RESPONSE__INIT", "STOCK__V1__GET_PRICE_RESPONSE__INIT"),
                      ("message.level", "message.price")])),
    Mistake(
        "the client sends a request of another method", "the server reads what is not there",
        ("client.c", [("Stock__V1__GetLevelRequest request = STOCK__V1__GET_LEVEL_REQUEST__INIT",
                       "Stock__V1__WatchLevelRequest request = STOCK__V1__WATCH_LEVEL_REQUEST__INIT")]),
        ("client.cc", [("stock::v1::GetLevelRequest request", "stock::v1::WatchLevelRequest request")]),
        ("client.c", [("Stock__V1__GetLevelRequest request = STOCK__V1__GET_LEVEL_REQUEST__INIT",
                       "Stock__V1__WatchLevelRequest request = STOCK__V1__WATCH_LEVEL_REQUEST__INIT")])),
    Mistake(
        "the client takes the response for another one", "it reads what is not there",
        ("client.c", [("GetLevelResponse", "WatchLevelResponse"), ("get_level_response", "watch_level_response")]),
        ("client.cc", [("stock::v1::GetLevelResponse response", "stock::v1::WatchLevelResponse response")]),
        ("client.c", [("GetLevelResponse", "WatchLevelResponse"), ("get_level_response", "watch_level_response")])),
    Mistake(
        "a handler takes another request", "it reads what is not there",
        ("server.c", [("Stock__V1__GetLevelRequest *request", "Stock__V1__WatchLevelRequest *request")]),
        ("server.cc", [("const stock::v1::GetLevelRequest *request", "const stock::v1::WatchLevelRequest *request")]),
        ("server.c", [("GetLevelRequest", "WatchLevelRequest"), ("get_level_request", "watch_level_request")])),
    Mistake(
        "two handlers are exchanged", "calls get the other method's answer",
        ("server.c", [(".get_level = get_level", ".get_level = watch_level"),
                      (".watch_level = watch_level", ".watch_level = get_level")]),
        ("server.cc", [("Status GetLevel(", "Status Other("), ("Status WatchLevel(", "Status GetLevel("),
                       ("Status Other(", "Status WatchLevel(")]),
        ("server.c", [("if (c->method == GET_LEVEL)", "if (c->method == WATCH_LEVEL)")])),
    Mistake(
        "a method that streams is answered with one response", "the client gets one, which may be right",
        ("server.c", [("  send_levels(call, next);\n",
                       "  stock_v1_stock_service_watch_level_reply(call, next);\n")]),
        ("server.cc", [("grpc::ServerWriter<stock::v1::WatchLevelResponse> *writer",
                        "stock::v1::WatchLevelResponse *response"),
                       ("if (!writer->Write(message))\n        break;", "*response = message;")]),
        ("server.c", [("    send_level(c);\n  }\n  stock__v1__watch_level_request__free_unpacked",
                       "    Stock__V1__WatchLevelResponse only = STOCK__V1__WATCH_LEVEL_RESPONSE__INIT;\n"
                       "    end(c, &only.base, GRPC_STATUS_OK, \"\");\n"
                       "  }\n  stock__v1__watch_level_request__free_unpacked")])),
    Mistake(
        "a method that does not stream is answered with a stream", "the call fails at the client",
        ("server.c", [("  stock_v1_stock_service_get_level_reply(call, &response);\n",
                       "  stock_v1_stock_service_get_level_send(call, &response);\n"
                       "  ls_rpc_call_finish(call, NULL);\n")]),
        ("server.cc", [("stock::v1::GetLevelResponse *response",
                        "grpc::ServerWriter<stock::v1::GetLevelResponse> *writer"),
                       ("response->set_level(found->second.level);", "writer->Write({});")]),
        ("server.c", [("static void get_level(call *c) {\n", "static void send_level(call *c);\n"
                                                            "static void get_level(call *c) {\n"),
                      ("    end(c, &response.base, GRPC_STATUS_OK, \"\");\n",
                       "    c->next_level = response.level;\n    send_level(c);\n")])),
    Mistake(
        "the client mistypes a method's name", "UNIMPLEMENTED",
        ("client.c", [("stock_v1_stock_service_get_level(", "stock_v1_stock_service_get_levels(")]),
        ("client.cc", [("stub->GetLevel(", "stub->GetLevels(")]),
        ("client.c", [("StockService/GetLevel", "StockService/GetLevels")])),
    Mistake(
        "the server mistypes a method's name", "UNIMPLEMENTED",
        ("server.c", [(".get_level = ", ".get_levels = ")]),
        ("server.cc", [("Status GetLevel(", "Status GetLevels(")]),
        ("server.c", [("StockService/GetLevel", "StockService/GetLevels")])),
    Mistake(
        "a field's name is mistyped", "",
        ("server.c", [("response.level", "response.levels")]),
        ("server.cc", [("response->set_level", "response->set_levels")]),
        ("server.c", [("response.level", "response.levels")])),
    Mistake(
        "a text is put where a number belongs", "",
        ("server.c", [("response.level = shelf[found].level", "response.level = shelf[found].sku")]),
        ("server.cc", [("response->set_level(found->second.level)", "response->set_level(found->first)")]),
        ("server.c", [("response.level = shelf[found].level", "response.level = shelf[found].sku")])),
    Mistake(
        "a method is left out", "UNIMPLEMENTED",
        ("server.c", [(function(r"static void send_levels\("), ""), (function(r"static void watch_level\("), ""),
                      ("      .watch_level = watch_level,\n", "")]),
        ("server.cc", [(CPP_WATCH, "")]),
        ("server.c", [(function(r"static void watch_level\("), ""), ("    else\n      watch_level(c);\n", "")])),
    Mistake(
        "a handler forgets to end a call", "the client waits until its deadline",
        ("server.c", [("    ls_rpc_call_fail(call, LS_DEADLINE_EXCEEDED, \"counting takes longer\");\n", "")]),
        ("server.cc", [("return grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, \"counting takes longer\");",
                        "return;")]),
        ("server.c", [("    end(c, NULL, GRPC_STATUS_DEADLINE_EXCEEDED, \"counting takes longer\");\n", "")])),
    Mistake(
        "a handler ends a call twice", "undefined",
        ("server.c", [("\"counting takes longer\");\n    return;\n", "\"counting takes longer\");\n")]),
        None,
        ("server.c", [("    end(c, &response.base, GRPC_STATUS_OK, \"\");\n",
                       "    end(c, &response.base, GRPC_STATUS_OK, \"\");\n"
                       "    end(c, &response.base, GRPC_STATUS_OK, \"\");\n")])),
    Mistake(
        "a message is not initialized", "undefined",
        ("client.c", [("watch = STOCK__V1__WATCH_LEVEL_REQUEST__INIT", "watch")]),
        None,
        ("client.c", [("watch = STOCK__V1__WATCH_LEVEL_REQUEST__INIT", "watch")])),
    Mistake(
        "a response is not freed", "a leak",
        ("client.c", [("    stock__v1__get_level_response__free_unpacked(response, NULL);\n", "")]),
        None,
        ("client.c", [("    stock__v1__get_level_response__free_unpacked(response, NULL);\n", "")])),
    Mistake(
        "a handler takes its own data for something else", "undefined",
        ("server.c", [("Stock__V1__WatchLevelResponse *next = arg;\n  while",
                       "Stock__V1__GetLevelResponse *other = arg;\n  other->level++;\n"
                       "  Stock__V1__WatchLevelResponse *next = arg;\n  while")]),
        None,
        ("server.c", [("  server *self = arg;\n",
                       "  server *self = arg;\n  call *other = arg;\n  other->begun = true;\n")])),
    Mistake(
        "the client does not look at the status", "in C a crash, in C++ an empty response",
        ("client.c", [("  if (stock_v1_stock_service_get_level(channel, &request, &options, &response, &status)) {\n",
                       "  stock_v1_stock_service_get_level(channel, &request, &options, &response, &status);\n  {\n"),
                      (re.compile(r"  } else {\n    explain\(&status\);\n  }\n"), "  }\n")]),
        ("client.cc", [("  if (status.ok())\n    std::printf", "  std::printf"),
                       ("level());\n  else\n    explain(status);", "level());")]),
        ("client.c", [("  if (response != NULL) {\n", "  {\n")])),
]
