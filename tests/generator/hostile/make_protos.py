#!/usr/bin/env python3
"""Writes .proto files that are legal, and odd: names that C, C++ or POSIX use, comments that look like code, types nested
deep, services with hundreds of methods, defaults that no literal has, imports in diamonds, all syntaxes.

    make_protos.py --seed N --count N --output DIR

The same seed gives the same files. DIR/files.json lists them in an order in which each comes after what it imports:

    path      as imports have it
    editions  true when protoc must know editions
    refused   what the generators must say of it ("*" is any place); null when they take it
    name      what its ls_rpc_file is called in C, less "_file"
"""

import argparse
import json
import pathlib
import random
import re
import string

KEYWORDS = """
    _Alignas _Alignof _Atomic _BitInt _Bool _Complex _Decimal128 _Decimal32 _Decimal64 _Generic _Imaginary _Noreturn
    _Static_assert _Thread_local alignas alignof and and_eq asm assert atomic_cancel auto bitand bitor bool break case
    catch char char16_t char32_t char8_t class co_await co_return co_yield compl complex concept const const_cast
    consteval constexpr constinit continue decltype default delete do double dynamic_cast else enum explicit export
    extern false final float for friend goto if import inline int long module mutable namespace new noexcept noreturn
    not not_eq nullptr operator or or_eq override private protected public register reinterpret_cast requires restrict
    return short signed sizeof static static_assert static_cast struct switch template this thread_local throw true
    try typedef typeid typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq
    __asm__ __attribute__ __extension__ __func__ __inline __int128 __linux__ __restrict __thread __typeof__
""".split()

# Macros and types of headers, in their own capitals.
HEADER_WORDS = """
    BUFSIZ CHAR_BIT CMSG_DATA EDOM EINTR EOF ERANGE EXIT_FAILURE FD_SET FILE FLT_MAX HUGE_VAL I INFINITY INT_MAX INT_MIN
    LC_ALL LONG_MAX MAX MB_CUR_MAX MIN NAN NULL NSIG O_RDONLY PATH_MAX PIPE_BUF RAND_MAX SEEK_SET SIGINT SIGKILL SIG_DFL
    SIZE_MAX SSIZE_MAX STDIN_FILENO S_ISREG TMP_MAX TRUE FALSE WNOHANG WEXITSTATUS
    alloca atomic_init basename cimag creal d_fileno environ errno h_addr h_errno htons i386 int32_t int64_t isalpha
    isnan linux log ls_rpc_call ls_rpc_status major makedev max min minor mips msg_cbytes ntohl offsetof optarg optind
    protobuf_c_boolean pthread_cleanup_push putchar round s6_addr sa_handler setjmp si_pid si_value sigmask signals size_t
    slots sparc sqrt ssize_t st_atime st_mtime stderr stdin stdout strdup sun toupper uint32_t uint64_t uint8_t unix
    va_arg va_end va_start ProtobufCMessage PROTOBUF_C_LABEL_NONE
    base descriptor init pack unpack free_unpacked message request response handlers events start done send reply
""".split()

# Words of the language itself, where its grammar takes them as names.
PROTO_WORDS = """
    syntax import package option message enum service rpc returns stream extend extensions reserved optional required
    repeated group map oneof max to double int32 int64 string bytes public weak
""".split()

WORDS = list(dict.fromkeys(KEYWORDS + HEADER_WORDS + PROTO_WORDS))

SCALARS = ["double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32",
           "sfixed64", "bool", "string", "bytes"]
KEYS = ["int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64", "bool",
        "string"]

COMMENTS = [
    "/* a comment in a comment */ and one that ends */ twice */", "// slashes // in a row", "*/", "/*", "*", "/", "/**/",
    "a backslash at the end \\", "a trigraph ??/", "??/", "??=define X ??(??)", "*\\", "a */\\", "#define NULL 1",
    "a \t tab, and a bell \x07", "Größe, размер, 大小, 😀, e\u0301",
    "from right to left: \u202e)txet\u202c and \u2066\u202b\u200f", "a line\u2028 and a paragraph\u2029 separator",
    "$hole$ and %s and %n", "\"quotes\" and 'quotes'", "@param x <b>bold</b> \\brief \\", "x" * 500, "__COUNTER__",
]

