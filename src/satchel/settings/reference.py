"""The reference page of the settings: `python -m satchel.settings.reference > docs/reference/settings.md`."""

from __future__ import annotations

import typing

import msgspec
from msgspec import Meta

from satchel.settings.schema import Section, Settings


def reference_page() -> str:
    """The whole page, Markdown."""
    parts = [_HEAD]
    for section in msgspec.structs.fields(Settings):
        parts.append(_section(section.name, section.type))
    return "\n".join(parts)


_HEAD = """# Settings

From a file (`satchel.toml` in the data folder, or `--config FILE`), overridden by environment variables
(`SATCHEL_SECTION__KEY`), overridden by flags. An unknown key or a value out of range is refused at start.
"""


def _section(name: str, section: type[Section]) -> str:
    hints = typing.get_type_hints(section, include_extras=True)
    lines = [f"## [{name}]", "", section.__doc__ or "", "", "| key | default | range | meaning |", "|---|---|---|---|"]
    for field in msgspec.structs.fields(section):
        kind, *notes = typing.get_args(hints[field.name])
        meta = next(note for note in notes if isinstance(note, Meta))
        default = f"`{field.default}`" if field.default not in {"", msgspec.NODEFAULT} else "(empty)"
        lines.append(f"| `{field.name}` | {default} | {_range(kind, meta)} | {meta.description} |")
    return "\n".join([*lines, ""])


def _range(kind: object, meta: Meta) -> str:
    choices = typing.get_args(kind)
    if typing.get_origin(kind) in {dict, list}:
        return "a table (in a variable: JSON)" if typing.get_origin(kind) is dict else "a list (in a variable: JSON)"
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    low = f"{meta.ge}" if meta.ge is not None else f"more than {meta.gt}" if meta.gt is not None else ""
    high = f"{meta.le}" if meta.le is not None else ""
    return f"{low} to {high}" if low or high else ""


if __name__ == "__main__":
    print(reference_page(), end="")
