"""`satchel run`: one service, for scale-out. `satchel up` runs them all."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from satchel.assembly import prepare
from satchel.cli.options import load_settings, settings_options
from satchel.settings.schema import Settings

EPILOG = """\b
Each service takes the same settings; give all of them the same database and the same master key:
  SATCHEL_DATABASE__URL=postgresql://... SATCHEL_SECRETS__KEY=... satchel run worker
"""
YOUNG_OBJECTS = 20_000
"""How many more objects there are before the collector looks through them; Python's own 700 is a thirtieth of what a
change makes for two hundred devices."""
NewLoop = Callable[[], asyncio.AbstractEventLoop]


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Run one service in this terminal until Ctrl-C."""


def _run(
    service: str,
    config: Path | None,
    data_folder: Path | None,
    run: Callable[[Settings], Coroutine[Any, Any, None]],
    new_loop: NewLoop | None = None,
) -> None:
    from satchel.telemetry.start import telemetry

    settings = load_settings(config, data_folder)
    _collect_seldom()
    with telemetry(settings, service), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run(settings))


def _collect_seldom() -> None:
    """What stands now - modules, their functions and classes - lives as long as the process: no need to walk it again
    and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


@command.command()
@click.option("--pre", "is_pre", is_flag=True, help="Only what processes of the version before bear: they go on.")
@settings_options
def migrate(is_pre: bool, config: Path | None, data_folder: Path | None) -> None:
    """Make the control database or bring all databases to this version, then end."""
    _run("migrate", config, data_folder, lambda settings: prepare(settings, with_post=not is_pre))


@command.command()
@settings_options
def provisioning(config: Path | None, data_folder: Path | None) -> None:
    """Takes organizations in and out, and keeps the schedule of recurring work."""
    from satchel.services import run_provisioning

    _run("provisioning", config, data_folder, run_provisioning)


@command.command()
@settings_options
def worker(config: Path | None, data_folder: Path | None) -> None:
    """Pulls metadata and rows from the sources, and derives who gets them."""
    from satchel.services import run_worker

    _run("worker", config, data_folder, run_worker)


@command.command()
@settings_options
def sync(config: Path | None, data_folder: Path | None) -> None:
    """Serves devices (sync endpoint) and our own services (management endpoint)."""
    import uvloop

    from satchel.services import run_sync

    _run("sync", config, data_folder, run_sync, uvloop.new_event_loop)


@command.command()
@settings_options
def console(config: Path | None, data_folder: Path | None) -> None:
    """Serves the console: web pages for administrators."""
    from satchel.services import run_console

    _run("console", config, data_folder, run_console)
