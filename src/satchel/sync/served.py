"""The organizations this sync server serves: each with its own pool to its own staging database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from satchel.database.pool import Database
from satchel.errors import OrganizationUnknown, SatchelError, StoreBusy
from satchel.provisioning.organizations import Organization, Organizations
from satchel.staging.head import Head, read_head
from satchel.staging.users import Users
from satchel.sync.heads import Heads
from satchel.sync.settling import settle

log = structlog.get_logger()
_SETTLING_ROUNDS = 20


class ServedOrganization(msgspec.Struct, frozen=True):
    """An organization and its open staging database."""

    organization: Organization
    staging: Database
    users: Users


class ServedOrganizations:
    """Opens organizations when the first device comes or the worker announces them."""

    def __init__(self, organizations: Organizations, open_staging: Callable[[Organization], Database]) -> None:
        """`open_staging` makes the (unopened) pool of an organization's staging database."""
        self._organizations = organizations
        self._open_staging = open_staging
        self._served: dict[str, ServedOrganization] = {}
        self._lock = asyncio.Lock()
        self._settling: dict[str, asyncio.Task[None]] = {}
        self.heads = Heads(unsettled=self._begin_settling)

    async def get(self, name: str) -> ServedOrganization:
        """The organization. Errors: OrganizationUnknown - not registered here, or not provisioned."""
        served = self._served.get(name)
        return served if served is not None else await self.load(name)

    async def tenants(self, name: str) -> list[str]:
        """Whose users may sign in, as an administrator said last; of an unknown organization nobody's."""
        organization = await self._organizations.find(name)
        return organization.tenants if organization else []

    async def head(self, name: str) -> Head:
        """The organization's head: from memory, or read once."""
        head = self.heads.get(name)
        if head is None:
            served = await self.get(name)
            head = await self._read(served)
            self.heads.update(name, head, served.users)
        return head

    async def settle(self, name: str) -> None:
        """Read what came of the newest head: once, whoever asks meanwhile. Errors: RetryLater, OrganizationUnknown."""
        await asyncio.shield(self._begin_settling(name))

    def _begin_settling(self, name: str) -> asyncio.Task[None]:
        task = self._settling.get(name)
        if task is None:
            task = self._settling[name] = asyncio.create_task(self._settle(name))
            task.add_done_callback(lambda done: self._end_settling(name, done))
        return task

    def _end_settling(self, name: str, task: asyncio.Task[None]) -> None:
        del self._settling[name]
        standing = self.heads.standing(name)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.warning("what concerns whom was not read", organization=name, reason=type(error).__name__)
            if standing is not None and not standing.is_settled:
                standing.wake_all()  # each finds out alone
        elif standing is not None and standing.has_strangers and not task.cancelled():
            self._begin_settling(name)

    async def _settle(self, name: str) -> None:
        served = await self.get(name)
        standing = self.heads.standing(name)
        if standing is None:
            return
        for _ in range(_SETTLING_ROUNDS):  # heads may come faster than they are read
            async with served.staging.snapshot() as connection:
                await settle(connection, standing)
            if standing.is_settled:
                return
        standing.wake_all()

    async def load(self, name: str) -> ServedOrganization:
        """Read the registration anew and open the organization."""
        async with self._lock:
            organization = await self._organizations.find(name)
            if organization is None or not organization.is_served:
                await self._close(name)
                raise OrganizationUnknown(
                    f"No organization {name!r} is served here.", hint="Check the name in the link."
                )
            if organization.is_refilling:
                await self._close(name)
                raise StoreBusy("The organization's data is being read again.", wait_seconds=2.0)
            served = self._served.get(name)
            if served is None or _home(served.organization) != _home(organization):
                await self._close(name)
                staging = self._open_staging(organization)
                await staging.__aenter__()
                served = ServedOrganization(organization, staging, Users())
                self._served[name] = served
            return served

    async def forget(self, name: str) -> None:
        """Close an organization that went."""
        async with self._lock:
            await self._close(name)

    async def reread(self, name: str) -> Head | None:
        """The head as the database has it now; None where the organization went; as known where it does not answer."""
        try:
            return await self._read(await self.load(name))
        except OrganizationUnknown:
            return None
        except SatchelError as error:
            log.warning("head not read", organization=name, reason=error.code)
            return self.heads.get(name)

    async def close(self) -> None:
        """Close all."""
        for name in list(self._served):
            await self.forget(name)

    async def _close(self, name: str) -> None:
        served = self._served.pop(name, None)
        self.heads.forget(name)
        if served is not None:
            await served.staging.close()

    async def _read(self, served: ServedOrganization) -> Head:
        async with served.staging.connection() as connection:
            return await read_head(connection)


def _home(organization: Organization) -> tuple[str, str]:
    """Where its staging database lives, and which it is."""
    return organization.place, organization.database_name
