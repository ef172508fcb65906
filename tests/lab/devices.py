"""The lab's side of the devices: starts their programs on the client hosts, and takes what they tell at the end."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from itertools import cycle
from typing import Any

from tests.lab.build import CLIENTS, ORGANIZATION, Lab, at_once
from tests.lab.host import ROOT, environment_of

_SHARED = 12


class Crowd:
    """All devices, on all client hosts."""

    def __init__(self, lab: Lab, size: int) -> None:
        self._lab, self._size = lab, size
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self.users: dict[int, str] = {}

    def begin(self) -> None:
        """Enrol all, download to all, let them live."""
        rows = self._lab.source.rows("contacts", **{"$select": "contactid,_ownerid_value"})
        owned: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            owned[row["_ownerid_value"]].append(row["contactid"])
        people = [user["id"] for user in self._lab.source.users if len(owned[user["id"]]) >= _SHARED]
        self.users = dict(zip(range(self._size), cycle(people), strict=False))
        domain = self._lab.topology.installation.domain
        place = {
            "server": f"{ORGANIZATION}.{domain}",
            "organization": ORGANIZATION,
            "issuer": self._lab.topology.identity.issuer,
        }
        devices = [
            # Half of them know the organization's name, the others only the base domain.
            {
                "number": number,
                "server": f"{ORGANIZATION}.{domain}" if number % 4 < 2 else domain,
                "user": user,
                "shared": owned[user][:_SHARED],
            }
            for number, user in self.users.items()
        ]
        for index, client in enumerate(CLIENTS):
            folder = self._lab.folder / f"{client}-devices"
            folder.mkdir()
            self._told[client] = {**place, "folder": str(folder), "devices": devices[index :: len(CLIENTS)]}
            self._start(client, [])
        at_once([lambda client=client: self._hear(client, "ready") for client in CLIENTS])

    def upgrade(self, client: str) -> None:
        """Another version of the program goes on with the same folders, with whatever waits in them."""
        self._say(client, "hand over")
        stories = json.loads(self._hear(client))
        self._children[client].wait()
        self._start(client, stories)
        self._hear(client, "ready")

    def end(self) -> list[dict[str, Any]]:
        """Let them come to rest; the story of each."""
        for client in CLIENTS:
            self._say(client, "end")
        told = at_once([lambda client=client: json.loads(self._hear(client)) for client in CLIENTS])
        return [story for stories in told for story in stories]

    def _start(self, client: str, stories: list[dict[str, Any]]) -> None:
        with (self._lab.logs / f"{client}.log").open("ab") as log:
            self._children[client] = subprocess.Popen(
                self._lab.hosts[client].python("tests.lab.phones"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True, cwd=ROOT, env=environment_of({"PYTHONPATH": self._lab.version.python_path}),
            )  # fmt: skip
        self._say(client, json.dumps({**self._told[client], "stories": stories}))

    def _say(self, client: str, line: str) -> None:
        stream = self._children[client].stdin
        assert stream is not None
        stream.write(line + "\n")
        stream.flush()

    def _hear(self, client: str, expected: str | None = None) -> str:
        stream = self._children[client].stdout
        assert stream is not None
        line = stream.readline().strip()
        if not line or (expected is not None and line != expected):
            status, log = self._children[client].poll(), (self._lab.logs / f"{client}.log").read_text()[-3000:]
            raise AssertionError(f"{client}: {line!r}, exit status {status}\n{log}")
        return line
