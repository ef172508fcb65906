"""`satchel org`: organizations, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from satchel.administration import organizations as administration
from satchel.administration.devices import block_device, devices_of, wipe_device
from satchel.assembly import Rooms
from satchel.cli.options import json_option, settings_options
from satchel.cli.org_move import move
from satchel.cli.org_tenants import tenants
from satchel.cli.output import console, print_json, print_rows, progress
from satchel.cli.rooms import run_with_rooms
from satchel.provisioning.devices import DeviceRow
from satchel.source.connection import Connection

EPILOG = """\b
From nothing to a device:
  satchel org add contoso --source https://contoso.crm.dynamics.com --tenant ... --client-id ... \\
      --client-secret-file secret.txt --profile profile.toml
  satchel org provision contoso --wait
  satchel org users contoso
  satchel org invite contoso USER_ID        prints a link for `satchel device enroll`
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Organizations: each has a source, a staging database, a profile and devices."""


@command.command()
@click.argument("name")
@click.option("--source", "url", required=True, help="Address of the OData v4 service (Dataverse: the organization).")
@click.option("--kind", type=click.Choice(["dataverse", "odata"]), default="dataverse", show_default=True)
@click.option(
    "--profile",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    required=True,
    help="What goes offline (TOML).",
)
@click.option("--tenant", help="Entra tenant, for Dataverse.")
@click.option("--token-url", help="Token endpoint (OAuth 2 client credentials), where it is not Entra's.")
@click.option("--client-id", envvar="SATCHEL_CLIENT_ID", show_envvar=True)
@click.option(
    "--client-secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the secret; or SATCHEL_CLIENT_SECRET.",
)
@click.option("--scope", help="OAuth scope.  [default: <source>/.default for Dataverse]")
@click.option("--ca-file", type=click.Path(dir_okay=False, exists=True), help="Certificates to trust for the source.")
@settings_options
@json_option
def add(
    name: str,
    profile: Path,
    client_secret_file: Path | None,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
    **where: Any,
) -> None:
    """Register an organization. Source, credentials and profile are checked first; nothing is saved if one is wrong."""
    connection = Connection(client_secret=_secret(client_secret_file), **where)
    connection.require_safe()
    text = profile.read_text("utf-8")

    async def act(rooms: Rooms) -> None:
        info, scope = await administration.add_organization(rooms, name, connection, text)
        if as_json:
            print_json({"name": name, "source": info, "entities": [e.name for e in scope.client_model.entities]})
            return
        console.print(f"Registered [bold]{name}[/bold]: {info.description}")
        console.print(f"Offline: {', '.join(e.name for e in scope.client_model.entities)}")
        console.print(f"Next: satchel org provision {name} --wait")

    run_with_rooms(config, data_folder, act)


@command.command()
@click.argument("name")
@click.option("--server", help="Where its staging database is to live (`satchel server list`).  [default: least load]")
@click.option("--anew", is_flag=True, help="With an empty database: its old one was lost, or is to be dropped.")
@click.option("--wait", is_flag=True, help="Stay until the organization is active and every entity was pulled once.")
@settings_options
def provision(
    name: str, server: str | None, anew: bool, wait: bool, config: Path | None, data_folder: Path | None
) -> None:
    """Make the organization's staging database and start pulling."""

    async def act(rooms: Rooms) -> None:
        if anew:
            await rooms.events.begin_anew(name, rooms.servers.require(server) if server else None)
        elif server is not None:
            await rooms.servers.choose(await rooms.organizations.get(name), server)
        if not anew:
            await rooms.events.submit("provision", name)
        if not wait:
            console.print(f"Queued. `satchel org show {name}` shows how it goes.")
            return
        await _watch_provisioning(rooms, name)
        await _watch_pulls(rooms, name, None)

    run_with_rooms(config, data_folder, act)


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", is_flag=True, help="Stay until nothing of it is left.")
@settings_options
def deprovision(name: str, yes: bool, wait: bool, config: Path | None, data_folder: Path | None) -> None:
    """Drop the organization's staging database, snapshots, work items, devices and registration."""
    if not yes:
        click.confirm(f"Drop all that Satchel keeps of {name}? The source is not touched.", abort=True)

    async def act(rooms: Rooms) -> None:
        await rooms.events.submit("deprovision", name)
        if wait:
            async for _ in administration.wait_until_gone(rooms, name):
                pass
            console.print(f"Nothing of {name} is left.")

    run_with_rooms(config, data_folder, act)


