"""An organization that moved, or began anew, while a backup was made: it lives where its database was put."""

from __future__ import annotations

from datetime import UTC, datetime

from satchel.administration.backup import Manifest, StagingBackup, _begin_again
from satchel.database.pool import Database
from satchel.settings.load import load

INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, server, state)
select n, 'odata', 'https://x.example', '', 'satchel_' || n, 'east', 'active' from unnest(array['moved', 'anew']) n
"""


async def test_the_manifest_says_where_an_organization_lives(control: Database) -> None:
    await control.fetch(INSERT)
    await control.fetch(
        "insert into satchel.enrolment_code (code_hash, organization, user_id, user_name, expires_at)"
        " select 'a'::bytea, id, 'u', 'Ann', now() + interval '1 day' from satchel.organization where name = 'moved'"
    )
    servers = {"SATCHEL_DATABASE__URL": "postgresql://d", "SATCHEL_STAGING__SERVERS": '{"west": "postgresql://w"}'}
    settings = load(None, servers, {})
    staging = [
        StagingBackup("moved", "west", "satchel_moved"),
        StagingBackup("anew", "a server that is gone", "satchel_anew_2"),
    ]
    manifest = Manifest("id", 1, "1", datetime.now(UTC), "key", staging, [])

    async with control.transaction() as connection:
        await _begin_again(connection, settings, manifest)

    found = await control.fetch("select name, server, database_name, is_refilling from satchel.organization order by 1")
    assert found == [("anew", "default", "satchel_anew_2", True), ("moved", "west", "satchel_moved", True)]
    assert await control.fetch("select 1 from satchel.enrolment_code") == []  # it may have been used since
