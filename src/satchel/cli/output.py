"""What every command prints with: errors, tables, JSON, progress."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

console = Console(highlight=False)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What would move a terminal's cursor, change its colours, or turn the writing's direction round."""


def shown(text: str) -> str:
    """Text that others wrote, for `console.print`: it means what it says, and steers no terminal."""
    return escape(_printable(text))


def print_error(message: str, *, hint: str = "", code: str = "", request: str = "") -> None:
    """Print what went wrong, what to try, the code to look up, and the request by which the server's side is found."""
    print(f"Error: {_printable(message)}" + (f" [{code}]" if code else ""), file=sys.stderr)
    if hint:
        print(f"Try: {_printable(hint)}", file=sys.stderr)
    if request:
        print(f"Request: {_printable(request)}", file=sys.stderr)


def print_json(value: object) -> None:
    """Print a value for programs (`--json`)."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_json_line(value: object) -> None:
    """Print a value on one line, at once: what a program that started us waits for."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def print_rows(rows: Sequence[Mapping[str, object]], *, title: str = "", empty: str = "nothing yet") -> None:
    """Print rows as a table for people; the first row names the columns."""
    if not rows:
        console.print(empty)
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, value in rows[0].items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(shown(_text(value)) for value in row.values()))
    console.print(table)


def progress() -> Progress:
    """A progress display: bars on a terminal, nothing in between elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _printable(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return str(value)
