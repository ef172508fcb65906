"""Rows as JSON text, made by SQLite: a page of thousands costs no Python per value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from satchel.sandbox.schema.kinds import LOOKUPS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_NAME

LOOKUP_NAME = "Microsoft.Dynamics.CRM.lookuplogicalname"
NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"
FORMATTED = "OData.Community.Display.V1.FormattedValue"
_MAX_ARGUMENTS = 100
_PLAIN = frozenset({Kind.GUID, Kind.DATETIME, Kind.DATE, *LOOKUPS})
"""What is kept as text that JSON needs no escapes for."""


def page_json(head: Iterable[tuple[str, object]], rows: Sequence[str], links: Iterable[tuple[str, object]]) -> bytes:
    """A page: members before the rows, rows that are JSON already, members behind them."""
    members = [f'"{name}":{msgspec.json.encode(value).decode()}' for name, value in head]
    members.append(f'"value":[{",".join(rows)}]')
    members += [f'"{name}":{msgspec.json.encode(value).decode()}' for name, value in links]
    return f"{{{','.join(members)}}}".encode()


def row_json(entity: Entity, columns: Sequence[Column], annotations: frozenset[str], more: Sequence[str] = ()) -> str:
    """An SQL expression for a row (alias t) as JSON text; `more` are expressions of further members."""
    parts = ['\'{"@odata.etag":"W/\\"\'', "t.versionnumber", "'\\\"\"'"]
    for column in columns:
        parts += _member(column, annotations)
    return _joined([*parts, *more, "'}'"])


def value_json(column: Column, alias: str = "t") -> str:
    """An SQL expression for a value as JSON text."""
    name = f'{alias}."{column.name}"'
    if column.kind is Kind.MONEY:
        return f"iif({name} is null, 'null', printf('%d.%02d', {name} / 100, abs({name}) % 100))"
    if column.kind is Kind.DECIMAL:
        return f"ifnull({name}, 'null')"
    if column.kind is Kind.BOOLEAN:
        return f"iif({name} is null, 'null', iif({name}, 'true', 'false'))"
    if column.kind in _PLAIN:
        return f"ifnull('\"' || {name} || '\"', 'null')"
    return f"json_quote({name})"


def expanded_json(entity: Entity, navigation: str, columns: Sequence[Column]) -> str:
    """An SQL expression for the row behind a lookup with one target, as a member."""
    lookup, targets = entity.by_navigation[navigation]
    target = BY_NAME[targets[0]]
    inner = row_json(target, columns, frozenset()).replace("t.", "r.")
    row = f'select {inner} from "{target.name}" r where r."{target.key}" = t."{lookup.name}"'
    return f"',\"{navigation}\":' || ifnull(({row}), 'null')"


def _member(column: Column, wanted: frozenset[str]) -> list[str]:
    """A value and its annotations, which a null has none of."""
    annotations: list[str] = []
    for name, value in _annotations(column).items():
        if "*" in wanted or name in wanted:
            annotations += [f"',\"{column.wire}@{name}\":'", f"json_quote({value})"]
    plain = [f"',\"{column.wire}\":'", value_json(column)]
    if not annotations:
        return plain
    null = f"',\"{column.wire}\":null'"
    return [f'iif(t."{column.name}" is null, {null}, {_joined([*plain, *annotations])})']


def _joined(parts: Sequence[str]) -> str:
    """Texts in one: a function of many arguments copies them once, where operators copy at each."""
    if len(parts) <= _MAX_ARGUMENTS:
        return f"concat({', '.join(parts)})"
    pieces = [parts[place : place + _MAX_ARGUMENTS] for place in range(0, len(parts), _MAX_ARGUMENTS)]
    return f"concat({', '.join(_joined(piece) for piece in pieces)})"


def _annotations(column: Column) -> dict[str, str]:
    """SQL expressions by annotation."""
    name = f't."{column.name}"'
    if column.is_lookup:
        target = f't."{column.type_column}"' if column.is_polymorphic else f"'{column.targets[0]}'"
        return {NAVIGATION: _navigation(column), LOOKUP_NAME: target}
    if column.options and column.kind is not Kind.MULTISELECT:
        cases = " ".join(f"when {value} then {_literal(label)}" for value, label in column.options)
        return {FORMATTED: f"case {name} {cases} end"}
    return {}


def _navigation(column: Column) -> str:
    """The navigation property that leads to the row: one for all targets, or each has its own."""
    if len(column.navigations) == 1:
        return f"'{column.navigations[0]}'"
    pairs = zip(column.targets, column.navigations, strict=True)
    cases = " ".join(f"when '{target}' then '{navigation}'" for target, navigation in pairs)
    return f'case t."{column.type_column}" {cases} end'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
