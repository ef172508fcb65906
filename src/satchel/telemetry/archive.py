"""Logs and traces on their way into object storage: a bounded queue, and a thread that batches, compresses and writes.

Nothing here blocks or fails the service. What cannot be kept is dropped, and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog
import zstandard

from satchel.errors import SatchelError
from satchel.telemetry.partition import Kind, folder_of, object_name, partition

MAX_WAITING = 20_000
"""Records; a burst beyond them is dropped."""
MAX_UNWRITTEN_BYTES = 16 * 2**20
"""Compressed objects that wait for a store that does not answer."""
MAX_OBJECT_RECORDS = 5_000
LEVEL = 6
log = structlog.get_logger()

Encode = Callable[[], bytes]


class Archive:
    """What one process keeps."""

    def __init__(self, put: Callable[[str, bytes], None], service: str, instance: str, *, flush_seconds: float) -> None:
        """`put` writes an object and may raise a SatchelError."""
        self._put = put
        self._service = service
        self._instance = instance
        self._flush_seconds = flush_seconds
        self._waiting: deque[tuple[Kind, str, float, Encode]] = deque()
        self._unwritten: deque[tuple[str, bytes, int]] = deque()
        self._number = 0
        self._is_closing = False
        self._is_failing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self.dropped = 0
        """Records that were not kept."""
        self.kept = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, kind: Kind, organization: object, at: float, encode: Encode) -> None:
        """Take a record of the time `at` (seconds since 1970); `encode` makes its line, elsewhere and later."""
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append((kind, folder_of(organization), at, encode))
        if len(self._waiting) == MAX_WAITING // 2:
            self._wake.set()

    def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for at most so long."""
        self._is_closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        try:
            self._pack()
            self._write()
        except Exception as error:  # a defect here must not end what keeps the traces of all others
            self.dropped += 1
            log.warning("telemetry not kept", reason=type(error).__name__)

    def _pack(self) -> None:
        """Make objects of what waits."""
        lines: dict[str, list[bytes]] = {}
        for _ in range(len(self._waiting)):
            kind, folder, at, encode = self._waiting.popleft()
            prefix = partition(kind, folder, datetime.fromtimestamp(at, UTC))
            try:
                lines.setdefault(prefix, []).append(encode())
            except Exception:
                self.dropped += 1
        for prefix, all_lines in lines.items():
            for start in range(0, len(all_lines), MAX_OBJECT_RECORDS):
                chunk = all_lines[start : start + MAX_OBJECT_RECORDS]
                content = zstandard.ZstdCompressor(level=LEVEL).compress(b"\n".join(chunk) + b"\n")
                path = f"{prefix}/{object_name(self._service, self._instance, self._number)}"
                self._number += 1
                self._unwritten.append((path, content, len(chunk)))
        while sum(len(content) for _, content, _ in self._unwritten) > MAX_UNWRITTEN_BYTES:
            self.dropped += self._unwritten.popleft()[2]

    def _write(self) -> None:
        while self._unwritten:
            path, content, count = self._unwritten[0]
            try:
                self._put(path, content)
            except SatchelError as error:
                if not self._is_failing:
                    log.warning("telemetry waits for object storage", reason=error.message)
                self._is_failing = True
                return
            self._is_failing = False
            self.kept += count
            self._unwritten.popleft()


def encoded(record: object) -> bytes:
    """A record as a line; what JSON does not know is told as text."""
    return msgspec.json.encode(record, enc_hook=str, order=None)
