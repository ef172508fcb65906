"""From the base domain to the organization's own sync endpoint, the first time a device comes in."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import msgspec

from satchel.errors import ProtocolBroken, ServerUnreachable
from satchel.protocol.messages import Discovered

MOST_BYTES = 4096


def discovered(client: httpx.Client, server_url: str, organization: str) -> str:
    """The organization's sync endpoint as this server tells it; the server itself where it tells none.

    Errors: ProtocolBroken (an address that is none), ServerUnreachable (it is asked too much), httpx's.
    """
    answer = client.get("/v1/discover", params={"org": organization})
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise ServerUnreachable(f"{server_url} is asked too much just now.", hint="Try again in a minute.")
    if answer.status_code != httpx.codes.OK:
        return server_url  # it serves alone, or is older than discovery
    try:
        if len(answer.content) > MOST_BYTES:
            raise ValueError
        url = msgspec.json.decode(answer.content, type=Discovered).sync_url.rstrip("/")
        parts = urlsplit(url)
        is_address = parts.scheme == "https" and bool(parts.hostname) and not parts.username and not parts.path
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ProtocolBroken(f"{server_url} does not tell where {organization} is.") from error
    if not is_address:
        raise ProtocolBroken(f"{server_url} does not tell where {organization} is.")
    return url
