"""Backup and restore: the control database, every staging database, and object storage.

`manifest.json` is written last: a backup without one is not whole. The master key is not in it, only which one it was;
with it the manifest is signed, and with the manifest, which has the sum of each file, everything.
A restored staging database begins another life: devices load their data again and hand over what was not settled.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import obstore
from obstore.store import LocalStore, ObjectStore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from satchel import __version__
from satchel.assembly import Rooms, control_url, open_rooms, server_url, staging_databases, staging_urls
from satchel.database.copying.archive import Archive, Stored, dump, load
from satchel.database.pool import Connection, Database
from satchel.database.server import ensure_database
from satchel.errors import BackupDamaged, BackupUnusable, DataFolderUnusable
from satchel.identity.keys import MasterKey
from satchel.identity.secrets import is_sealed_with
from satchel.provisioning.databases import new_epoch
from satchel.provisioning.organizations import DEFAULT_SERVER, Organization
from satchel.settings.schema import Settings
from satchel.staging.restored import begin_another_life
from satchel.storage import open_storage
from satchel.storage.open import store_of

FORM = 1
MANIFEST = "manifest.json"
SIGNATURE = "manifest.hmac"
_UNSIGNED = "Warning: this backup bears no signature (older ones have none): who may write there decides what it is."
_NOT_KEPT = "organizations/"
"""Snapshots belong to a life of a staging database: another one makes its own."""

Tell = Callable[[str], None]


class StagingBackup(msgspec.Struct, frozen=True):
    """A staging database of a backup."""

    organization: str
    server: str
    database_name: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is."""

    id: str
    form: int
    version: str
    made_at: datetime
    key_reference: str
    """Says which master key it belongs to; tells nothing of the key."""
    staging: list[StagingBackup]
    objects: list[Stored]
    key_references: list[str] = []
    """All master keys that something in it is sealed with: several where it was made while keys were replaced."""


def open_archive(place: str, settings: Settings) -> Archive:
    """A folder, or a URL as in [storage] url. Errors: SettingInvalid, DataFolderUnusable."""
    if "://" in place:
        return Archive(store_of(msgspec.structs.replace(settings.storage, url=place)))
    try:
        Path(place).mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DataFolderUnusable(f"{place} cannot be made: {error.strerror}.") from error
    return Archive(LocalStore(place))


async def create_backup(rooms: Rooms, archive: Archive, tell: Tell) -> Manifest:
    """Write a backup. Each database is as of one moment of its own. Errors: BackupUnusable (one is there)."""
    if await _bytes(archive, MANIFEST) is not None:
        raise BackupUnusable("There is a backup at this place already.", hint="Give each backup a place of its own.")
    tell("control database")
    before = await rooms.organizations.all()
    async with rooms.control.connection() as connection:
        stored = await dump(connection, archive, "control", schemas=["satchel"])
        await connection.execute("reset search_path")
    staging, organizations = [], await rooms.organizations.all()
    keys = _keys_in_use(rooms.key, [*before, *organizations])
    for organization in organizations:
        if organization.state in {"active", "broken"}:
            tell(f"staging database of {organization.name}")
            stored += await _dump_staging(rooms, archive, organization)
            staging.append(StagingBackup(organization.name, organization.place, organization.database_name))
    tell("object storage")
    stored += await keep_objects(open_storage(rooms.settings), archive)
    made_at = datetime.now(UTC)
    manifest = Manifest(secrets.token_hex(8), FORM, __version__, made_at, keys[0], staging, stored, keys)
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    await obstore.put_async(archive.store, SIGNATURE, _signature(rooms.key, keys[0], content))
    await obstore.put_async(archive.store, MANIFEST, content)
    return manifest


async def verify_backup(
    archive: Archive, key: MasterKey | None, tell: Tell, *, takes_unsigned: bool = True
) -> Manifest:
    """Read all of a backup and compare it with what was written, and its signature where `key` made it.

    Errors: as `read_manifest`, BackupDamaged."""
    manifest = await read_manifest(archive, key, tell, takes_unsigned=takes_unsigned)
    for stored in manifest.objects:
        async for _ in archive.read(stored):
            pass
    return manifest


