"""Options that many commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from satchel.settings.load import load
from satchel.settings.schema import Settings


def settings_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--config` and `--data-folder`."""
    function = click.option(
        "--data-folder",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="SATCHEL_DATA__FOLDER",
        show_envvar=True,
        help="Where Satchel keeps everything.  [default: ./data]",
    )(function)
    return click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        envvar="SATCHEL_CONFIG",
        show_envvar=True,
        help="Settings file (TOML).  [default: satchel.toml in the data folder]",
    )(function)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)


def load_settings(config: Path | None, data_folder: Path | None) -> Settings:
    """The settings of this process: file < environment < flag."""
    overrides = {"data.folder": str(data_folder)} if data_folder else {}
    return load(config, os.environ, overrides)
