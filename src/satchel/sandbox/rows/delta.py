"""What changed since a delta link: new and changed rows by version, then removed keys.

A link stands for the version at the beginning of the read it ended; what changes while it is followed comes with the
next one. Source: powerapps-docs, developer/data-platform/use-change-tracking-synchronize-data-external-systems.md.
"""

from __future__ import annotations

import time
from typing import Any

from satchel.sandbox.data.store import Store
from satchel.sandbox.faults import Faults
from satchel.sandbox.odata import options
from satchel.sandbox.odata.answers import Answer, ODataError, Request
from satchel.sandbox.odata.render import page_json, row_json
from satchel.sandbox.rows.positions import EXPIRED, Position, decode, delta_link, next_link
from satchel.sandbox.schema.kinds import Entity

_CHANGED = """
select t.versionnumber, {json} from "{name}" t
where t.versionnumber > ? and t.versionnumber <= ? order by t.versionnumber limit ?
"""
_REMOVED = """
select version, key from _tombstone where entity = ? and version > ? and version <= ? order by version limit ?
"""


class Delta:
    """Follows delta links."""

    def __init__(self, store: Store, faults: Faults, expiry_seconds: float) -> None:
        """`expiry_seconds`: how long a delta link can be used."""
        self._store, self._faults, self._expiry_seconds = store, faults, expiry_seconds

    def opened(self, token: str) -> Position:
        """The position of a delta link. Errors: ODataError 400 once it has expired."""
        position = decode(token)
        is_old = time.time() - position.made_at > self._expiry_seconds
        if is_old or position.made_at <= self._faults.delta_links_expired_before:
            raise ODataError(
                400, EXPIRED, "Version stamp associated with the client has expired. Please perform a full sync."
            )
        return position

    def page(self, entity: Entity, request: Request, position: Position) -> Answer:
        """A page of changes; behind the last one comes the next delta link. Cost: two queries, by index."""
        upto = position.upto or self._store.version
        size = options.page_size(request, self._faults.switches.page_limit)
        behind = Position(
            since=position.since, upto=upto, version=position.version, is_deleted=position.is_deleted,
            made_at=position.made_at,
        )  # fmt: skip
        items: list[str] = []
        if not behind.is_deleted:
            items += self._changed(entity, request, behind, size)
        is_last = False
        if behind.is_deleted and len(items) < size:
            removed = self._removed(entity, request, behind, size - len(items))
            is_last = len(removed) < size - len(items)
            items += removed
        link = delta_link(entity, request, upto) if is_last else next_link(entity, request, behind)
        context = options.context_of(entity, request) + "/$delta"
        body = page_json([("@odata.context", context)], items, [link])
        return Answer(body=body, headers=options.headers_of(request, is_tracked=False))

    def count(self, entity: Entity, position: Position) -> int:
        """How many changes there are since a delta link, removals among them."""
        changed = f'select count(*) from "{entity.name}" where versionnumber > ?'
        removed = "select count(*) from _tombstone where entity = ? and version > ?"
        values: list[Any] = [entity.name, position.since]
        return int(self._store.value(changed, [position.since]) + self._store.value(removed, values))

    def _changed(self, entity: Entity, request: Request, behind: Position, size: int) -> list[str]:
        """New and changed rows; `behind` moves on."""
        json = row_json(entity, options.selected(entity, request), options.wanted_annotations(request))
        sql = _CHANGED.format(json=json, name=entity.name)
        rows = self._store.rows(sql, [max(behind.version, behind.since), behind.upto, size])
        behind.is_deleted = len(rows) < size
        behind.version = 0 if behind.is_deleted else rows[-1][0]
        return [row[1] for row in rows]

    def _removed(self, entity: Entity, request: Request, behind: Position, size: int) -> list[str]:
        """Removed keys; `behind` moves on."""
        after = max(behind.version, behind.since)
        rows = self._store.rows(_REMOVED, [entity.name, after, behind.upto, size])
        behind.version = rows[-1][0] if rows else after
        context = f"{request.root}$metadata#{entity.set_name}/$deletedEntity"
        return [f'{{"@odata.context":"{context}","id":"{key}","reason":"deleted"}}' for _, key in rows]
