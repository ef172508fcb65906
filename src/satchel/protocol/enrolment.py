"""The enrolment link: everything a device needs to come in, in one line a person can paste.

Form: `https://host:port/enroll#org=NAME&code=CODE&ca=SHA256`. What is secret stands in the fragment, which browsers and
proxies never send.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec

from satchel.errors import InputInvalid

_PATH = "/enroll"
_FINGERPRINT = re.compile(r"^[0-9a-f]{64}$")


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
    parts = urlsplit(link.strip())
    values = {name: found[0] for name, found in parse_qs(parts.fragment).items()}
    is_whole = parts.scheme == "https" and parts.hostname and parts.path.endswith(_PATH)
    if not is_whole or not values.get("org") or not values.get("code"):
        raise InputInvalid(
            "This is not an enrolment link.",
            hint="Paste the whole line that your administrator gave you, in quotes: 'https://.../enroll#org=...&code=...'",
        )
    fingerprint = values.get("ca")
    if fingerprint is not None and not _FINGERPRINT.match(fingerprint):
        raise InputInvalid("The enrolment link is damaged: its ca= part is not a fingerprint.")
    server_url = f"https://{parts.netloc}{parts.path.removesuffix(_PATH)}"
    return EnrolmentLink(server_url, values["org"], values["code"], fingerprint)
