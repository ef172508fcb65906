"""Rows as JSON text, made by SQLite: a page of thousands costs no Python per value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from satchel.sandbox.schema.kinds import Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_NAME

LOOKUP_NAME = "Microsoft.Dynamics.CRM.lookuplogicalname"
NAVIGATION = "Microsoft.Dynamics.CRM.associatednavigationproperty"
FORMATTED = "OData.Community.Display.V1.FormattedValue"


def page_json(head: Iterable[tuple[str, object]], rows: Sequence[str], links: Iterable[tuple[str, object]]) -> bytes:
    """A page: members before the rows, rows that are JSON already, members behind them."""
    members = [f'"{name}":{msgspec.json.encode(value).decode()}' for name, value in head]
    members.append(f'"value":[{",".join(rows)}]')
    members += [f'"{name}":{msgspec.json.encode(value).decode()}' for name, value in links]
    return f"{{{','.join(members)}}}".encode()


def row_json(entity: Entity, columns: Sequence[Column], annotations: frozenset[str], more: Sequence[str] = ()) -> str:
    """An SQL expression for a row (alias t) as JSON text; `more` are expressions of further members."""
    members = ['\'"@odata.etag":"W/\\"\' || t.versionnumber || \'\\""\'']
    for column in columns:
        members.append(f"',\"{column.wire}\":' || {value_json(column)}")
        members += [member for member in _annotations(column, annotations) if member]
    return "'{' || " + " || ".join([*members, *more]) + " || '}'"


def value_json(column: Column, alias: str = "t") -> str:
    """An SQL expression for a value as JSON text."""
    name = f'{alias}."{column.name}"'
    if column.kind is Kind.MONEY:
        return f"iif({name} is null, 'null', printf('%d.%02d', {name} / 100, abs({name}) % 100))"
    if column.kind is Kind.DECIMAL:
        return f"ifnull({name}, 'null')"
    if column.kind is Kind.BOOLEAN:
        return f"iif({name} is null, 'null', iif({name}, 'true', 'false'))"
    return f"json_quote({name})"


def expanded_json(entity: Entity, navigation: str, columns: Sequence[Column]) -> str:
    """An SQL expression for the row behind a lookup with one target, as a member."""
    lookup, targets = entity.by_navigation[navigation]
    target = BY_NAME[targets[0]]
    inner = row_json(target, columns, frozenset()).replace("t.", "r.")
    row = f'select {inner} from "{target.name}" r where r."{target.key}" = t."{lookup.name}"'
    return f"',\"{navigation}\":' || ifnull(({row}), 'null')"


def _annotations(column: Column, wanted: frozenset[str]) -> list[str]:
    name = f't."{column.name}"'

    def member(annotation: str, value: str) -> str:
        if "*" not in wanted and annotation not in wanted:
            return ""
        return f"iif({name} is null, '', ',\"{column.wire}@{annotation}\":' || json_quote({value}))"

    found = []
    if column.is_lookup:
        target = f't."{column.type_column}"' if column.is_polymorphic else f"'{column.targets[0]}'"
        found += [member(NAVIGATION, f"'{column.navigations[0]}'"), member(LOOKUP_NAME, target)]
    if column.options:
        cases = " ".join(f"when {value} then {_literal(label)}" for value, label in column.options)
        if column.kind is not Kind.MULTISELECT:
            found.append(member(FORMATTED, f"case {name} {cases} end"))
    return found


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
