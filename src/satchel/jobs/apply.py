"""Pages of the source become staged rows, members and ops, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from satchel.buckets.assign import assign_changed, lock_head, raise_binding
from satchel.buckets.changed import begin_changes
from satchel.buckets.families import family_ids
from satchel.database.pool import Connection
from satchel.errors import PullOvertaken
from satchel.model.changes import Page
from satchel.model.keys import row_key
from satchel.model.metadata import Entity
from satchel.source.envelope import keys_of
from satchel.staging.head import Head, read_head, read_scopes
from satchel.staging.rows import remove_rows, stage_rows
from satchel.staging.written import lock_entities, note_unsettled, written_since


async def apply_page(
    connection: Connection, entity: Entity, page: Page, *, writes: int | None = None
) -> tuple[int, Head | None]:
    """Stage a page and assign its rows; returns how many changed, and the new head if there is one.

    `writes`: the newest write-through when the page was asked for (None: nothing is known of that): rows written
    through since are left out and asked for once more. Errors: PullOvertaken.
    """
    await lock_entities(connection, [entity.name])
    newer = {row_key(entity, key) for key in await written_since(connection, entity.name, writes or 0)}
    if newer:
        page = await _without(connection, entity, page, newer)
    return await apply_pages(connection, [(entity, page)])


async def apply_pages(connection: Connection, pages: Sequence[tuple[Entity, Page]]) -> tuple[int, Head | None]:
    """Stage pages of several entities, sorted by entity, and assign their rows.

    Order: rows, members, ops and head in the caller's transaction. The write lock is taken after the rows are decoded,
    so that other entities' pages are decoded meanwhile. Errors: PullOvertaken (the entity got other attributes since
    the page was asked for, or profiles were published meanwhile).
    """
    scopes = await read_scopes(connection)
    scope = scopes.maintained
    await begin_changes(connection)
    changed: dict[str, int] = {}
    for entity, page in pages:
        if scope.entity_by_name.get(entity.name) != entity:
            raise PullOvertaken(entity=entity.name)
        watched = scope.watched.get(entity.name, ())
        rows = await stage_rows(connection, entity, page.rows, watched) if page.row_count else 0
        changed[entity.name] = rows + await remove_rows(connection, entity, page.removed, watched)
    names = {name for name, count in changed.items() if count}
    if not names:
        return 0, None
    op = await lock_head(connection)
    # Published since: there may be a family that was filled past these rows, or that depends on values not noted.
    if (await read_scopes(connection)).version != scopes.version:
        raise PullOvertaken(entity=", ".join(sorted(names)))
    await assign_changed(connection, scope, await family_ids(connection), names, op)
    if scope.principals and not names.isdisjoint(scope.principals.entities):
        await raise_binding(connection)
    return sum(changed.values()), await read_head(connection)


async def _without(connection: Connection, entity: Entity, page: Page, newer: set[tuple[str, ...]]) -> Page:
    """The page without rows that were written through since it was asked for."""
    rows = msgspec.json.decode(page.rows, type=list[msgspec.Raw]) if page.row_count else []
    keys = keys_of(page.rows, entity) if rows else []
    kept = [bytes(row) for row, key in zip(rows, keys, strict=True) if key not in newer]
    removed = tuple(key for key in page.removed if key not in newer)
    await note_unsettled(connection, entity.name, newer & {*keys, *page.removed})
    return msgspec.structs.replace(page, rows=b"[" + b",".join(kept) + b"]", row_count=len(kept), removed=removed)
