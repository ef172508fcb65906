"""Reading: collections in pages, single rows, and what changed since a delta link.

A page's position is the last key, so rows are neither skipped nor repeated while data changes; the fault switch
`shifting_pages` counts rows instead. A delta link stands for the version at the beginning of its read.
"""

from __future__ import annotations

import base64
import re
import time
from urllib.parse import quote, urlencode

import msgspec

from satchel.sandbox.data.store import Store
from satchel.sandbox.schema.kinds import Column, Entity
from satchel.sandbox.schema.organization import BY_NAME
from satchel.sandbox.web.answers import JSON, Answer, ODataError, Request, not_found
from satchel.sandbox.web.faults import Faults
from satchel.sandbox.web.filters import column_of, filter_sql
from satchel.sandbox.web.render import expanded_json, row_json
from satchel.sandbox.web.security import Caller, readable

MAX_PAGE = 5000
MAX_COUNT = 5000
EXPIRED = "0x80044352"
TRACK_CHANGES = "odata.track-changes"
_EXPAND = re.compile(r"^\s*(\w+)\s*(?:\(\s*\$select=([\w,\s]+)\))?\s*$")
_OPTIONS = {"$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken", "$deltatoken", "annotations"}
_AGAINST_TRACKING = ("$filter", "$orderby", "$expand", "$top")


class Position(msgspec.Struct, array_like=True, omit_defaults=True):
    """Where a read stands: what `$skiptoken` and `$deltatoken` carry."""

    since: int = -1
    """Changes behind this version; -1: everything."""
    upto: int = 0
    """The version at the read's beginning, for which its delta link will stand."""
    key: str = ""
    version: int = 0
    is_deleted: bool = False
    offset: int = 0
    left: int = -1
    made_at: float = 0.0