# Literals of default values, by type.
DEFAULTS = {
    "double": ["inf", "-inf", "nan", "-0.0", "0.1", "1e308", "1.7976931348623157e308", "4.9e-324", "123456789.123456789",
               "1", "-7", "3.14159265358979", "1e15", "1e30", "1.00001e+30"],
    "float": ["inf", "-inf", "nan", "-0", "0.1", "16777217", "3.4028235e38", "1.4e-45", "1e10", "1.00001e+30", "-2"],
    "int32": ["-2147483648", "2147483647", "0x7fffffff", "0", "-0x80000000"],
    "sint32": ["-2147483648"], "sfixed32": ["-2147483648"],
    "int64": ["-9223372036854775808", "9223372036854775807", "0", "-1"],
    "sint64": ["-9223372036854775808"], "sfixed64": ["-9223372036854775808"],
    "uint32": ["4294967295", "0"], "fixed32": ["4294967295"],
    "uint64": ["18446744073709551615", "0xffffffffffffffff"], "fixed64": ["18446744073709551615"],
    "bool": ["true", "false"],
    "string": [r'""', r'"a\"b\\c\'d"', r'"??/??=??("', r'"\a\b\f\n\r\t\v?"', '"Größe 大小 😀"', r'"%s$x$\x41"', r'"[] = \""',
               '"-9223372036854775808ll 1.00001e+30"', '"' + "long " * 700 + '"', r'"/* */ // "'],
    "bytes": [r'""', r'"\000\001\xff"', r'"??/\377"', r'"\"\\\'"', '"' + r"\377" * 3000 + '"', r'"a\0001"', r'"\x41""B"'],
}


class Chance(random.Random):
    def some(self, words, count):
        return self.sample(words, min(count, len(words)))

    def comment(self, indent=""):
        lines = [self.choice(COMMENTS) for _ in range(self.randrange(1, 4))]
        if self.random() < 0.3 and not any("*/" in line or "/*" in line for line in lines):
            return f"{indent}/* " + f"\n{indent} * ".join(lines) + f"\n{indent} */\n"
        # A comment of slashes goes on where a backslash ends its line in C, but not in a .proto file.
        return "".join(f"{indent}// {line}\n" for line in lines)

    def field_type(self):
        return self.choice(SCALARS)


class File:
    """One file on its way: its text, and what the generators must say of it."""

    def __init__(self, path, text, refused=None):
        self.path = path
        self.text = text
        self.refused = refused
        self.editions = text.startswith("edition ") or "\nedition " in text

    def entry(self):
        name = re.sub(r"[^A-Za-z0-9]", "_", self.path.encode().decode("latin-1"))
        return {"path": self.path, "editions": self.editions, "refused": self.refused,
                "name": ("file_" if name[0] in string.digits else "") + name}


def unlike(words):
    """The words that differ in more than capitals and underscores, so that none is another's in C."""
    seen = {}
    for word in words:
        seen.setdefault(re.sub("_", "", word).lower(), word)
    return list(seen.values())


def header(package, syntax="proto3"):
    return f'syntax = "{syntax}";\npackage {package};\n'


def methods(chance, names, message="M", comments=False):
    text = ""
    for name in names:
        stream = (chance.choice(["", "stream "]), chance.choice(["", "stream "]))
        text += chance.comment("  ") if comments and chance.random() < 0.3 else ""
        text += f"  rpc {name}({stream[0]}{message}) returns ({stream[1]}{message});\n"
    return text


# --- Kinds of files. Each is given its chance, a package and a path of its own, and gives a list of files. ---


def nested_deep(chance, package, path):
    depth = chance.randrange(30, 32)
    text = header(package, chance.choice(["proto2", "proto3"]))
    label = "optional " if "proto2" in text else ""
    for level in range(depth):
        pad = " " * level
        text += f"{pad}message L{level} {{\n{pad} enum E {{ E_{level} = 0; }}\n{pad} {label}E e = 1;\n"
        if level + 1 < depth:
            text += f"{pad} {label}L{level + 1} inner = 2;\n"
    text += f"  {label}L0 outermost = 3;\n" + "}" * depth + "\n"
    full = ".".join(f"L{level}" for level in range(depth))
    text += f"service Deep {{\n  rpc Get({full}) returns (stream {full});\n}}\n"
    return [File(path, text)]


def many_methods(chance, package, path):
    names = [f"Method{number}" for number in range(500)]
    text = header(package) + "message M {}\nservice Many {\n" + methods(chance, names) + "}\n"
    return [File(path, text)]


def word_methods(chance, package, path):
    text = header(package) + "message M {}\n"
    for kind, words in (("Plain", unlike(WORDS)), ("Capital", [word.capitalize() for word in unlike(WORDS)])):
        words = [word for word in words if word.lower() not in ("handlers_", "register_", "service_")]
        text += f"service {kind} {{\n{methods(chance, words, comments=True)}}}\n"
    return [File(path, text)]


def word_fields(chance, package, path):
    """Also those that are one in C: EOF and eof."""
    text = header(package, "proto2")
    words = list(dict.fromkeys(WORDS + [word.lower() for word in HEADER_WORDS]))
    for label in ("required", "optional", "repeated"):
        text += f"message {label.capitalize()} {{\n"
        for number, word in enumerate(words, 1):
            text += f"  {label} {chance.field_type()} {word} = {number};\n"
        text += "}\n"
    return [File(path, text)]


