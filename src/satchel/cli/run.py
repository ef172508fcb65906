"""`satchel run`: one service, for scale-out. `satchel up` runs them all."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from satchel.assembly import prepare
from satchel.cli.options import load_settings, settings_options
from satchel.settings.schema import Settings
from satchel.telemetry import log

EPILOG = """\b
Each service takes the same settings; give all of them the same database and the same master key:
  SATCHEL_DATABASE__URL=postgresql://... SATCHEL_SECRETS__KEY=... satchel run worker
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Run one service in this terminal until Ctrl-C."""


def _start(service: str, config: Path | None, data_folder: Path | None) -> Settings:
    settings = load_settings(config, data_folder)
    log.configure(settings.log.level, settings.log.format, service)
    return settings


@command.command()
@click.option("--pre", "is_pre", is_flag=True, help="Only what processes of the version before bear: they go on.")
@settings_options
def migrate(is_pre: bool, config: Path | None, data_folder: Path | None) -> None:
    """Make the control database or bring all databases to this version, then end."""
    asyncio.run(prepare(_start("migrate", config, data_folder), with_post=not is_pre))


@command.command()
@settings_options
def provisioning(config: Path | None, data_folder: Path | None) -> None:
    """Takes organizations in and out, and keeps the schedule of recurring work."""
    from satchel.services import run_provisioning

    asyncio.run(run_provisioning(_start("provisioning", config, data_folder)))


@command.command()
@settings_options
def worker(config: Path | None, data_folder: Path | None) -> None:
    """Pulls metadata and rows from the sources, and derives who gets them."""
    from satchel.services import run_worker

    asyncio.run(run_worker(_start("worker", config, data_folder)))


@command.command()
@settings_options
def sync(config: Path | None, data_folder: Path | None) -> None:
    """Serves devices (sync endpoint) and our own services (management endpoint)."""
    from satchel.services import run_sync

    asyncio.run(run_sync(_start("sync", config, data_folder)))