class Reader:
    """Answers reads."""

    def __init__(self, store: Store, faults: Faults, delta_expiry_seconds: float) -> None:
        """`delta_expiry_seconds`: how long a delta link can be used."""
        self._store = store
        self._faults = faults
        self._expiry_seconds = delta_expiry_seconds

    def collection(self, entity: Entity, request: Request, caller: Caller) -> Answer:
        """A page of an entity set."""
        unknown = [name for name in request.query if name.startswith("$") and name not in _OPTIONS]
        if unknown:
            raise ODataError(400, "0x80060888", f"The query parameter {unknown[0]} is not supported")
        is_tracking = TRACK_CHANGES in request.preferences
        if is_tracking:
            used = [name for name in _AGAINST_TRACKING if name in request.query]
            if used:
                raise ODataError(
                    400, "0x80060888", f"The query parameter {used[0]} is not supported with track changes."
                )
            if not entity.tracks_changes:
                raise ODataError(400, "0x80044331", f"Entity {entity.name} is not enabled for change tracking.")
        if "$deltatoken" in request.query:
            return self._delta(entity, request, caller, self._delta_position(request.query["$deltatoken"]))
        if "$skiptoken" in request.query:
            position = _decode(request.query["$skiptoken"])
            if position.since >= 0:
                return self._delta(entity, request, caller, position)
            return self._page(entity, request, caller, position, is_tracking=is_tracking or position.upto > 0)
        upto = self._store.version if is_tracking else 0
        return self._page(entity, request, caller, Position(upto=upto), is_tracking=is_tracking)

    def count(self, entity: Entity, request: Request, caller: Caller) -> Answer:
        """`/$count`: at most 5,000, as documented; with a delta token, of changes."""
        condition, values = self._condition(entity, request, caller)
        if "$deltatoken" in request.query:
            position = self._delta_position(request.query["$deltatoken"])
            condition, values = f"{condition} and t.versionnumber > ?", [*values, position.since]
        count = self._store.value(f'select count(*) from "{entity.name}" t where {condition}', values)
        return Answer(body=str(min(count, MAX_COUNT)).encode(), headers={"content-type": "text/plain"})

    def row(self, entity: Entity, key: str, request: Request, caller: Caller) -> Answer:
        """One row; 304 where the caller has it already."""
        columns, more = self._columns(entity, request)
        json = row_json(entity, columns, _wanted(request), more)
        visible, values = readable(self._store, caller, entity)
        found = self._store.rows(
            f'select t.versionnumber, {json} from "{entity.name}" t where t."{entity.key}" = ? and {visible}',
            [key, *values],
        )
        if not found:
            raise not_found(entity.name, key)
        version, text = found[0]
        etag = f'W/"{version}"'
        if request.headers.get("if-none-match") == etag and "$expand" not in request.query:
            return Answer(status=304, headers={"etag": etag})
        context = f'{{"@odata.context":"{_context(entity, request)}/$entity",'
        return Answer(body=(context + text[1:]).encode(), headers={"content-type": JSON, "etag": etag})

    def _page(
        self, entity: Entity, request: Request, caller: Caller, position: Position, *, is_tracking: bool
    ) -> Answer:
        columns, more = self._columns(entity, request)
        condition, values = self._condition(entity, request, caller)
        total = None
        if request.query.get("$count") == "true":
            counted = self._store.value(f'select count(*) from "{entity.name}" t where {condition}', values)
            total = min(counted, MAX_COUNT)
        left = position.left if position.left >= 0 else _number(request, "$top")
        limit = self._page_size(request) if left < 0 else min(self._page_size(request), left)
        order = _order(entity, request)
        is_by_offset = self._faults.switches.shifting_pages or order != f't."{entity.key}"'
        if is_by_offset:
            place = f"limit {limit + 1} offset {position.offset}"
        else:
            condition, values = f'{condition} and t."{entity.key}" > ?', [*values, position.key]
            place = f"limit {limit + 1}"
        json = row_json(entity, columns, _wanted(request), more)
        rows = self._store.rows(
            f'select t."{entity.key}", {json} from "{entity.name}" t where {condition} order by {order} {place}',
            values,
        )
        has_more = len(rows) > limit
        rows = rows[:limit]
        links = []
        if has_more and (left < 0 or left > limit):
            behind = Position(
                upto=position.upto,
                key=rows[-1][0],
                offset=position.offset + limit,
                left=left - limit if left >= 0 else -1,
            )
            links.append(("@odata.nextLink", self._link(entity, request, "$skiptoken", behind)))
        elif is_tracking:
            links.append(("@odata.deltaLink", self._delta_link(entity, request, position.upto)))
        return self._answer(entity, request, [row[1] for row in rows], links, total=total, is_tracking=is_tracking)

    def _delta(self, entity: Entity, request: Request, caller: Caller, position: Position) -> Answer:
        columns, _ = self._columns(entity, request)
        visible, values = readable(self._store, caller, entity)
        upto = position.upto or self._store.version
        size = self._page_size(request)
        items: list[str] = []
        behind = position
        if not position.is_deleted:
            json = row_json(entity, columns, _wanted(request))
            rows = self._store.rows(
                f'select t.versionnumber, {json} from "{entity.name}" t'
                f" where t.versionnumber > ? and t.versionnumber <= ? and {visible}"
                f" order by t.versionnumber limit {size}",
                [position.version or position.since, upto, *values],
            )
            items = [row[1] for row in rows]
            is_done = len(rows) < size
            behind = Position(
                since=position.since, upto=upto, version=0 if is_done else rows[-1][0], is_deleted=is_done,
                made_at=position.made_at,
            )  # fmt: skip
        if behind.is_deleted and len(items) < size:
            removed = self._store.rows(
                "select version, key from _tombstone where entity = ? and version > ? and version <= ?"
                " order by version limit ?",
                [entity.name, behind.version or position.since, upto, size - len(items)],
            )
            is_last = len(removed) < size - len(items)
            context = f"{request.root}$metadata#{entity.set_name}/$deletedEntity"
            items += [f'{{"@odata.context":"{context}","id":"{key}","reason":"deleted"}}' for _, key in removed]
            version = removed[-1][0] if removed else behind.version
            behind = Position(
                since=position.since, upto=upto, version=version, is_deleted=True, made_at=position.made_at
            )
        else:
            is_last = False
        link = (
            ("@odata.deltaLink", self._delta_link(entity, request, upto))
            if is_last
            else ("@odata.nextLink", self._link(entity, request, "$skiptoken", behind))
        )
        return self._answer(entity, request, items, [link], is_delta=True)

    def _answer(
        self, entity: Entity, request: Request, items: list[str], links: list[tuple[str, str]], *,
        total: int | None = None, is_tracking: bool = False, is_delta: bool = False,
    ) -> Answer:  # fmt: skip
        context = _context(entity, request) + ("/$delta" if is_delta else "")
        head = [f'"@odata.context":"{context}"']
        if total is not None:
            head.append(f'"@odata.count":{total}')
        value = f'"value":[{",".join(items)}]'
        tail = [f'"{name}":{msgspec.json.encode(link).decode()}' for name, link in links]
        headers = {"content-type": JSON}
        applied = [TRACK_CHANGES] if is_tracking else []
        applied += [
            f'{name}="{value_}"' if name == "odata.include-annotations" else f"{name}={value_}"
            for name, value_ in request.preferences.items()
            if name in {"odata.maxpagesize", "odata.include-annotations"}
        ]
        if applied:
            headers["preference-applied"] = ",".join(applied)
        return Answer(body=("{" + ",".join([*head, value, *tail]) + "}").encode(), headers=headers)

    def _columns(self, entity: Entity, request: Request) -> tuple[list[Column], list[str]]:
        select = request.query.get("$select", "")
        names = [name.strip() for name in select.split(",") if name.strip() and name.strip() != "*"]
        columns = [column_of(entity, name) for name in dict.fromkeys(names)] or list(entity.columns)
        key = entity.columns[0]
        if key not in columns:
            columns.append(key)
        return columns, [_expanded(entity, item) for item in _expands(request.query.get("$expand", ""))]

    def _condition(self, entity: Entity, request: Request, caller: Caller) -> tuple[str, list[object]]:
        visible, values = readable(self._store, caller, entity)
        if "$filter" not in request.query:
            return visible, values
        condition, more = filter_sql(entity, request.query["$filter"])
        return f"{visible} and ({condition})", [*values, *more]

    def _page_size(self, request: Request) -> int:
        wanted = request.preferences.get("odata.maxpagesize", "")
        size = int(wanted) if wanted.isdigit() and int(wanted) > 0 else MAX_PAGE
        return min(size, MAX_PAGE, self._faults.switches.page_limit or MAX_PAGE)

    def _delta_position(self, token: str) -> Position:
        position = _decode(token)
        is_old = time.time() - position.made_at > self._expiry_seconds
        if is_old or position.made_at <= self._faults.delta_links_expired_before:
            raise ODataError(
                400, EXPIRED, "Version stamp associated with the client has expired. Please perform a full sync."
            )
        return position

    def _delta_link(self, entity: Entity, request: Request, version: int) -> str:
        return self._link(entity, request, "$deltatoken", Position(since=version, made_at=time.time()))

    def _link(self, entity: Entity, request: Request, name: str, position: Position) -> str:
        kept = {
            option: value
            for option, value in request.query.items()
            if option not in {"$skiptoken", "$deltatoken", "$top", "$count"}
        }
        kept[name] = _encode(position)
        return f"{request.root}{entity.set_name}?{urlencode(kept, quote_via=quote, safe='$,')}"


