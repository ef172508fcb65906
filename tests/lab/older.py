"""The version that the installation begins with before it is upgraded: an older state of this very repository."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.host import ROOT

OLDER = "076d5b92cdc53f628db4417fd5be6ec10b162768"
"""Between it and now stand migrations of both databases, one of them for after the upgrade (`post`)."""


@dataclass(frozen=True)
class Version:
    """One version of Satchel: where its files stand, and how it is run."""

    tree: Path
    program: Path
    """Its command line, as /opt/satchel/bin/satchel on a real host."""
    rendered: Path
    """What it made of the topology."""

    @property
    def python_path(self) -> str:
        """With it, the lab's own programs work with this version."""
        return f"{self.tree / 'src'}:{ROOT}"

    def highest(self, kind: str) -> int:
        """The highest number of its migrations."""
        return max(int(path.name[:4]) for path in (self.tree / "src/satchel/database/migrations" / kind).glob("*.sql"))


def version(tree: Path, folder: Path, name: str) -> Version:
    """A version whose source stands in `tree`, ready to run."""
    program = folder / name
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tree}/src exec {sys.executable} -m satchel "$@"\n')
    program.chmod(0o755)
    return Version(tree, program, folder / f"{name}-rendered")


def unpack(folder: Path) -> Path | None:
    """The older version's files; None where the repository's history is not here (an archive, a shallow clone)."""
    folder.mkdir()
    archive = ["git", "-c", "safe.directory=*", "archive", OLDER, "src", "examples"]
    with subprocess.Popen(archive, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        subprocess.run(["tar", "-x", "-C", str(folder)], stdin=made.stdout, check=False, stderr=subprocess.DEVNULL)
    if made.returncode:
        return None
    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(folder / "src")], check=True
    )  # services may not write
    return folder