def word_fields_proto3(chance, package, path):
    text = header(package)
    words = unlike(WORDS)
    for name, label in (("Plain", ""), ("Presence", "optional "), ("Many", "repeated ")):
        text += f"message {name} {{\n"
        for number, word in enumerate(words, 1):
            text += f"  {label}{chance.field_type()} {word} = {number};\n"
        text += "}\n"
    text += "message Union {\n  oneof union {\n"
    for number, word in enumerate(words, 1):
        if word != "union":
            text += f"    {chance.field_type()} {word} = {number};\n"
    return [File(path, text + "  }\n}\n")]


def word_types(chance, package, path):
    text = header(package)
    words = [word for word in unlike(WORDS) if word.strip("_")]
    for number, word in enumerate(words):
        other = f".{package}.{chance.choice(words[:number + 1])}"
        if number % 4 == 3:
            text += f"enum {word} {{ {word}_ZERO_{number} = 0; }}\n"
        else:
            text += f"message {word} {{ {other} x = 1; repeated {other} {word} = 2; }}\n"
    text += f"service Types {{\n"
    for number, word in enumerate(words):
        if number % 4 != 3:
            text += f"  rpc M{number}(stream .{package}.{word}) returns (.{package}.{word});\n"
    return [File(path, text + "}\n")]


def word_enums(chance, package, path):
    text = header(package, "proto2")
    for number in range(4):
        text += f"message In{number} {{\n"
        for scope, words in enumerate((chance.some(WORDS, 40), WORDS if number == 0 else ["true", "false"])):
            words = [word for word in words if word not in ("option", "reserved")]
            enum = chance.choice([name for name in ("enum", "bool", "Bool", "E", "INT", "NULL") if name not in words])
            values = "".join(f"      {word} = {value - 3 * number};\n" for value, word in enumerate(words))
            text += f"  message Scope{scope} {{\n    enum {enum} {{\n{values}    }}\n  }}\n"
        text += "}\n"
    return [File(path, text)]


def word_oneofs(chance, package, path):
    text = header(package)
    for number, word in enumerate(unlike(WORDS)):
        text += (f"message M{number} {{\n  oneof {word} {{\n    bytes a = 1;\n    M{number} b = 2;\n    string {word}_ = 3;\n"
                 f"    int32 _not_set = 4;\n  }}\n}}\n")
    return [File(path, text)]


def word_packages(chance, package, path):
    package = ".".join([package, *(chance.choice(KEYWORDS) for _ in range(5))])
    enum, value, service = chance.some(unlike(KEYWORDS), 3)
    return [File(path, header(package) + f"message M {{ M in = 1; }}\nenum {enum} {{ {value} = 0; }}\nservice {service} {{\n"
                 f"{methods(chance, chance.some(unlike(KEYWORDS), 8))}}}\n")]


def word_services(chance, package, path):
    text = header(package) + "message M {}\n"
    for word in unlike(chance.some(WORDS, 60)):
        text += f"service {word} {{\n{methods(chance, ['Get', 'M' + word.strip('_')])}}}\n"
    return [File(path, text)]


def comments(chance, package, path):
    text = chance.comment() + "\n" + chance.comment() + header(package)
    for message in range(12):
        text += chance.comment() + f"message M{message} {{  // {chance.choice(COMMENTS)}\n"
        for number in range(1, 5):
            text += chance.comment("  ") + f"  string f{number} = {number};  // {chance.choice(COMMENTS)}\n"
        text += chance.comment("  ") + "  oneof choice {\n" + chance.comment("    ") + "    bool yes = 9;\n  }\n}\n"
        text += chance.comment() + f"enum E{message} {{\n" + chance.comment("  ")
        text += f"  A{message} = 0;  // {chance.choice(COMMENTS)}\n}}\n"
    text += chance.comment() + "service S {\n"
    for number, comment in enumerate(COMMENTS):
        text += chance.comment("  ") + f"  // {comment}\n" + methods(chance, [f"R{number}"], "M1")
    return [File(path, text + "}\n" + chance.comment())]


def comments_not_utf8(chance, package, path):
    """In the encodings of old."""
    file = comments(chance, package, path)[0]
    file.text = file.text.replace("Größe", "Gr\udcf6\udcdfe \udcc3 \udce2\udc82 \udcff")
    return [file]


def long_names(chance, package, path):
    def name(length):
        return "".join(chance.choice(string.ascii_letters) for _ in range(length))

    field = name(300).lower()
    text = header(f"{package}.{name(120)}") + f"message {name(250)} {{\n  optional string {field} = 1;\n"
    text += f"  message {name(200)} {{}}\n  enum {name(200)} {{ {name(500)} = 0; }}\n}}\nmessage M {{}}\n"
    text += f"service {name(250)} {{\n{methods(chance, [name(300) for _ in range(6)])}}}\n"
    return [File(path, text)]


def too_long_name(chance, package, path):
    text = header(package) + f"message M{'x' * 4095} {{}}\n"
    return [File(path, text, f'{path}:3:1: message "M' + "x" * 40)]


