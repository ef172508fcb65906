"""Options that all commands of a device have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from satchel.device import Device, DeviceKey


def folder_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the device is, and what opens it."""
    for option in (
        click.option(
            "--passphrase-file", type=click.Path(path_type=Path, dir_okay=False), help="File with a passphrase."
        ),
        click.option(
            "--key-file", type=click.Path(path_type=Path, dir_okay=False), help="File whose content is the key."
        ),
        click.option(
            "--folder",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="SATCHEL_DEVICE_FOLDER",
            show_envvar=True,
            help="Where this device keeps its data.  [default: ~/.local/share/satchel/device]",
        ),
    ):
        function = option(function)
    return function


def with_device(function: Callable[..., None]) -> Callable[..., None]:
    """The options, and the enrolled device as argument `device`, open while the command runs."""

    @functools.wraps(function)
    def command(
        *arguments: Any, folder: Path | None, key_file: Path | None, passphrase_file: Path | None, **more: Any
    ) -> None:
        with Device.open(folder, key=device_key(key_file, passphrase_file)) as device:
            function(*arguments, device=device, **more)

    return folder_options(command)


def device_key(key_file: Path | None, passphrase_file: Path | None) -> DeviceKey | None:
    """The key that the options name; None: the one that is kept."""
    if key_file is not None and passphrase_file is not None:
        raise click.UsageError("Give --key-file or --passphrase-file, not both.")
    file = key_file or passphrase_file
    return DeviceKey.from_file(file) if file is not None else None
