"""`satchel org tenants`: whose users may sign in to an organization."""

from __future__ import annotations

from pathlib import Path

import click

from satchel.administration import organizations as administration
from satchel.assembly import Rooms
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import console, print_json
from satchel.cli.rooms import run_with_rooms


@click.command()
@click.argument("name")
@click.argument("tenant", nargs=-1)
@settings_options
@json_option
def tenants(name: str, tenant: tuple[str, ...], config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """Bind the organization to the issuer's tenants (Entra) whose users may sign in; without TENANT, show them.

    Each must be one of [sign_in] tenants. It counts for the next sign-in; block devices that must go at once.
    """

    async def act(rooms: Rooms) -> list[str]:
        if tenant:
            return (await administration.bind_tenants(rooms, name, list(tenant))).tenants
        return (await rooms.organizations.get(name)).tenants

    found = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json({"name": name, "tenants": found})
    else:
        console.print(f"{name}: {', '.join(found) or 'the only one of the settings, if there is only one'}")
