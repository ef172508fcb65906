"""Source -> staging: from the first page that the worker asks for until the last one is committed, scopes derived."""

from __future__ import annotations

import json
import threading
import time

import msgspec

from benchmarks import limits, subjects
from benchmarks.data import contacts
from benchmarks.ground.figures import Book
from benchmarks.ground.organization import Contacts, Organization
from benchmarks.ground.processes import stopwatch

LOOK_SECONDS = 0.02


class Pulled(msgspec.Struct, frozen=True):
    """How a first pull went."""

    organization: Organization
    rate: float
    """Rows a second until all rows are staged and assigned."""
    whole_rate: float
    """Until the keys were compared with the source as well."""


def pull(scene: Contacts, name: str, rows: str) -> Pulled:
    """Make an organization and time its first pull."""
    organization = Organization(scene.running, name, scene.source_url)
    scene.http.get("/forget-first-read")
    organization.register(rows)
    command = threading.Thread(target=organization.provision)
    command.start()  # it takes longer to end than a small pull
    while (began := scene.http.get("/first-read").json()) is None:
        time.sleep(LOOK_SECONDS)
    staged = _wait(organization, "watermark is not null and pulled_at is not null")
    compared = _wait(organization, "reconciled_at is not null")
    command.join()
    return Pulled(organization, scene.rows / (staged - began), scene.rows / (compared - began))


def measure(book: Book, scene: Contacts, pulls: list[Pulled]) -> None:
    """Rates of pulls, and what the source and PostgreSQL give at best."""
    book.note(subjects.INGEST, [one.rate for one in pulls], f"{scene.rows:,} rows")
    book.note(subjects.INGEST_WHOLE, [one.whole_rate for one in pulls])
    book.limit(subjects.SOURCE_READ, [plain_read(scene) for _ in range(3)], "pages of 5,000, decoded, then dropped")
    copies = [limits.copies(list(contacts(scene.rows)), scene.folder / f"copy{number}") for number in range(2)]
    book.limit(subjects.INGEST, [one[0] for one in copies], "COPY of ready-made JSON with a key, from memory")
    book.limit(subjects.COPY_OUT, [one[1] for one in copies], "COPY to the client")


def plain_read(scene: Contacts) -> float:
    """Rows a second of reading the source and doing nothing with them."""
    url, count = "/contacts", 0
    with stopwatch() as seconds:
        while url:
            answer = scene.http.get(url, headers={"Prefer": "odata.maxpagesize=5000"})
            page = json.loads(answer.content)
            count += len(page["value"])
            url = page.get("@odata.nextLink", "")
    return count / seconds[0]


def _wait(organization: Organization, condition: str) -> float:
    """The moment at which the watermark says so."""
    with organization.connect() as connection:
        query = f"select 1 from satchel.watermark where entity = 'contacts' and {condition}"  # noqa: S608
        while connection.execute(query).fetchone() is None:  # type: ignore[arg-type]
            time.sleep(LOOK_SECONDS)
    return time.monotonic()
