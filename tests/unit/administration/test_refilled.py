"""An organization that began anew once more is not let in on the word of the database before."""

from __future__ import annotations

from satchel.database.pool import Database
from satchel.provisioning.organizations import Organizations, begin_anew

INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, state)
values ('contoso', 'odata', 'https://x.example', '', 'd', 'active')
"""


async def test_only_the_database_that_counts_ends_the_refilling(control: Database) -> None:
    await control.fetch(INSERT)
    organizations = Organizations(control)
    before = await organizations.get("contoso")
    async with control.transaction() as connection:
        await begin_anew(connection, before, None)

    await organizations.refilled(before)
    assert (await organizations.get("contoso")).is_refilling
    await organizations.refilled(await organizations.get("contoso"))
    assert not (await organizations.get("contoso")).is_refilling
