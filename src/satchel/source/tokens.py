"""Access tokens by OAuth 2 client credentials, kept until shortly before they expire.

Source: RFC 6749, section 4.4.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import msgspec

from satchel.errors import RequestRefused, SourceMisconfigured
from satchel.source.connection import Connection
from satchel.source.throttle import Pace
from satchel.source.transport import Collect, Request, Transport

MAX_TOKEN_BYTES = 1024 * 1024
EARLY_SECONDS = 300.0
EARLY_SHARE = 0.2
_DEFAULT_LIFETIME_SECONDS = 600.0


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float | str = _DEFAULT_LIFETIME_SECONDS  # some issuers send the number as text


class Tokens:
    """The current access token of one connection."""

    def __init__(self, connection: Connection, transport: Transport, pace: Pace) -> None:
        """Ask for no token yet. Errors: SourceMisconfigured."""
        connection.require_safe()
        self._url = connection.sign_in_url
        self._connection = connection
        self._transport = transport
        self._pace = pace
        self._token: str | None = None
        self._good_until = 0.0
        self._asking = asyncio.Lock()

    async def current(self) -> str | None:
        """A token that is good for a while; None: the source takes requests without one.

        Cost: at most one request at a time, however many wait. Errors: SourceMisconfigured.
        """
        if self._url is None:
            return None
        async with self._asking:
            if self._token is None or self._pace.monotonic() >= self._good_until:
                await self._renew(self._url)
            return self._token

    def forget(self, token: str | None) -> None:
        """The source refused this token: get another one next time, unless that was done meanwhile."""
        if token == self._token:
            self._token = None

    async def _renew(self, url: str) -> None:
        answer = await self._ask(url)
        try:
            given = msgspec.json.decode(answer, type=_TokenAnswer)
            lifetime = float(given.expires_in)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceMisconfigured(
                "The token URL does not answer with a token.", hint="Check the token URL or the tenant."
            ) from error
        self._token = given.access_token
        self._good_until = self._pace.monotonic() + lifetime - min(EARLY_SECONDS, lifetime * EARLY_SHARE)

    async def _ask(self, url: str) -> bytes:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._connection.client_id or "",
            "client_secret": self._connection.client_secret or "",
        }
        if self._connection.sign_in_scope:
            form["scope"] = self._connection.sign_in_scope
        request = Request(
            url=url,
            method="POST",
            sink=lambda: Collect(MAX_TOKEN_BYTES),
            headers={"content-type": "application/x-www-form-urlencoded", "accept": "application/json"},
            content=urlencode(form).encode(),
        )
        try:
            return (await self._transport.send(request)).body
        except (RequestRefused, SourceMisconfigured) as error:
            raise _refused(error) from error


def _refused(error: RequestRefused | SourceMisconfigured) -> SourceMisconfigured:
    """The refusal in words. Source: RFC 6749, section 5.2 (error codes)."""
    status, reason = error.facts.get("status"), str(error.facts.get("source_code") or "")
    if status is None:
        return SourceMisconfigured(error.message, hint=error.hint)
    if status in {400, 401} and reason in {"invalid_client", "unauthorized_client", ""}:
        words = "The client id or the secret is wrong, or the secret has expired."
        hint = "Check both; nothing was saved."
    elif reason in {"invalid_scope", "invalid_target", "invalid_resource"}:
        words, hint = "The sign-in does not know this scope.", "Check the source's URL and the scope."
    elif status == 404:
        words, hint = "There is nothing at the token URL.", "Check the token URL or the tenant."
    else:
        words = f"The sign-in was refused ({reason or status})."
        hint = "Check the token URL, the client id and the secret."
    return SourceMisconfigured(words, hint=hint, **error.facts)
