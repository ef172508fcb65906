"""Reading: collections in pages and single rows.

A page's position is the last key, so rows are neither skipped nor repeated while data changes; the fault switch
`shifting_pages` counts rows instead. Source: powerapps-docs, webapi/query-data-web-api.md.
"""

from __future__ import annotations

from satchel.sandbox.data.store import Store
from satchel.sandbox.faults import Faults
from satchel.sandbox.odata import options
from satchel.sandbox.odata.answers import JSON, Answer, Request, not_found
from satchel.sandbox.odata.filters import filter_sql
from satchel.sandbox.odata.render import page_json, row_json
from satchel.sandbox.rows.delta import Delta
from satchel.sandbox.rows.positions import Position, decode, delta_link, next_link
from satchel.sandbox.rows.security import Caller, readable, require_all
from satchel.sandbox.schema.kinds import Entity

MAX_COUNT = 5000
_EXCEEDED = "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"


class Reader:
    """Answers reads."""

    def __init__(self, store: Store, faults: Faults, delta_expiry_seconds: float) -> None:
        """`delta_expiry_seconds`: how long a delta link can be used."""
        self._store = store
        self._faults = faults
        self._delta = Delta(store, faults, delta_expiry_seconds)

    def collection(self, entity: Entity, request: Request, caller: Caller) -> Answer:
        """A page of an entity set, of its first read or of what changed since. Errors: ODataError."""
        options.check_known(request)
        is_tracked = options.is_tracking(entity, request)
        position = Position(upto=self._store.version if is_tracked else 0)
        if "$deltatoken" in request.query:
            position = self._delta.opened(request.query["$deltatoken"])
        elif "$skiptoken" in request.query:
            position = decode(request.query["$skiptoken"])
        if is_tracked or position.since >= 0 or position.upto > 0:
            require_all(self._store, caller, entity)
        if position.since >= 0:
            return self._delta.page(entity, request, position)
        return self._page(entity, request, caller, position)

    def count(self, entity: Entity, request: Request, caller: Caller) -> Answer:
        """`/$count`: at most 5,000, as documented; with a delta token, of changes."""
        options.check_known(request)
        if "$deltatoken" in request.query:
            require_all(self._store, caller, entity)
            count = self._delta.count(entity, self._delta.opened(request.query["$deltatoken"]))
        else:
            count = self._counted(entity, *self._condition(entity, request, caller))
        return Answer(body=str(min(count, MAX_COUNT)).encode(), headers={"content-type": "text/plain"})

    def row(self, entity: Entity, key: str, request: Request, caller: Caller) -> Answer:
        """One row; 304 where the caller has it already. Errors: ODataError 404."""
        options.check_known(request)
        columns, wanted = options.selected(entity, request), options.wanted_annotations(request)
        json = row_json(entity, columns, wanted, options.expansions(entity, request))
        visible, values = readable(self._store, caller, entity)
        found = self._store.rows(
            f'select t.versionnumber, {json} from "{entity.name}" t where t."{entity.key}" = ? and {visible}',
            [key, *values],
        )
        if not found:
            raise not_found(entity.name, key)
        version, text = found[0]
        etag = f'W/"{version}"'
        # Annotations and expanded rows may change without the row.
        is_plain = "$expand" not in request.query and not wanted
        if request.headers.get("if-none-match") == etag and is_plain:
            return Answer(status=304, headers={"etag": etag})
        context = f'{{"@odata.context":"{options.context_of(entity, request)}/$entity",'
        return Answer(body=(context + text[1:]).encode(), headers={"content-type": JSON, "etag": etag})

    def _page(self, entity: Entity, request: Request, caller: Caller, position: Position) -> Answer:
        condition, values = self._condition(entity, request, caller)
        head = self._head(entity, request, condition, values)
        left = position.left if position.left >= 0 else options.top(request)
        size = options.page_size(request, self._faults.switches.page_limit)
        limit = size if left < 0 else min(size, left)
        rows = self._rows(entity, request, position, limit, condition, values)
        links = []
        if len(rows) > limit and (left < 0 or left > limit):
            offset, rest = position.offset + limit, left - limit if left >= 0 else -1
            behind = Position(upto=position.upto, key=rows[limit - 1][0], offset=offset, left=rest)
            links.append(next_link(entity, request, behind))
        elif position.upto > 0:
            links.append(delta_link(entity, request, position.upto))
        body = page_json(head, [row[1] for row in rows[:limit]], links)
        return Answer(body=body, headers=options.headers_of(request, is_tracked=position.upto > 0))

    def _rows(
        self, entity: Entity, request: Request, position: Position, limit: int, condition: str, values: list[object]
    ) -> list[tuple[str, str]]:
        """Keys and rows of a page, and one more where there is one."""
        order = options.ordering(entity, request)
        place = f"limit {limit + 1}"
        if self._faults.switches.shifting_pages or order != f't."{entity.key}"':
            place += f" offset {max(0, position.offset)}"
        else:
            condition, values = f'{condition} and t."{entity.key}" > ?', [*values, position.key]
        expanded = options.expansions(entity, request)
        json = row_json(entity, options.selected(entity, request), options.wanted_annotations(request), expanded)
        sql = f'select t."{entity.key}", {json} from "{entity.name}" t where {condition} order by {order} {place}'
        return [(row[0], row[1]) for row in self._store.rows(sql, values)]

    def _head(self, entity: Entity, request: Request, condition: str, values: list[object]) -> list[tuple[str, object]]:
        head: list[tuple[str, object]] = [("@odata.context", options.context_of(entity, request))]
        if request.query.get("$count") == "true":
            count = self._counted(entity, condition, values)
            head.append(("@odata.count", min(count, MAX_COUNT)))
            if options.wanted_annotations(request) & {"*", _EXCEEDED}:
                head.append((f"@{_EXCEEDED}", count > MAX_COUNT))
        return head

    def _counted(self, entity: Entity, condition: str, values: list[object]) -> int:
        return int(self._store.value(f'select count(*) from "{entity.name}" t where {condition}', values))

    def _condition(self, entity: Entity, request: Request, caller: Caller) -> tuple[str, list[object]]:
        visible, values = readable(self._store, caller, entity)
        if "$filter" not in request.query:
            return visible, values
        condition, more = filter_sql(entity, request.query["$filter"])
        return f"{visible} and ({condition})", [*values, *more]
