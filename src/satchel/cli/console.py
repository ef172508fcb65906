"""`satchel console`: a way into the console for whoever may run commands on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from satchel.administration.console import open_link
from satchel.cli.options import json_option, settings_options
from satchel.cli.output import print_json
from satchel.cli.rooms import run_with_rooms

EPILOG = """\b
The console runs with `satchel up`, or as a service of its own: satchel run console
With an issuer in the settings, administrators sign in there and need no link: docs/how-to/use-the-console.md
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The console: web pages for administrators."""


@command.command("open")
@settings_options
@json_option
def open_(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """Print a link that opens the console, once, within a few minutes. Whoever has it is an administrator."""
    link = run_with_rooms(config, data_folder, open_link)
    if as_json:
        print_json({"link": link})
    else:
        click.echo(link)
