"""Where a read stands: what `$skiptoken` and `$deltatoken` carry. Opaque to clients, never trusted here."""

from __future__ import annotations

import base64
import time
from typing import Annotated
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from satchel.sandbox.odata.answers import ODataError, Request
from satchel.sandbox.schema.kinds import Entity

EXPIRED = "0x80044352"
"""ExpiredVersionStamp, in words.

The documentation says that an expired delta token raises an error, without saying which; this is the code and the
message it gives for stale version stamps (RetrieveMetadataChanges), and what clients of change tracking look for.
"""
_NOT_KEPT = {"$skiptoken", "$deltatoken", "$top", "$count"}
_Number = Annotated[int, Meta(ge=-1, le=2**53)]


class Position(msgspec.Struct, array_like=True, omit_defaults=True):
    """Where a read stands."""

    since: _Number = -1
    """Changes behind this version; -1: everything."""
    upto: _Number = 0
    """The version at the read's beginning, for which its delta link will stand."""
    key: str = ""
    version: _Number = 0
    is_deleted: bool = False
    offset: _Number = 0
    left: _Number = -1
    made_at: float = 0.0


def decode(token: str) -> Position:
    """The position in a link. Errors: ODataError 400."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=Position)
    except (ValueError, msgspec.DecodeError) as error:
        raise ODataError(400, "0x80060888", "The token of the link is malformed.") from error


def next_link(entity: Entity, request: Request, position: Position) -> tuple[str, str]:
    """Name and address of the next page."""
    return "@odata.nextLink", _link(entity, request, "$skiptoken", position)


def delta_link(entity: Entity, request: Request, version: int) -> tuple[str, str]:
    """Name and address of what will have changed since a version."""
    position = Position(since=version, made_at=time.time())
    return "@odata.deltaLink", _link(entity, request, "$deltatoken", position)


def _link(entity: Entity, request: Request, name: str, position: Position) -> str:
    kept = {option: value for option, value in request.query.items() if option not in _NOT_KEPT}
    kept[name] = base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")
    return f"{request.root}{entity.set_name}?{urlencode(kept, quote_via=quote, safe='$,')}"
