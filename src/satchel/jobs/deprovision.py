"""Deprovision an organization: nothing of it is left behind. The registration goes last, so that a crash resumes."""

from __future__ import annotations

from satchel.errors import StoreBusy
from satchel.jobs.provision import ProvisioningWork
from satchel.provisioning.organizations import Organization
from satchel.provisioning.schedule import clear_schedule


async def deprovision(work: ProvisioningWork, organization: Organization) -> None:
    """Drop schedule, waiting work items, staging database, objects, devices and registration. Again is harmless."""
    under_way = await work.moves.find(organization)
    if under_way is not None:  # which sees that the organization goes, and leaves one database only
        raise StoreBusy("It moves to another server; that is undone first.", wait_seconds=1.0)
    async with work.control.transaction() as connection:
        await clear_schedule(connection, organization)
        await work.drop_queue(connection, organization)
    await work.close_work(organization)
    await work.sync_servers.announce(organization.name, is_gone=True)
    await work.databases.drop(organization)
    await work.drop_objects(organization)
    async with work.control.transaction() as connection:
        await work.drop_queue(connection, organization)  # what was being done above and has failed since
    await work.organizations.remove(organization)
