"""What is known of a source is not forgotten by a process that does not know it yet."""

from __future__ import annotations

from satchel.database.pool import Database
from satchel.model.writes import Abilities
from satchel.staging.abilities import read_abilities, save_abilities


async def test_what_another_process_found_stays(staging: Database) -> None:
    async with staging.transaction() as connection:
        assert await read_abilities(connection) is None
        await save_abilities(connection, Abilities(has_batch=True, requires_etags=True))
        await save_abilities(connection, Abilities(has_etags=True))
        found = await read_abilities(connection)
        assert found == Abilities(has_batch=True, has_etags=True, requires_etags=True)
        await save_abilities(connection, Abilities(requires_etags=False))  # the service changed
        found = await read_abilities(connection)
    assert found is not None
    assert found.requires_etags is False
