"""Commands of administrators: connected for the length of one call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from satchel.assembly import Rooms, open_rooms
from satchel.cli.options import load_settings
from satchel.telemetry import log

T = TypeVar("T")


def run_with_rooms(config: Path | None, data_folder: Path | None, act: Callable[[Rooms], Awaitable[T]]) -> T:
    """Run what a command does with the settings it was given."""
    settings = load_settings(config, data_folder)
    log.configure("warning", settings.log.format, "cli")

    async def go() -> T:
        async with open_rooms(settings) as rooms:
            return await act(rooms)

    return asyncio.run(go())