def same_names(chance, package, path):
    """One short name in many scopes, and in several packages."""
    files = []
    for number in range(3):
        scope = f"{package}.p{number}"
        imported = "".join(f'import "{file.path}";\n' for file in files)
        text = f'syntax = "proto3";\npackage {scope};\n{imported}'
        text += "message Same {\n  message Same1 {\n    message Same { Same1 same = 1; }\n    Same same = 1;\n"
        text += "    enum E { NULL = 0; }\n    E e = 2;\n  }\n  enum E { NULL = 0; EOF = 1; }\n  Same1 same = 1;\n  E e = 2;\n"
        for index, file in enumerate(files):
            text += f"  .{package}.p{index}.Same other{index} = {10 + index};\n"
        text += "}\nenum E { NULL = 0; }\nservice Same2 {\n"
        for index in range(number + 1):
            text += f"  rpc Same{index}(.{package}.p{index}.Same) returns (stream .{package}.p{index}.Same.Same1);\n"
        files.append(File(path.replace(".proto", f"/p{number}/same.proto"), text + "}\n"))
    return files


def diamond(chance, package, path):
    def name(part):
        return path.replace(".proto", f"/{part}.proto")

    bottom = File(name("bottom"), header(package) + "message Bottom { Bottom down = 1; }\nenum Kind { ZERO = 0; }\n")
    files = [bottom]
    for side in ("left", "right"):
        how = chance.choice(["public ", "weak ", ""]) if side == "left" else "public "
        files.append(File(name(side), header(package) + f'import {how}"{bottom.path}";\n'
                          f"message {side.capitalize()} {{ Bottom bottom = 1; Kind kind = 2; }}\n"))
    text = header(f"{package}.top")
    text += "".join(f'import public "{file.path}";\n' for file in files[1:])
    text += "message Top { Left left = 1; Right right = 2; map<string, Bottom> bottoms = 3; }\n"
    text += "service Top2 {\n" + methods(chance, ["A", "B", "C", "D"], f".{package}.Bottom") + "}\n"
    files.append(File(name("top"), text))
    files.append(File(name("user"), f'syntax = "proto3";\nimport "{name("top")}";\nimport weak "{name("left")}";\n'
                      f"package {package}.user;\nservice Use {{\n"
                      f"  rpc Get(stream top.Top) returns (stream .{package}.Bottom);\n}}\n"))
    return files


def unused_import(chance, package, path):
    first = File(path.replace(".proto", "/first.proto"), header(package) + "message First {}\n")
    return [first, File(path, header(package) + f'import "{first.path}";\nservice Alone {{}}\n')]


def no_package(chance, package, path):
    mark = package.replace(".", "").capitalize()
    text = f'syntax = "proto3";\nmessage {mark}Message {{ {mark}Enum int = 1; }}\nenum {mark}Enum {{ {mark.upper()}_NULL = 0; }}\n'
    text += f"service {mark} {{\n{methods(chance, chance.some(KEYWORDS, 10), mark + 'Message')}}}\n"
    return [File(path, text)]


def no_package_assert(chance, package, path):
    """Function names that are keywords themselves: static_assert, thread_local, wchar_t …"""
    text = f'syntax = "proto3";\nmessage {package.capitalize()}M {{}}\nmessage Bool {{ message Generic {{}} }}\n'
    for service, names in (("Static", ["Assert", "Cast"]), ("Thread", ["Local"]), ("Wchar", ["T"]), ("Co", ["Await", "Yield"]),
                           ("Size", ["T"]), ("Int32", ["T"]), ("Not", ["Eq"])):
        text += f"service {service} {{\n{methods(chance, names, package.capitalize() + 'M')}}}\n"
    return [File(path, text)]


def no_package_macro(chance, package, path):
    kind = chance.choice([("message", ""), ("enum", f" ZERO_{package.replace('.', '_')} = 0; ")])
    words = ["NULL", "EOF", "FILE", "SIGINT", "EINTR", "I", "INFINITY", "BUFSIZ", "eRANGE"]
    word = chance.choice(words if kind[0] == "message" else [*words, "bool", "complex", "_LP64", "Generic"])
    camel = "".join(part[:1].upper() + part[1:] for part in word.split("_"))
    return [File(path, f'syntax = "proto3";\n\n{kind[0]} {word} {{{kind[1]}}}\n',
                 f'{path}:3:1: {kind[0]} "{word}" would be {camel} in C, which is something else there')]


def no_name(chance, package, path):
    word = chance.choice(["_", "__", "_1", "__2x"])
    return [File(path, f'syntax = "proto3";\n\nmessage {word} {{}}\n',
                 f'{path}:3:1: message "{word}" would be "{word.strip("_")}" in C, which is no name')]


def file_names(chance, package, path):
    stem = path.removesuffix(".proto")
    names = [f"{stem}/1-2.3.x.proto", f"{stem}/class.proto", f"{stem}/NULL.proto", f"{stem}/with space.proto",
             f"{stem}/größe.proto", f"{stem}/.hidden.proto", f"{stem}/proto.proto.proto", f"{stem}/old.protodevel",
             f"{stem}/none", f"{stem}/a$b%s@c#d.proto", f"{package[0]}-{stem}.proto", f"9{stem}.proto"]
    files = []
    for number, name in enumerate(names):
        imports = "".join(f'import "{file.path}";\n' for file in chance.some(files, 3))
        text = header(f"{package}.n{number}") + imports
        text += "message M {}\nservice S {\n" + methods(chance, ["Get", "Default"]) + "}\n"
        files.append(File(name, text))
    return files


