"""`satchel up`: all services in this terminal."""

from __future__ import annotations

import os
from pathlib import Path

import click

from satchel.cli.options import json_option, load_settings, settings_options
from satchel.cli.output import console, print_json_line
from satchel.cli.supervisor import Supervisor
from satchel.settings.schema import Settings

EPILOG = """\b
Then, in another terminal:
  satchel sandbox                       a sample organization, if you have no source at hand
  satchel org add contoso --help        register an organization
"""


@click.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@settings_options
@json_option
def command(config: Path | None, data_folder: Path | None, as_json: bool) -> None:
    """Run Satchel in this terminal until Ctrl-C: an embedded database server and all services.

    Everything is kept in the data folder. With SATCHEL_DATABASE__URL, that server is used and none is started.
    """
    settings = load_settings(config, data_folder)

    def on_progress(line: str) -> None:
        if not as_json:
            console.print(line)

    def on_ready() -> None:
        if as_json:
            print_json_line(_summary(settings))
        else:
            _print_summary(settings)

    from satchel.telemetry.start import telemetry

    with telemetry(settings, "supervisor"):
        Supervisor(settings, config, on_progress).run(on_ready)


def _summary(settings: Settings) -> dict[str, object]:
    from satchel.administration.console import console_url

    sync, management = settings.sync, settings.management
    return {
        "sync_endpoint": sync.public_url or f"https://localhost:{sync.port}",
        "management_endpoint": f"https://{management.host}:{management.port}",
        "console": console_url(settings) if settings.console.port else None,
        "data_folder": str(settings.data_folder),
        "pid": os.getpid(),
    }


def _print_summary(settings: Settings) -> None:
    summary = _summary(settings)
    console.print("[bold]Satchel is up.[/bold] Ctrl-C stops it.")
    console.print(f"  sync endpoint        {summary['sync_endpoint']}")
    console.print(f"  management endpoint  {summary['management_endpoint']}")
    if summary["console"]:
        console.print(f"  console              {summary['console']}  (satchel console open)")
    console.print(f"  data folder          {summary['data_folder']}")
    console.print("Next, in another terminal: satchel org list, satchel org add --help")
