"""From the base domain to an organization's sync endpoint, for devices that know no more than the two.

The answer follows from the question alone: it is the same for names that exist and names that do not, and asks nobody.
"""

from __future__ import annotations

import msgspec
from litestar import Controller, Request, get
from litestar.exceptions import NotFoundException

from satchel.errors import RequestInvalid
from satchel.http.patience import Patience
from satchel.naming.records import is_label
from satchel.protocol.messages import Discovered

AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class DiscoveryServing(msgspec.Struct, frozen=True):
    """What the endpoint answers from."""

    zone: str
    """Empty: this server alone serves; there is nothing to discover."""
    port: int

    def url_of(self, organization: str) -> str:
        """The sync endpoint under the organization's name."""
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{organization}.{self.zone}{port}"


class DiscoveryController(Controller):
    """Version 1 of the protocol."""

    path = "/v1"

    @get("/discover")
    async def discover(
        self, org: str, request: AnyRequest, discovery: DiscoveryServing, patience: Patience
    ) -> Discovered:
        """Where devices of this organization sync, if there is one."""
        patience.question(request.client.host if request.client else None)
        if not discovery.zone:
            raise NotFoundException("There is nothing to discover here.")
        if not is_label(org):
            raise RequestInvalid("This cannot be an organization's name.")
        return Discovered(discovery.url_of(org))
