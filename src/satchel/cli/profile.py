"""`satchel profile`: offline profiles - what may leave the organization, for whom."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from satchel.administration import profiles as administration
from satchel.administration.preview import Preview
from satchel.assembly import Rooms
from satchel.buckets.decisions import Decision
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import print_json, print_rows
from satchel.cli.rooms import run_with_rooms
from satchel.errors import ProfileInvalid

file_argument = click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))


@click.group()
def command() -> None:
    """Offline profiles: which entities, columns and rows go offline, and for whom.

    \b
    satchel profile import contoso field-service.toml    check it, keep it as a draft
    satchel profile preview contoso field-service.toml   rows and bytes before anyone gets them
    satchel profile publish contoso "Field service"      bring the newest version into force
    satchel profile rollback contoso "Field service"     ... and the one before it again
    satchel profile explain contoso USER contact KEY     why is this row on that device?

    Several profiles may be in force; a user has what all of theirs offer. See docs/reference/profiles.md.
    """


@command.command("import")
@click.argument("organization")
@file_argument
@click.option("--comment", default="", help="Kept in the history.")
@click.option("--publish", is_flag=True, help="Bring it into force at once.")
@settings_options
@json_option
def import_(
    organization: str,
    file: Path,
    comment: str,
    publish: bool,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
) -> None:
    """Check a profile (TOML) against the source and keep it as the next version."""

    async def act(rooms: Rooms) -> tuple[str, int]:
        version, _ = await administration.import_profile(rooms, organization, _text(file), comment)
        if publish:
            await administration.publish_profile(rooms, organization, version.name, version.version, comment)
        return version.name, version.version

    name, version = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json({"profile": name, "version": version, "published": publish})
    elif publish:
        click.echo(f"{name}, version {version}, comes into force as soon as its rows are sorted.")
    else:
        click.echo(
            f"{name}, version {version}, is a draft. Publish it: satchel profile publish {organization} {name!r}"
        )


@command.command("import-dynamics")
@click.argument("organization")
@click.option("--name", help="Only the mobile offline profile of this name.")
@click.option("--print", "prints", is_flag=True, help="Print the profiles' texts as well.")
@settings_options
def import_dynamics(
    organization: str, name: str | None, prints: bool, config: Path | None, data_folder: Path | None
) -> None:
    """Turn the source's mobile offline profiles (Dynamics 365) into drafts; what cannot be carried over is said."""
    found = run_with_rooms(
        config, data_folder, lambda rooms: administration.import_from_source(rooms, organization, name)
    )
    for version, text, notes in found:
        if prints:
            click.echo(text)
        if version is not None:
            click.echo(f"{version.name}, version {version.version}, is a draft. Look through it, then publish it.")
        for note in notes:
            click.echo(f"  note: {note}")


@command.command()
@click.argument("organization")
@file_argument
@settings_options
def validate(organization: str, file: Path, config: Path | None, data_folder: Path | None) -> None:
    """Check a profile against the source; nothing is kept."""
    scope = run_with_rooms(
        config, data_folder, lambda rooms: administration.validate_profile(rooms, organization, _text(file))
    )
    for entity in scope.client_model.entities:
        families = [family for family in scope.families if family.entity == entity.name]
        click.echo(f"  {entity.name}: {len(entity.attributes)} columns, {len(families)} ways to partition its rows")
    click.echo("The profile fits the source.")


@command.command()
@click.argument("organization")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="An older version; by default the newest.")
@click.option("--comment", default="", help="Kept in the history.")
@settings_options
def publish(
    organization: str, name: str, version: int | None, comment: str, config: Path | None, data_folder: Path | None
) -> None:
    """Bring a version into force. Devices get what is new and drop what is gone at their next sync."""
    chosen = run_with_rooms(
        config, data_folder, lambda rooms: administration.publish_profile(rooms, organization, name, version, comment)
    )
    click.echo(f"{chosen.name}, version {chosen.version}, comes into force as soon as its rows are sorted.")


@command.command()
@click.argument("organization")
@click.argument("name")
@settings_options
def rollback(organization: str, name: str, config: Path | None, data_folder: Path | None) -> None:
    """Bring the version into force that was before the present one."""
    chosen = run_with_rooms(
        config, data_folder, lambda rooms: administration.roll_back_profile(rooms, organization, name)
    )
    click.echo(f"{chosen.name}, version {chosen.version}, comes into force again.")


@command.command()
@click.argument("organization")
@click.argument("name")
@click.confirmation_option(prompt="Devices drop what only this profile gives them. Go on?")
@settings_options
def withdraw(organization: str, name: str, config: Path | None, data_folder: Path | None) -> None:
    """Take a profile out of force; its versions are kept."""
    run_with_rooms(config, data_folder, lambda rooms: administration.withdraw_profile(rooms, organization, name))
    click.echo(f"{name} is no longer in force.")


