"""`satchel server`: the PostgreSQL servers of the staging databases."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from satchel.administration.servers import list_servers
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import print_json, print_rows
from satchel.cli.rooms import run_with_rooms

EPILOG = """\b
Servers are named in the settings of every process:
  [staging.servers]
  east = "postgresql://satchel_admin:...@db1.example.com/postgres"
  west = "postgresql://satchel_admin:...@db2.example.com/postgres"
  [staging.weights]
  west = 2                              takes twice as many organizations; 0: takes none
  satchel org provision NAME --server east      satchel org move NAME west
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """PostgreSQL servers of the staging databases: each organization lives on one."""


@command.command("list")
@settings_options
@json_option
def list_(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """All servers: address, share of new organizations, how many live there, whether it answers."""
    found = run_with_rooms(config, data_folder, list_servers)
    if as_json:
        print_json(found)
    else:
        print_rows([msgspec.structs.asdict(each) for each in found])
