"""What the source can do for edits, as far as it was found out."""

from __future__ import annotations

import msgspec

from satchel.database.pool import Connection
from satchel.model.writes import Abilities


async def save_abilities(connection: Connection, abilities: Abilities) -> None:
    """Keep what was found out. What a process that began just now does not know yet stays as another found it; where
    there is nothing new, nothing is written."""
    before = await read_abilities(connection)
    found = {name: value for name, value in msgspec.structs.asdict(abilities).items() if value is not None}
    now = msgspec.structs.replace(before, **found) if before else abilities
    if now == before:
        return
    await connection.execute(
        "insert into satchel.source (abilities) values (%(abilities)s) on conflict ((true)) do update"
        " set abilities = excluded.abilities, found_at = now()",
        {"abilities": msgspec.json.encode(now).decode()},
    )


async def read_abilities(connection: Connection) -> Abilities | None:
    """What is known; None before the first look."""
    row = await (await connection.execute("select abilities from satchel.source")).fetchone()
    return msgspec.json.decode(row[0], type=Abilities) if row else None