@command.command("list")
@click.argument("organization")
@settings_options
@json_option
def list_(organization: str, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """The organization's profiles."""

    found = run_with_rooms(config, data_folder, lambda rooms: administration.profiles_of(rooms, organization))
    rows: list[dict[str, object]] = [
        {"profile": each.name, "in_force": each.in_force, "newest": each.newest} for each in found
    ]
    _print(rows, as_json)


@command.command()
@click.argument("organization")
@click.argument("name")
@settings_options
@json_option
def history(organization: str, name: str, config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """What was in force when, oldest first."""
    versions, publications = run_with_rooms(
        config, data_folder, lambda rooms: administration.profile_history(rooms, organization, name)
    )
    rows: list[dict[str, object]] = [
        {"at": v.created_at.isoformat(timespec="seconds"), "version": v.version, "what": "imported",
         "comment": v.comment}
        for v in versions
    ] + [
        {"at": p.published_at.isoformat(timespec="seconds"), "version": p.version or "-",
         "what": "published" if p.version else "withdrawn", "comment": p.comment}
        for p in publications
    ]  # fmt: skip
    _print(sorted(rows, key=lambda row: str(row["at"])), as_json)


@command.command()
@click.argument("organization")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="By default the newest.")
@settings_options
def show(organization: str, name: str, version: int | None, config: Path | None, data_folder: Path | None) -> None:
    """Print a version of a profile, as it was imported."""

    async def act(rooms: Rooms) -> str:
        return (await rooms.profiles.get(await rooms.organizations.get(organization), name, version)).text

    click.echo(run_with_rooms(config, data_folder, act), nl=False)


@command.command()
@click.argument("organization")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@settings_options
@json_option
def diff(
    organization: str, name: str, file: Path | None, config: Path | None, data_folder: Path | None, as_json: bool
) -> None:
    """What publishing FILE (or the newest version) would change: the text, and what devices would get."""

    async def act(rooms: Rooms) -> administration.Difference:
        if file is not None:
            text = _text(file)
        else:
            text = (await rooms.profiles.get(await rooms.organizations.get(organization), name)).text
        return await administration.compare_profiles(rooms, organization, name, text)

    found = run_with_rooms(config, data_folder, act)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    for line in found.lines:
        click.echo(line)
    for label, names in (
        ("new entities", found.entities_added),
        ("entities that go", found.entities_removed),
        ("rows sent again, with other columns", found.columns_changed),
        ("other rows (those a device has are not sent again)", found.rows_changed),
    ):
        if names:
            click.echo(f"  {label}: {', '.join(names)}")
    if not (found.entities_added or found.entities_removed or found.columns_changed or found.rows_changed):
        click.echo("  nothing changes for devices")


@command.command()
@click.argument("organization")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option("--user", help="Count for this user; by default for all (up to --limit).")
@click.option("--limit", type=click.IntRange(1, 10_000), default=200, show_default=True)
@settings_options
@json_option
def preview(
    organization: str,
    file: Path | None,
    user: str | None,
    limit: int,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
) -> None:
    """Rows and bytes users would get with FILE in force; without FILE, what they get now."""
    text = _text(file) if file else None
    found = run_with_rooms(
        config, data_folder, lambda rooms: administration.preview_profile(rooms, organization, text, user, limit)
    )
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        _print_preview(found, user)


@command.command()
@click.argument("organization")
@click.argument("user")
@click.argument("entity")
@click.argument("key")
@settings_options
@json_option
def explain(
    organization: str,
    user: str,
    entity: str,
    key: str,
    config: Path | None,
    data_folder: Path | None,
    as_json: bool,
) -> None:
    """Why a row is on a user's device, or is not: which bucket, which rule. A composite KEY is joined by commas."""
    found = run_with_rooms(
        config, data_folder, lambda rooms: administration.explain_row(rooms, organization, user, entity, key)
    )
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    click.echo(f"{found.entity} {found.key} {'goes' if found.is_in else 'does not go'} offline for {found.user}.")
    for family in found.families:
        place = f"bucket {family.bucket}" if family.bucket is not None else "in no bucket"
        click.echo(f"  {place}: {'yes' if family.decision.holds else 'no'}")
        _print_decision(family.decision, 2)


def _print_decision(decision: Decision, depth: int) -> None:
    click.echo(f"{'  ' * depth}{'+' if decision.holds else '-'} {decision.text}")
    for part in decision.because:
        _print_decision(part, depth + 1)


def _print_preview(found: Preview, user: str | None) -> None:
    rows: list[dict[str, object]] = []
    for each in found.entities:
        size = f"{each.bytes_of_most / 1_000_000:,.1f} MB"
        if user:
            rows.append({"entity": each.entity, "rows": f"{each.rows_of_most:,}", "size": size})
        else:
            rows.append({"entity": each.entity, "middle user": f"{each.rows:,}", "most": f"{each.rows_of_most:,}",
                         "size of most": size})  # fmt: skip
    print_rows(rows, empty="The profile offers nothing.")
    click.echo(f"Counted for {found.users} users; the most buckets of one: {found.buckets_of_most:,}.")
    for warning in found.warnings:
        click.echo(f"  warning: {warning}")


def _print(rows: list[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, empty="No profiles.")


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProfileInvalid(f"{file} is not UTF-8 text (byte {error.start}).", hint="Save it as UTF-8.") from error