def empty(chance, package, path):
    stem = path.removesuffix(".proto")
    return [File(f"{stem}/nothing.proto", ""),
            File(f"{stem}/comment.proto", "// nothing\n"),
            File(f"{stem}/syntax.proto", 'syntax = "proto2";\n;;;\n'),
            File(f"{stem}/empty.proto", header(package) + "message A {;}\nmessage B { message C {} }\nservice D {}\n"
                 "message E { reserved 1, 5 to 9, 100 to max; reserved \"int\", \"NULL\"; }\n")]


def numbers(chance, package, path):
    text = header(package, "proto2") + "message M {\n"
    for number in chance.some([1, 15, 16, 2047, 2048, 18999, 20000, 262143, 33554431, 536870911], 10):
        text += f"  optional {chance.field_type()} f{number} = {number};\n"
    text += "  extensions 1000 to 1999;\n"
    text += "  reserved 3000 to 4000, 30000;\n}\nextend M { repeated int64 more = 1000; optional M int = 1999; }\n"
    text += "message N { extend M { optional string default = 1001 [default = \"x\"]; } }\n"
    return [File(path, text)]


def defaults(chance, package, path):
    text = header(package, "proto2") + "enum Bool { TRUE = 5; FALSE = -5; NULL = 0; }\n"
    for message in range(2):
        label = "required" if message == 0 else "optional"
        text += f"message M{message} {{\n"
        number = 0
        for type, values in DEFAULTS.items():
            for value in values:
                number += 1
                text += f"  {label} {type} {chance.choice('abAB')}{number}_{type}X = {number} [default = {value}];\n"
        for value in ("TRUE", "FALSE", "NULL"):
            number += 1
            text += f"  {label} Bool e{number} = {number} [default = {value}];\n"
        text += f"  oneof o {{ string x = {number + 1} [default = \"??/\"]; float y = {number + 2} [default = inf]; }}\n}}\n"
    return [File(path, text)]


def too_long_default(chance, package, path):
    type = chance.choice(["string", "bytes"])
    return [File(path, header(package, "proto2") + f'message M {{\n  optional {type} f = 1 [default = "{"x" * 4096}"];\n}}\n',
                 f'{path}:4:3: the default value of field "f" is longer than 4095 bytes')]


def enums(chance, package, path):
    text = header(package, "proto2")
    numbers = {-2147483648, 2147483647, 0, -1, 1, *(chance.randrange(-2**31, 2**31) for _ in range(300))}
    order = list(numbers)
    chance.shuffle(order)
    text += "enum Sparse {\n" + "".join(f"  V{number} = {value};\n" for number, value in enumerate(order)) + "}\n"
    text += "enum Alias {\n  option allow_alias = true;\n  int = 1;\n  INT = 1;\n  Int = 0x1;\n  iNT = -1;\n}\n"
    text += "enum Dense {\n" + "".join(f"  D{value} = {value};\n" for value in range(1000)) + "  reserved 2000 to max;\n}\n"
    text += "message M { optional Sparse s = 1 [default = V3]; repeated Alias a = 2 [packed = true]; required Dense d = 3; }\n"
    return [File(path, text)]


def group(chance, package, path):
    label = chance.choice(["optional", "required", "repeated"])
    return [File(path, header(package, "proto2") + f"message M {{\n  {label} group Part = 1 {{ optional int32 a = 1; }}\n}}\n",
                 f'{path}:4:3: field "part" is a group, which protobuf-c does not support')]


def group_extension(chance, package, path):
    return [File(path, header(package, "proto2") + "message M { extensions 1; }\nextend M {\n"
                 "  optional group Part = 1 {}\n}\n",
                 f'{path}:5:3: field "part" is a group, which protobuf-c does not support')]


def optional(chance, package, path):
    text = header(package) + "enum E { ZERO = 0; }\n"
    text += "message M {\n  message Quantity {}\n  oneof first { int32 in_first = 100; }\n"
    for number, type in enumerate([*SCALARS, "E", "M"], 1):
        text += f"  optional {type} field_{type.lower()} = {number};\n"
    text += "  optional int32 quantity = 30;\n  optional int64 Big = 31;\n  optional bytes _data = 32;\n"
    text += "  optional string x = 33;\n  optional int32 x_case = 34;\n  optional bool a = 35;\n  enum A { B = 0; }\n"
    text += "  optional M recursive = 36;\n  optional Quantity other = 37 [deprecated = true];\n"
    text += "  oneof last { string s = 101; M m = 102; bytes d = 103; }\n  optional uint32 not_set = 38;\n}\n"
    return [File(path, text + "service S { rpc Get(M) returns (M.Quantity); }\n")]


