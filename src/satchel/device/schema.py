"""The device's tables follow the client model, in place: what is new is added, what is gone is dropped."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.protocol.images import column_type, create_table, quoted, stored

BARE, KEYED = "bare", "keyed"
"""Stages of an entity's first load: no index at all; the key alone."""
LOADING = """
create table if not exists _satchel_load (entity text primary key, stage text not null) without rowid;
"""


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


def insert_from(entity: ClientEntity, source: str) -> str:
    """The statement that puts all rows of a table of the same columns."""
    names = ", ".join(quoted(a.name) for a in entity.attributes)
    key = ", ".join(quoted(name) for name in entity.key)
    changed = [f"{quoted(a.name)} = excluded.{quoted(a.name)}" for a in entity.attributes if a.name not in entity.key]
    action = f"update set {', '.join(changed)}" if changed else "nothing"
    # `where true`: else "on" would read as the beginning of a join's condition.
    return (
        f"insert into main.{quoted(entity.name)} ({names}) select {names} from {source} where true"
        f" on conflict ({key}) do {action}"
    )


def migrate(connection: apsw.Connection, before: ClientModel, after: ClientModel) -> set[str]:
    """Bring the tables from one client model to the next, in the caller's transaction; returns those that were made
    anew and are empty.

    The server sends the rows of every entity whose client model changed again, so a new column is filled then.
    """
    rebuilt: set[str] = set()
    for name in before.entity_by_name.keys() - after.entity_by_name.keys():
        connection.execute(f"drop table if exists {quoted(name)}")
        connection.execute("delete from _satchel_load where entity = ?", (name,))
    for entity in after.entities:
        standing = before.entity_by_name.get(entity.name)
        if standing is None:
            create(connection, entity)
        elif standing != entity and _alter(connection, standing, entity):
            rebuilt.add(entity.name)
    return rebuilt


def create(connection: apsw.Connection, entity: ClientEntity) -> None:
    """Make an entity's table. Its key and the indexes on its lookups follow with the first load (`device/load.py`)."""
    connection.execute(create_table(entity, entity.name))
    connection.execute("insert or replace into _satchel_load values (?, ?)", (entity.name, BARE))


def make_key(connection: apsw.Connection, entity: ClientEntity) -> None:
    """Give a table its key, unless it has it; of rows that came more than once, the last one counts."""
    if stage(connection, entity.name) != BARE:
        return
    key = ", ".join(quoted(name) for name in entity.key)
    table = quoted(entity.name)
    statement = f"create unique index if not exists {quoted(f'_satchel_{entity.name}')} on {table} ({key})"
    try:
        connection.execute(statement)
    except apsw.ConstraintError:
        connection.execute(
            f"delete from {table} where _rowid_ not in (select max(_rowid_) from {table} group by {key})"
        )
        connection.execute(statement)
    connection.execute("update _satchel_load set stage = ? where entity = ?", (KEYED, entity.name))


def make_indexes(connection: apsw.Connection, entity: ClientEntity) -> bool:
    """Give a table all its indexes: its first load has come to its end. False where it has them."""
    if stage(connection, entity.name) is None:
        return False
    make_key(connection, entity)
    for attribute in entity.attributes:
        _index(connection, entity, attribute)
    connection.execute("delete from _satchel_load where entity = ?", (entity.name,))
    return True


def stage(connection: apsw.Connection, entity: str) -> str | None:
    """Where the first load of an entity is: BARE, KEYED; None: it is complete."""
    for (found,) in connection.execute("select stage from _satchel_load where entity = ?", (entity,)):
        return str(found)
    return None


def _alter(connection: apsw.Connection, before: ClientEntity, after: ClientEntity) -> bool:
    """Change a table in place; True where it had to be made anew."""
    known = {a.name: a for a in before.attributes}
    wanted = {a.name: a for a in after.attributes}
    is_breaking = before.key != after.key or any(
        name in known and column_type(known[name]) != column_type(attribute) for name, attribute in wanted.items()
    )
    table = quoted(after.name)
    is_loading = stage(connection, after.name) is not None
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
        if not is_loading:
            _index(connection, after, wanted[name])
    return False


def _index(connection: apsw.Connection, entity: ClientEntity, attribute: ClientAttribute) -> None:
    if attribute.targets and attribute.name not in entity.key[:1]:
        name = _index_name(entity, attribute)
        connection.execute(f"create index if not exists {name} on {quoted(entity.name)} ({quoted(attribute.name)})")


def _index_name(entity: ClientEntity, attribute: ClientAttribute) -> str:
    return quoted(f"_satchel_{entity.name}.{attribute.name}")
