"""The enrolment link: everything a device needs to come in, in one line a person can paste.

Form: `https://host:port/enroll#org=NAME&code=CODE&ca=SHA256`. What is secret stands in the fragment, which browsers and
proxies never send.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qs, quote, urlencode, urlsplit

import msgspec

from satchel.errors import InputInvalid

_PATH = "/enroll"
_SIGN_IN_PATH = "/sign-in"
_ORGANIZATION = re.compile(r"[a-z0-9][a-z0-9-]*")
_CODE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,199}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class EnrolmentLink(msgspec.Struct, frozen=True):
    """What a link says."""

    server_url: str
    organization: str
    code: str
    ca_fingerprint: str | None = None
    """SHA-256 (hexadecimal) of the certificate authority's DER form; None: one that the system trusts."""


def format_link(server_url: str, organization: str, code: str, ca_fingerprint: str | None) -> str:
    """The link."""
    values = {"org": organization, "code": code} | ({"ca": ca_fingerprint} if ca_fingerprint else {})
    return f"{server_url.rstrip('/')}{_PATH}#{urlencode(values, quote_via=quote)}"


def parse_link(link: str) -> EnrolmentLink:
    """The reverse. Errors: InputInvalid."""
    try:
        parts = urlsplit(link.strip())
        is_address = _is_address(parts)
    except ValueError:
        is_address = False
    values = {name: found[0] for name, found in parse_qs(parts.fragment).items()} if is_address else {}
    organization, code = values.get("org", ""), values.get("code", "")
    if not _ORGANIZATION.fullmatch(organization) or not _CODE.fullmatch(code):
        raise InputInvalid(
            "This is not an enrolment link.",
            hint="Paste the whole line that your administrator gave you, in quotes: 'https://.../enroll#org=...&code=...'",
        )
    fingerprint = values["ca"].lower() if "ca" in values else None
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        raise InputInvalid("The enrolment link is damaged: its ca= part is not a fingerprint.")
    server_url = f"https://{parts.netloc}{parts.path.removesuffix(_PATH)}"
    return EnrolmentLink(server_url, organization, code, fingerprint)


class SignInPlace(msgspec.Struct, frozen=True):
    """Where users sign in; as a link: `https://host:port/sign-in#org=NAME&ca=SHA256`, without anything secret."""

    server_url: str
    organization: str
    ca_fingerprint: str | None = None


def format_place(place: SignInPlace) -> str:
    """The link."""
    values = {"org": place.organization} | ({"ca": place.ca_fingerprint} if place.ca_fingerprint else {})
    return f"{place.server_url.rstrip('/')}{_SIGN_IN_PATH}#{urlencode(values, quote_via=quote)}"


def parse_place(text: str, organization: str | None) -> SignInPlace:
    """A link, a server's address, or only its domain; `organization` counts where the text names none.

    Errors: InputInvalid.
    """
    text = text.strip() if "://" in text else f"https://{text.strip()}"
    try:
        parts = urlsplit(text)
        is_address = _is_server(parts)
    except ValueError:
        is_address = False
    values = {name: found[0] for name, found in parse_qs(parts.fragment).items()} if is_address else {}
    named, fingerprint = values.get("org") or organization or "", values.get("ca", "").lower() or None
    if not is_address or not _ORGANIZATION.fullmatch(named):
        raise InputInvalid(
            "This does not say where to sign in.",
            hint="Give the server's https address and --org NAME, or the line that your administrator gave you.",
        )
    if fingerprint is not None and not _FINGERPRINT.fullmatch(fingerprint):
        raise InputInvalid("The sign-in link is damaged: its ca= part is not a fingerprint.")
    path = parts.path.removesuffix(_SIGN_IN_PATH).rstrip("/")
    return SignInPlace(f"https://{parts.netloc}{path}", named, fingerprint)


def _is_address(parts: SplitResult) -> bool:
    """A server's address with the path of enrolment links."""
    return _is_server(parts) and parts.path.endswith(_PATH)


def _is_server(parts: SplitResult) -> bool:
    """An https address without a user; reading an impossible port raises ValueError."""
    is_port_possible = parts.port is None or parts.port > 0
    has_user = parts.username is not None or parts.password is not None
    return parts.scheme == "https" and bool(parts.hostname) and is_port_possible and not has_user
