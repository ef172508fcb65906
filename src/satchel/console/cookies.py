"""Cookies of the console: for this very host only, over TLS only, out of scripts' reach."""

from __future__ import annotations

import base64
from typing import Literal

from litestar.datastructures import Cookie

from satchel.console.desk import AnyRequest

SESSION = "__Host-satchel-console"
"""The prefix binds a cookie to this host, over TLS. Source: RFC 6265bis, section 4.1.3.2."""
FLOW = "__Host-satchel-sign-in"
"""What the browser keeps while it is at the issuer."""
SAID = "__Host-satchel-said"
"""What the next page tells of the change before it."""


def read(request: AnyRequest, name: str) -> str:
    """A cookie's value; empty where there is none.

    Over HTTP/2 a browser may send each cookie in a header field of its own. Source: RFC 9113, section 8.2.3.
    """
    for key, value in request.scope["headers"]:
        if key == b"cookie":
            for each in value.decode("latin-1").split(";"):
                found, _, text = each.strip().partition("=")
                if found == name:
                    return str(text)
    return ""


def made(name: str, value: str, max_age: int | None = None, same_site: Literal["lax", "strict"] = "lax") -> Cookie:
    """A cookie; `lax`, so that links from elsewhere lead to a page, while forms from elsewhere come without it."""
    return Cookie(name, value=value, path="/", max_age=max_age, secure=True, httponly=True, samesite=same_site)


def gone(name: str) -> Cookie:
    """Have the browser forget it."""
    return made(name, "", max_age=0)


def packed(content: bytes) -> str:
    """Bytes as a cookie's value, in characters that need no quotes."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def unpacked(text: str) -> bytes:
    """The reverse. Errors: ValueError."""
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
