"""docs/benchmarks/README.md: the table, the plots, the machine and the circumstances. Generated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.ground.figures import Figure, read_curves, read_figures
from benchmarks.ground.machine import versions
from benchmarks.report import plots
from benchmarks.report.table import markdown

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"
_PAGE = Path(__file__).with_name("page.md")


def write(about_peers: Sequence[str]) -> Path:
    """Draw the plots and write the page from what stands in the results."""
    figures, curves = read_figures(), read_curves()
    drawn = plots.draw(figures, curves, FOLDER)
    images = "\n".join(f"![{title}]({name}.png)\n[SVG]({name}.svg)\n" for name, title in drawn)
    page = FOLDER / "README.md"
    page.write_text(
        _PAGE.read_text().format(
            machines=_machines(figures),
            table=markdown(figures),
            limits=" ".join(f"{row.figure}: {row.limit_is}." for row in figures if row.limit_is),
            peers=" ".join(about_peers),
            versions=", ".join(f"{name} {number}" for name, number in versions().items()),
            plots=images,
        )
    )
    return page


def _machines(figures: Sequence[Figure]) -> str:
    days: dict[str, list[str]] = {}
    for row in figures:
        days.setdefault(row.machine, []).append(row.measured_at)
    return "\n".join(f"- {machine}: {min(found)} to {max(found)}" for machine, found in days.items())