async def read_manifest(
    archive: Archive, key: MasterKey | None, tell: Tell, *, takes_unsigned: bool = True
) -> Manifest:
    """Errors: BackupUnusable (none, of a newer form, unsigned), BackupDamaged (forged, where `key` is its own)."""
    content = await _bytes(archive, MANIFEST)
    if content is None:
        raise BackupUnusable("There is no whole backup at this place: it has no manifest.")
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BackupDamaged("The backup's manifest cannot be read.") from error
    if manifest.form > FORM:
        raise BackupUnusable(f"Satchel {manifest.version} wrote this backup; this one cannot read it.")
    signature = await _bytes(archive, SIGNATURE)
    if signature is None and not takes_unsigned:
        raise BackupUnusable(
            "This backup bears no signature: who may write there may have made or changed it, or taken it away.",
            hint="One of a version without signatures, kept where nobody else writes, is restored with --unsigned.",
        )
    if signature is None:
        tell(_UNSIGNED)
    elif key is None or manifest.key_reference not in key_references(key):
        tell("The signature is another master key's: it was not looked at.")
    elif not hmac.compare_digest(signature.strip(), _signature(key, manifest.key_reference, content)):
        raise BackupDamaged("The backup's manifest is not what this installation wrote: somebody changed it.")
    return manifest


def _signature(key: MasterKey, reference: str, content: bytes) -> bytes:
    """Of the key with this reference; whoever has none of the keys makes none. Source: RFC 2104, SHA-256."""
    signing = key.keys("backup signature").all[key_references(key).index(reference)]
    return hmac.new(signing, content, hashlib.sha256).hexdigest().encode()


async def restore_backup(settings: Settings, archive: Archive, tell: Tell, *, takes_unsigned: bool = False) -> Manifest:
    """Make everything again, on servers where none of it is. What a killed restore finished is not done again.

    Order: staging databases, each in one transaction; object storage; the control database last: with it all is there.
    Errors: BackupUnusable (another key, unsigned, something in the way), BackupDamaged - before anything is changed.
    """
    key = MasterKey.load(settings)
    manifest = await read_manifest(archive, key, lambda _said: None, takes_unsigned=takes_unsigned)
    if not {manifest.key_reference, *manifest.key_references} <= set(key_references(key)):
        raise BackupUnusable(
            "The backup belongs to another master key.",
            hint="Give the key it was made with (all, where it was just being replaced): [secrets] key or key_file.",
        )
    stored = {each.path: each for each in manifest.objects}
    name = str(conninfo_to_dict(control_url(settings))["dbname"])
    await ensure_database(server_url(settings), name)
    async with Database(control_url(settings), pool_size=2) as control:
        await _require_empty(control, "control")
        for each in manifest.staging:
            tell(f"staging database of {each.organization}")
            await _load_staging(settings, key, archive, stored, each, manifest)
        tell("object storage")
        store = open_storage(settings)
        for path, one in stored.items():
            if path.startswith("objects/"):
                await obstore.put_async(store, path.removeprefix("objects/"), archive.read(one))
        tell("control database")
        async with control.transaction() as connection:
            await load(connection, archive, stored, "control", lambda _table: None)
            await connection.execute("reset search_path")
            await _begin_again(connection, settings, manifest)
    return manifest


async def submit_again(settings: Settings) -> None:
    """Events that were under way when the backup was made."""
    async with open_rooms(settings) as rooms:
        for organization in await rooms.organizations.all():
            if organization.state in {"provisioning", "deprovisioning"}:
                await rooms.events.submit(
                    "provision" if organization.state == "provisioning" else "deprovision", organization.name
                )


def key_references(key: MasterKey) -> list[str]:
    """Names of the keys, newest first, which tell nothing of them."""
    return [hashlib.sha256(each).hexdigest()[:16] for each in key.keys("backup reference").all]


def _keys_in_use(key: MasterKey, organizations: Sequence[Organization]) -> list[str]:
    """References of the keys that connections are sealed with, newest first; of the newest where there are none."""
    pairs = zip(key_references(key), key.keys("connection").all, strict=True)
    found = [name for name, each in pairs if any(is_sealed_with(each, o.sealed_connection) for o in organizations)]
    return found or key_references(key)[:1]