def maps(chance, package, path):
    text = header(package) + "enum Kind { NONE = 0; }\nmessage Node {\n  Node left = 1;\n  repeated Node all = 2;\n"
    for number, key in enumerate(KEYS, 3):
        value = chance.choice([*SCALARS, "Node", "Kind"])
        text += f"  map<{key}, {value}> {chance.choice(['int', 'map', 'linux', 'EOF', 'key'])}_{number} = {number};\n"
    text += "  map<string, Node> linux = 30;\n  map<string, Node> int = 31;\n  map<int32, bytes> base = 32;\n}\n"
    return [File(path, text)]


def options(chance, package, path):
    text = 'syntax = "proto2";\nimport "google/protobuf/descriptor.proto";\n' + f"package {package};\n"
    text += "message Odd { optional string s = 1; repeated float f = 2; optional Odd odd = 3; extensions 100; }\n"
    kinds = ["File", "Message", "Field", "Oneof", "Enum", "EnumValue", "Service", "Method"]
    base = chance.randrange(50000, 90000)
    for number, kind in enumerate(kinds):
        text += f"extend google.protobuf.{kind}Options {{ optional Odd {kind.lower()}_odd = {base + number}; }}\n"
    odd = '{ s: "*/ \\"??/\\377\\\\" f: [inf, -1e30] odd: < odd { s: \'\' } > }'
    text += f"option (file_odd) = {odd};\noption java_package = \"int.class\";\noption optimize_for = SPEED;\n"
    text += f"message M {{\n  option (message_odd) = {odd};\n  option deprecated = true;\n"
    text += f"  optional int32 old = 1 [deprecated = true, (field_odd) = {odd}, json_name = \"\\\"*/\\\\\"];\n"
    text += f"  repeated M kept = 2 [deprecated = true, lazy = true];\n  oneof o {{ option (oneof_odd) = {odd}; M m = 3; }}\n}}\n"
    text += f"enum E {{ option (enum_odd) = {odd}; A = 0 [deprecated = true, (enumvalue_odd).s = \"x\"]; }}\n"
    text += f"service S {{\n  option (service_odd) = {odd};\n  option deprecated = true;\n"
    text += f"  rpc Get(M) returns (stream M) {{ option (method_odd) = {odd}; option idempotency_level = IDEMPOTENT; }}\n"
    text += "  rpc Put(M) returns (M) { option deprecated = true; option idempotency_level = NO_SIDE_EFFECTS; }\n}\n"
    return [File(path, text)]


def protobuf_c_options(chance, package, path):
    text = f'syntax = "proto2";\nimport "protobuf-c/protobuf-c.proto";\npackage {package};\n'
    text += f'option (pb_c_file) = {{ c_package: "C_{package}.x", const_strings: true }};\n'
    text += 'message M {\n  option (pb_c_msg).base_field_name = "linux_";\n  optional string base = 1;\n  required int32 linux = 2;\n'
    text += "  optional string text = 3 [(pb_c_field).string_as_bytes = true];\n  optional bool has_text = 4;\n}\n"
    return [File(path, text + "service S { rpc Get(M) returns (M); }\n")]


def small_code(chance, package, path):
    text = header(package) + "option optimize_for = CODE_SIZE;\nenum E { A = 0; }\n"
    return [File(path, text + "message M { int32 int = 1; E e = 2; optional M m = 3; }\nservice S { rpc Get(M) returns (M); }\n")]


def streams_of_another_package(chance, package, path):
    other = File(path.replace(".proto", "/other.proto"), header(package + ".int.other") + "message Outer { message Inner {} }\n")
    text = header(package + ".user") + f'import "{other.path}";\nimport "google/protobuf/empty.proto";\nservice S {{\n'
    for number, (to, back) in enumerate((("", ""), ("stream ", ""), ("", "stream "), ("stream ", "stream "))):
        text += f"  rpc M{number}({to}.{package}.int.other.Outer.Inner) returns ({back}.{package}.int.other.Outer);\n"
        text += f"  rpc N{number}({to}google.protobuf.Empty) returns ({back}.{package}.int.other.Outer);\n"
    return [other, File(path, text + "}\n")]


def members(chance, package, path):
    """Members that protobuf-c adds, and fields that are called so."""
    text = header(package, "proto2") + """message M {
  optional int32 a = 1;  optional int32 has_a = 2;  optional string has_has_a = 3;
  repeated int32 b = 4;  required int32 n_b = 5;  repeated bytes n_n_b = 6;
  oneof choice { int32 c = 7; int32 not_set = 8; int32 _not_set = 9; bytes fooBar = 10; bytes foo_bar = 11; }
  required int32 choice_case = 12;
  oneof Choice { int32 C = 13; int32 CHOICE_CASE = 14; }
  oneof choice_foo { int32 bar = 15; bool d = 16; }
  optional int32 base = 17;  optional int32 Base = 18;  optional int32 base_ = 19;
  optional int32 D = 20;  optional int32 linux = 21;  optional int32 Linux = 22;  optional int32 linux_ = 23;
  optional bool has_linux_ = 24;  optional int32 int_ = 25;  optional int32 int = 26;  optional int32 INT = 27;
}
message N {
  oneof a { int32 b_c = 1; }
  oneof a_b { int32 c = 2; }
  oneof A { int32 B_C = 3; }
  optional N has_has_x = 4;  optional N has_x = 5;  optional fixed32 x = 6;
}
"""
    return [File(path, text)]


