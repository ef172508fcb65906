"""A figure: what was measured, what the limit and the peers came to in the same run, and whether the goal is met."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

RESULTS = Path(__file__).parents[1] / "results" / "latest.json"
Peer = float | str
"""A figure, or why there is none."""


class Subject(msgspec.Struct, frozen=True):
    """What a row of the table says: the figure's name, its unit, the goal."""

    figure: str
    unit: str
    bound: Literal["<=", ">=", "=", ""] = ""
    goal: float | None = None
    quoted: dict[str, str] = {}
    """What others came to elsewhere; not run here."""
    note: str = ""

    def is_met(self, value: float | None) -> bool | None:
        """Whether a value meets the goal; None where there is no goal or no value."""
        if self.goal is None or value is None:
            return None
        return {"<=": value <= self.goal, ">=": value >= self.goal, "=": value == self.goal}[self.bound]


class Figure(msgspec.Struct, kw_only=True):
    """One row of `latest.json`."""

    figure: str
    unit: str
    satchel: float | None = None
    """Median of the runs."""
    limit: float | None = None
    limit_is: str = ""
    """What the limit is."""
    peers: dict[str, Peer] = {}
    goal: str = ""
    met: bool | None = None
    runs: int = 0
    lowest: float | None = None
    highest: float | None = None
    note: str = ""
    quoted: dict[str, str] = {}
    measured_at: str = ""
    machine: str = ""
    load: float = 0.0
    """Processes that wanted a core, ours included, on average over the last minute (load average)."""


class Curve(msgspec.Struct, kw_only=True):
    """How a figure moves with a size."""

    name: str
    x: str
    """What the size is."""
    y: str
    """Figure and unit."""
    series: dict[str, list[tuple[float, float]]]
    goal: float | None = None
    measured_at: str = ""
    machine: str = ""


class Book:
    """Collects what the parts of a run find."""

    def __init__(self, machine: str, results: Path = RESULTS) -> None:
        """An empty one, to be merged into `results`."""
        self.figures: dict[str, Figure] = {}
        self.curves: dict[str, Curve] = {}
        self._machine = machine
        self._results = results

    def note(self, subject: Subject, samples: Iterable[float], note: str = "") -> float:
        """Satchel's figure: the median of some runs."""
        values = list(samples)
        row = self._row(subject)
        row.satchel = rounded(statistics.median(values))
        row.runs, row.lowest, row.highest = len(values), rounded(min(values)), rounded(max(values))
        row.met = subject.is_met(row.satchel)
        row.measured_at, row.machine, row.load = now(), self._machine, rounded(os.getloadavg()[0])
        row.note = "; ".join(text for text in (subject.note, note) if text)
        return row.satchel

    def limit(self, subject: Subject, samples: Iterable[float], what: str) -> float:
        """What could be reached at best, in the same run."""
        row = self._row(subject)
        row.limit, row.limit_is = rounded(statistics.median(list(samples))), what
        return row.limit

    def peer(self, subject: Subject, name: str, samples: Sequence[float] | str) -> None:
        """What another product comes to, or why it was not run."""
        row = self._row(subject)
        row.peers[name] = samples if isinstance(samples, str) else rounded(statistics.median(samples))

    def curve(self, curve: Curve) -> None:
        """How a figure moves with a size."""
        curve.measured_at, curve.machine = now(), self._machine
        self.curves[curve.name] = curve

    def save(self) -> None:
        """Merge into what stands, figure by figure: a part that was not run keeps what it has."""
        standing = {row.figure: row for row in read_figures(self._results)}
        order = list(dict.fromkeys([*standing, *self.figures]))
        rows = [self.figures.get(name) or standing[name] for name in order]
        for row in self.figures.values():
            before = standing.get(row.figure)
            if before is not None:
                row.peers = {**before.peers, **row.peers}
                if row.limit is None:
                    row.limit, row.limit_is = before.limit, before.limit_is
                if row.satchel is None and before.satchel is not None:
                    for name in (
                        "satchel",
                        "met",
                        "runs",
                        "lowest",
                        "highest",
                        "note",
                        "measured_at",
                        "machine",
                        "load",
                    ):
                        setattr(row, name, getattr(before, name))
        _write(self._results, rows)
        curves = {curve.name: curve for curve in read_curves(self._results)} | self.curves
        _write(curves_file(self._results), list(curves.values()))

    def _row(self, subject: Subject) -> Figure:
        row = self.figures.get(subject.figure)
        if row is None:
            goal = f"{subject.bound} {subject.goal:,g}" if subject.goal is not None else ""
            row = Figure(figure=subject.figure, unit=subject.unit, goal=goal, quoted=subject.quoted, note=subject.note)
            row.measured_at, row.machine, row.load = now(), self._machine, rounded(os.getloadavg()[0])
            self.figures[subject.figure] = row
        return row


def read_figures(results: Path = RESULTS) -> list[Figure]:
    """What stands in `latest.json`."""
    return msgspec.json.decode(results.read_bytes(), type=list[Figure]) if results.exists() else []


def read_curves(results: Path = RESULTS) -> list[Curve]:
    """What stands in `curves.json`."""
    file = curves_file(results)
    return msgspec.json.decode(file.read_bytes(), type=list[Curve]) if file.exists() else []


def curves_file(results: Path) -> Path:
    """Beside the results."""
    return results.with_name("curves.json")


def rounded(value: float) -> float:
    """Four digits are more than any of these figures has."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value)


def now() -> str:
    """The day and time of a figure."""
    return datetime.now(UTC).isoformat(timespec="minutes")


def _write(file: Path, rows: Sequence[msgspec.Struct]) -> None:
    file.parent.mkdir(exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(msgspec.to_builtins(rows), indent=1, ensure_ascii=False) + "\n")
    partial.replace(file)
