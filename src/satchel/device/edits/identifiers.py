"""Names for rows and edits made on a device. Source: RFC 9562, section 5.7 (UUIDv7)."""

from __future__ import annotations

import os
import time
import uuid


def new_id() -> str:
    """A UUID that sorts by time and that no one else makes."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10))
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | (chance >> 68 & 0xFFF) << 64
    return str(uuid.UUID(int=value | 0b10 << 62 | chance & (1 << 62) - 1))
