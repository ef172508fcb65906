"""An issuer's metadata and keys: fetched, kept, and fetched again when a token names a key that is not known.

An issuer that does not answer stops nobody whose token is signed with a known key.
Source: OpenID Connect Discovery 1.0, section 4; OpenID Connect Core 1.0, section 10.1.1 (rotation of keys).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
import structlog

from satchel.errors import IssuerUnreachable, TokenInvalid
from satchel.model.openid import (
    MAX_DISCOVERY_BYTES,
    TENANT_TEMPLATE,
    Claims,
    Discovery,
    Expected,
    TokenHead,
    find_key,
    is_safe_address,
    read_head,
    usable_keys,
    verify,
)

FRESH_SECONDS = 3600.0
"""Keys are fetched again after so long: one that the issuer withdrew counts no more."""
UNKNOWN_KEY_SECONDS = 10.0
"""Tokens with made-up key names cause at most one fetch in so long."""
FAILURE_SECONDS = 30.0
"""So long nobody waits for an issuer that did not answer, as long as keys are known."""
TIMEOUT_SECONDS = 5.0
_WELL_KNOWN = "/.well-known/openid-configuration"
log = structlog.get_logger()


class _Known(msgspec.Struct, frozen=True):
    discovery: Discovery
    keys: list[Mapping[str, Any]]
    fetched_at: float


class Issuer:
    """One issuer, as this process knows it."""

    def __init__(
        self,
        url: str,
        ca_file: str | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Fetch nothing yet. `ca_file`: certificates to trust besides the system's."""
        self.url = url
        self._ca_file = ca_file
        self._monotonic = monotonic
        self._now = now
        self._known: _Known | None = None
        self._tried_at = -FRESH_SECONDS
        self._fetching = asyncio.Lock()

    async def check(self, token: str, expected: Expected) -> Claims:
        """What a token of this issuer says. Errors: TokenInvalid, IssuerUnreachable (no keys are known yet)."""
        head = read_head(token)
        key = await self._key(head)
        return verify(token, head, key, expected, self._now())

    async def discovery(self) -> Discovery:
        """The issuer's metadata. Errors: IssuerUnreachable."""
        return (await self._fresh(FRESH_SECONDS)).discovery

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a form to one of its addresses: status and a small answer. Errors: IssuerUnreachable."""
        try:
            async with (
                self._client() as client,
                client.stream("POST", url, data=dict(form), headers={"Accept": "application/json"}) as answer,
            ):
                return answer.status_code, await _bounded(answer, url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerUnreachable(f"{self.url} does not answer: {type(error).__name__}.") from error

    async def _key(self, head: TokenHead) -> Mapping[str, Any]:
        known = await self._fresh(FRESH_SECONDS)
        key = find_key(known.keys, head)
        if key is None:
            key = find_key((await self._fresh(UNKNOWN_KEY_SECONDS)).keys, head)
        if key is None:
            raise TokenInvalid("The token is signed with a key that is not the issuer's.")
        return key

    async def _fresh(self, seconds: float) -> _Known:
        """What is known, fetched anew if it is older. Errors: IssuerUnreachable where nothing is known at all."""
        async with self._fetching:
            now = self._monotonic()
            is_due = self._known is None or now - self._known.fetched_at >= seconds
            if is_due and now - self._tried_at >= (min(seconds, FAILURE_SECONDS) if self._known else 1.0):
                self._tried_at = now
                try:
                    self._known = await self._fetch()
                except IssuerUnreachable as error:
                    if self._known is None:
                        raise
                    log.warning("issuer not reached, going on with its known keys", issuer=self.url, why=error.message)
            if self._known is None:
                raise IssuerUnreachable(f"{self.url} does not answer.")
            return self._known

    async def _fetch(self) -> _Known:
        try:
            async with self._client() as client:
                discovery = msgspec.json.decode(
                    await _get(client, self.url.rstrip("/") + _WELL_KNOWN), type=Discovery, strict=False
                )
                self._require_right(discovery)
                found = msgspec.json.decode(await _get(client, discovery.jwks_uri), type=dict[str, Any])
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerUnreachable(f"{self.url} does not answer: {type(error).__name__}.") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise IssuerUnreachable(f"{self.url} answers with something else than an issuer's metadata.") from error
        return _Known(discovery, usable_keys(found.get("keys")), self._monotonic())

    def _client(self) -> httpx.AsyncClient:
        context = ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return httpx.AsyncClient(verify=context, timeout=TIMEOUT_SECONDS, trust_env=False)

    def _require_right(self, discovery: Discovery) -> None:
        is_same = discovery.issuer.rstrip("/") == self.url.rstrip("/")
        if not is_same and TENANT_TEMPLATE not in discovery.issuer:
            raise IssuerUnreachable(
                f"What answers at {self.url} says that it is another issuer.",
                hint="Set [sign_in] issuer to exactly what the issuer's metadata says.",
            )
        if not is_safe_address(discovery.jwks_uri):
            raise IssuerUnreachable(f"{self.url} names an unsafe address for its keys.")


async def _get(client: httpx.AsyncClient, url: str) -> bytes:
    """A small answer, whole. Errors: httpx.HTTPError, IssuerUnreachable (refused, too large)."""
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
        if answer.status_code != httpx.codes.OK:
            raise IssuerUnreachable(f"{url} answers with status {answer.status_code}.")
        return await _bounded(answer, url)


async def _bounded(answer: httpx.Response, url: str) -> bytes:
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > MAX_DISCOVERY_BYTES:
            raise IssuerUnreachable(f"{url} answers with too much.")
        parts.append(part)
    return b"".join(parts)