command.add_command(move)
command.add_command(tenants)


@command.command("list")
@settings_options
@json_option
def list_organizations(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """All organizations."""

    async def act(rooms: Rooms) -> list[dict[str, object]]:
        return [
            {
                "name": o.name,
                "state": o.state,
                "server": o.server,
                "kind": o.source_kind,
                "source": o.source_url,
                "problem": o.problem,
            }
            for o in await rooms.organizations.all()
        ]

    rows = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, empty="No organizations yet. Next: satchel org add --help")


@command.command()
@click.argument("name")
@settings_options
@json_option
def show(name: str, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """How an organization stands: each entity's rows, how its changes are found, when it was pulled last."""
    status = run_with_rooms(config, data_folder, lambda rooms: administration.organization_status(rooms, name))
    if as_json:
        print_json(status)
        return
    console.print(f"[bold]{status.name}[/bold]  {status.state}  {status.kind}  {status.source}")
    if status.problem:
        console.print(f"Problem: {status.problem}")
    for each in status.preparing:
        console.print(f"Profiles being prepared: {each}")
    print_rows(
        [
            {
                "entity": e.entity,
                "rows": e.rows,
                "changes found by": e.strategy,
                "pulled": _ago(e.pulled_at),
                "state": e.state,
                "set aside": e.unusable_rows,
                "problem": e.problem,
            }
            for e in status.entities
        ]
    )
    if status.size_bytes:
        images = status.snapshots.get("current", 0)
        console.print(f"Staging database: {status.size_bytes / 1_000_000:,.1f} MB; {images:,} snapshots of buckets")
    if status.edits:
        counted = ", ".join(f"{each.sets:,} {each.verdict or each.state}" for each in status.edits)
        console.print(f"Edits of devices: {counted}.  `satchel edits list {name}`")
    if status.abilities is not None:
        console.print("For edits the source")
        for words in administration.abilities_in_words(status.abilities):
            console.print(f"  {words}")


@command.command()
@click.argument("name")
@click.argument("entity", required=False)
@click.option("--wait", is_flag=True, help="Stay until it is done.")
@settings_options
def pull(name: str, entity: str | None, wait: bool, config: Path | None, data_folder: Path | None) -> None:
    """Pull one entity, or all, now."""

    async def act(rooms: Rooms) -> None:
        since = datetime.now(UTC)
        await administration.pull_now(rooms, name, entity)
        if wait:
            await _watch_pulls(rooms, name, since)

    run_with_rooms(config, data_folder, act)


@command.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@settings_options
@json_option
def users(name: str, limit: int, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """Enabled users of the source, who may be invited."""
    rows = run_with_rooms(config, data_folder, lambda rooms: administration.users_of(rooms, name, limit))
    listed = [{"id": user_id, "name": user_name} for user_id, user_name in rows]
    if as_json:
        print_json(listed)
    else:
        print_rows(listed, empty="No users known: the profile names no principals, so any id may be invited.")


@command.command()
@click.argument("name")
@click.argument("user", required=False)
@click.option("--sign-in", is_flag=True, help="Print the link with which all users sign in; nothing of it is secret.")
@settings_options
@json_option
def invite(
    name: str, user: str | None, sign_in: bool, config: Path | None, data_folder: Path | None, as_json: bool
) -> None:
    """Make a one-time link with which a user enrolls a device."""
    if sign_in == bool(user):
        raise click.UsageError("Give a USER, or --sign-in.")

    async def act(rooms: Rooms) -> str:
        return await (administration.invite(rooms, name, user) if user else administration.sign_in_link(rooms, name))

    link = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json({"link": link})
    else:
        click.echo(link)


@command.command()
@click.argument("name")
@settings_options
@json_option
def devices(name: str, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """The organization's devices."""

    async def act(rooms: Rooms) -> list[DeviceRow]:
        return await devices_of(rooms, name)

    rows = [
        {
            "id": d.id,
            "name": d.name,
            "user": d.user_name,
            "enrolled": d.created_at.isoformat(),
            "last_seen": _iso(d.last_seen_at),
            "signed_in_until": _iso(d.signed_in_until),
            "blocked": d.is_blocked,
            **(_wipe_for_programs(d) if as_json else {"wipe": _wipe_for_people(d)}),
        }
        for d in run_with_rooms(config, data_folder, act)
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, empty="No devices yet.")


@command.command()
@click.argument("name")
@click.argument("device_id")
@click.option("--undo", is_flag=True, help="Let the device in again.")
@settings_options
def block(name: str, device_id: str, undo: bool, config: Path | None, data_folder: Path | None) -> None:
    """Refuse a device from now on."""

    async def act(rooms: Rooms) -> None:
        await block_device(rooms, name, device_id, is_blocked=not undo)

    run_with_rooms(config, data_folder, act)


@command.command()
@click.argument("name")
@click.argument("device_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
def wipe(name: str, device_id: str, yes: bool, config: Path | None, data_folder: Path | None) -> None:
    """Make a device erase all it holds, at its next contact; it must be enrolled anew. `devices` shows when it did."""
    if not yes:
        click.confirm(f"Erase all that device {device_id} holds? This cannot be taken back.", abort=True)

    async def act(rooms: Rooms) -> None:
        await wipe_device(rooms, name, device_id)

    run_with_rooms(config, data_folder, act)


def _wipe_for_programs(device: DeviceRow) -> dict[str, object]:
    return {
        "wipe_requested": _iso(device.wipe_requested_at),
        "wipe_told": _iso(device.wipe_told_at),
        "wiped": _iso(device.wiped_at),
    }


def _wipe_for_people(device: DeviceRow) -> str:
    for word, moment in (
        ("erased", device.wiped_at),
        ("told", device.wipe_told_at),
        ("ordered", device.wipe_requested_at),
    ):
        if moment is not None:
            return f"{word} {moment.isoformat(timespec='seconds')}"
    return ""


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


async def _watch_provisioning(rooms: Rooms, name: str) -> None:
    shown: set[str] = set()
    shown_problem = None
    async for organization, done in administration.wait_until_provisioned(rooms, name):
        for step in sorted(done - shown):
            console.print(f"  done: {step}")
        shown |= done
        if organization.problem and organization.problem != shown_problem:
            shown_problem = organization.problem
            console.print(f"  waiting: {shown_problem}")
    console.print(f"{name} is active.")


async def _watch_pulls(rooms: Rooms, name: str, since: datetime | None) -> None:
    with progress() as bars:
        tasks: dict[str, Any] = {}
        async for entities in administration.wait_until_pulled(rooms, name, since):
            for e in entities:
                if e.entity not in tasks:
                    tasks[e.entity] = bars.add_task(e.entity, total=None, note="")
                is_done = e.state == "current"
                bars.update(
                    tasks[e.entity],
                    note=f"{e.rows:,} rows  {e.problem or e.state}",
                    total=e.rows if is_done else None,
                    completed=e.rows,
                )
    for e in entities:
        console.print(f"  {e.entity}: {e.rows:,} rows, changes found by {e.strategy}")


def _secret(file: Path | None) -> str | None:
    import os

    if file is not None:
        return file.read_text("utf-8").strip()
    return os.environ.get("SATCHEL_CLIENT_SECRET")


def _ago(moment: datetime | None) -> str:
    return f"{(datetime.now(UTC) - moment).total_seconds():,.0f} s ago" if moment else "never"
