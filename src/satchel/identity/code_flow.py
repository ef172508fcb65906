"""Signing in a browser that a server of ours sends to the issuer: authorization code with PKCE.

Source: RFC 6749, sections 4.1, 5 and 6; RFC 7636 (PKCE); RFC 9207 (issuer in the answer).
"""

from __future__ import annotations

import msgspec
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from satchel.errors import IssuerUnreachable, SignInRefused
from satchel.identity.issuer import Issuer
from satchel.model.openid import is_safe_address

_AWAY = {"server_error", "temporarily_unavailable"}


class Tokens(msgspec.Struct, frozen=True):
    """What the issuer gave."""

    access_token: str = ""
    refresh_token: str | None = None

    def __repr__(self) -> str:
        return "Tokens()"


class CodeFlow(msgspec.Struct, frozen=True):
    """An application of the issuer, and where the browser comes back to."""

    issuer: Issuer
    client_id: str
    client_secret: str
    """Empty: a public client."""
    scopes: str
    redirect_uri: str
    resource: str = ""
    """Resource indicator (RFC 8707)."""

    def __repr__(self) -> str:
        return f"CodeFlow({self.client_id!r})"

    async def address(self, state: str, verifier: str) -> str:
        """Where to send the browser. Errors: IssuerUnreachable, SignInRefused (an unsafe address)."""
        discovery = await self.issuer.discovery()
        _require_safe(discovery.authorization_endpoint)
        return str(
            prepare_grant_uri(
                discovery.authorization_endpoint,
                client_id=self.client_id,
                response_type="code",
                redirect_uri=self.redirect_uri,
                scope=self.scopes,
                state=state,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
                **self._resource(),
            )
        )

    async def exchange(self, code: str, verifier: str) -> Tokens:
        """The tokens for a code. Errors: SignInRefused, IssuerUnreachable."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        return await self._ask({**form, "code_verifier": verifier})

    async def refresh(self, refresh_token: str) -> Tokens:
        """New tokens without the user; the same refresh token where the issuer gives no other. Errors: as above."""
        tokens = await self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token})
        return tokens if tokens.refresh_token else msgspec.structs.replace(tokens, refresh_token=refresh_token)

    async def _ask(self, form: dict[str, str]) -> Tokens:
        url = (await self.issuer.discovery()).token_endpoint
        _require_safe(url)
        secret = {"client_secret": self.client_secret} if self.client_secret else {}
        status, body = await self.issuer.post(url, {"client_id": self.client_id, **secret, **self._resource(), **form})
        try:
            if status == 200:
                tokens = msgspec.json.decode(body, type=Tokens)
                if tokens.access_token:
                    return tokens
                raise SignInRefused("The issuer gave no access token.")
            told = msgspec.json.decode(body, type=_Refusal).error[:50]
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise IssuerUnreachable(f"{self.issuer.url} gives an answer that cannot be used ({status}).") from error
        if told in _AWAY or status >= 500:
            raise IssuerUnreachable(f"{self.issuer.url} cannot answer now.")
        raise SignInRefused(f"The issuer refused the sign-in ({told if told.isascii() else 'no reason'}).")

    def _resource(self) -> dict[str, str]:
        return {"resource": self.resource} if self.resource else {}


class _Refusal(msgspec.Struct):
    error: str


def _require_safe(url: str) -> None:
    if not is_safe_address(url):
        raise SignInRefused("The issuer has an unsafe address: nothing was sent to it.")
