"""The offline lease on the wire: in the `begin` line of an answer, and as a header where there is nothing new.

The header is a dictionary of RFC 9651: `Satchel-Offline-Lease: seconds=2592000, action=lock`.
"""

from __future__ import annotations

import msgspec

from satchel.protocol.codec import begin_line
from satchel.protocol.messages import Lease, Line

LEASE_HEADER = "satchel-offline-lease"


def format_lease(lease: Lease) -> str:
    """The header's value."""
    return f"seconds={lease.seconds}, action={lease.action}"


def parse_lease(header: str | None) -> Lease | None:
    """The lease of a header; None where there is none that can be read."""
    parts = (part.partition("=") for part in (header or "").split(","))
    try:
        return msgspec.convert({name.strip(): value.strip() for name, _, value in parts}, Lease, strict=False)
    except msgspec.ValidationError:
        return None


def with_lease(batch: bytes, lease: Lease) -> bytes:
    """The first lines of an answer, with the lease told in the `begin` line."""
    first, _, rest = batch.partition(b"\n")
    line = msgspec.json.decode(first, type=Line)
    if line.begin is None:
        return batch
    line.begin.lease = lease
    return begin_line(line.begin) + rest
