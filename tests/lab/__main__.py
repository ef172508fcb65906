"""`python -m tests.lab [--keep FOLDER]`: puts itself into namespaces of its own, builds, breaks, checks, and tells."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.contract.issuer.fixture import install
from tests.lab.host import ROOT

INSIDE = "SATCHEL_LAB_INSIDE"
MEMORY = Path("/mnt")
"""Where the lab's memory file system is; only within its own mount namespace."""


def enter(arguments: list[str]) -> int:
    """Start anew within new namespaces; whatever ends this process ends all that is in them."""
    if os.geteuid() != 0:
        print("The lab makes network namespaces: run it as root.", file=sys.stderr)
        return 2
    install()  # later there is no network
    namespaces = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
    command = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", *namespaces]
    command += [sys.executable, "-m", "tests.lab", *arguments]
    child = subprocess.Popen(command, env={**os.environ, INSIDE: "1"}, cwd=ROOT)
    try:
        return child.wait()
    finally:
        child.kill()


def run(keep: Path | None, devices: int, only: str) -> int:
    """The lab itself."""
    subprocess.run(["mount", "-t", "tmpfs", "lab", str(MEMORY)], check=True)
    from tests.lab.build import Lab
    from tests.lab.story import UPGRADE, tell

    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    lab = Lab(MEMORY, say, begins_older=only in UPGRADE)
    status = 1
    try:
        lab.build()
        report = tell(lab, devices, only)
        print("report " + json.dumps(report), flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        lab.close()
        if keep is not None:
            shutil.copytree(lab.logs, keep, dirs_exist_ok=True)
    return status


def main() -> int:
    """Exit status 0: everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--keep", type=Path, help="copy the services' logs into this folder")
    parser.add_argument("--devices", type=int, default=20, help="how many devices sync and edit")
    parser.add_argument("--only", default="", help="only troubles with these words in their names")
    options = parser.parse_args()
    return run(options.keep, options.devices, options.only) if os.environ.get(INSIDE) else enter(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
