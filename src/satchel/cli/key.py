"""`satchel key`: the master keys that everything sealed depends on."""

from __future__ import annotations

import base64
from pathlib import Path

import click

from satchel.administration import keys as administration
from satchel.assembly import Rooms
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import console, print_json, print_rows
from satchel.cli.rooms import run_with_rooms
from satchel.identity.keys import new_key

EPILOG = """\b
A new key, while everything runs:
  satchel key rotate        make it, and seal everything with it
  satchel key list          nothing is sealed with the old one any more
  satchel key retire        let the old one go; devices that were away since load their data anew
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Master keys: list, rotate, retire. The newest seals; all of them open."""


@command.command("list")
@settings_options
@json_option
def list_keys(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """The keys by name, newest first, and what is sealed with each."""
    found = run_with_rooms(config, data_folder, administration.key_status)
    if as_json:
        print_json(found)
    else:
        print_rows([{"key": k.name, "seals": k.seals, "organizations": ", ".join(k.organizations)} for k in found])


@command.command()
@settings_options
def rotate(config: Path | None, data_folder: Path | None) -> None:
    """Make a new key and seal everything with it. Broken off, it goes on where it was."""

    async def act(rooms: Rooms) -> None:
        async for step in administration.rotate(rooms):
            console.print(step)

    run_with_rooms(config, data_folder, act)
    console.print("Done. Keep a copy of the keys; later: satchel key retire")


@command.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
def retire(yes: bool, config: Path | None, data_folder: Path | None) -> None:
    """Let all keys but the newest go. Devices that were away since it came load their data anew; edits stay."""
    if not yes:
        click.confirm("Let the old keys go? Backups of before the rotation need them.", abort=True)
    gone = run_with_rooms(config, data_folder, administration.retire)
    console.print(f"Gone: {', '.join(gone)}." if gone else "There is only one key.")


@command.command()
def make() -> None:
    """Print a new key, for [secrets] key or a key file of your own."""
    click.echo(base64.b64encode(new_key()).decode())
