"""The device's tables follow the client model, in place: what is new is added, what is gone is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import AttributeType

EXACT_DIGITS = 15  # a double keeps that many decimal digits
_SQLITE_TYPE = {
    AttributeType.INTEGER: "INTEGER",
    AttributeType.BIGINT: "INTEGER",
    AttributeType.CHOICE: "INTEGER",
    AttributeType.BOOLEAN: "BOOLEAN",
    AttributeType.DOUBLE: "REAL",
}


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def is_decimal(attribute: ClientAttribute) -> bool:
    """A number that must come back with exactly its digits."""
    return attribute.type in {AttributeType.DECIMAL, AttributeType.MONEY}


def is_narrow(attribute: ClientAttribute) -> bool:
    """A decimal whose every value a double keeps exactly."""
    return is_decimal(attribute) and attribute.scale is not None and (attribute.precision or 99) <= EXACT_DIGITS


def column_type(attribute: ClientAttribute) -> str:
    """The declared type of a column. A wide decimal's has none, so that SQLite leaves each value as `stored` says."""
    if is_decimal(attribute):
        return "DECIMAL" if is_narrow(attribute) else ""
    return _SQLITE_TYPE.get(attribute.type, "TEXT")


def stored(attribute: ClientAttribute, place: int) -> str:
    """How the parameter at `place` is stored.

    A wide decimal is a number where a double or a 64-bit integer keeps it exactly - in practice always, so that SQL
    compares and sums it - and text beyond. Sixteen characters without the sign are fifteen digits and a point.
    """
    if not is_decimal(attribute) or is_narrow(attribute):
        return f"?{place}"
    fits = f"length(ltrim(?{place}, '-')) <= {EXACT_DIGITS + 1} and ?{place} not glob '*[^-.0-9]*'"
    return f"case when {fits} then cast(?{place} as numeric) else ?{place} end"


def upsert(entity: ClientEntity, columns: Sequence[str]) -> str:
    """The statement that puts a row of these columns. Errors: ProtocolBroken where they are not the entity's."""
    names = ", ".join(quoted(name) for name in columns)
    key = ", ".join(quoted(name) for name in entity.key)
    changed = [f"{quoted(n)} = excluded.{quoted(n)}" for n in columns if n not in entity.key]
    action = f"update set {', '.join(changed)}" if changed else "nothing"
    attributes = {a.name: a for a in entity.attributes}
    if not attributes.keys() >= set(columns) >= set(entity.key):
        raise ProtocolBroken("The server sent columns that do not fit the client model.", entity=entity.name)
    values = ", ".join(stored(attributes[name], place) for place, name in enumerate(columns, 1))
    return f"insert into {quoted(entity.name)} ({names}) values ({values}) on conflict ({key}) do {action}"


def key_matches(entity: ClientEntity) -> str:
    """The condition for the row whose key is bound to the first parameters."""
    attributes = {a.name: a for a in entity.attributes}
    return " and ".join(f"{quoted(name)} = {stored(attributes[name], at)}" for at, name in enumerate(entity.key, 1))


def migrate(connection: apsw.Connection, before: ClientModel, after: ClientModel) -> set[str]:
    """Bring the tables from one client model to the next, in the caller's transaction; returns those that were made
    anew and are empty.

    The server sends the rows of every entity whose client model changed again, so a new column is filled then.
    """
    rebuilt: set[str] = set()
    for name in before.entity_by_name.keys() - after.entity_by_name.keys():
        connection.execute(f"drop table if exists {quoted(name)}")
    for entity in after.entities:
        standing = before.entity_by_name.get(entity.name)
        if standing is None:
            create(connection, entity)
        elif standing != entity and _alter(connection, standing, entity):
            rebuilt.add(entity.name)
    return rebuilt


def create(connection: apsw.Connection, entity: ClientEntity) -> None:
    """Make an entity's table, its key and an index on each lookup."""
    columns = [
        f"{quoted(a.name)} {column_type(a)}{' not null' if a.name in entity.key else ''}" for a in entity.attributes
    ]
    key = ", ".join(quoted(name) for name in entity.key)
    connection.execute(f"create table {quoted(entity.name)} ({', '.join(columns)}, unique ({key}))")
    for attribute in entity.attributes:
        _index(connection, entity, attribute)


def _alter(connection: apsw.Connection, before: ClientEntity, after: ClientEntity) -> bool:
    """Change a table in place; True where it had to be made anew."""
    known = {a.name: a for a in before.attributes}
    wanted = {a.name: a for a in after.attributes}
    is_breaking = before.key != after.key or any(
        name in known and column_type(known[name]) != column_type(attribute) for name, attribute in wanted.items()
    )
    table = quoted(after.name)
    if is_breaking:
        connection.execute(f"drop table {table}")
        create(connection, after)
        return True
    for name in known.keys() - wanted.keys():
        connection.execute(f"drop index if exists {_index_name(after, known[name])}")
        connection.execute(f"alter table {table} drop column {quoted(name)}")
    for name in wanted:
        if name not in known:
            connection.execute(f"alter table {table} add column {quoted(name)} {column_type(wanted[name])}")
        _index(connection, after, wanted[name])
    return False


def _index(connection: apsw.Connection, entity: ClientEntity, attribute: ClientAttribute) -> None:
    if attribute.targets and attribute.name not in entity.key[:1]:
        name = _index_name(entity, attribute)
        connection.execute(f"create index if not exists {name} on {quoted(entity.name)} ({quoted(attribute.name)})")


def _index_name(entity: ClientEntity, attribute: ClientAttribute) -> str:
    return quoted(f"_satchel_{entity.name}.{attribute.name}")
