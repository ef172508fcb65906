"""What changed while a backup was made: places of organizations, objects that went, master keys."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from obstore.store import LocalStore

from satchel.administration.backup import (
    MANIFEST,
    Manifest,
    StagingBackup,
    _begin_again,
    _keys_in_use,
    keep_objects,
    key_references,
    restore_backup,
)
from satchel.database.copying.archive import Archive, Stored
from satchel.database.pool import Database
from satchel.errors import BackupUnusable
from satchel.identity.keys import MasterKey
from satchel.identity.secrets import seal
from satchel.provisioning.organizations import Organization
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


async def test_objects_that_go_meanwhile_are_left_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "objects", mkdir=True)
    for name in ("a", "b", "c"):
        store.put(f"telemetry/{name}", b"x")

    class Slow(Archive):
        async def write(self, path: str, pieces: AsyncIterator[bytes]) -> Stored:
            found = await super().write(path, pieces)
            for name in {"a", "b", "c"} - {path[-1]}:  # retention takes them before their turn
                store.delete(f"telemetry/{name}")
            return found

    stored = await keep_objects(store, Slow(LocalStore(tmp_path / "backup", mkdir=True)))
    assert len(stored) == 1


async def test_a_backup_made_while_keys_are_replaced_needs_all_that_it_was_sealed_with(tmp_path: Path) -> None:
    old, new = b"o" * 32, b"n" * 32
    both, only = MasterKey(new, old), MasterKey(new)
    sealed = [seal(key.derive("connection"), b"", b"") for key in (MasterKey(old), only)]
    organizations = [
        Organization(n, "o", "active", "odata", "", each, [], "o", None, datetime(2026, 1, 1))
        for n, each in enumerate(sealed)
    ]
    needed = _keys_in_use(both, organizations)
    assert needed == key_references(both)
    assert _keys_in_use(both, organizations[1:]) == key_references(only)
    assert _keys_in_use(both, []) == key_references(only)

    store = LocalStore(tmp_path)
    store.put(MANIFEST, msgspec.json.encode(Manifest("id", 1, "1", datetime.now(UTC), needed[0], [], [], needed)))
    settings = load(None, {"SATCHEL_SECRETS__KEY": base64.b64encode(new).decode()}, {})
    with pytest.raises(BackupUnusable, match="another master key"):
        await restore_backup(settings, Archive(store), lambda _: None, takes_unsigned=True)
    with pytest.raises(BackupUnusable, match="no signature"):
        await restore_backup(settings, Archive(store), lambda _: None)
