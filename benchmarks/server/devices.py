"""From one connected device to 2,000: the sync server's memory, and what a change costs that all of them get."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import subjects
from benchmarks.ground.devices import crowd, standing_as
from benchmarks.ground.figures import Book, Curve
from benchmarks.ground.organization import Contacts, Inside, Organization
from benchmarks.ground.processes import Peak, megabytes
from benchmarks.server.changes import cost, some_row

MOST = 2_000
COUNTS = (1, 10, 100, 500, 1_000, MOST)


def measure(book: Book, scene: Contacts, organization: Organization, counts: Sequence[int] = COUNTS) -> None:
    """A curve over all counts; the memory of the last is a figure."""
    server = scene.running.pids()["sync"]
    memory: list[tuple[float, float]] = []
    processor: list[tuple[float, float]] = []
    last: list[tuple[float, float]] = []
    with Inside(scene.running) as inside:
        writer = inside.open(organization.name)
        members = standing_as(inside, organization, scene.folder / "crowd", counts[-1])
        for count in counts:
            with Peak(server) as peak, crowd(organization, members[:count], scene.folder) as waiting:
                standing = megabytes(server)
                found = [
                    cost(organization, writer, waiting, some_row(scene.rows), count * 10 + n, count) for n in range(2)
                ]
            memory.append((count, max(standing, peak.megabytes)))
            processor.append((count, min(one[0] for one in found)))
            last.append((count, min(one[1] for one in found)))
    book.curve(Curve(name="devices-memory", x="connected devices", y="sync server's memory, MB",
                     series={"sync server": memory}, goal=subjects.MEMORY.goal))  # fmt: skip
    book.curve(Curve(name="devices", x="connected devices", y="ms for one change that all get",
                     series={"sync server's processor time": processor, "until the last has it": last}))  # fmt: skip
    if counts[-1] == MOST:
        book.note(subjects.MEMORY, [memory[-1][1]], "peak, a change to all included")
