"""Where an organization's source is and how Satchel signs in there."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from satchel.errors import SourceMisconfigured

DATAVERSE_API = "/api/data/v9.2/"
ENTRA_TOKEN_URL = "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token"  # noqa: S105

_API_PATH = re.compile(r"/api/data/v\d+\.\d+/?$")


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """The address of a source, the credentials, and how hard Satchel may press it."""

    kind: Literal["dataverse", "odata"]
    url: str
    """Dataverse: the organization's root, with or without `/api/data/vX.Y`. Others: the service root."""
    tenant: str | None = None
    """Entra tenant; stands for `token_url` where that is not given."""
    token_url: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    scope: str | None = None
    headers: dict[str, str] = {}
    """Static headers sent with every request, such as an API key."""
    ca_file: str | None = None
    """Certificates (PEM) to trust besides the system's."""
    timeout_seconds: float = 120.0
    """How long the source may keep silent within one answer."""
    patience_seconds: float = 30.0
    """How long after its first failure one request is repeated before the work item waits instead."""
    start_concurrency: int = 4
    max_concurrency: int = 32
    overlap_seconds: float = 5.0
    """How far a read by modified time looks back behind its position."""

    def __repr__(self) -> str:
        return f"Connection(kind={self.kind!r}, url={self.url!r})"

    @property
    def service_root(self) -> str:
        """The URL that entity sets stand under; ends in a slash. Errors: SourceMisconfigured."""
        url = self.url.strip()
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SourceMisconfigured(
                f"'{_shown(url)}' is not an http or https address.",
                hint="Give the whole address, such as https://contoso.crm.dynamics.com.",
            )
        if parts.query or parts.fragment or parts.username:
            raise SourceMisconfigured(
                "The source's address has more than a host and a path.",
                hint="Give it without a query, a fragment or credentials.",
            )
        root = url.rstrip("/") + "/"
        if self.kind == "dataverse" and not _API_PATH.search(root):
            return f"{parts.scheme}://{parts.netloc}{DATAVERSE_API}"
        return root

    @property
    def sign_in_url(self) -> str | None:
        """The token endpoint; None: the source takes requests without a token. Errors: SourceMisconfigured."""
        if self.token_url:
            return self.token_url
        if self.tenant:
            return ENTRA_TOKEN_URL.format(tenant=self.tenant)
        if self.client_id:
            raise SourceMisconfigured(
                "There is a client id but no place to sign in.",
                hint="Give the token URL, or the Entra tenant for Dataverse.",
            )
        return None

    @property
    def sign_in_scope(self) -> str | None:
        """The scope to ask a token for."""
        if self.scope or self.kind != "dataverse":
            return self.scope
        parts = urlsplit(self.service_root)
        return f"{parts.scheme}://{parts.netloc}/.default"

    def require_safe(self) -> None:
        """Refuse to send credentials over a network in clear text. Errors: SourceMisconfigured."""
        has_secret = bool(self.client_secret or self.headers)
        for url in (self.service_root, self.sign_in_url or ""):
            parts = urlsplit(url)
            if has_secret and parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
                raise SourceMisconfigured(
                    f"Credentials would go to {parts.hostname} in clear text.", hint="Use an https address."
                )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _shown(url: str) -> str:
    """The address without what may be a credential."""
    return re.sub(r"//[^/@]*@", "//", url.split("?", maxsplit=1)[0])[:200]
