"""The queue on the control database, by procrastinate: durable work items, locks, workers that are told at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import procrastinate
from procrastinate.exceptions import AlreadyEnqueued

from satchel.database.pool import Connection, Database
from satchel.model.work import WorkItem, WorkName
from satchel.work.settle import Waiting

QUEUE_BY_NAME = {
    WorkName.PROVISION: "provisioning",
    WorkName.DEPROVISION: "provisioning",
    WorkName.REFRESH_MODEL: "data",
    WorkName.PULL: "data",
}
HEARTBEAT_SECONDS = 3.0
STALLED_SECONDS = 12.0

Run = Callable[[WorkItem], Awaitable[None]]
ItemTask = procrastinate.tasks.Task[[str, str], Coroutine[Any, Any, None], [str, str]]


class WorkQueue:
    """Takes work items in, and hands them to a worker's `run`."""

    run: Run | None = None
    """Does the work; a process that only puts items in needs none."""

    def __init__(self, control_url: str) -> None:
        """Prepare; nothing is connected before the queue is entered."""
        self.app = procrastinate.App(
            connector=procrastinate.PsycopgConnector(conninfo=control_url, min_size=0, max_size=6),
            worker_defaults={"delete_jobs": "successful", "install_signal_handlers": False},
        )
        self._tasks = {name: self._task(name) for name in WorkName}

    async def __aenter__(self) -> WorkQueue:
        """Connect."""
        await self.app.open_async()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnect."""
        await self.app.close_async()

    async def defer(self, connection: Connection, item: WorkItem) -> None:
        """Put an item into the queue in the caller's transaction; one that waits already is enough."""
        task = self._tasks[item.name].configure(lock=item.lock, queueing_lock=item.queueing_lock, connection=connection)
        try:
            async with connection.transaction():
                await task.defer_async(organization=item.organization, entity=item.entity)
        except AlreadyEnqueued:
            return

    async def work(self, queues: list[str], *, name: str, concurrency: int) -> None:
        """Run work items until cancelled."""
        await self.app.run_worker_async(
            queues=queues,
            name=name,
            concurrency=concurrency,
            fetch_job_polling_interval=2.0,
            update_heartbeat_interval=HEARTBEAT_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
            shutdown_graceful_timeout=10.0,
        )

    async def take_over_stalled(self) -> int:
        """Queue again what workers that died were doing; returns how many."""
        manager = self.app.job_manager
        stalled = list(await manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_SECONDS))
        for job in stalled:
            await manager.retry_job(job)
        return len(stalled)

    def _task(self, name: WorkName) -> ItemTask:
        @self.app.task(name=f"satchel.{name.value}", queue=QUEUE_BY_NAME[name], retry=Waiting())
        async def do(organization: str, entity: str) -> None:
            assert self.run is not None  # noqa: S101 - only workers fetch items
            await self.run(WorkItem(name, organization, entity))

        return do


async def make_queue(control: Database, queue: WorkQueue) -> None:
    """Make the queue's tables unless they stand."""
    rows = await control.fetch("select to_regclass('procrastinate_jobs') is not null")
    if not rows[0][0]:
        await queue.app.schema_manager.apply_schema_async()


async def drop_waiting(connection: Connection, organization: str) -> None:
    """Delete an organization's work items that are not being done, in the caller's transaction."""
    await connection.execute(
        "delete from procrastinate_jobs where args ->> 'organization' = %s and status <> 'doing'"
        " and task_name <> 'satchel.deprovision'",
        [organization],
    )


async def queue_depth(control: Database) -> dict[str, int]:
    """How many work items wait or are being done, by state."""
    rows = await control.fetch("select status::text, count(*) from procrastinate_jobs group by 1")
    return {row[0]: row[1] for row in rows}
