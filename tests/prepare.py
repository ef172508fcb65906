"""Installs what the tests need besides Python packages, and says so. Run by `make test` before pytest."""

from __future__ import annotations

import shutil
import subprocess
import sys

DEBIAN_PACKAGES = {
    "npm": "npm",
    "node": "nodejs",
    "setpriv": "util-linux",
    "useradd": "passwd",
    "pg_ctlcluster": "postgresql",
    "named": "bind9",
    "nft": "nftables",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "chromium": "chromium",
}
"""Debian package by the program it brings."""


def install(packages: dict[str, str], purpose: str) -> None:
    """Install the packages whose programs are missing."""
    missing = sorted({package for program, package in packages.items() if shutil.which(program) is None})
    if missing:
        print(f"satchel: installing Debian packages for {purpose}: {', '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], check=True)


def main() -> int:
    """Install what is missing; the npm packages follow when the first test asks for them."""
    install(DEBIAN_PACKAGES, "the tests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
