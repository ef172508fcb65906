"""The issuer as the device talks to it: a public client without a secret.

Source: RFC 6749, sections 4.1, 5 and 6; OpenID Connect Core 1.0, section 3.1.3; RFC 8414; RFC 7009.
"""

from __future__ import annotations

import ssl
import time
from typing import Any

import httpx
import msgspec

from satchel.errors import IssuerUnreachable, SignInNeeded, SignInRefused, TokenInvalid
from satchel.model.openid import (
    MAX_DISCOVERY_BYTES,
    TENANT_TEMPLATE,
    Discovery,
    Expected,
    find_key,
    is_safe_address,
    read_head,
    usable_keys,
    verify,
)
from satchel.protocol.messages import SignInOptions

TIMEOUT_SECONDS = 20.0
SKEW_SECONDS = 86_400.0
"""A device's clock may be far off; the server judges the times again, by its own."""
_WELL_KNOWN = "/.well-known/openid-configuration"


class Grant(msgspec.Struct, frozen=True):
    """What the issuer gave."""

    access_token: str = ""
    id_token: str = ""
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "Grant()"


class OAuthProblem(Exception):
    """The issuer's own error code and words. Source: RFC 6749, section 5.2; RFC 8628, section 3.5."""

    def __init__(self, code: str, description: str = "") -> None:
        """Keep both."""
        self.code = code
        self.description = description
        super().__init__(code)


class IssuerClient:
    """One issuer, for the length of one sign-in or renewal."""

    def __init__(self, options: SignInOptions) -> None:
        """Errors: SignInRefused where the issuer's address is unsafe."""
        self.options = options
        _require_safe(options.issuer)
        context = ssl.create_default_context()
        if options.ca_pem:
            context.load_verify_locations(cadata=options.ca_pem)
        self._client = httpx.Client(verify=context, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._discovery: Discovery | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def discovery(self) -> Discovery:
        """The issuer's metadata. Errors: IssuerUnreachable, SignInRefused (it is another issuer)."""
        if self._discovery is None:
            found = self._json("GET", self.options.issuer.rstrip("/") + _WELL_KNOWN, Discovery)
            is_same = found.issuer.rstrip("/") == self.options.issuer.rstrip("/")
            if not is_same and TENANT_TEMPLATE not in found.issuer:
                raise SignInRefused("What answers at the issuer's address is another issuer.")
            for url in (found.jwks_uri, found.authorization_endpoint, found.token_endpoint):
                _require_safe(url)
            self._discovery = found
        return self._discovery

    def grant(self, form: dict[str, str], nonce: str | None = None) -> Grant:
        """Ask the token endpoint. Errors: OAuthProblem, IssuerUnreachable, TokenInvalid (a forged ID token)."""
        grant: Grant = self.post(self.discovery.token_endpoint, form, Grant)
        if grant.id_token:
            self._check(grant.id_token, nonce)
        elif nonce is not None:
            raise TokenInvalid("The issuer gave no ID token.")
        return grant

    def refresh(self, refresh_token: str) -> Grant:
        """New tokens without the user. Errors: SignInNeeded where the issuer agrees no more, IssuerUnreachable."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        try:
            try:
                return self.grant({**form, "scope": self.options.scopes})
            except OAuthProblem as problem:
                if problem.code != "invalid_scope":
                    raise
            # It granted less than was asked for; without a scope, it is what was granted (RFC 6749, section 6).
            return self.grant(form)
        except OAuthProblem as problem:
            if problem.code in {"temporarily_unavailable", "server_error"}:
                raise IssuerUnreachable(f"{self.options.issuer} cannot answer now.") from problem
            raise SignInNeeded(f"The issuer asks for a new sign-in ({problem.code}).") from problem

    def revoke(self, refresh_token: str) -> bool:
        """Have the issuer forget a refresh token; False: it offers nothing of the kind. Errors: IssuerUnreachable."""
        url = self.discovery.revocation_endpoint
        if not url:
            return False
        _require_safe(url)
        form = {"client_id": self.options.client_id, "token": refresh_token, "token_type_hint": "refresh_token"}
        try:
            with self._client.stream("POST", url, data=form) as answer:
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise IssuerUnreachable(f"{self.options.issuer} does not answer: {type(error).__name__}.") from error
        if status != httpx.codes.OK:  # a token that counts no more is answered with 200 as well
            raise IssuerUnreachable(f"{self.options.issuer} did not revoke the sign-in ({status}).")
        return True

    def post(self, url: str, form: dict[str, str], kind: type[Any]) -> Any:
        """Send a form as this client. Errors: OAuthProblem, IssuerUnreachable."""
        resource = {"resource": self.options.resource} if self.options.resource else {}
        return self._json("POST", url, kind, data={"client_id": self.options.client_id, **resource, **form})

    def wanted(self, grant: Grant) -> str:
        """The token that the server wants to see. Errors: SignInRefused."""
        token = {"id": grant.id_token, "access": grant.access_token}[self.options.token]
        if not token:
            raise SignInRefused(f"The issuer gave no {self.options.token} token.")
        return token

    def _check(self, token: str, nonce: str | None) -> None:
        head = read_head(token)
        keys = usable_keys(self._json("GET", self.discovery.jwks_uri, dict[str, Any]).get("keys"))
        key = find_key(keys, head)
        if key is None:
            raise TokenInvalid("The ID token is signed with a key that is not the issuer's.")
        client = frozenset({self.options.client_id})
        expected = Expected(
            issuer=self.discovery.issuer,
            audiences=client,
            clients=client,
            tenants=frozenset(self.options.tenants),
            skew_seconds=SKEW_SECONDS,
            nonce=nonce,
        )
        verify(token, head, key, expected, time.time())

    def _json(self, method: str, url: str, kind: type[Any], data: dict[str, str] | None = None) -> Any:
        """A small JSON answer. Errors: OAuthProblem, IssuerUnreachable."""
        try:
            with self._client.stream(method, url, data=data, headers={"Accept": "application/json"}) as answer:
                body = _bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise IssuerUnreachable(f"{self.options.issuer} does not answer: {type(error).__name__}.") from error
        try:
            if method == "POST" and answer.status_code in {400, 401, 403}:
                told = msgspec.json.decode(body, type=_Refusal)
                raise OAuthProblem(told.error[:50], told.error_description[:1000])
            if answer.status_code == httpx.codes.OK:
                return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        raise IssuerUnreachable(f"{self.options.issuer} gives an answer that cannot be used ({answer.status_code}).")


class _Refusal(msgspec.Struct):
    error: str
    error_description: str = ""


def _bounded(answer: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > MAX_DISCOVERY_BYTES:
            raise httpx.DecodingError("too much")
        parts.append(part)
    return b"".join(parts)


def _require_safe(url: str) -> None:
    if not is_safe_address(url):
        raise SignInRefused("The issuer has an unsafe address: nothing was sent to it.")
