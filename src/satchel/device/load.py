"""Images on a device: their rows go into the tables in native code, record by record as they are."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from satchel.device.edits.overlay import Overlay
from satchel.device.edits.wire import stored_row
from satchel.device.schema import BARE, insert_from, make_key, stage
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientEntity
from satchel.model.keys import key_values
from satchel.protocol.images import IMAGE_TABLE, create_table, key_matches, quoted

_SCHEMA = "_satchel_image_file"
IMAGE = f"{_SCHEMA}.{IMAGE_TABLE}"
_ROWS_NAME = "_satchel_image_rows"
_ROWS = f"temp.{_ROWS_NAME}"


def attach(connection: apsw.Connection) -> None:
    """Make the place for images, in memory; outside of a transaction."""
    if _SCHEMA not in connection.db_names():
        connection.execute(f"attach ':memory:' as {_SCHEMA}")


def detach(connection: apsw.Connection) -> None:
    """Give the memory of the last image back; outside of a transaction."""
    if _SCHEMA in connection.db_names():
        connection.execute(f"detach {_SCHEMA}")


def place(connection: apsw.Connection, columns: Sequence[str], content: bytes) -> None:
    """Put an image of these columns into its place, outside of a transaction. Errors: ProtocolBroken."""
    _check(columns, content)
    connection.deserialize(_SCHEMA, content)


def _check(columns: Sequence[str], content: bytes) -> None:
    """Look at an image by itself: beside one that cannot be read, the device's own database is unusable as well.

    It is one ordinary table of these columns: nothing in it - a view, a virtual table, a computed column - can run.
    """
    image = apsw.Connection(":memory:")
    try:
        image.deserialize("main", content)
        found = image.execute("select type, name, rootpage > 0 from sqlite_schema").fetchall()
        if found != [("table", IMAGE_TABLE, 1)] or _columns(image, IMAGE_TABLE) != list(columns):
            raise ProtocolBroken("An image in the server's answer is no plain table of its columns.")
    except apsw.Error as error:
        raise ProtocolBroken("An image in the server's answer cannot be read.") from error
    finally:
        image.close()


def load_image(
    connection: apsw.Connection,
    overlay: Overlay,
    entity: ClientEntity,
    content: bytes | None,
    *,
    is_reset: bool,
) -> int:
    """Put an image's rows into the entity's table; returns how many. Errors: ProtocolBroken.

    `content`: of an image that is not in its place. A table without any index takes the records as they are, and gets
    its key behind the load. Where the key stands already, or a reset notes what it put, rows take the place of those
    of the same key.
    """
    source = IMAGE if content is None else _ROWS
    try:
        if content is not None:
            _check([attribute.name for attribute in entity.attributes], content)
            _copy_rows(connection, entity, content)
        if stage(connection, entity.name) == BARE and not is_reset:
            connection.execute(_insert_bare(connection, entity, source))
        else:
            make_key(connection, entity)
            connection.execute(insert_from(entity, source))
        count = connection.changes()
        if is_reset:
            _note_seen(connection, entity, source)
        _tell(connection, overlay, entity, source)
        connection.execute(f"drop table if exists {_ROWS}")
    except (apsw.SQLError, apsw.CorruptError, apsw.NotADBError, apsw.ConstraintError) as error:
        raise ProtocolBroken("An image in the server's answer does not fit the tables.", entity=entity.name) from error
    return count


def _insert_bare(connection: apsw.Connection, entity: ClientEntity, source: str) -> str:
    """Records go over as they are where the table's columns stand in the image's order; one that came with a later
    client model stands last."""
    names = [attribute.name for attribute in entity.attributes]
    if _columns(connection, entity.name) == names:
        return f"insert into main.{quoted(entity.name)} select * from {source}"
    listed = ", ".join(map(quoted, names))
    return f"insert into main.{quoted(entity.name)} ({listed}) select {listed} from {source}"


def _columns(connection: apsw.Connection, table: str) -> list[str]:
    """A table's columns in their order, without computed ones."""
    query = "select name from pragma_table_xinfo(?, 'main') where hidden = 0 order by cid"
    return [str(name) for (name,) in connection.execute(query, (table,))]


def _copy_rows(connection: apsw.Connection, entity: ClientEntity, content: bytes) -> None:
    """The rows of an image in a temporary table: the place for images changes only outside of transactions."""
    image = apsw.Connection(":memory:")
    try:
        image.deserialize("main", content)
        rows = image.execute(f"select * from {IMAGE_TABLE}")
        connection.execute(create_table(entity, _ROWS_NAME).replace("create table", "create temp table", 1))
        marks = ", ".join("?" * len(entity.attributes))
        connection.executemany(f"insert into {_ROWS} values ({marks})", rows)
    finally:
        image.close()


def _note_seen(connection: apsw.Connection, entity: ClientEntity, source: str) -> None:
    same = " and ".join(f"t.{quoted(name)} = i.{quoted(name)}" for name in entity.key)
    connection.execute(
        "insert or ignore into _satchel_seen"
        f" select ?, t._rowid_ from {source} i join main.{quoted(entity.name)} t on {same}",
        (entity.name,),
    )


def _tell(connection: apsw.Connection, overlay: Overlay, entity: ClientEntity, source: str) -> None:
    """Tell the edited rows among them, in the wire form."""
    names = [attribute.name for attribute in entity.attributes]
    query = f"select {', '.join(map(quoted, names))} from {source} where {key_matches(entity)}"
    rows = []
    for key in overlay.edited_keys(entity.name):
        values = key_values(entity, key)
        rows += [stored_row(entity, row) for row in connection.execute(query, [values[name] for name in entity.key])]
    overlay.put(entity, names, [[row[name] for name in names] for row in rows])
