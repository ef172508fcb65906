"""Drop what no device can need any more: a device that was away for longer than the retention loads its scope anew."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from satchel.buckets.assign import lock_head
from satchel.buckets.retention import drop_buckets, drop_families, drop_rows, drop_tombstones, raise_floor
from satchel.jobs.organization import OrganizationWork
from satchel.staging.head import read_scopes

CHUNK = 10_000
log = structlog.get_logger()


async def retire(work: OrganizationWork, now: datetime) -> int:
    """Raise the floor and drop what lies below; returns how many tombstones went.

    Order: the floor first; then in chunks, so that nobody waits long. A crash leaves the rest for the next time.
    """
    async with work.staging.transaction() as connection:
        await lock_head(connection)
        floor = await raise_floor(connection, now, now - timedelta(days=work.retention_days))
    dropped = 0
    while True:
        async with work.staging.transaction() as connection:
            count = await drop_tombstones(connection, floor, CHUNK)
        dropped += count
        if count < CHUNK:
            break
    families = 0
    while True:
        async with work.staging.transaction() as connection:
            await lock_head(connection)
            if not await drop_families(connection, floor):
                break
        families += 1
    async with work.staging.connection() as connection:
        entities = (await read_scopes(connection)).maintained.entities
    rows = 0
    for entity in entities:
        async with work.staging.transaction() as connection:
            await lock_head(connection)
            rows += await drop_rows(connection, entity.name)
    async with work.staging.transaction() as connection:
        await lock_head(connection)
        buckets = await drop_buckets(connection)
    if dropped or families or rows:
        log.info("retired", organization=work.organization.name, tombstones=dropped, families=families, rows=rows,
                 buckets=buckets)  # fmt: skip
    return dropped
