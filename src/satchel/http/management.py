"""The management endpoint: for our own services, by service tokens, and for those whom an issuer
vouches for: services by scope, administrators by role. A device token never counts here."""

from __future__ import annotations

from typing import Literal

import msgspec
import structlog
from litestar import Controller, Request, delete, get, post, put

from satchel.http.auth import ManagementAuth
from satchel.identity.sign_in import ANNOUNCE, PROVISION, READ
from satchel.model.client_model import ClientModel
from satchel.provisioning.events import OrganizationEvents
from satchel.provisioning.organizations import Organizations
from satchel.staging.head import Head, read_scope
from satchel.sync.served import ServedOrganizations
from satchel.telemetry import metrics

log = structlog.get_logger()
AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class ManagementServing(msgspec.Struct, frozen=True):
    """What the management endpoint works with."""

    auth: ManagementAuth
    served: ServedOrganizations
    organizations: Organizations
    events: OrganizationEvents


class OrganizationEvent(msgspec.Struct, forbid_unknown_fields=True):
    """An organization is to come or to go."""

    event: Literal["provision", "deprovision"]
    organization: str


class OrganizationView(msgspec.Struct):
    """An organization as this sync server has it."""

    name: str
    state: str
    problem: str | None
    head: Head | None


class ManagementController(Controller):
    """Organizations in and out, and the client model each has."""

    path = "/v1"

    @get("/organizations")
    async def organizations(self, request: AnyRequest, management: ManagementServing) -> list[OrganizationView]:
        """All organizations and the heads this server knows."""
        await _require(management, request, READ)
        known = management.served.heads
        return [
            OrganizationView(organization.name, organization.state, organization.problem, known.get(organization.name))
            for organization in await management.organizations.all()
        ]

    @put("/organizations/{name:str}", status_code=204)
    async def announce(self, name: str, request: AnyRequest, management: ManagementServing) -> None:
        """An organization came, or has another client model."""
        await _require(management, request, ANNOUNCE)
        served = await management.served.load(name)
        head = await management.served.reread(name)
        if head is not None:
            management.served.heads.update(name, head, served.users)

    @delete("/organizations/{name:str}", status_code=204)
    async def forget(self, name: str, request: AnyRequest, management: ManagementServing) -> None:
        """An organization went."""
        await _require(management, request, ANNOUNCE)
        await management.served.forget(name)

    @get("/organizations/{name:str}/model")
    async def client_model(self, name: str, request: AnyRequest, management: ManagementServing) -> ClientModel:
        """The client model in force."""
        await _require(management, request, READ)
        served = await management.served.get(name)
        async with served.staging.connection() as connection:
            return (await read_scope(connection)).client_model

    @post("/organization-events", status_code=202)
    async def event(self, data: OrganizationEvent, request: AnyRequest, management: ManagementServing) -> None:
        """Put a provision or deprovision event into the queue."""
        caller = await _require(management, request, PROVISION)
        await management.events.submit(data.event, data.organization)
        log.info("organization event submitted", what=data.event, organization=data.organization, by=caller)


class MetricsController(Controller):
    """For Prometheus."""

    path = "/metrics"

    @get(media_type=metrics.CONTENT_TYPE)
    async def page(self, request: AnyRequest, management: ManagementServing) -> bytes:
        """This server's metrics."""
        await _require(management, request, READ)
        return metrics.page()


async def _require(management: ManagementServing, request: AnyRequest, permission: str) -> str:
    caller = await management.auth.require(request.headers.get("authorization"), permission)
    return caller.name
