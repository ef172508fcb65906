"""`check(...)` drives the sample organization with npm `dynamics-web-api` and returns what it found.

The packages are installed once into `.node/sandbox` of the repository.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support import npm

PROJECT = Path(__file__).parent
CAP = PROJECT.parent / "cap"
SECONDS = 60


def check(url: str, token: str, object_id: str) -> dict[str, Any]:
    """Run check.mjs against a service; `object_id` is the user to impersonate."""
    place = npm.install(PROJECT, "sandbox")
    # A Node of its own only where there is none: these packages run on any.
    node = shutil.which("node") or npm.node(npm.install(CAP, "cap"))
    command = [node, "check.mjs", url, token, object_id]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
