"""Runs a work item: finds its organization, calls its job, and settles what the job's errors leave."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from satchel.errors import Broken, ConfigError, RetryLater, StoreBusy
from satchel.jobs.deprovision import deprovision
from satchel.jobs.move import move
from satchel.jobs.move_windows import move_windows
from satchel.jobs.name import name
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.playback import must_come_again, playback
from satchel.jobs.provision import ProvisioningWork, provision, reschedule
from satchel.jobs.pull import pull
from satchel.jobs.refresh_model import refresh_model
from satchel.jobs.retire import retire
from satchel.jobs.seal_snapshot import seal_snapshots
from satchel.model.work import WorkItem, WorkName
from satchel.provisioning.organizations import Organization, set_state
from satchel.provisioning.schedule import hasten, postpone, succeeded
from satchel.staging.head import read_scope
from satchel.staging.watermark import never_read, note_problem
from satchel.telemetry import metrics
from satchel.work.queue import EVENTS
from satchel.work.seen import seen_item
from satchel.work.settle import describe, is_overtaken, wait_seconds

log = structlog.get_logger()
_PLAYBACK_AGAIN_SECONDS = 5.0
"""How soon playback comes again where something waits."""


class Runner:
    """One process's way to run work items."""

    def __init__(self, work: ProvisioningWork) -> None:
        """Keep what jobs work with."""
        self._work = work

    async def run(self, item: WorkItem) -> None:
        """Run one item. An organization that is gone ends it."""
        if item.name is WorkName.TIDY_TELEMETRY:
            with seen_item(item) as seen:
                seen.is_idle = not await self._work.tidy_telemetry()
            return
        if item.name is WorkName.NAME:  # it outlives its organization
            with seen_item(item):
                await name(self._work, item.organization)
            return
        organization = await self._work.organizations.find(item.organization)
        if organization is None:
            return
        with seen_item(item) as seen:
            try:
                seen.is_idle = not await self._run(item, organization)
                await succeeded(self._work.control, item)
            except Exception as error:
                seen.failed(error)
                await self._settle(item, organization, error)

    async def _run(self, item: WorkItem, organization: Organization) -> bool:
        """False where there was nothing to do."""
        match item.name:
            case WorkName.PROVISION:
                await provision(self._work, organization)
                await self._work.close_work(organization)  # what comes now is the workers'
                log.info("provisioned")
            case WorkName.DEPROVISION:
                await deprovision(self._work, organization)
                log.info("deprovisioned")
            case WorkName.MOVE:
                await move(self._work, organization)
            case _ if organization.state != "active":
                return False
            case WorkName.REFRESH_MODEL:
                return await self._refresh_model(organization)
            case WorkName.PULL:
                return await self._pull(organization, item.entity)
            case WorkName.MOVE_WINDOWS:
                await move_windows(await self._work.open_work(organization), datetime.now(UTC))
            case WorkName.PLAYBACK:
                return await self._playback(item, organization)
            case WorkName.SEAL_SNAPSHOTS:
                return await self._seal_snapshots(organization)
        return True

    async def _refresh_model(self, organization: Organization) -> bool:
        work = await self._work.open_work(organization)
        scope, is_changed = await refresh_model(work, datetime.now(UTC))
        await retire(work, datetime.now(UTC))
        if is_changed:
            await reschedule(self._work, organization, scope)
            await self._work.sync_servers.announce(organization.name)
        if organization.problem:
            await self._work.organizations.set_problem(organization, None)
        return is_changed

    async def _pull(self, organization: Organization, entity: str) -> bool:
        pulled = await pull(await self._work.open_work(organization), entity)
        if organization.is_refilling:
            await self._end_refilling(organization)
        metrics.count("satchel_pulled_rows_total", pulled.rows, organization=organization.name)
        if pulled.changed:
            log.info("pulled", rows=pulled.rows, changed=pulled.changed)
        return bool(pulled.changed)

    async def _end_refilling(self, organization: Organization) -> None:
        """Once every entity was read to the end, devices and their edits are let in again."""
        work = await self._work.open_work(organization)
        async with work.staging.connection() as connection:
            entities = [entity.name for entity in (await read_scope(connection)).entities]
            is_missing = bool(await never_read(connection, entities))
        if not is_missing:
            await self._work.organizations.refilled(organization)
            await self._work.sync_servers.announce(organization.name)
            log.info("read again", organization=organization.name)

    async def _playback(self, item: WorkItem, organization: Organization) -> bool:
        if organization.is_refilling:
            await hasten(self._work.control, item, _PLAYBACK_AGAIN_SECONDS)
            return False
        work = await self._work.open_work(organization)
        settled = await playback(work)
        if await must_come_again(work):
            await hasten(self._work.control, item, _PLAYBACK_AGAIN_SECONDS)
        if settled:
            log.info("played back", edit_sets=settled)
        return bool(settled)

    async def _seal_snapshots(self, organization: Organization) -> bool:
        return bool(await seal_snapshots(await self._work.open_work(organization), self._work.sealing))

    async def _settle(self, item: WorkItem, organization: Organization, error: Exception) -> None:
        """A recurring item ends here and comes again by its schedule; an event goes back into the queue."""
        if is_overtaken(error) or await self._work.organizations.find(item.organization) is None:
            return
        reason = describe(error)
        log.warning(
            "work item failed",
            reason=reason,
            exc_info=None if isinstance(error, RetryLater | ConfigError) else error,
        )
        if isinstance(error, Broken):
            async with self._work.control.transaction() as connection:
                await set_state(connection, organization, "broken")
        if item.name in EVENTS:
            await self._work.organizations.set_problem(organization, reason)
            raise error
        seconds = wait_seconds(error, attempts=3)
        await postpone(self._work.control, item, seconds, reason)
        if item.name is WorkName.PLAYBACK:
            await hasten(self._work.control, item, max(seconds, _PLAYBACK_AGAIN_SECONDS))
        await self._note(item, organization, reason)

    async def _note(self, item: WorkItem, organization: Organization, reason: str) -> None:
        """Keep the reason where an administrator looks for it."""
        if not item.entity:
            await self._work.organizations.set_problem(organization, reason)
            return
        work: OrganizationWork = await self._work.open_work(organization)
        try:
            async with work.staging.connection() as connection:
                await note_problem(connection, item.entity, reason)
        except StoreBusy as error:  # its database may be what failed, or gone with its organization
            log.warning("reason not kept", reason=error.message)