async def keep_objects(store: ObjectStore, archive: Archive) -> list[Stored]:
    """Write all objects but snapshots; those that are deleted meanwhile, such as old logs, are left out."""
    stored = []
    async for chunk in obstore.list(store):
        for meta in chunk:
            path = str(meta["path"])
            if path.startswith(_NOT_KEPT):
                continue
            try:
                answer = await obstore.get_async(store, path)
            except FileNotFoundError:
                continue
            stored.append(await archive.write(f"objects/{path}", _pieces(answer)))
    return stored


async def _dump_staging(rooms: Rooms, archive: Archive, organization: Organization) -> list[Stored]:
    url = rooms.databases.url(organization.database_name, organization.place)
    connections = rooms.databases.connections(organization.database_name)
    async with Database(url, pool_size=1, connection_class=connections) as staging, staging.connection() as connection:
        return await dump(connection, archive, f"staging/{organization.database_name}")


async def _load_staging(
    settings: Settings,
    key: MasterKey,
    archive: Archive,
    stored: dict[str, Stored],
    backup: StagingBackup,
    manifest: Manifest,
) -> None:
    databases = staging_databases(settings, key)
    server = _server(settings, backup)
    await databases.make_empty(backup.database_name, server)
    async with Database(databases.url(backup.database_name, server), pool_size=1) as staging:
        if await _restored_from(staging) == manifest.id:
            return
        await _require_empty(staging, f"staging database {backup.database_name}")
        async with staging.transaction() as connection:
            await load(connection, archive, stored, f"staging/{backup.database_name}", lambda _table: None)
            await connection.execute("reset search_path")
            await begin_another_life(connection, new_epoch(), manifest.id)


async def _begin_again(connection: Connection, settings: Settings, manifest: Manifest) -> None:
    """What was under way when the backup was made begins once more; devices wait until every entity was read.

    Where each organization lives says the manifest: it may have moved, or begun anew, after the control database was
    read. A link that was not used before the backup may have been used since: none counts any more.
    """
    for statement in (
        "delete from satchel.move",
        "delete from satchel.sync_server",
        "delete from satchel.leftover_database",
        "delete from satchel.step",
        "delete from satchel.enrolment_code where used_at is null",
        "update satchel.recurring_work set next_at = now()",
        "update satchel.organization set is_refilling = true where state = 'active'",
    ):
        await connection.execute(statement)
    for table in (sql.Identifier("satchel", name) for name in ("console_session", "console_link")):  # since version 12
        found = await connection.execute("select to_regclass(%s) is not null", [table.as_string(connection)])
        if (await found.fetchone() or (False,))[0]:
            await connection.execute(sql.SQL("delete from {}").format(table))
    for each in manifest.staging:
        await connection.execute(
            "update satchel.organization set server = %s, database_name = %s where name = %s",
            [_server(settings, each), each.database_name, each.organization],
        )
    await connection.execute(
        "update satchel.organization set server = %s where server is not null and server <> all(%s)",
        [DEFAULT_SERVER, list(staging_urls(settings))],
    )


def _server(settings: Settings, backup: StagingBackup) -> str:
    """Where a staging database goes: where it was, if the settings still name that server."""
    return backup.server if backup.server in staging_urls(settings) else DEFAULT_SERVER


async def _require_empty(database: Database, what: str) -> None:
    if (await database.fetch("select to_regclass('satchel.version') is not null"))[0][0]:
        raise BackupUnusable(
            f"The {what} is there already; nothing was changed.",
            hint="Restore onto a server where it is not, or drop it first if it is no longer wanted.",
        )


async def _restored_from(staging: Database) -> str | None:
    rows = await staging.fetch("select obj_description(to_regnamespace('satchel'), 'pg_namespace')")
    return rows[0][0] if rows else None


async def _bytes(archive: Archive, path: str) -> bytes | None:
    try:
        return bytes(await (await obstore.get_async(archive.store, path)).bytes_async())
    except FileNotFoundError:
        return None


async def _pieces(answer: obstore.GetResult) -> AsyncIterator[bytes]:
    async for piece in answer.stream():
        yield bytes(piece)
