"""The management endpoint: for our own services, by service tokens. Devices never reach it."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import Controller, Request, delete, get, post, put

from satchel.http.auth import ServiceAuth
from satchel.model.client_model import ClientModel
from satchel.provisioning.events import OrganizationEvents
from satchel.provisioning.organizations import Organizations
from satchel.staging.head import Head, read_scope
from satchel.sync.served import ServedOrganizations

AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class ManagementServing(msgspec.Struct, frozen=True):
    """What the management endpoint works with."""

    auth: ServiceAuth
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
        _authorize(management, request)
        known = management.served.heads
        return [
            OrganizationView(organization.name, organization.state, organization.problem, known.get(organization.name))
            for organization in await management.organizations.all()
        ]

    @put("/organizations/{name:str}", status_code=204)
    async def announce(self, name: str, request: AnyRequest, management: ManagementServing) -> None:
        """An organization came, or has another client model."""
        _authorize(management, request)
        await management.served.load(name)
        head = await management.served.reread(name)
        if head is not None:
            management.served.heads.update(name, head)

    @delete("/organizations/{name:str}", status_code=204)
    async def forget(self, name: str, request: AnyRequest, management: ManagementServing) -> None:
        """An organization went."""
        _authorize(management, request)
        await management.served.forget(name)

    @get("/organizations/{name:str}/model")
    async def client_model(self, name: str, request: AnyRequest, management: ManagementServing) -> ClientModel:
        """The client model in force."""
        _authorize(management, request)
        served = await management.served.get(name)
        async with served.staging.connection() as connection:
            return (await read_scope(connection)).client_model

    @post("/organization-events", status_code=202)
    async def event(self, data: OrganizationEvent, request: AnyRequest, management: ManagementServing) -> None:
        """Put a provision or deprovision event into the queue."""
        _authorize(management, request)
        await management.events.submit(data.event, data.organization)


def _authorize(management: ManagementServing, request: AnyRequest) -> None:
    management.auth.service(request.headers.get("authorization"))
