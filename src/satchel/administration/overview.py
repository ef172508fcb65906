"""Organizations at a glance: how far each is, and what is not well with it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from satchel.administration.doctor.finding import Finding, Level
from satchel.administration.doctor.organizations import look_at_organization
from satchel.administration.organizations import OrganizationStatus, organization_status
from satchel.assembly import Rooms
from satchel.errors import SatchelError
from satchel.jobs.provision import STEPS
from satchel.provisioning.organizations import Organization

AT_ONCE = 6
PATIENCE_SECONDS = 10.0
_SHARE_OF_STEPS = 0.1


class Glance(msgspec.Struct, frozen=True):
    """One organization."""

    organization: Organization
    status: OrganizationStatus | None
    """None: it cannot be read just now."""
    progress: float | None
    """How far the first read is, 0 to 1; None: it is at its end, or nothing of it has begun."""
    findings: list[Finding]
    """What is not well, the worst first."""

    @property
    def rows(self) -> int | None:
        """Rows that are staged; None where nothing is yet, or nothing can be read."""
        return sum(each.rows for each in self.status.entities) if self.status and self.status.entities else None

    @property
    def pulled_at(self) -> datetime | None:
        """When the entity that waits longest was read."""
        times = [each.pulled_at for each in self.status.entities] if self.status else []
        known = [each for each in times if each is not None]
        return min(known) if len(known) == len(times) and known else None


async def glance_at(rooms: Rooms, organizations: Sequence[Organization]) -> list[Glance]:
    """These organizations, as they stand. No error but what stands in them."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(organization: Organization) -> Glance:
        async with limit:
            return await glance(rooms, organization)

    return list(await asyncio.gather(*map(one, organizations)))


async def glance(rooms: Rooms, organization: Organization) -> Glance:
    """One organization, as it stands. No error but what stands in it."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found, _ = await look_at_organization(rooms, organization, datetime.now(UTC), is_asking=False)
            status = await organization_status(rooms, organization.name)
            steps = await rooms.organizations.steps_done(organization)
    except (SatchelError, TimeoutError) as error:
        words = error.message if isinstance(error, SatchelError) else "Its database does not answer in time."
        away = Finding(check="database", level=Level.WRONG, organization=organization.name, message=words)
        return Glance(organization, None, None, [away])
    bad = sorted((each for each in found if each.level is not Level.GOOD), key=lambda each: -each.level)
    return Glance(organization, status, progress_of(status, len(steps)), bad)


def progress_of(status: OrganizationStatus, steps_done: int) -> float | None:
    """How far the first read is: a tenth for what is made before, the rest by entities that were read to the end."""
    if status.state == "provisioning":
        return _SHARE_OF_STEPS * min(1.0, steps_done / len(STEPS))
    if status.state != "active":
        return None
    if not status.entities:
        return _SHARE_OF_STEPS
    read = sum(each.pulled_at is not None for each in status.entities)
    if read == len(status.entities):
        return None
    return _SHARE_OF_STEPS + (1 - _SHARE_OF_STEPS) * read / len(status.entities)
