"""Organization events: provision and deprovision, from the CLI or the management endpoint, become work items."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from satchel.database.pool import Connection, Database
from satchel.model.work import WorkItem, WorkName
from satchel.provisioning.organizations import Organizations, begin_anew, set_state


class OrganizationEvents:
    """Takes events in."""

    def __init__(
        self, control: Database, organizations: Organizations, defer: Callable[[Connection, WorkItem], Awaitable[None]]
    ) -> None:
        """`defer` puts a work item into the queue as part of a transaction."""
        self._control = control
        self._organizations = organizations
        self._defer = defer

    async def submit(self, event: str, name: str) -> None:
        """Note the event and put its work item into the queue, in one transaction. Errors: OrganizationUnknown."""
        organization = await self._organizations.get(name)
        if event == "provision" and organization.state == "active":
            return
        state = "provisioning" if event == "provision" else "deprovisioning"
        async with self._control.transaction() as connection:
            if organization.state != state:
                await set_state(connection, organization, state)
            await self._defer(connection, WorkItem(WorkName(event), name))

    async def begin_anew(self, name: str, server: str | None) -> None:
        """Provision an active organization once more, with an empty database: its data is read again, its devices keep
        what they hold and their edits. Errors: OrganizationUnknown, InputInvalid."""
        organization = await self._organizations.get(name)
        async with self._control.transaction() as connection:
            await begin_anew(connection, organization, server)
            await self._defer(connection, WorkItem(WorkName.PROVISION, name))

    async def defer(self, connection: Connection, name: str, work: WorkName) -> None:
        """Ask for a recurring work item as part of a transaction: what it is to see and the item, or neither.

        One that waits already may begin before that is committed: `request` it again afterwards.
        """
        await self._defer(connection, WorkItem(work, name))

    async def request(self, name: str, work: WorkName, entity: str = "") -> None:
        """Ask for a recurring work item now. Errors: OrganizationUnknown."""
        await self._organizations.get(name)
        async with self._control.transaction() as connection:
            await self._defer(connection, WorkItem(work, name, entity))
