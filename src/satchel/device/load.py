"""Images on a device: their rows go into the tables in native code, record by record as they are."""

from __future__ import annotations

import apsw

from satchel.device.edits.overlay import Overlay
from satchel.device.edits.wire import stored_row
from satchel.device.schema import BARE, insert_from, make_key, stage
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientEntity
from satchel.model.keys import key_values
from satchel.protocol.images import IMAGE_TABLE, key_matches, quoted

_SCHEMA = "_satchel_image_file"
IMAGE = f"{_SCHEMA}.{IMAGE_TABLE}"


def attach(connection: apsw.Connection) -> None:
    """Make the place for images, in memory; outside of a transaction."""
    if _SCHEMA not in {name for _, name, _ in connection.execute("pragma database_list")}:
        connection.execute(f"attach ':memory:' as {_SCHEMA}")


def detach(connection: apsw.Connection) -> None:
    """Give the memory of the last image back; outside of a transaction."""
    if _SCHEMA in {name for _, name, _ in connection.execute("pragma database_list")}:
        connection.execute(f"detach {_SCHEMA}")


def load_image(
    connection: apsw.Connection, overlay: Overlay, entity: ClientEntity, content: bytes, *, is_reset: bool
) -> int:
    """Put an image's rows into the entity's table; returns how many. Errors: ProtocolBroken.

    A table without any index takes the records as they are, and gets its key behind the load. Where the key stands
    already, or a reset notes what it put, rows take the place of those of the same key.
    """
    try:
        connection.deserialize(_SCHEMA, content)
        if stage(connection, entity.name) == BARE and not is_reset:
            connection.execute(f"insert into main.{quoted(entity.name)} select * from {IMAGE}")
        else:
            make_key(connection, entity)
            connection.execute(insert_from(entity, IMAGE))
        count = connection.changes()
        if is_reset:
            _note_seen(connection, entity)
        _tell(connection, overlay, entity)
    except (apsw.SQLError, apsw.CorruptError, apsw.NotADBError, apsw.ConstraintError) as error:
        raise ProtocolBroken("An image in the server's answer does not fit the tables.", entity=entity.name) from error
    return count


def _note_seen(connection: apsw.Connection, entity: ClientEntity) -> None:
    same = " and ".join(f"t.{quoted(name)} = i.{quoted(name)}" for name in entity.key)
    connection.execute(
        "insert or ignore into _satchel_seen"
        f" select ?, t._rowid_ from {IMAGE} i join main.{quoted(entity.name)} t on {same}",
        (entity.name,),
    )


def _tell(connection: apsw.Connection, overlay: Overlay, entity: ClientEntity) -> None:
    """Tell the edited rows among them, in the wire form."""
    names = [attribute.name for attribute in entity.attributes]
    query = f"select {', '.join(map(quoted, names))} from {IMAGE} where {key_matches(entity)}"
    rows = []
    for key in overlay.edited_keys(entity.name):
        values = key_values(entity, key)
        rows += [stored_row(entity, row) for row in connection.execute(query, [values[name] for name in entity.key])]
    overlay.put(entity, names, [[row[name] for name in names] for row in rows])
