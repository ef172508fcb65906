"""`satchel backup`: everything that Satchel keeps, to a folder or an object store, and back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from satchel.administration import backup
from satchel.assembly import Rooms, prepare
from satchel.cli.options import load_settings, settings_options
from satchel.cli.output import console
from satchel.cli.rooms import run_with_rooms
from satchel.database.embedded import EmbeddedPostgres, running_url
from satchel.identity.keys import MasterKey
from satchel.settings.schema import Settings
from satchel.telemetry import log

EPILOG = """\b
PLACE is a folder, or a URL as in [storage] url (its endpoint and keys count there too):
  satchel backup create /var/backups/satchel/monday
  satchel backup verify /var/backups/satchel/monday
  satchel backup restore /var/backups/satchel/monday       onto fresh servers, before any service is started
The master key is not in a backup: keep it apart. A backup holds rows of the sources: keep it as safe as those.
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Backups of the control database, the staging databases and object storage."""


@command.command()
@click.argument("place")
@settings_options
def create(place: str, config: Path | None, data_folder: Path | None) -> None:
    """Write a backup to PLACE while everything runs; each database as of one moment."""

    async def act(rooms: Rooms) -> backup.Manifest:
        return await backup.create_backup(rooms, backup.open_archive(place, rooms.settings), _tell)

    _print("Written", run_with_rooms(config, data_folder, act))


@command.command()
@click.argument("place")
@settings_options
def verify(place: str, config: Path | None, data_folder: Path | None) -> None:
    """Read all of a backup and compare it with what was written."""
    settings = load_settings(config, data_folder)
    archive = backup.open_archive(place, settings)
    _print("Whole", asyncio.run(backup.verify_backup(archive, _known_key(settings), _warn)))


@command.command()
@click.argument("place")
@click.option("--unsigned", is_flag=True, help="Take a backup without a signature, as older versions wrote them.")
@settings_options
def restore(place: str, unsigned: bool, config: Path | None, data_folder: Path | None) -> None:
    """Make everything again from a backup, on servers where none of it is; nothing is ever overwritten.

    All of it is read and compared first. A restore that was interrupted is started again and goes on.
    """
    given = load_settings(config, data_folder)
    log.configure("warning", given.log.format, "cli")

    async def act(settings: Settings) -> backup.Manifest:
        archive = backup.open_archive(place, settings)
        await backup.verify_backup(archive, _known_key(settings), _warn, takes_unsigned=unsigned)
        manifest = await backup.restore_backup(settings, archive, _tell, takes_unsigned=unsigned)
        await prepare(settings)
        await backup.submit_again(settings)
        return manifest

    with _with_server(given) as settings:
        _print("Restored", asyncio.run(act(settings)))


@contextmanager
def _with_server(settings: Settings) -> Iterator[Settings]:
    """The settings, with a server to restore onto: where none is configured and `satchel up` does not run, the embedded
    one, for as long as this takes."""
    if settings.database.url or running_url(settings):
        yield settings
        return
    with EmbeddedPostgres(settings.postgres_folder, _tell) as server:
        database = msgspec.structs.replace(settings.database, url=server.url)
        yield msgspec.structs.replace(settings, database=database)


def _known_key(settings: Settings) -> MasterKey | None:
    """The master key, where there is one; none is made for a look at a backup."""
    secrets = settings.secrets
    return MasterKey.load(settings) if secrets.key or secrets.keyring or settings.master_key_file.exists() else None


def _warn(what: str) -> None:
    print(what, file=sys.stderr)


def _tell(what: str) -> None:
    console.print(f"  {what}")


def _print(verb: str, manifest: backup.Manifest) -> None:
    size = sum(each.size_bytes for each in manifest.objects)
    console.print(
        f"{verb}: {len(manifest.staging)} organizations, {len(manifest.objects)} files, {size / 1e6:,.1f} MB,"
        f" of {manifest.made_at:%Y-%m-%d %H:%M} UTC by Satchel {manifest.version}."
    )