def clashing_types(chance, package, path):
    kind, first, second, message = chance.choice([
        ("types", "message Foo_Bar {}", "message FooBar {}", 'message "FooBar" needs the name'),
        ("nested", "message Foo { message Bar {} }", "message foo__bar {}", 'message "foo__bar" needs the name'),
        ("enum", "message FOO {}", "enum Foo { INIT = 0; }", 'enum "Foo" needs the name'),
        ("case", "message M { message BCase {} }", "message N {}\nmessage O { oneof b { bool c = 1; } message BCase {} }",
         'message "BCase" needs the name'),
        ("service", "message Foo { message Bar {} }", "message X {}\nservice Foo__Bar { rpc _init(X) returns (X); rpc _init_(X) returns (X); }",
         None)])
    if message is None:
        return [File(path, header(package) + f"{first}\n{second}\n")]
    return [File(path, header(package) + f"{first}\n{second}\n", f"{path}:*: {message}")]


def clashing_methods(chance, package, path):
    first, second = chance.choice([("Get", "GetAsync"), ("GetURL", "GetUrl"), ("Up", "UP"), ("Get", "Get_reply")])
    text = header(package) + f"message M {{}}\nservice S {{\n  rpc {first}(M) returns (M);\n  rpc {second}(M) returns (M);\n}}\n"
    return [File(path, text, f'{path}:6:3: method "{second}" needs the name')]


def runtime_names(chance, package, path):
    text = f'syntax = "proto3";\npackage ls;\nmessage {package.capitalize()} {{}}\nservice Rpc {{\n'
    text += f"  rpc Unary({package.capitalize()}) returns ({package.capitalize()});\n}}\n"
    return [File(path, text, f'{path}:5:3: method "Unary" needs the name ls_rpc_unary in C')]


def method_shapes(chance, package, path):
    names = ["_", "__", "a", "A", "_a_", "A1", "a__b", "A_B_C", "aBCdE", "HTTP", "X509Get", "x_", "_1", "Zz__"]
    seen, kept = set(), []
    for name in names:
        snake = re.sub(r"(?<![A-Z])(?<!^)([A-Z])", r"_\1", name).lower()
        if snake not in seen:
            seen.add(snake)
            kept.append(name)
    return [File(path, header(package) + "message M {}\nservice _S_ {\n" + methods(chance, kept) + "}\n")]


def all_types(chance, package, path):
    text = header(package, chance.choice(["proto2", "proto3"]))
    proto2 = "proto2" in text
    text += "enum Kind { ZERO = 0; }\nmessage Leaf {}\n"
    for message in range(8):
        text += f"message M{message} {{\n"
        for number in range(1, 70):
            label = chance.choice(["optional ", "repeated ", "required " if proto2 else ""])
            type = chance.choice([*SCALARS, "Kind", "Leaf"])
            packed = ""
            if label == "repeated " and type not in ("string", "bytes", "Leaf"):
                packed = chance.choice(["", " [packed = true]", " [packed = false]"])
            text += f"  {label}{type} f{number} = {number}{packed};\n"
        text += "}\n"
    return [File(path, text)]


# --- Editions ---


def edition_header(package, *features):
    lines = "".join(f"option features.{feature};\n" for feature in features)
    return f'edition = "2023";\npackage {package};\n{lines}'


def edition_defaults(chance, package, path):
    text = edition_header(package) + "enum Open { ZERO = 0; ONE = 1; }\nenum Closed { option features.enum_type = CLOSED; TWO = 2; }\n"
    text += "message M {\n"
    for number, type in enumerate([*SCALARS, "Open", "Closed", "M"], 1):
        text += f"  {type} plain_{type.lower()} = {number};\n  repeated {type} many_{type.lower()} = {100 + number};\n"
    text += "  int32 required = 50 [features.field_presence = LEGACY_REQUIRED];\n"
    text += "  repeated int32 expanded = 51 [features.repeated_field_encoding = EXPANDED];\n"
    text += "  string raw = 52 [features.utf8_validation = NONE];\n"
    text += "  float inf = 53 [default = inf];\n  Closed closed = 54 [default = TWO];\n  string text = 55 [default = \"??/\"];\n"
    text += "  map<string, M> by_name = 56;\n  map<int32, Open> open_by_number = 57;\n"
    text += "  oneof choice { int32 int = 58; M m = 59; }\n  extensions 1000 to max;\n}\n"
    text += "extend M { repeated int32 more = 1000; M one = 1001; }\n"
    return [File(path, text + "service S { rpc Get(stream M) returns (M); }\n")]


