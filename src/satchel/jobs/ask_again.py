"""Rows of which it is not known which of two states is the newer one: the source is asked for them once more."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from satchel.errors import RequestRefused
from satchel.jobs.apply import apply_page
from satchel.jobs.organization import OrganizationWork
from satchel.model.ids import Key
from satchel.model.metadata import Entity
from satchel.staging.head import read_scopes
from satchel.staging.watermark import positions
from satchel.staging.written import (
    asked_now,
    lock_entities,
    note_unsettled,
    note_written,
    read_versions,
    settle_rows,
    unsettled,
    writes_now,
)

_ROUNDS = 20
log = structlog.get_logger()


async def ask_again(work: OrganizationWork, entity_name: str | None = None) -> None:
    """Bring all noted rows to where the source has them. Errors: RetryLater; what is left waits for the next time."""
    refused: set[str] = set()
    for _ in range(_ROUNDS):
        async with work.staging.connection() as connection:
            noted = await unsettled(connection, entity_name)
            known = (await read_scopes(connection)).maintained.entity_by_name
        if not noted.keys() - refused:
            return
        for name, keys in noted.items():
            if name in known:
                try:
                    await refresh_rows(work, known[name], keys)
                except RequestRefused as error:
                    refused.add(name)
                    log.warning("rows not asked for again", entity=name, reason=error.message)
            else:
                async with work.staging.transaction() as connection:
                    await settle_rows(connection, name, keys, await asked_now(connection))  # no longer staged


async def refresh_rows(work: OrganizationWork, entity: Entity, keys: Collection[Key]) -> None:
    """Stage these rows as the source has them now; what somebody else staged meanwhile is noted for another look.

    Errors: RetryLater, RequestRefused, PullOvertaken.
    """
    async with work.staging.connection() as connection:
        before = await read_versions(connection, entity, keys)
        position = await positions(connection, [entity.name])
        writes = await writes_now(connection)
        asked_at = await asked_now(connection)
    page = await work.source.rows(entity, sorted(keys))
    async with work.staging.transaction() as connection:
        await lock_entities(connection, [entity.name])
        await settle_rows(connection, entity.name, keys, asked_at)
        now = await read_versions(connection, entity, keys, is_locked=True)
        has_moved = await positions(connection, [entity.name]) != position
        # Of a row that was not there a page may have told meanwhile that it is gone again, which leaves no trace.
        moved = [k for k in keys if before.get(k) != now.get(k) or (has_moved and k not in now)]
        if moved:
            await note_unsettled(connection, entity.name, moved)
            head = None
        else:
            _, head = await apply_page(connection, entity, page, writes=writes)
            await note_written(connection, [(entity.name, key) for key in sorted(keys)])
    if head is not None:
        await work.notify(head)
