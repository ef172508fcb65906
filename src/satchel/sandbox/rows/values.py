"""The body of a write as columns: names, references and values checked.

Source: powerapps-docs, webapi/create-entity-web-api.md, associate-disassociate-entities-using-web-api.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.odata.answers import ODataError, not_found
from satchel.sandbox.schema.kinds import CHOICES, TEXTS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_SET

BIND = "@odata.bind"
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REFERENCE = re.compile(rf"(?:https?://[^/]+/api/data/v[\d.]+)?/?(\w+)\(({_GUID.pattern})\)")


def values_of(store: Store, entity: Entity, body: Mapping[str, Any], *, is_new: bool) -> Row:
    """The body as columns. Errors: ODataError 400."""
    values: Row = {}
    for name, value in body.items():
        if name.endswith(BIND):
            values |= _bound(store, entity, name.removesuffix(BIND), value)
        elif name in entity.by_navigation and value is None:
            values |= _unbound(entity.by_navigation[name][0])
        elif not name.startswith("@") and "@" not in name:
            column = _writable(entity, name, is_new=is_new)
            values[column.name] = _to_column(entity, column, value)
    return values


def _writable(entity: Entity, name: str, *, is_new: bool) -> Column:
    column = entity.by_wire.get(name)
    is_key = column is not None and column.name == entity.key
    if column is None or column.is_lookup:
        raise ODataError(
            400, "0x80048d19",
            f"Error identified in Payload provided by the user for Entity :'{entity.set_name}'; an undeclared "
            f"property '{name[:80]}' which only has property annotations in the payload "
            "but no property value was found.",
        )  # fmt: skip
    if not column.is_writable and not (is_key and is_new):
        raise ODataError(400, "0x80040216", f"Attribute {name} of {entity.name} cannot be set.")
    return column


def _bound(store: Store, entity: Entity, navigation: str, value: Any) -> Row:
    found = entity.by_navigation.get(navigation)
    if found is None:
        raise ODataError(
            400, "0x80048d19", f"Could not find a property named '{navigation[:80]}' on type '{entity.type}'."
        )
    column, targets = found
    if value is None:
        return _unbound(column)
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    target = BY_SET.get(match[1]) if match else None
    if match is None or target is None or target.name not in targets or not column.is_writable:
        raise ODataError(
            400, "0x80060888", f"The value of {navigation}{BIND} is not a reference to one of its targets."
        )
    key = match[2].lower()
    if store.row(target, key) is None:
        raise not_found(target.name, key)
    return {column.name: key} | ({column.type_column: target.name} if column.is_polymorphic else {})


def _unbound(column: Column) -> Row:
    """Without a reference. Source: webapi/associate-disassociate-entities-using-web-api.md."""
    if column.is_required or not column.is_writable:
        raise ODataError(400, "0x80040203", f"Attribute: {column.name} cannot be set to NULL")
    return {column.name: None} | ({column.type_column: None} if column.is_polymorphic else {})


def _to_column(entity: Entity, column: Column, value: Any) -> Any:
    """A JSON value as it is stored. Errors: ODataError 400."""
    if value is None:
        return None
    try:
        return _converted(entity, column, value)
    except (ValueError, TypeError, InvalidOperation, OverflowError) as error:
        raise ODataError(
            400, "0x80048d19",
            f"Error identified in Payload provided by the user: cannot convert the value of '{column.wire}' to the "
            f"expected type '{column.kind.edm}'.",
        ) from error  # fmt: skip


def _converted(entity: Entity, column: Column, value: Any) -> Any:
    match column.kind:
        case Kind.MONEY | Kind.DECIMAL | Kind.DOUBLE:
            return _number(column, value)
        case Kind.BOOLEAN:
            return int(_of(bool, value))
        case Kind.INTEGER | Kind.BIGINT:
            return _whole(column, value)
        case kind if kind in CHOICES:
            return _chosen(column, value)
        case Kind.GUID:
            return _matching(_GUID, value).lower()
        case Kind.DATETIME:
            moment = datetime.fromisoformat(_of(str, value))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
        case Kind.DATE:
            return datetime.fromisoformat(_of(str, value)[:10]).date().isoformat()
    text = _of(str, value)
    if column.kind in TEXTS and len(text) > column.max_length:
        raise ODataError(
            400, "0x80044331", f"A validation error occurred.  The length of the '{column.name}' attribute of the "
            f"'{entity.name}' entity exceeded the maximum allowed length of '{column.max_length}'.",
        )  # fmt: skip
    return text


def _number(column: Column, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = Decimal(str(value))
    if not Decimal(str(column.minimum)) <= number <= Decimal(str(column.maximum)):
        raise ODataError(
            400, "0x80044331", f"A validation error occurred. The value of '{column.name}' is outside its range."
        )
    if column.kind is Kind.MONEY:
        return int((number * 100).to_integral_value(ROUND_HALF_EVEN))
    return float(number) if column.kind is Kind.DOUBLE else f"{number:.{column.precision}f}"


def _whole(column: Column, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    number = int(_of(int, value))
    if column.kind is Kind.INTEGER and not column.minimum <= number <= column.maximum:
        raise ODataError(
            400, "0x80044331", f"A validation error occurred. The value of '{column.name}' is outside its range."
        )
    return number


def _chosen(column: Column, value: Any) -> int:
    number = int(_of(int, value))
    if number not in dict(column.options):
        raise ODataError(
            400,
            "0x80048408",
            f"A validation error occurred. The value {number} of '{column.name}' is outside the valid range.",
        )
    return number


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    text = str(_of(str, value))
    if not pattern.fullmatch(text):
        raise ValueError
    return text