def edition_implicit(chance, package, path):
    text = edition_header(package, "field_presence = IMPLICIT", "utf8_validation = NONE")
    text += "enum E { ZERO = 0; }\nmessage M {\n"
    for number, type in enumerate([*SCALARS, "E", "M"], 1):
        text += f"  {type} plain_{type.lower()} = {number};\n  repeated {type} many_{type.lower()} = {100 + number};\n"
    text += "  int32 with_presence = 50 [features.field_presence = EXPLICIT];\n"
    text += "  M sub = 51;\n  map<string, E> by_name = 52;\n  oneof choice { bytes bytes = 53; M m = 54; }\n"
    text += "  repeated E expanded = 55 [features.repeated_field_encoding = EXPANDED];\n  extensions 1000 to 2000;\n}\n"
    return [File(path, text + "extend M { int32 more = 1000; }\nservice S { rpc Get(M) returns (stream M); }\n")]


def edition_mixed(chance, package, path):
    """Files of all syntaxes that use one another's enums and messages."""
    def name(part):
        return path.replace(".proto", f"/{part}.proto")

    files = [
        File(name("enums"), edition_header(package) + "enum E { ZERO = 0; }\nmessage A { string s = 1; E e = 2; }\n"),
        File(name("three"), header(package) + "enum F { NONE = 0; }\nmessage B { F f = 1; }\n"),
    ]
    text = f'edition = "2023";\npackage {package};\n' + "".join(f'import "{file.path}";\n' for file in files)
    text += "message C {\n  E e = 1 [features.field_presence = IMPLICIT];\n  F f = 2;\n  A a = 3;\n  B b = 4;\n  string s = 5;\n}\n"
    files.append(File(name("mixed"), text))
    return files


def edition_words(chance, package, path):
    text = edition_header(package, *chance.some(["field_presence = IMPLICIT", "repeated_field_encoding = EXPANDED"], 2))
    text += "message M {\n"
    for number, word in enumerate(unlike(WORDS), 1):
        text += f"  {chance.choice(['', '', 'repeated '])}{chance.field_type()} {word} = {number};\n"
    return [File(path, text + "}\n")]


def edition_delimited(chance, package, path):
    if chance.random() < 0.5:
        text = edition_header(package, "message_encoding = DELIMITED")
        text += "message M {\n  map<string, M> kept = 1;\n  M m = 2;\n}\n"
        return [File(path, text, f'{path}:6:3: field "m" is ')]
    text = edition_header(package) + "message M {\n  M a = 1;\n  M m = 2 [features.message_encoding = DELIMITED];\n}\n"
    return [File(path, text, f'{path}:5:3: field "m" is ')]


def edition_no_equal(chance, package, path):
    what, said = chance.choice([
        ("int32 b = 2 [features.field_presence = LEGACY_REQUIRED];", "is required"),
        ("int32 b = 2 [features.field_presence = EXPLICIT, default = 5];", "has a default value")])
    text = edition_header(package, "field_presence = IMPLICIT") + f"message M {{\n  int32 a = 1;\n  {what}\n}}\n"
    return [File(path, text, f'{path}:6:3: field "b" {said}, which cannot be beside fields without presence')]


# Those that one run needs but once.
ONCE = [no_package_assert, runtime_names, empty]
KINDS = [
    nested_deep, many_methods, word_methods, word_fields, word_fields_proto3, word_types, word_enums, word_oneofs,
    word_packages, word_services, comments, comments_not_utf8, long_names, too_long_name, same_names, diamond,
    unused_import, no_package, no_package_macro, no_name, file_names, numbers, defaults, too_long_default, enums, group,
    group_extension, optional, maps, options, protobuf_c_options, small_code,
    streams_of_another_package, members, clashing_types, clashing_methods, method_shapes, all_types, edition_defaults,
    edition_implicit, edition_mixed, edition_words, edition_delimited, edition_no_equal,
]
LARGE = {many_methods, word_methods, word_types}


def make(seed, count):
    """At least `count` files, and each kind at least once."""
    files = []
    number = 0

    def add(kind):
        nonlocal number
        number += 1
        name = kind.__name__
        files.extend(kind(Chance(f"{seed} {number}"), f"h{number}", f"h{number}_{name}.proto"))

    for kind in (*ONCE, *KINDS):
        add(kind)
    order = Chance(seed)
    while len(files) < count:
        kind = order.choice(KINDS)
        if kind not in LARGE:
            add(kind)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    files = make(arguments.seed, arguments.count)
    for file in files:
        target = arguments.output / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.text.encode("utf-8", "surrogateescape"))
    (arguments.output / "files.json").write_text(json.dumps([file.entry() for file in files], indent=1) + "\n")
    print(f"{len(files)} files, {sum(file.refused is not None for file in files)} of them to be refused")


if __name__ == "__main__":
    main()
