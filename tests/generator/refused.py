"""What protoc-gen-grpc-c refuses, and with what words; for generator_test.py."""

PROTO3 = 'syntax = "proto3";\npackage t;\nmessage M {}\n'

# .proto files that are refused, each with the whole message.
REFUSED = {
    "group": (
        {"x.proto": 'syntax = "proto2";\nmessage M {\n  repeated group G = 1 {}\n}\n'},
        'x.proto:3:3: field "g" is a group, which protobuf-c does not support'),
    "several": (
        {"x.proto": 'syntax = "proto2";\nmessage M {\n  optional group A = 1 {}\n  message N { optional group B = 1 {} }\n}\n'},
        'x.proto:3:3: field "a" is a group, which protobuf-c does not support\n'
        'x.proto:4:15: field "b" is a group, which protobuf-c does not support'),
    "types that are one in C": (
        {"x.proto": PROTO3 + "message FooBar {}\nmessage Foo_Bar {}\n"},
        'x.proto:5:1: message "Foo_Bar" needs the name T__FooBar in C, which message "FooBar" (x.proto:4:1) has already'),
    "an enum's value and a message's macro": (
        {"x.proto": PROTO3 + "message Foo {}\nenum FOO { INIT = 0; }\n"},
        'x.proto:5:1: enum "FOO" needs the name T__FOO__INIT in C, which message "Foo" (x.proto:4:1) has already\n'
        'x.proto:5:1: enum "FOO" needs the name t__foo__descriptor in C, which message "Foo" (x.proto:4:1) has already'),
    "a type that is a macro": (
        {"x.proto": 'syntax = "proto3";\nmessage EOF {}\n'},
        'x.proto:2:1: message "EOF" would be EOF in C, which is something else there; in a package, it would have that in '
        "front"),
    "an enum whose tag is a keyword": (
        {"x.proto": 'syntax = "proto3";\nmessage Bool {}\nmessage M { enum bool { ZERO = 0; } }\nenum complex { NONE = 0; }\n'},
        'x.proto:4:1: enum "complex" would be Complex in C, which is something else there; in a package, it would have that '
        "in front"),
    "a type without a name": (
        {"x.proto": 'syntax = "proto3";\nenum _1 { ZERO = 0; }\n'},
        'x.proto:2:1: enum "_1" would be "1" in C, which is no name'),
    "a method called as the runtime's function": (
        {"x.proto": 'syntax = "proto3";\npackage ls.rpc;\nmessage M {}\nservice Channel {\n  rpc New(M) returns (M);\n}\n'},
        "x.proto:5:3: method \"New\" needs the name ls_rpc_channel_new in C; those with ls_rpc_ are the runtime's"),
    "a default that is too long": (
        {"x.proto": 'syntax = "proto2";\nmessage M {\n  optional string s = 1 [default = "' + 4096 * "x" + '"];\n}\n'},
        'x.proto:3:3: the default value of field "s" is longer than 4095 bytes, which is too long for C'),
    "a method named as another's asynchronous function": (
        {"x.proto": PROTO3 + "service S {\n  rpc Get(M) returns (M);\n  rpc GetAsync(M) returns (M);\n}\n"},
        'x.proto:6:3: method "GetAsync" needs the name t_s_get_async in C, which method "Get" (x.proto:5:3) '
        "has already"),
    "methods that differ in capitals": (
        {"x.proto": PROTO3 + "service S {\n  rpc GetURL(M) returns (stream M);\n"
                             "  rpc GetUrl(stream M) returns (M);\n}\n"},
        "\n".join(
            f'x.proto:6:3: method "GetUrl" needs the name {name} in C, which method "GetURL" (x.proto:5:3) '
            "has already"
            for name in ("events_t_s_get_url", "on_t_s_get_url_done", "on_t_s_get_url_message",
                         "on_t_s_get_url_writable", "serve_t_s_get_url_start", "t_s_get_url_events",
                         "t_s_get_url_open", "t_s_get_url_read", "t_s_get_url_start",
                         "t_s_handlers.get_url"))),
    "methods that differ in an underscore": (
        {"x.proto": PROTO3 + "service S {\n  rpc New(M) returns (M);\n  rpc New_(M) returns (M);\n}\n"},
        'x.proto:6:3: method "New_" needs the name t_s_handlers.new_ in C, which method "New" (x.proto:5:3) '
        "has already"),
    "a service named as another's method": (
        {"x.proto": PROTO3 + "service S {\n  rpc A_handlers(M) returns (M);\n}\nservice sA {}\n"},
        'x.proto:7:1: service "sA" needs the name t_s_a_handlers in C, which method "A_handlers" '
        "(x.proto:5:3) has already"),
    "files whose names are one in C": (
        {"a/b.proto": 'syntax = "proto3";\n', "a_b.proto": 'syntax = "proto3";\n'},
        'a_b.proto: file "a_b.proto" needs the name a_b_proto_file in C, which file "a/b.proto" (a/b.proto) '
        "has already"),
    "a message that protobuf-c does not write": (
        {"x.proto": 'syntax = "proto3";\nimport "protobuf-c/protobuf-c.proto";\nservice S {\n'
                    "  rpc Get(ProtobufCFileOptions) returns (ProtobufCFileOptions);\n}\n"},
        "\n".join(['x.proto:4:3: method "Get" uses message "ProtobufCFileOptions" of '
                   "protobuf-c/protobuf-c.proto, which says (pb_c_file).no_generate"] * 2)),
    "c_package that is none": (
        {"x.proto": 'syntax = "proto3";\nimport "protobuf-c/protobuf-c.proto";\n'
                    'option (pb_c_file).c_package = "a b";\n'},
        'x.proto: option (pb_c_file).c_package is no package name'),
    "a path that would end a comment": (
        {"a*/b.proto": 'syntax = "proto3";\n'},
        "a*/b.proto: the file's name cannot stand in an #include"),
}

# Requests that protoc does not send, as text, each with the error in the answer.
REQUESTS = {
    "a file that is not there": (
        'file_to_generate: "x.proto"',
        "x.proto: is to be generated, but is not in the request"),
    "an import that is not there": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" dependency: "y.proto" '
        "source_code_info { location { path: [3, 0] span: [2, 0, 17] } } }",
        'x.proto:3:1: imports "y.proto", which is not in the request'),
    "a message that is not there": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" package: "p" message_type { name: "M" } '
        'service { name: "S" method { name: "Get" input_type: ".p.M" output_type: ".q.M" } } }',
        'x.proto: method "Get" uses message "q.M", which is not in the request'),
    "a method without a message": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" package: "p" message_type { name: "M" } '
        'service { name: "S" method { name: "Get" input_type: ".p.M" } } }',
        'x.proto: method "Get" uses message "", which is not in the request'),
    "editions": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" syntax: "editions" }',
        "x.proto: its edition is not 2023, the only one that is supported"),
    "a syntax of the future": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" syntax: "proto4" }',
        'x.proto: its syntax is "proto4", which is not supported'),
    "a name that is none": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" message_type { name: "M*/" } }',
        'x.proto: "M*/" is no name'),
    "no name": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" service { } }',
        'x.proto: "" is no name'),
    "a package that is none": (
        'file_to_generate: "x.proto" proto_file { name: "x.proto" package: "a..b" }',
        'x.proto: "a..b" is no package name'),
    "a path out of the directory": (
        'file_to_generate: "../x.proto" proto_file { name: "../x.proto" }',
        "../x.proto: the file's name cannot stand in an #include"),
}
