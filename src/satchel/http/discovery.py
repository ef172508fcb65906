"""From the base domain to an organization's sync endpoint, for devices that know no more than the two.

The answer follows from the question alone: it is the same for names that exist and names that do not, and asks nobody.
"""

from __future__ import annotations

import time
from collections import deque

import msgspec
from litestar import Controller, Request, get
from litestar.exceptions import NotFoundException, TooManyRequestsException

from satchel.errors import RequestInvalid
from satchel.naming.records import is_label
from satchel.protocol.messages import Discovered

AnyRequest = Request[object, object, object]  # type: ignore[type-var]
QUESTIONS = 60
PER_SECONDS = 10.0
_ADDRESSES = 10_000


class DiscoveryServing(msgspec.Struct):
    """What the endpoint answers from."""

    zone: str
    """Empty: this server alone serves; there is nothing to discover."""
    port: int
    asked: dict[str, deque[float]] = {}
    """When each address asked last."""

    def require_patience(self, address: str, now: float) -> None:
        """Errors: TooManyRequestsException. Cost: bounded memory, whoever asks."""
        if len(self.asked) > _ADDRESSES:
            self.asked.clear()
        times = self.asked.setdefault(address, deque(maxlen=QUESTIONS))
        if len(times) == QUESTIONS and now - times[0] < PER_SECONDS:
            raise TooManyRequestsException("Ask less often.")
        times.append(now)

    def url_of(self, organization: str) -> str:
        """The sync endpoint under the organization's name."""
        port = "" if self.port == 443 else f":{self.port}"
        return f"https://{organization}.{self.zone}{port}"


class DiscoveryController(Controller):
    """Version 1 of the protocol."""

    path = "/v1"

    @get("/discover")
    async def discover(self, org: str, request: AnyRequest, discovery: DiscoveryServing) -> Discovered:
        """Where devices of this organization sync, if there is one."""
        discovery.require_patience(request.client.host if request.client else "", time.monotonic())
        if not discovery.zone:
            raise NotFoundException("There is nothing to discover here.")
        if not is_label(org):
            raise RequestInvalid("This cannot be an organization's name.")
        return Discovered(discovery.url_of(org))
