"""From one organization to 200 on one installation: memory of the processes, the time until one more is pulled."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import subjects
from benchmarks.ground.crowd import Member
from benchmarks.ground.devices import crowd, register
from benchmarks.ground.figures import Book, Curve
from benchmarks.ground.organization import Contacts, Inside, Organization, contacts_at, profile
from benchmarks.ground.processes import megabytes
from satchel.administration.organizations import add_organization
from satchel.source.connection import Connection

MOST = 200
COUNTS = (1, 25, 50, 100, MOST)
ROWS = 500
LONGEST_SECONDS = 240.0
AS_BY_DEFAULT = {"SATCHEL_SCHEDULE__SEAL_INTERVAL_SECONDS": "30"}
"""What recurs for each organization, also where nothing goes on."""
LOOK_SECONDS = 0.2


def measure(book: Book, folder: Path, counts: Sequence[int] = COUNTS) -> None:
    """A curve over all counts: each organization has its own staging database and one connected device."""
    memory: dict[str, list[tuple[float, float]]] = {"sync server": [], "worker": [], "provisioning": []}
    seconds: list[tuple[float, float]] = []
    with contacts_at(folder, ROWS, **AS_BY_DEFAULT) as scene, Inside(scene.running) as inside:
        members: list[Member] = []
        for before, count in zip((0, *counts), counts, strict=False):
            began = time.monotonic()
            names = [f"org-{number}" for number in range(before, count)]
            add(inside, scene, names)
            seconds.append((count, (time.monotonic() - began) / (count - before)))
            for name in names:
                one = Organization(scene.running, name, scene.source_url)
                members += [Member(token, organization=name) for _, token in register(inside, one, ["someone"])]
            with crowd(Organization(scene.running, names[0], scene.source_url), members, scene.folder):
                pids = scene.running.pids()
                for name, points in memory.items():
                    points.append((count, megabytes(pids["sync" if name == "sync server" else name])))
    book.curve(Curve(name="organizations-memory", x="organizations, a connected device each", y="memory, MB",
                     series=memory))  # fmt: skip
    book.curve(Curve(name="organizations", x="organizations", y="s until one more is provisioned and pulled",
                     series={f"{ROWS} rows each": seconds}))  # fmt: skip
    if counts[-1] == MOST:
        book.note(subjects.ORGANIZATIONS, [memory["sync server"][-1][1]], f"{ROWS} rows each")


def add(inside: Inside, scene: Contacts, names: Sequence[str]) -> None:
    """Register and provision organizations, and wait until each was pulled. Errors: TimeoutError."""
    connection = Connection(kind="odata", url=scene.source_url)

    async def begin() -> None:
        for name in names:
            await add_organization(inside.rooms, name, connection, profile("all"))
            await inside.rooms.events.submit("provision", name)

    inside.run(begin)
    give_up_at = time.monotonic() + LONGEST_SECONDS
    for name in names:
        organization = Organization(scene.running, name, scene.source_url)
        while not organization.is_pulled():
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{name} was not pulled.")
            time.sleep(LOOK_SECONDS)
