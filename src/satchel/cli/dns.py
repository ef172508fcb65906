"""`satchel dns`: names of organizations, for administrators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from satchel.assembly import Rooms, dns_target
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import console, print_json, print_rows
from satchel.cli.rooms import run_with_rooms
from satchel.errors import InputInvalid, SatchelError
from satchel.naming.records import zone_file

EPILOG = """\b
[dns] zone, server, key_name, key_secret_file and target (or addresses) let Satchel keep the names itself.
Without a server, who keeps the zone takes them from:
  satchel dns export > contoso.zone
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Names of organizations: NAME.ZONE leads a device to the scale unit that serves it."""


@command.command()
@settings_options
def export(config: Path | None, data_folder: Path | None) -> None:
    """Print the records of all organizations as a zone file, for who keeps the zone by hand."""

    async def act(rooms: Rooms) -> str:
        _require_zone(rooms)
        names = [o.name for o in await rooms.organizations.all() if o.state in {"active", "broken"}]
        return zone_file(names, dns_target(rooms.settings))

    click.echo(run_with_rooms(config, data_folder, act), nl=False)


@command.command()
@settings_options
@json_option
def check(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """Compare what stands in DNS with what is wanted, name by name. Exit status 1 where one differs."""

    async def act(rooms: Rooms) -> list[dict[str, Any]]:
        _require_zone(rooms)
        if rooms.zone is None:
            raise InputInvalid("Satchel keeps no names.", hint="Set [dns] server; or use `satchel dns export`.")
        known = {name.name: name for name in await rooms.names.all()}
        found = []
        for organization in await rooms.organizations.all():
            if organization.state in {"active", "broken"}:
                problem = known[organization.name].problem if organization.name in known else None
                try:
                    is_right = await rooms.zone.is_current(organization.name)
                except SatchelError as error:
                    is_right, problem = False, error.message
                found.append({"name": organization.name, "is_right": is_right, "problem": problem})
        for name in sorted(known.keys() - {each["name"] for each in found}):
            found.append({"name": name, "is_right": False, "problem": known[name].problem or "to be removed"})
        return found

    found = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json(found)
    else:
        print_rows(found, empty="No names.")
    if not all(each["is_right"] for each in found):
        if not as_json:
            console.print("Names that differ are put right by the provisioning service, where they are Satchel's own.")
        raise SystemExit(1)


def _require_zone(rooms: Rooms) -> None:
    if not rooms.settings.dns.zone:
        raise InputInvalid("There is no zone.", hint="Set [dns] zone (SATCHEL_DNS__ZONE).")
