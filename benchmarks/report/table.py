"""The table: on the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.ground.figures import Figure, Peer

HEADERS = ("figure", "Satchel", "unit", "goal", "met", "limit", "others")


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print it."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in HEADERS:
        table.add_column(name, justify="right" if name in {"Satchel", "limit"} else "left")
    for row in figures:
        style = {True: "green", False: "red", None: ""}[row.met]
        table.add_row(*(text.replace("*", "") for text in cells(row)), style=style)
    console.print(table)


def markdown(figures: Sequence[Figure]) -> str:
    """As a table of a page."""
    lines = [
        "| " + " | ".join((*HEADERS, "runs, spread", "load")) + " |",
        "| --- | ---: | --- | --- | --- | ---: | --- | --- | ---: |",
    ]
    for row in figures:
        lines.append("| " + " | ".join((*cells(row), spread(row), number(row.load))) + " |")
    return "\n".join(lines) + "\n"


def cells(row: Figure) -> tuple[str, ...]:
    """One row, as text."""
    figure = f"{row.figure} ({row.note})" if row.note else row.figure
    met = {True: "yes", False: "**no**", None: ""}[row.met]
    limit = f"{number(row.limit)}" if row.limit is not None else ""
    others = [f"{name}: {shown(value)}" for name, value in row.peers.items()]
    others += [f"{name}: {text}" for name, text in row.quoted.items()]
    return figure, number(row.satchel), row.unit, row.goal, met, limit, "; ".join(others)


def spread(row: Figure) -> str:
    """How many runs, and from where to where they went."""
    if row.satchel is None:
        return ""
    return f"{row.runs}: {number(row.lowest)} - {number(row.highest)}" if row.runs > 1 else "1"


def number(value: float | None) -> str:
    """Short enough to read."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:,.4g}"


def shown(value: Peer) -> str:
    """A peer's figure, or why there is none."""
    return value if isinstance(value, str) else number(value)
