"""`check(...)` drives the sample organization with npm `dynamics-web-api` and returns what it found.

The packages are installed once into `.node/sandbox` of the repository.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.contract.cap import fixture as cap

PROJECT = Path(__file__).parent
PLACE = PROJECT.parents[2] / ".node" / "sandbox"
SECONDS = 60


def check(url: str, token: str, object_id: str) -> dict[str, Any]:
    """Run check.mjs against a service; `object_id` is the user to impersonate."""
    install()
    command = [_node(), "check.mjs", url, token, object_id]
    done = subprocess.run(command, cwd=PLACE, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def install() -> None:
    """Bring check and packages to their place; the packages only where they are not there already."""
    PLACE.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "check.mjs", PLACE / "check.mjs")
    mark, wanted = PLACE / ".installed", (PROJECT / "package-lock.json").read_text()
    if mark.exists() and mark.read_text() == wanted:
        return
    if shutil.which("npm") is None:
        cap.install()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(PROJECT / name, PLACE / name)
    # Nothing of these packages needs to be built: no install script is run.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=PLACE, check=True, timeout=300)
    mark.write_text(wanted)


def _node() -> str:
    """Node from the path, or else the package that runs SAP CAP."""
    found = shutil.which("node")
    if found is None:
        cap.install()
        found = str(next(cap.PLACE.glob("node_modules/node-linux-*/bin/node")))
    return found
