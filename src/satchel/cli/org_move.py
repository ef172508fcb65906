"""`satchel org move`: an organization's staging database to another server."""

from __future__ import annotations

from pathlib import Path

import click

from satchel.administration import servers
from satchel.assembly import Rooms
from satchel.cli.options import settings_options
from satchel.cli.output import console
from satchel.cli.rooms import run_with_rooms


@click.command()
@click.argument("name")
@click.argument("server", required=False)
@click.option("--abort", is_flag=True, help="Stay where it is, unless the new place counts already.")
@click.option("--wait", is_flag=True, help="Stay until the old place is dropped.")
@settings_options
def move(name: str, server: str | None, abort: bool, wait: bool, config: Path | None, data_folder: Path | None) -> None:
    """Move the organization's staging database to SERVER, while devices sync and edit.

    Edits wait for a moment at the end; nothing starts over. A crash resumes; `satchel org list` shows the place.
    """
    if abort == (server is not None):
        raise click.UsageError("Give a server, or --abort.")

    async def act(rooms: Rooms) -> None:
        if server is not None:
            await servers.request_move(rooms, name, server)
        else:
            await servers.abort_move(rooms, name)
        if not wait:
            console.print("Queued. `satchel org list` shows where it lives.")
            return
        shown = None
        async for found in servers.wait_until_moved(rooms, name):
            if found.progress != shown:
                shown = found.progress
                console.print(f"  {shown}")
        console.print(f"{name} lives on {(await rooms.organizations.get(name)).place}.")

    run_with_rooms(config, data_folder, act)
