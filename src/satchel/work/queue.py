"""The queue on the control database, by procrastinate: durable work items, locks, workers that are told at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec
import procrastinate
from procrastinate.exceptions import AlreadyEnqueued, UniqueViolation
from procrastinate.jobs import Status

from satchel.database.pool import Connection, Database
from satchel.model.work import WorkItem, WorkName
from satchel.telemetry.trace import current_traceparent
from satchel.work.settle import Waiting

QUEUE_BY_NAME = {
    WorkName.PROVISION: "provisioning",
    WorkName.DEPROVISION: "provisioning",
    WorkName.MOVE: "moves",
    WorkName.NAME: "provisioning",
    WorkName.REFRESH_MODEL: "data",
    WorkName.MOVE_WINDOWS: "data",
    WorkName.PULL: "data",
    WorkName.PLAYBACK: "data",
    WorkName.SEAL_SNAPSHOTS: "data",
    WorkName.TIDY_TELEMETRY: "provisioning",
}
EVENTS = frozenset({WorkName.PROVISION, WorkName.DEPROVISION, WorkName.MOVE})
"""Organization events: each goes back into the queue until it succeeds; several of one kind do no harm."""
HEARTBEAT_SECONDS = 3.0
STALLED_SECONDS = 12.0

Run = Callable[[WorkItem], Awaitable[None]]
ItemTask = procrastinate.tasks.Task[..., Coroutine[Any, Any, None], ...]


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
        self._running: set[int] = set()
        self._workers: set[int] = set()
        self._suspects: set[int] = set()
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
        queueing_lock = None if item.name in EVENTS else item.queueing_lock
        task = self._tasks[item.name].configure(lock=item.lock, queueing_lock=queueing_lock, connection=connection)
        try:
            async with connection.transaction():
                trace = item.trace or current_traceparent()
                told = {"trace": trace} if trace else {}
                await task.defer_async(organization=item.organization, entity=item.entity, **told)
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
            await self._put_back(job.id)
        return len(stalled)

    async def put_back_forgotten(self, control: Database) -> int:
        """Queue again what counts as being done by this process but is not: its end was lost with the database.

        An item counts as forgotten when two looks in a row find it so: between them, one that just began shows.
        """
        rows = await control.fetch(
            "select id from procrastinate_jobs where status = 'doing' and worker_id = any(%(workers)s)",
            {"workers": list(self._workers)},
        )
        forgotten = {row[0] for row in rows} - self._running
        lost = forgotten & self._suspects
        self._suspects = forgotten
        for job_id in lost:
            await self._put_back(job_id)
        return len(lost)

    async def _put_back(self, job_id: int | None) -> None:
        assert job_id is not None  # noqa: S101 - it comes from the database
        manager = self.app.job_manager
        try:
            await manager.retry_job_by_id_async(job_id, retry_at=datetime.now(UTC))
        except UniqueViolation:
            # The same item waits in the queue already, and it waits for this one's lock: let it go ahead.
            await manager.finish_job_by_id_async(job_id, Status.FAILED, delete_job=True)

    def _task(self, name: WorkName) -> ItemTask:
        # A recurring item that fails comes again by its schedule: going back as well would meet itself in the queue.
        retry = Waiting() if name in EVENTS else False

        @self.app.task(name=f"satchel.{name.value}", queue=QUEUE_BY_NAME[name], retry=retry, pass_context=True)
        async def do(context: procrastinate.JobContext, organization: str, entity: str, trace: str = "") -> None:
            assert self.run is not None  # noqa: S101 - only workers fetch items
            job_id, worker_id = context.job.id or 0, context.job.worker_id or 0
            self._running.add(job_id)
            self._workers.add(worker_id)
            try:
                await self.run(WorkItem(name, organization, entity, trace, job_id))
            finally:
                self._running.discard(job_id)

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
        " and task_name not in ('satchel.deprovision', 'satchel.move')",
        [organization],
    )


class QueueState(msgspec.Struct, frozen=True):
    """How the queue stands."""

    waiting: int
    """Due, and held up by nothing but the lack of a worker."""
    doing: int
    age_seconds: float
    """Of the oldest that waits."""


async def queue_state(control: Database) -> QueueState:
    """How the queue stands. What waits for its turn behind work on the same rows does not count as waiting."""
    rows = await control.fetch(
        "select count(*) filter (where j.status = 'todo'), count(*) filter (where j.status = 'doing'),"
        " coalesce(extract(epoch from now() - min(e.at) filter (where j.status = 'todo')), 0)"
        " from procrastinate_jobs j"
        " left join lateral (select max(greatest(at, coalesce(j.scheduled_at, at))) as at from procrastinate_events"
        "   where job_id = j.id and type in ('deferred', 'deferred_for_retry', 'scheduled')) e on true"
        " where j.status = 'doing' or (j.status = 'todo' and (j.scheduled_at is null or j.scheduled_at <= now())"
        " and not exists (select from procrastinate_jobs d where d.status = 'doing' and d.lock = j.lock))"
    )
    waiting, doing, age = rows[0]
    return QueueState(waiting, doing, max(0.0, float(age)))


async def queue_depth(control: Database) -> dict[str, int]:
    """How many work items wait or are being done, by state."""
    rows = await control.fetch("select status::text, count(*) from procrastinate_jobs group by 1")
    return {row[0]: row[1] for row in rows}
