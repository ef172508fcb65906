"""`satchel device`: the device's library on the command line."""

from __future__ import annotations

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from satchel.cli.device_edits import COMMANDS
from satchel.cli.device_options import device_key, folder_options, with_device
from satchel.cli.device_sign_in import command as sign_in
from satchel.cli.device_sign_in import sign_out
from satchel.cli.options import json_option
from satchel.cli.output import console, print_json, print_json_line, print_rows, progress
from satchel.device import Device, SyncProgress, SyncReport, UploadProgress

_STATE = {True: "complete", False: "still loading: rows are missing"}
EPILOG = """\b
A day with it:
  satchel device enroll 'https://...#org=contoso&code=...'     once, with your administrator's link
  satchel device sign-in https://HOST --org contoso            or by signing in, where your organization has that
  satchel device sync                                          when there is a network
  satchel device query "select fullname from contact where address1_city = 'Lyon'"
  satchel device edit update contact KEY jobtitle=Chief        change it, with or without a network
  satchel device pending                                       what is not at the source yet
  satchel device status                                        what is here, and how old it is
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """A device: your part of the organization's data, encrypted, usable without a network.

    The key comes from --key-file, --passphrase-file or SATCHEL_DEVICE_KEY; else it is kept in the system's keyring.
    """


for _each in (*COMMANDS, sign_in, sign_out):
    command.add_command(_each)


@command.command()
@click.argument("link")
@click.option("--name", default="", help="What administrators see.")
@click.option("--no-encryption", is_flag=True, help="Leave encryption to the operating system.")
@folder_options
@json_option
def enroll(
    link: str,
    name: str,
    no_encryption: bool,
    folder: Path | None,
    key_file: Path | None,
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Enroll this device with the one-time LINK of your administrator."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        key = device_key(key_file, passphrase_file)
        if no_encryption and key is not None:
            raise click.UsageError("--no-encryption takes no key.")
        device = Device.enroll(link, folder, name=name, key=key, is_encrypted=not no_encryption)
    for warning in caught:
        print(f"Note: {warning.message}", file=sys.stderr)
    with device:
        if as_json:
            print_json(device.status())
        else:
            who = device.enrolment
            name = escape(who.user_name)
            console.print(f"Enrolled for [bold]{name}[/bold] at {who.organization}. Next: satchel device sync")


@command.command()
@click.option("--from-start", is_flag=True, help="Load everything again, from the start.")
@with_device
@json_option
def sync(from_start: bool, device: Device, as_json: bool) -> None:
    """Bring the data to where the organization stands. A broken sync goes on where it was."""
    report = _sync_with_bars(device, from_start=from_start)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


@command.command()
@with_device
@json_option
def watch(device: Device, as_json: bool) -> None:
    """Stay current until Ctrl-C: changes arrive as they happen."""

    def on_change(report: SyncReport) -> None:
        if as_json:
            print_json_line(report)
        else:
            _print_report(report)

    if not as_json:
        console.print("Watching. Ctrl-C ends it.")
    try:
        device.watch(on_change, on_trouble=lambda error: print(f"Waiting: {error.message}", file=sys.stderr))
    except KeyboardInterrupt:
        return


@command.command()
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@with_device
@json_option
def query(sql: str, as_csv: bool, device: Device, as_json: bool) -> None:
    """Read with SQL (SQLite's). Works without a network; it cannot change anything.

    \b
    satchel device query "select fullname from contact order by fullname limit 10"
    satchel device query --csv "select * from account" > accounts.csv
    """
    rows = device.sql(sql)
    if as_json:
        print_json(rows)
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_rows([{escape(n): _shown(v) for n, v in row.items()} for row in rows], empty="no rows")


@command.command()
@with_device
@json_option
def tables(device: Device, as_json: bool) -> None:
    """The tables on this device, with their columns."""
    found = device.status().tables
    if as_json:
        print_json(found)
        return
    rows = [
        {"table": t.name, "rows": t.rows, "columns": ", ".join(f"{n} {k}" for n, k in t.columns.items())} for t in found
    ]
    print_rows(rows, empty="No tables yet. Next: satchel device sync")


@command.command()
@with_device
@json_option
def status(device: Device, as_json: bool) -> None:
    """What is on this device, and how old it is."""
    found = device.status()
    if as_json:
        print_json(found)
        return
    console.print(f"[bold]{escape(found.user)}[/bold] at {found.organization} ({found.server})")
    console.print(f"  last sync   {found.last_sync or 'never'}" + ("" if found.is_complete else "  (not complete yet)"))
    if found.last_error:
        console.print(f"  last error  {escape(found.last_error)}")
    if found.lease_ends:
        state = "ended, sync to read again" if found.is_locked else "until the next sync renews it"
        console.print(f"  lease       {found.lease_ends}  ({state})")
    if found.signed_in_until:
        console.print(f"  signed in   until {found.signed_in_until}, longer as long as your organization agrees")
    if found.pending:
        counts = ", ".join(f"{count:,} {state}" for state, count in found.pending.items())
        console.print(f"  edits       {counts}")
    console.print(f"  encrypted   {'yes' if found.is_encrypted else 'no'}")
    console.print(f"  size        {found.size_bytes / 1e6:,.1f} MB in {found.folder}")
    print_rows([{"table": t.name, "rows": t.rows, "state": _STATE[t.is_complete]} for t in found.tables])


def _sync_with_bars(device: Device, *, from_start: bool) -> SyncReport:
    with progress() as bars:
        tasks: dict[str, Any] = {}

        def on_progress(step: SyncProgress) -> None:
            if step.entity not in tasks:
                tasks[step.entity] = bars.add_task(step.entity, total=None, note="")
            bars.update(tasks[step.entity], completed=step.rows, note=f"{step.rows:,} rows")

        def on_upload(step: UploadProgress) -> None:
            if "edits" not in tasks:
                tasks["edits"] = bars.add_task("edits handed over", total=step.total, note="")
            bars.update(tasks["edits"], completed=step.sent, total=step.total, note=f"{step.sent:,} of {step.total:,}")

        return device.sync(on_progress, on_upload=on_upload, from_start=from_start)


def _print_report(report: SyncReport) -> None:
    if report.upload_problem:
        console.print(f"Edits wait: {escape(report.upload_problem)}")
    for verdict, count in report.edits_settled.items():
        console.print(
            f"{count:,} {verdict}" + ("" if verdict in {"accepted", "merged"} else ": satchel device conflicts")
        )
    if report.was_current:
        console.print("Nothing new.")
        return
    parts = ", ".join(f"{name} {count:,}" for name, count in report.rows_by_entity.items())
    console.print(
        f"{report.rows_put:,} rows put, {report.rows_removed:,} removed in {report.duration_seconds:.1f} s "
        f"({report.bytes_received / 1e6:,.2f} MB)" + (f": {parts}" if parts else "")
    )


def _shown(value: object) -> str:
    """A value exactly as it is: the data is the user's, not ours to round or to colour."""
    if value is None:
        return ""
    return f"({len(value)} bytes)" if isinstance(value, bytes) else escape(str(value))
