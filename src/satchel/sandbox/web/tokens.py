"""Sign-in of an application by client credentials, and the bearer tokens it gets."""

from __future__ import annotations

import hmac
import re
import secrets
import time
from urllib.parse import parse_qs

from satchel.sandbox.odata.answers import Answer, ODataError, whole_number

TOKEN_SECONDS = 3600
_PATH = re.compile(r"^/[^/]+/oauth2/(?:v2\.0/)?token$")


class Tokens:
    """Hands out tokens and knows them again, until it ends."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        """The one application there is."""
        self._client = (client_id, client_secret)
        self._key = secrets.token_bytes(32)

    @staticmethod
    def is_endpoint(path: str) -> bool:
        """Whether a path is the token endpoint; any segment is a tenant."""
        return _PATH.match(path) is not None

    def answer(self, method: str, body: bytes) -> Answer:
        """Client credentials. Source: RFC 6749, section 4.4."""
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if method != "POST" or form.get("grant_type") != "client_credentials":
            return Answer.json({"error": "unsupported_grant_type", "error_description": "Use client_credentials."}, 400)
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        if not all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)):
            description = "AADSTS7000215: Invalid client secret provided."
            return Answer.json({"error": "invalid_client", "error_description": description}, 401)
        expires = int(time.time()) + TOKEN_SECONDS
        token = f"{expires}.{self._signature(expires)}"
        return Answer.json({"token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": token})

    def require(self, authorization: str) -> None:
        """Refuse a request without a good token. Errors: ODataError 401."""
        expires, _, signature = authorization.removeprefix("Bearer ").partition(".")
        until = whole_number(expires) or 0
        is_good = hmac.compare_digest(signature.encode(), self._signature(until).encode())
        if not is_good or until < time.time():
            raise ODataError(
                401, "0x80048306", "HTTP Error 401 - Unauthorized: Access is denied",
                WWW_Authenticate='Bearer authorization_uri="/contoso/oauth2/v2.0/authorize"',
            )  # fmt: skip

    def _signature(self, expires: int) -> str:
        return hmac.new(self._key, str(expires).encode(), "sha256").hexdigest()
