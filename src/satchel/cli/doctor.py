"""`satchel doctor`: is everything well?"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.markup import escape

from satchel.administration.doctor.examine import examine
from satchel.administration.doctor.finding import Finding, Level
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import console, print_json
from satchel.cli.rooms import run_with_rooms
from satchel.errors import DatabaseUnusable, DataFolderUnusable

_COLORS = {Level.GOOD: "green", Level.WARNING: "yellow", Level.WRONG: "red"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@settings_options
@json_option
def command(config: Path | None, data_folder: Path | None, as_json: bool) -> int:
    """Look at everything and say what is not well, and what to do about it. Exit status 1 where something is not.

    Databases, processes, queue, disks, clocks, certificates, object storage; of each organization its source, delta
    links, recurring work, edits that are stuck and rows that could not be staged.
    """
    try:
        findings, _, _ = run_with_rooms(config, data_folder, lambda rooms: examine(rooms, is_asking=True))
    except (DatabaseUnusable, DataFolderUnusable) as error:  # nothing more can be looked at from here
        check = "database" if isinstance(error, DatabaseUnusable) else "storage"
        findings = [Finding(check=check, level=Level.WRONG, message=error.message, advice=error.hint)]
    is_well = all(each.level is Level.GOOD for each in findings)
    if as_json:
        print_json({"well": is_well, "findings": [_for_programs(each) for each in findings]})
    else:
        for each in findings:
            _print(each)
        console.print("Everything is well." if is_well else "Not everything is well; what to do stands above.")
    return 0 if is_well else 1


def _print(each: Finding) -> None:
    where = f"{each.organization}: " if each.organization else ""
    color = _COLORS[each.level]
    console.print(f"[{color}]{each.level.word:8}[/]{each.check:14}{escape(where + each.message)}", soft_wrap=True)
    if each.advice:
        console.print(f"{'':22}-> {escape(each.advice)}", soft_wrap=True)


def _for_programs(each: Finding) -> dict[str, object]:
    return {**msgspec.to_builtins(each), "level": each.level.word}
