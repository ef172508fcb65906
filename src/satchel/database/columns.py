"""How an attribute stands in a staging table, and how it leaves it for a device. Pure.

Internal columns begin with one underscore; an attribute that does gets another one, so the two never meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from psycopg import sql

from satchel.model.metadata import Attribute, AttributeType, Entity

_IDENTIFIER_BYTES = 63
_ARGUMENTS_PER_CALL = 90  # PostgreSQL takes at most 100

_POSTGRES_TYPE = {
    AttributeType.STRING: sql.SQL("text"),
    AttributeType.MEMO: sql.SQL("text"),
    AttributeType.INTEGER: sql.SQL("integer"),
    AttributeType.BIGINT: sql.SQL("bigint"),
    AttributeType.DECIMAL: sql.SQL("numeric"),
    AttributeType.MONEY: sql.SQL("numeric"),
    AttributeType.DOUBLE: sql.SQL("double precision"),
    AttributeType.BOOLEAN: sql.SQL("boolean"),
    AttributeType.DATETIME: sql.SQL("timestamptz"),
    AttributeType.DATE: sql.SQL("date"),
    AttributeType.TIME: sql.SQL("time"),
    AttributeType.GUID: sql.SQL("uuid"),
    AttributeType.CHOICE: sql.SQL("integer"),
    AttributeType.CHOICES: sql.SQL("text"),
    AttributeType.BINARY: sql.SQL("text"),
    AttributeType.TEXT: sql.SQL("text"),
}


def table(entity: str) -> sql.Identifier:
    """The entity's table."""
    return sql.Identifier("staging", _identifier(entity))


def table_name(entity: str) -> str:
    """The table's bare name in schema `staging`."""
    return _identifier(entity)


def column_name(attribute: str) -> str:
    """The attribute's column."""
    return _identifier("_" + attribute if attribute.startswith("_") else attribute)


def wire_column(attribute: Attribute) -> str:
    """The attribute's property in a page, as PostgreSQL can name it: at most 63 bytes."""
    return _identifier(attribute.wire_name)


def column(attribute: str, *, of: str | None = None) -> sql.Identifier:
    """The attribute's column, qualified by a table alias where one is given."""
    name = column_name(attribute)
    return sql.Identifier(of, name) if of else sql.Identifier(name)


def postgres_type(attribute: Attribute) -> sql.SQL:
    """The column's type. Times finer than a microsecond stay text, which keeps them exact."""
    return sql.SQL("text") if attribute.is_fine else _POSTGRES_TYPE[attribute.type]


def key_columns(entity: Entity, *, of: str | None = None) -> list[sql.Identifier]:
    """The columns of the entity's key, in order."""
    return [column(name, of=of) for name in entity.key]


def key_parts(entity: Entity, *, of: str) -> list[sql.Composable]:
    """Expressions that yield the parts of a row's key as `model.keys.key_text` has them."""
    return [_key_text(entity.attribute_by_name[name], of) for name in entity.key]


def row_json(entity: Entity, attributes: Sequence[str], *, of: str) -> sql.Composed:
    """An expression that yields a row as a JSON array of wire values, in this order of attributes."""
    values = [_wire_value(entity.attribute_by_name[name], of) for name in attributes]
    if len(values) <= _ARGUMENTS_PER_CALL:
        return sql.SQL("json_build_array({})::text").format(sql.SQL(", ").join(values))
    starts = range(0, len(values), _ARGUMENTS_PER_CALL)
    bare = sql.SQL("btrim(json_build_array({})::text, '[]')")
    # A value that is itself in brackets cannot stand here: wire values are strings, numbers, booleans and null.
    parts = [bare.format(sql.SQL(", ").join(values[i : i + _ARGUMENTS_PER_CALL])) for i in starts]
    return sql.SQL("'[' || {} || ']'").format(sql.SQL(" || ', ' || ").join(parts))


def version(entity: Entity, *, of: str) -> sql.Composed:
    """An expression that changes with the row: its ETag, or a hash of its content where it has none."""
    hashed = sql.SQL("md5({})").format(row_json(entity, [a.name for a in entity.attributes], of=of))
    return sql.SQL("coalesce({}, {})").format(sql.Identifier(of, "_etag"), hashed)


def key_json(entity: Entity, *, of: str) -> sql.Composed:
    """An expression that yields a row's key as JSON: the value, or an array for a composite key."""
    values = [_wire_value(entity.attribute_by_name[name], of) for name in entity.key]
    if len(values) == 1:
        return sql.SQL("to_json({})::text").format(values[0])
    return sql.SQL("json_build_array({})::text").format(sql.SQL(", ").join(values))


def wire_values(entity: Entity, attributes: Sequence[str], *, of: str) -> list[sql.Composable]:
    """Expressions that yield the wire values of these attributes, GUIDs and dates as text."""
    return [_plain_value(entity.attribute_by_name[name], of) for name in attributes]


def ordered_key(entity: Entity, *, of: str) -> list[sql.Composed]:
    """Expressions that yield the parts of a row's key as text, ordered by code points whatever the database's order."""
    parts = wire_values(entity, entity.key, of=of)
    return [sql.SQL('({}::text collate "C")').format(part) for part in parts]


def _key_text(attribute: Attribute, alias: str) -> sql.Composable:
    if attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}:
        return sql.SQL("trim_scale({})::text").format(column(attribute.name, of=alias))
    return sql.SQL("{}::text").format(_wire_value(attribute, alias))


def _plain_value(attribute: Attribute, alias: str) -> sql.Composable:
    value = _wire_value(attribute, alias)
    is_plain = attribute.type in {AttributeType.GUID, AttributeType.DATE, AttributeType.TIME}
    return sql.SQL("{}::text").format(value) if is_plain else value


def _wire_value(attribute: Attribute, alias: str) -> sql.Composable:
    value = column(attribute.name, of=alias)
    if attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}:
        return sql.SQL("{}::text").format(value)
    if postgres_type(attribute) == sql.SQL("timestamptz"):
        return sql.SQL("replace(({} at time zone 'UTC')::text, ' ', 'T') || 'Z'").format(value)
    return value


def _identifier(name: str) -> str:
    raw = name.encode()
    if len(raw) <= _IDENTIFIER_BYTES:
        return name
    return raw[:46].decode(errors="ignore") + "_" + hashlib.sha256(raw).hexdigest()[:16]
