"""The commands that stand in documents: taken out of their blocks, and run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.forker import forker

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
HOW_TO = sorted(ROOT.glob("docs/how-to/*.md"))
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`(?:\.venv/bin/)?(satchel [^`\n]+)`(?!`)")
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=.*")
_EXPLANATION = re.compile(r"\s{3,}.*|\s+# .*")


@dataclass(frozen=True)
class Line:
    """One command of a page: `line` as it stands there, without the explanation beside it."""

    page: str
    line: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables set before it."""
        return dict(word.split("=", 1) for word in self._assignments())

    @property
    def words(self) -> list[str]:
        """Program and arguments."""
        found = shlex.split(self.line)[len(self._assignments()) :]
        return ["satchel", *found[1:]] if found[0].endswith("/satchel") else found

    def _assignments(self) -> list[str]:
        words = shlex.split(self.line)
        first = next(at for at, word in enumerate(words) if not _ASSIGNMENT.fullmatch(word))
        return words[:first]


def lines_of(page: Path) -> list[Line]:
    """Every line of the page's blocks that have no language: those are commands."""
    blocks = [re.sub(r"\s*\\\n\s*", " ", found[2]) for found in _BLOCK.finditer(page.read_text()) if not found[1]]
    lines = [_EXPLANATION.sub("", line.strip()) for block in blocks for line in block.splitlines()]
    return [Line(str(page.relative_to(ROOT)), line) for line in lines if line]


def mentions_of(page: Path) -> list[Line]:
    """Commands that the page's sentences name."""
    return [Line(str(page.relative_to(ROOT)), found[1]) for found in _INLINE.finditer(page.read_text())]


@dataclass(frozen=True)
class Done:
    """How a command ended, and all that it printed."""

    status: int
    said: str


def run_line(words: list[str], environment: dict[str, str], folder: Path, typed: str = "") -> Done:
    """Run `satchel ...` in a process of its own, forked from one that has everything imported already."""
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as given:
        given.write(typed.encode())
        given.flush()
        status = forker().run(words[1:], {**os.environ, **environment}, folder, Path(output.name), Path(given.name))
        return Done(status, Path(output.name).read_text(errors="replace"))
