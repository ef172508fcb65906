"""Runs on the provisioning host: `python -m tests.lab.invitations ORGANIZATION USER...` prints links, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from satchel.administration.organizations import invite
from satchel.assembly import open_rooms
from satchel.settings.load import load


async def main(organization: str, users: list[str]) -> None:
    """One link for each user that is named, as often as it is named."""
    settings = load(Path("/etc/satchel/satchel.toml"), os.environ, {})
    async with open_rooms(settings) as rooms:
        print(json.dumps([await invite(rooms, organization, user) for user in users]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
