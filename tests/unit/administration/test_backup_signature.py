"""A backup that somebody changed is no backup of this installation; one of an older version is taken with a warning."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from obstore.store import LocalStore

from satchel.administration.backup import (
    FORM,
    MANIFEST,
    SIGNATURE,
    Manifest,
    _signature,
    key_references,
    read_manifest,
    verify_backup,
)
from satchel.database.copying.archive import Archive
from satchel.errors import BackupDamaged
from satchel.identity.keys import MasterKey

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A backup of nothing, made while the old key was being replaced: what is in it is sealed with the old one."""
    key, [_, old] = MasterKey(NEW, OLD), key_references(MasterKey(NEW, OLD))
    content = msgspec.json.encode(Manifest("id", FORM, "1", datetime(2026, 11, 28, tzinfo=UTC), old, [], [], [old]))
    (tmp_path / MANIFEST).write_bytes(content)
    (tmp_path / SIGNATURE).write_bytes(_signature(key, old, content))
    return tmp_path


async def told(place: Path, key: MasterKey | None) -> list[str]:
    said: list[str] = []
    await verify_backup(Archive(LocalStore(place)), key, said.append)
    return said


@pytest.mark.parametrize("key", [MasterKey(NEW, OLD), MasterKey(OLD)], ids=["both keys", "the old one"])
async def test_a_signature_is_known_by_the_key_that_made_it(place: Path, key: MasterKey) -> None:
    assert await told(place, key) == []


async def test_a_changed_manifest_is_refused(place: Path) -> None:
    content = (place / MANIFEST).read_bytes()
    (place / MANIFEST).write_bytes(content.replace(b'"1"', b'"2"'))

    with pytest.raises(BackupDamaged, match="changed"):
        await read_manifest(Archive(LocalStore(place)), MasterKey(OLD), print)


async def test_without_a_signature_it_is_taken_with_a_warning(place: Path) -> None:
    (place / SIGNATURE).unlink()

    [said] = await told(place, MasterKey(OLD))

    assert said.startswith("Warning: this backup bears no signature")


async def test_a_manifest_that_is_no_text_is_damaged(place: Path) -> None:
    (place / MANIFEST).write_bytes(b'{"id": "\xff\xfe"}')

    with pytest.raises(BackupDamaged, match="cannot be read"):
        await read_manifest(Archive(LocalStore(place)), MasterKey(OLD), print)


@pytest.mark.parametrize("key", [MasterKey(NEW), None], ids=["another key", "no key"])
async def test_who_has_not_the_key_is_told_that_nothing_was_looked_at(place: Path, key: MasterKey | None) -> None:
    [said] = await told(place, key)

    assert "not looked at" in said