def _expands(text: str) -> list[str]:
    return [part for part in re.split(r",(?![^()]*\))", text) if part.strip()]


def _expanded(entity: Entity, item: str) -> str:
    match = _EXPAND.match(item)
    found = entity.by_navigation.get(match[1]) if match else None
    if match is None or found is None:
        raise ODataError(400, "0x0", f"Could not find a property named '{item.strip()}' on type '{entity.type}'.")
    if len(found[1]) != 1:
        raise ODataError(
            400, "0x80060888", f"The sample organization does not expand {match[1]}: it has several targets."
        )
    target = BY_NAME[found[1][0]]
    names = [name.strip() for name in (match[2] or "").split(",") if name.strip()]
    columns = [column_of(target, name) for name in names] or list(target.columns)
    return expanded_json(entity, match[1], columns if target.columns[0] in columns else [*columns, target.columns[0]])


def _order(entity: Entity, request: Request) -> str:
    parts = []
    for item in (part.strip() for part in request.query.get("$orderby", "").split(",")):
        if not item:
            continue
        name, _, direction = item.partition(" ")
        if direction.strip().lower() not in {"", "asc", "desc"}:
            raise ODataError(400, "0x80060888", f"Syntax error in $orderby: '{item}'.")
        parts.append(f't."{column_of(entity, name).name}" {direction.strip().lower() or "asc"}')
    return ", ".join([*parts, f't."{entity.key}"'])


def _number(request: Request, name: str) -> int:
    text = request.query.get(name)
    if text is None:
        return -1
    if not text.isdigit():
        raise ODataError(400, "0x80060888", f"Invalid value '{text[:50]}' for {name} query option.")
    return int(text)


def _wanted(request: Request) -> frozenset[str]:
    text = request.preferences.get("odata.include-annotations", "")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def _context(entity: Entity, request: Request) -> str:
    select = request.query.get("$select")
    return f"{request.root}$metadata#{entity.set_name}" + (f"({select})" if select and select.isprintable() else "")


def _encode(position: Position) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).decode().rstrip("=")


def _decode(token: str) -> Position:
    try:
        padded = token + "=" * (-len(token) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=Position)
    except (ValueError, msgspec.DecodeError) as error:
        raise ODataError(400, "0x80060888", "The token of the link is malformed.") from error
