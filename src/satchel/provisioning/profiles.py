"""Offline profiles of an organization, with all their versions, in the control database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.database.queries import load_queries
from satchel.errors import InputInvalid
from satchel.provisioning.organizations import Organization

_SQL = load_queries(__file__)


class ProfileVersion(msgspec.Struct, frozen=True):
    """One text of a profile. It never changes."""

    name: str
    version: int
    text: str
    comment: str
    created_at: datetime
    is_published: bool
    published_at: datetime | None
    """When it last came into force; None: it is a draft."""


class Publication(msgspec.Struct, frozen=True):
    """A version came into force; without one, the profile was withdrawn."""

    name: str
    version: int | None
    comment: str
    published_at: datetime


class Profiles:
    """The register of profiles."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def add(self, organization: Organization, name: str, text: str, comment: str = "") -> int:
        """Keep a text as the profile's next version, a draft; returns its number. The newest text again adds none."""
        async with self._control.transaction() as connection:
            await _lock(connection, organization)
            parameters = {"organization": organization.id, "name": name, "text": text, "comment": comment[:500]}
            row = await (await connection.execute(_SQL["add"], parameters)).fetchone()
            assert row is not None  # noqa: S101 - one of the two branches has it
            return int(row[0])

    async def publish(
        self,
        organization: Organization,
        name: str,
        version: int | None,
        comment: str = "",
        *,
        instead_of: Sequence[ProfileVersion] | None = None,
        then: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> ProfileVersion | None:
        """Bring a version into force, an older one too; None withdraws the profile. `then` is in the same transaction.

        `instead_of`: all that was in force when this was checked; where that is something else by now, nothing changes.
        Errors: InputInvalid.
        """
        chosen = None if version is None else await self.get(organization, name, version)
        parameters = {"organization": organization.id, "name": name, "version": version, "comment": comment[:500]}
        async with self._control.transaction() as connection:
            await _lock(connection, organization)
            if instead_of is not None:
                await _require_in_force(connection, organization, instead_of)
            await connection.execute(_SQL["unpublish"], parameters)
            if version is not None:
                await connection.execute(_SQL["publish"], parameters)
            await connection.execute(_SQL["note"], parameters)
            if then is not None:
                await then(connection)
        return chosen

    async def get(self, organization: Organization, name: str, version: int | None = None) -> ProfileVersion:
        """A version of a profile; None: the newest. Errors: InputInvalid."""
        versions = await self.versions(organization, name)
        if not versions:
            known = sorted({each.name for each in await self.versions(organization)})
            raise InputInvalid(
                f"{organization.name} has no profile {name!r}.",
                hint=f"It has {', '.join(known)}." if known else "Import one: satchel profile import.",
            )
        found = versions[-1] if version is None else next((v for v in versions if v.version == version), None)
        if found is None:
            raise InputInvalid(f"The profile {name!r} has no version {version}.", hint="See satchel profile history.")
        return found

    async def versions(self, organization: Organization, name: str = "") -> list[ProfileVersion]:
        """All versions of one profile, or of all, oldest first."""
        rows = await self._control.fetch(_SQL["versions"], {"organization": organization.id, "name": name})
        return [ProfileVersion(*row) for row in rows]

    async def published(self, organization: Organization) -> list[ProfileVersion]:
        """What is in force."""
        return [version for version in await self.versions(organization) if version.is_published]

    async def publications(self, organization: Organization, name: str = "") -> list[Publication]:
        """What came into force when, oldest first."""
        rows = await self._control.fetch(_SQL["publications"], {"organization": organization.id, "name": name})
        return [Publication(*row) for row in rows]


async def _lock(connection: Connection, organization: Organization) -> None:
    """One writer of an organization's profiles at a time: versions are numbered without gaps."""
    await connection.execute("select from satchel.organization where id = %s for update", [organization.id])


async def _require_in_force(
    connection: Connection, organization: Organization, expected: Sequence[ProfileVersion]
) -> None:
    found = await (await connection.execute(_SQL["in_force"], {"organization": organization.id})).fetchall()
    if {(str(name), int(version)) for name, version in found} != {(each.name, each.version) for each in expected}:
        raise InputInvalid(
            "Nothing was changed: meanwhile somebody else brought profiles into force or took them out.",
            hint="Look at what is in force now, and decide anew.",
        )
