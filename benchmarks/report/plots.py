"""The plots: first sync beside the others, and how figures move with size. SVG and PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks import subjects
from benchmarks.ground.figures import Curve, Figure, Subject

mpl.use("agg")
OWN, OTHER, LIMIT, GOAL = "#1f6f8b", "#b9b9b9", "#e0a93f", "#c0392b"
SERIES = ("#1f6f8b", "#d9822b", "#5a9367", "#7d5ba6")
PNG_DOTS = 130
COMPARED: dict[str, tuple[Subject, str]] = {
    "first-sync": (subjects.FIRST_SYNC, "First sync of the same contacts: rows a second (more is better)"),
    "wire": (subjects.WIRE_BYTES, "Bytes a row on the wire (less is better)"),
    "polls": (subjects.POLLS, "Polls with nothing new a second, 50 connections (more is better)"),
    "visible": (subjects.VISIBLE_MEDIAN, "Change -> connected device, median ms (less is better)"),
}
TITLES = {
    "rows": "From 10,000 rows to 1,000,000: rows a second",
    "rows-memory": "From 10,000 rows to 1,000,000: memory",
    "devices": "From 1 connected device to 2,000: one change that all of them get",
    "devices-memory": "From 1 connected device to 2,000: memory of one sync server",
    "buckets": "From 1 bucket to 10,000 a user",
    "organizations": "From 1 organization to 200: provisioning one more",
    "organizations-memory": "From 1 organization to 200: memory of the processes",
}


def draw(figures: Sequence[Figure], curves: Sequence[Curve], folder: Path) -> list[tuple[str, str]]:
    """Draw all plots that there are figures for; returns name and title of each."""
    folder.mkdir(parents=True, exist_ok=True)
    by_name = {row.figure: row for row in figures}
    drawn = []
    for name, (subject, title) in COMPARED.items():
        row = by_name.get(subject.figure)
        if row is not None and row.satchel is not None:
            _compare(row, title, folder / name)
            drawn.append((name, title))
    for curve in curves:
        title = TITLES.get(curve.name, curve.name)
        _follow(curve, title, folder / f"curve-{curve.name}")
        drawn.append((f"curve-{curve.name}", title))
    return drawn


def _compare(row: Figure, title: str, place: Path) -> None:
    bars: list[tuple[str, float, str]] = [("Satchel", row.satchel or 0.0, OWN)]
    if row.limit is not None:
        bars.append((f"limit: {row.limit_is}", row.limit, LIMIT))
    bars += [(name, value, OTHER) for name, value in row.peers.items() if isinstance(value, float | int)]
    _, axes = plt.subplots(figsize=(8.5, 1.2 + 0.5 * len(bars)))
    names = [_wrapped(name) for name, _, _ in bars]
    drawn = axes.barh(names, [value for _, value, _ in bars], color=[color for *_, color in bars], height=0.62)
    labels = axes.bar_label(drawn, labels=[_number(value) for _, value, _ in bars], padding=4)
    for label in labels:
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.invert_yaxis()
    axes.margins(x=0.14)
    goal = row.goal.partition(" ")[2].replace(",", "")
    if goal:
        axes.axvline(float(goal), color=GOAL, linestyle="--", linewidth=1.2)
        title += f"\ndashed line: the goal, {row.goal} {row.unit}"
    axes.xaxis.set_major_formatter(lambda value, _: _number(value))
    _finish(axes, title, place)


def _follow(curve: Curve, title: str, place: Path) -> None:
    _, axes = plt.subplots(figsize=(8.5, 4.2))
    for color, (name, points) in zip(SERIES, curve.series.items(), strict=False):
        axes.plot(*zip(*points, strict=True), marker="o", color=color, label=name)
    if curve.goal is not None:
        axes.axhline(curve.goal, color=GOAL, linestyle="--", linewidth=1, label=f"goal {curve.goal:,g}")
    axes.set_xscale("log")
    sizes = sorted({x for points in curve.series.values() for x, _ in points})
    axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: _number(value))
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    _finish(axes, title, place)


def _finish(axes: Axes, title: str, place: Path) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    plt.tight_layout()
    plt.savefig(place.with_suffix(".svg"), metadata={"Date": None})
    plt.savefig(place.with_suffix(".png"), dpi=PNG_DOTS)
    plt.close()


def _wrapped(name: str, width: int = 34) -> str:
    lines = [""]
    for word in name.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
