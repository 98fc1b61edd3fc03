"""A stand-in for a Kafka broker that asks for a SASL/PLAIN password and takes none: it notes what it is told."""

import contextlib
import socket
import struct
import threading

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_AUTHENTICATION_FAILED = 58


class SaslBroker:
    """settings   what a service needs to come here, as environment variables; the password is the test's to add
    passwords  those that were told, in their order"""

    def __init__(self) -> None:
        self.passwords: list[str] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        host, port = self._server.getsockname()
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": f"{host}:{port}", "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext",
            "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "user",
            "KAFKA_EXTRA": "reconnect.backoff.ms=50,reconnect.backoff.max.ms=200"}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the server was closed
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as questions:
            while len(length := questions.read(4)) == 4:
                question = questions.read(struct.unpack(">i", length)[0])
                answer = self._answer(question)
                connection.sendall(struct.pack(">i", len(answer) + 4) + question[4:8] + answer)

    def _answer(self, question: bytes) -> bytes:
        """The body of the answer to a request of Kafka's protocol."""
        kind = struct.unpack(">h", question[:2])[0]
        if kind == _VERSIONS:
            known = b"".join(struct.pack(">hhhb", key, 0, last, 0)
                             for key, last in ((_HANDSHAKE, 1), (_VERSIONS, 3), (3, 4), (_AUTHENTICATE, 0)))
            return struct.pack(">hb", 0, 5) + known + struct.pack(">ib", 0, 0)
        if kind == _HANDSHAKE:
            return struct.pack(">hih", 0, 1, 5) + b"PLAIN"
        if kind == _AUTHENTICATE:
            self.passwords.append(question.rsplit(b"\0", 1)[1].decode())
            return struct.pack(">hh", _AUTHENTICATION_FAILED, 7) + b"refused" + struct.pack(">i", 0)
        raise OSError(f"an unexpected request: {kind}")
