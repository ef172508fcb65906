"""Read the settings: file < environment (`SATCHEL_SECTION__KEY`) < flag. What is wrong is named with what is right."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from satchel.errors import SettingInvalid, SettingUnknown
from satchel.settings.schema import Settings

PREFIX = "SATCHEL_"
_SEPARATOR = "__"
Tree = dict[str, dict[str, Any]]


def load(config_file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Settings:
    """The settings of a process. `overrides` are flags, as `section.key`.

    Errors: SettingUnknown (naming the nearest), SettingInvalid (naming place, problem and range).
    """
    tree: Tree = {}
    for name, value in _from_environment(environ):
        _put(tree, name, value)
    for name, value in overrides.items():
        _put(tree, name, value)
    file = config_file or Path(_folder(tree)) / "satchel.toml"
    if config_file is not None or file.exists():
        tree = _merged(_read(file), tree)
    _refuse_unknown(tree)
    return _convert(tree)


def known_names() -> list[str]:
    """All settings, as `section.key`."""
    return [
        f"{section.name}.{key.name}"
        for section in msgspec.structs.fields(Settings)
        for key in msgspec.structs.fields(section.type)
    ]


def _from_environment(environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for variable, value in environ.items():
        section, separator, key = variable.removeprefix(PREFIX).partition(_SEPARATOR)
        # Without the double underscore it is one of the commands' own variables, such as SATCHEL_CONFIG.
        if variable.startswith(PREFIX) and separator:
            yield f"{section}.{key}".lower(), value


def _put(tree: Tree, name: str, value: Any) -> None:
    section, _, key = name.partition(".")
    tree.setdefault(section, {})[key] = value


def _folder(tree: Tree) -> str:
    return str(tree.get("data", {}).get("folder") or Settings().data.folder)


def _read(file: Path) -> Tree:
    try:
        tree = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"{file} is not valid TOML: {error}") from error
    for section, keys in tree.items():
        if not isinstance(keys, dict):
            raise SettingUnknown(f"{file}: {section!r} stands outside a section.", hint="Put it below [section].")
    return tree


def _merged(lower: Tree, upper: Tree) -> Tree:
    return {name: {**lower.get(name, {}), **upper.get(name, {})} for name in (*lower, *upper)}


def _refuse_unknown(tree: Tree) -> None:
    known = known_names()
    for section, keys in tree.items():
        for key in keys:
            name = f"{section}.{key}"
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
                hint = f"Did you mean {_written(near[0])}?" if near else "docs/reference/settings.md lists them all."
                raise SettingUnknown(f"There is no setting {_written(name)}.", hint=hint)


def _convert(tree: Tree) -> Settings:
    _parse_tables(tree)
    try:
        # Environment and flags are text: `strict=False` turns "8443" into a number and refuses what is none.
        return msgspec.convert(tree, Settings, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        raise SettingInvalid(
            f"{_written(name)}: {problem.lower()}.", hint="docs/reference/settings.md shows its range."
        ) from error


def _parse_tables(tree: Tree) -> None:
    """A table is JSON where it stands in an environment variable. Errors: SettingInvalid."""
    for section in msgspec.structs.fields(Settings):
        for key in msgspec.structs.fields(section.type):
            text = tree.get(section.name, {}).get(key.name)
            if isinstance(text, str) and key.default_factory in {dict, list}:
                try:
                    tree[section.name][key.name] = msgspec.json.decode(text or "{}")
                except msgspec.DecodeError as error:
                    raise SettingInvalid(
                        f"{_written(f'{section.name}.{key.name}')} is not JSON.", hint='Such as {"name": "value"}.'
                    ) from error


def _written(name: str) -> str:
    section, _, key = name.partition(".")
    return f"[{section}] {key} ({PREFIX}{section.upper()}{_SEPARATOR}{key.upper()})"
