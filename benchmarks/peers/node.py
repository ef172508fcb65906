"""Peers of the npm registry: a folder of packages each, and the programs beside their package.json."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from benchmarks.peers.peer import CACHE

SECONDS = 600


def install(project: Path) -> Path:
    """Bring a project and its packages to a folder of their own, unless they are there. Returns the folder."""
    place = CACHE / project.name
    sources = [path for path in sorted(project.iterdir()) if path.suffix in {".mjs", ".json"}]
    wanted = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
    mark = place / ".installed"
    place.mkdir(parents=True, exist_ok=True)
    for path in sources:
        shutil.copyfile(path, place / path.name)
    if not mark.exists() or mark.read_text() != wanted:
        # What is native in these packages comes ready-made inside them: no install script is run.
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=place, check=True, timeout=SECONDS)
        mark.write_text(wanted)
    return place


def version(place: Path, package: str) -> str:
    """The version of an installed package."""
    text = (place / "node_modules" / package / "package.json").read_text()
    return next(line.split('"')[3] for line in text.splitlines() if line.strip().startswith('"version"'))
