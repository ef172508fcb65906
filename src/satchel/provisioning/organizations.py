"""The register of organizations, in the control database."""

from __future__ import annotations

import re
import secrets
from datetime import datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.database.queries import load_queries
from satchel.errors import InputInvalid, OrganizationExists, OrganizationUnknown

_SQL = load_queries(__file__)
DEFAULT_SERVER = "default"
"""The staging server that needs no name in the settings."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class Organization(msgspec.Struct, frozen=True):
    """One tenant of Satchel."""

    id: int
    name: str
    state: str
    """`registered`, `provisioning`, `active`, `deprovisioning` or `broken`."""
    source_kind: str
    source_url: str
    sealed_connection: bytes
    profiles: list[str]
    """Texts of the offline profiles in force."""
    database_name: str
    problem: str | None
    created_at: datetime
    server: str | None = None
    """Where its staging database lives; None: it was not placed yet."""
    is_refilling: bool = False
    """Its staging database was lost or restored: devices and edits wait until every entity was read once."""

    tenants: list[str] = []
    """The issuer's tenants whose users may sign in; none: as the settings say."""

    @property
    def place(self) -> str:
        """The server of its staging database."""
        return self.server or DEFAULT_SERVER

    @property
    def is_served(self) -> bool:
        """Devices may sync."""
        return self.state in {"provisioning", "active"}


class NewOrganization(msgspec.Struct, frozen=True):
    """What an administrator says of an organization."""

    name: str
    source_kind: str
    source_url: str
    sealed_connection: bytes
    profile_name: str
    profile: str
    tenants: list[str] = []


def check_name(name: str) -> str:
    """The name, if it can stand in URLs and DNS. Errors: InputInvalid."""
    if not _NAME.fullmatch(name):
        raise InputInvalid(
            f"{name!r} cannot be an organization's name.",
            hint="Use up to 40 lower-case letters, digits and hyphens, such as contoso or fabrikam-eu.",
        )
    return name


class Organizations:
    """The register."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def add(self, new: NewOrganization) -> Organization:
        """Register an organization. Errors: OrganizationExists."""
        parameters = {
            "name": check_name(new.name),
            "source_kind": new.source_kind,
            "source_url": new.source_url,
            "connection": new.sealed_connection,
            "profile_name": new.profile_name,
            "profile": new.profile,
            "database_name": new_database_name(new.name),
            "tenants": new.tenants,
        }
        if not await self._control.fetch(_SQL["add"], parameters):
            raise OrganizationExists(
                f"There is an organization named {new.name} already.",
                hint=f"`satchel org show {new.name}` shows it; choose another name or deprovision it first.",
            )
        return await self.get(new.name)

    async def get(self, name: str) -> Organization:
        """The organization of that name. Errors: OrganizationUnknown."""
        organization = await self.find(name)
        if organization is None:
            raise OrganizationUnknown(f"There is no organization named {name!r}.")
        return organization

    async def find(self, name: str) -> Organization | None:
        """The organization of that name, if there is one."""
        if "\x00" in name:  # of a path; PostgreSQL has no such text
            return None
        rows = await self._control.fetch(_SQL["get"], {"name": name})
        return Organization(*rows[0]) if rows else None

    async def all(self) -> list[Organization]:
        """All organizations, by name."""
        return [Organization(*row) for row in await self._control.fetch(_SQL["list"])]

    async def set_problem(self, organization: Organization, problem: str | None) -> None:
        """Keep what the organization waits for, or None."""
        text = problem[:500] if problem else None
        await self._control.fetch(_SQL["set_problem"], {"id": organization.id, "problem": text})

    async def set_connection(self, organization: Organization, sealed: bytes) -> None:
        """Keep a connection that was sealed again, unless it was changed meanwhile."""
        parameters = {"id": organization.id, "new": sealed, "old": organization.sealed_connection}
        await self._control.fetch(_SQL["set_connection"], parameters)

    async def set_tenants(self, organization: Organization, tenants: list[str]) -> None:
        """Say whose users may sign in; counts for the next sign-in."""
        await self._control.fetch(_SQL["set_tenants"], {"id": organization.id, "tenants": tenants})

    async def remove(self, organization: Organization) -> None:
        """Remove the registration with its devices, codes, steps and recurring work."""
        await self._control.fetch(_SQL["remove"], {"id": organization.id})

    async def refilled(self, organization: Organization) -> None:
        """Every entity was read: devices are served again."""
        parameters = {"id": organization.id, "database_name": organization.database_name}
        await self._control.fetch(_SQL["refilled"], parameters)

    async def leftovers(self) -> list[tuple[str, str]]:
        """Databases (server, name) that no organization uses any more."""
        return [(str(row[0]), str(row[1])) for row in await self._control.fetch(_SQL["leftovers"])]

    async def leftover_dropped(self, server: str, database_name: str) -> None:
        """It is gone."""
        await self._control.fetch(_SQL["leftover_dropped"], {"server": server, "database_name": database_name})

    async def steps_done(self, organization: Organization) -> set[str]:
        """Steps of the event under way that are done."""
        return {row[0] for row in await self._control.fetch(_SQL["steps"], {"id": organization.id})}

    async def step_done(self, organization: Organization, step: str) -> None:
        """Record a step: a crashed run resumes behind it."""
        await self._control.fetch(_SQL["step_done"], {"id": organization.id, "step": step})


def new_database_name(organization: str) -> str:
    """A name that no staging database ever had, also the name of its role."""
    return f"satchel_{organization.replace('-', '_')}_{secrets.token_hex(4)}"


async def begin_anew(connection: Connection, organization: Organization, server: str | None) -> None:
    """Provision once more, with an empty database; part of the caller's transaction. Errors: InputInvalid."""
    parameters = {"id": organization.id, "database_name": new_database_name(organization.name), "server": server}
    await connection.execute(_SQL["leave_behind"], parameters)
    row = await (await connection.execute(_SQL["begin_anew"], parameters)).fetchone()
    if row is None:
        raise InputInvalid(
            f"{organization.name} is {organization.state}, or moves to another server just now.",
            hint="Only an active organization is provisioned anew.",
        )
    await connection.execute(_SQL["forget_steps"], {"id": organization.id})


async def set_state(connection: Connection, organization: Organization, state: str) -> None:
    """Change the state; part of the caller's transaction, where the work item that belongs to it is deferred."""
    await connection.execute(_SQL["set_state"], {"id": organization.id, "state": state})
    await connection.execute(_SQL["forget_steps"], {"id": organization.id})
