"""Query options: which attributes, in which order, how many, with which annotations."""

from __future__ import annotations

import re
from collections.abc import Iterable

from satchel.sandbox.odata.answers import JSON, ODataError, Request, whole_number
from satchel.sandbox.odata.filters import column_of, comparable
from satchel.sandbox.odata.render import expanded_json
from satchel.sandbox.schema.kinds import Column, Entity
from satchel.sandbox.schema.organization import BY_NAME

MAX_PAGE = 5000
TRACK_CHANGES = "odata.track-changes"
_KNOWN = {"$select", "$filter", "$orderby", "$top", "$count", "$expand", "$skiptoken", "$deltatoken"}
_AGAINST_TRACKING = ("$filter", "$orderby", "$expand", "$top")
_EXPAND = re.compile(r"^\s*(\w+)\s*(?:\(\s*\$select=([\w,\s]+)\))?\s*$")


def check_known(request: Request) -> None:
    """Refuse system query options that are left out. Errors: ODataError 400."""
    for name in request.query:
        if name.startswith("$") and name not in _KNOWN:
            raise ODataError(400, "0x80060888", f"The query parameter {name[:50]} is not supported")


def is_tracking(entity: Entity, request: Request) -> bool:
    """Whether changes are to be tracked. Errors: ODataError 400 where that is impossible.

    Source: use-change-tracking-synchronize-data-external-systems.md, "Query options not supported".
    """
    if TRACK_CHANGES not in request.preferences:
        return False
    for name in _AGAINST_TRACKING:
        if name in request.query:
            raise ODataError(
                400, "0x80060888", f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.'
            )
    if not entity.tracks_changes:
        raise ODataError(400, "0x80044331", f"Entity {entity.name} is not enabled for change tracking.")
    return True


def selected(entity: Entity, request: Request) -> list[Column]:
    """The attributes of `$select`, always with the key. Errors: ODataError 400."""
    return _named(entity, request.query.get("$select", "").split(","))


def expansions(entity: Entity, request: Request) -> list[str]:
    """SQL expressions for the members that `$expand` asks for. Errors: ODataError 400."""
    items = re.split(r",(?![^()]*\))", request.query.get("$expand", ""))
    return [_expanded(entity, item) for item in items if item.strip()]


def ordering(entity: Entity, request: Request) -> str:
    """The SQL order, always down to the key. Errors: ODataError 400."""
    parts = []
    for item in (part.strip() for part in request.query.get("$orderby", "").split(",")):
        if not item:
            continue
        name, _, direction = item.partition(" ")
        if direction.strip().lower() not in {"", "asc", "desc"}:
            raise ODataError(400, "0x80060888", f"Syntax error in $orderby: '{item[:100]}'.")
        column = column_of(entity, name)
        expression = comparable(f't."{column.name}"', column)
        parts.append(f"{expression} {direction.strip().lower() or 'asc'}")
    return ", ".join([*parts, f't."{entity.key}"'])


def top(request: Request) -> int:
    """How many rows are wanted in all; -1: all. Errors: ODataError 400."""
    text = request.query.get("$top")
    number = -1 if text is None else whole_number(text)
    if number is None:
        raise ODataError(400, "0x80060888", f"Invalid value '{(text or '')[:50]}' for $top query option.")
    return number


def page_size(request: Request, limit: int) -> int:
    """Rows a page: what is wanted, within what is allowed."""
    wanted = whole_number(request.preferences.get("odata.maxpagesize", "")) or MAX_PAGE
    return min(wanted, MAX_PAGE, limit or MAX_PAGE)


def wanted_annotations(request: Request) -> frozenset[str]:
    """The annotations that are wanted; `*` for all."""
    text = request.preferences.get("odata.include-annotations", "")
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def context_of(entity: Entity, request: Request) -> str:
    """The `@odata.context` of rows."""
    select = request.query.get("$select")
    return f"{request.root}$metadata#{entity.set_name}" + (f"({select})" if select and select.isprintable() else "")


def headers_of(request: Request, *, is_tracked: bool) -> dict[str, str]:
    """The headers of a page: its type and which preferences were applied."""
    applied = [TRACK_CHANGES] if is_tracked else []
    for name, value in request.preferences.items():
        if name == "odata.maxpagesize":
            applied.append(f"{name}={value}")
        if name == "odata.include-annotations":
            applied.append(f'{name}="{value}"')
    return {"content-type": JSON} | ({"preference-applied": ",".join(applied)} if applied else {})


def _named(entity: Entity, names: Iterable[str]) -> list[Column]:
    wanted = dict.fromkeys(name.strip() for name in names if name.strip() not in {"", "*"})
    columns = [column_of(entity, name) for name in wanted] or list(entity.columns)
    return columns if entity.columns[0] in columns else [*columns, entity.columns[0]]


def _expanded(entity: Entity, item: str) -> str:
    match = _EXPAND.match(item)
    found = entity.by_navigation.get(match[1]) if match else None
    if match is None or found is None:
        raise ODataError(400, "0x0", f"Could not find a property named '{item.strip()[:100]}' on type '{entity.type}'.")
    if len(found[1]) != 1:
        raise ODataError(
            400, "0x80060888", f"The sample organization does not expand {match[1]}: it has several targets."
        )
    return expanded_json(entity, match[1], _named(BY_NAME[found[1][0]], (match[2] or "").split(",")))
