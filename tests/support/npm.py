"""Programs of the npm registry beside the tests: each with its packages, Node among them, in a folder of `.node`."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACES = ROOT / ".node"
SECONDS = 300
_KINDS = {".cds", ".js", ".mjs", ".json"}
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}


def install(project: Path, name: str) -> Path:
    """Bring a project and its packages to their place, unless they are there; returns it.

    Test processes that run side by side wait for the one that installs.
    """
    place = PLACES / name
    place.mkdir(parents=True, exist_ok=True)
    sources = [path for path in sorted(project.rglob("*")) if path.suffix in _KINDS]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    with (PLACES / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mark = place / ".installed"
        if mark.exists() and mark.read_text() == wanted:
            return place
        for path in sources:
            target = place / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        # Nothing of these packages needs to be built: no install script is run.
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=place, check=True, timeout=SECONDS)
        mark.write_text(wanted)
    return place


def node(place: Path) -> str:
    """The Node that was installed there."""
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    return str(place / "node_modules" / f"node-linux-{architecture}" / "bin" / "node")
