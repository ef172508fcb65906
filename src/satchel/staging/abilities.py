"""What the source can do for edits, as far as it was found out."""

from __future__ import annotations

import msgspec

from satchel.database.pool import Connection
from satchel.model.writes import Abilities


async def save_abilities(connection: Connection, abilities: Abilities) -> None:
    """Keep what was found out; where that is nothing new, nothing is written."""
    await connection.execute(
        "insert into satchel.source as s (abilities) values (%(abilities)s) on conflict ((true)) do update"
        " set abilities = excluded.abilities, found_at = now() where s.abilities <> excluded.abilities",
        {"abilities": msgspec.json.encode(abilities).decode()},
    )


async def read_abilities(connection: Connection) -> Abilities | None:
    """What is known; None before the first look."""
    row = await (await connection.execute("select abilities from satchel.source")).fetchone()
    return msgspec.json.decode(row[0], type=Abilities) if row else None
