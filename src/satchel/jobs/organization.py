"""What the jobs of one organization work with, and how they tell that its head moved."""

from __future__ import annotations

import msgspec

from satchel.database.pool import Database
from satchel.model.changes import Source
from satchel.provisioning.organizations import Organization
from satchel.staging.head import Head

HEAD_CHANNEL = "satchel_head"


class OrganizationWork(msgspec.Struct, frozen=True):
    """One organization's source and staging database, for the length of a job."""

    organization: Organization
    source: Source
    staging: Database
    control: Database
    page_size: int
    reconcile_interval_seconds: float
    deletion_check_interval_seconds: float
    """The same where comparing keys is the only way to find deletions."""
    retention_days: float = 30.0
    """How long tombstones are kept."""

    async def notify(self, head: Head) -> None:
        """Tell sync servers that the head moved. A lost notification costs seconds: they re-read heads anyway."""
        await notify_head(self.control, self.organization.name, head)


async def notify_head(control: Database, organization: str, head: Head) -> None:
    """Tell all sync servers that an organization's head moved."""
    payload = msgspec.json.encode({"organization": organization, "head": head}).decode()
    await control.fetch("select pg_notify(%(channel)s, %(payload)s)", {"channel": HEAD_CHANNEL, "payload": payload})
