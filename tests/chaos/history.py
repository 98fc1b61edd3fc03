"""What the campaign writes down while it runs: one JSON object a line, by any thread."""

import hashlib
import json
import logging
import pathlib
import threading
from typing import Any

from google.protobuf.message import Message

# For Kafka's clients: that a broker is gone is no news here.
QUIET = logging.getLogger("kafka")
QUIET.setLevel(logging.CRITICAL + 1)


def fingerprint(message: Message) -> str:
    """The hash by which two equal messages are known."""
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()


class Journal:
    """A file of JSON lines; complete after close()."""

    def __init__(self, path: pathlib.Path) -> None:
        self._file = open(path, "w", encoding="utf-8", buffering=1 << 16)
        self._lock = threading.Lock()
        self.count = 0

    def write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, separators=(",", ":")) + "\n"
        with self._lock:
            if not self._file.closed:
                self._file.write(line)
                self.count += 1

    def close(self) -> None:
        with self._lock:
            self._file.close()
