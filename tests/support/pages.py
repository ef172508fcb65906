"""The commands that stand in documents: taken out of their blocks, and run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

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
    """Run `satchel ...` in a process of its own, forked from this one, which has everything imported already."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as given:
        given.write(typed.encode())
        given.seek(0)
        pid = os.fork()
        if pid == 0:
            _be_satchel(words[1:], environment, folder, output.fileno(), given.fileno())
        _, status = os.waitpid(pid, 0)
        output.seek(0)
        return Done(os.waitstatus_to_exitcode(status), output.read().decode(errors="replace"))


def _be_satchel(arguments: list[str], environment: dict[str, str], folder: Path, output: int, given: int) -> None:
    """The rest of the child's life."""
    status = 70
    try:
        os.dup2(given, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - until the end
        os.environ.update(environment)
        os.chdir(folder)
        from satchel.cli.main import main

        main(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
