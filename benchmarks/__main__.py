"""`make bench`: all figures in one run, one table, results and plots beside it. About 25 minutes; a part takes less.

Times move with the machine's load: compare figures of one run, or ratios.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from benchmarks.data import contacts
from benchmarks.device import edits, exactness, first_sync, growth
from benchmarks.ground.figures import Book
from benchmarks.ground.guard import guard
from benchmarks.ground.machine import machine
from benchmarks.ground.organization import ALL, OWN, Contacts, Organization, contacts_at
from benchmarks.ground.seals import wait_until_sealed
from benchmarks.peers import run as peers
from benchmarks.report.table import show
from benchmarks.server import buckets, changes, devices, ingest, organizations, polls, scopes
from tests.prepare import install

ROWS, QUICK_ROWS, ROUNDS = 100_000, 20_000, 5
WIDTH = 170
"""Of the table, where it goes to no terminal."""
console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


class Choice(msgspec.Struct, frozen=True):
    """What a run is to measure."""

    rows: int
    is_quick: bool
    without_peers: bool
    rounds: int
    """How often what takes turns is repeated."""


class Scene(msgspec.Struct, frozen=True):
    """Satchel with the contacts, for the parts that share it."""

    book: Book
    choice: Choice
    contacts: Contacts
    everyone: Organization
    owners: Organization


def first_syncs(scene: Scene) -> None:
    """First sync, peers in turn, and what peers cost besides."""
    choice, rows = scene.choice, list(contacts(scene.choice.rows))
    makers = {} if choice.without_peers else peers.MAKERS
    rounds = min(choice.rounds, 3) if makers else choice.rounds
    with peers.running(makers, rows, scene.contacts.folder / "peers") as (found, absent):
        for name, reason in absent.items():
            console.print(f"  {name}: {reason}")
        first_sync.measure(scene.book, scene.contacts, scene.everyone, found, rounds)
        peers.note(scene.book, found, absent)


PARTS: dict[str, Callable[[Scene], None]] = {
    "first-sync": first_syncs,
    "polls": lambda s: polls.measure(s.book, s.contacts, s.everyone, s.choice.rounds),
    "changes": lambda s: changes.measure(s.book, s.contacts, s.everyone, s.owners, s.choice.rounds),
    "exactness": lambda s: exactness.measure(s.book, s.contacts, s.everyone, s.owners),
    "devices": lambda s: devices.measure(
        s.book, s.contacts, s.everyone, (1, 10, 100) if s.choice.is_quick else devices.COUNTS
    ),
}
"""Parts that share one organization, in order."""
WITH_OWNERS = ("changes", "exactness")
"""Those of them that need a second one, where each owner has their own contacts."""
ALONE: dict[str, Callable[[Book, Choice, Path], None]] = {
    "edits": lambda book, _, folder: edits.measure(book, folder),
    "scopes": lambda book, *_: scopes.measure(book),
    "buckets": lambda book, choice, _: buckets.measure(book, (1, 100) if choice.is_quick else buckets.COUNTS),
    "rows": lambda book, choice, folder: growth.measure(
        book, folder, growth.SIZES[:2] if choice.is_quick else growth.SIZES
    ),
    "organizations": lambda book, choice, folder: organizations.measure(
        book, folder, (1, 5) if choice.is_quick else organizations.COUNTS
    ),
}
"""Parts that make their own."""
EVERY = ("ingest", *PARTS, *ALONE)


def main() -> int:
    """Measure, save, draw, print."""
    only, choice = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    book, folder = Book(machine()), Path(tempfile.mkdtemp(prefix="satchel-bench-"))
    install({"wrk": "wrk", "node": "nodejs", "npm": "npm"}, "the benchmarks")
    guarding = guard(folder)
    try:
        failed = _measure(book, choice, only, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        guarding.communicate()
    show(list(book.figures.values()), console)
    if not choice.is_quick:
        _draw()
    for name, reason in failed:
        console.print(f"[red]{name} failed:[/red] {reason}")
    return 1 if failed else 0


def _measure(book: Book, choice: Choice, only: list[str], folder: Path) -> list[tuple[str, str]]:
    failed: list[tuple[str, str]] = []
    if any(name == "ingest" or name in PARTS for name in only):
        with ExitStack() as stack, _part("ingest", failed):
            scene = stack.enter_context(_scene(book, choice, folder / "scene", only))
            for name in (name for name in PARTS if name in only):
                with _part(name, failed):
                    PARTS[name](scene)
                _save(book, choice)
    for name in (name for name in ALONE if name in only):
        with _part(name, failed):
            ALONE[name](book, choice, folder / name)
        _save(book, choice)
    return failed


@contextmanager
def _scene(book: Book, choice: Choice, folder: Path, only: list[str]) -> Iterator[Scene]:
    with contacts_at(folder, choice.rows) as made:
        pulls = [ingest.pull(made, ALL, "all")]
        wait_until_sealed(pulls[0].organization)  # else the worker seals while it pulls the next one
        if {"ingest", *WITH_OWNERS} & set(only):
            pulls.append(ingest.pull(made, OWN, "own"))
        if "ingest" in only:
            ingest.measure(book, made, pulls)
            _save(book, choice)
        yield Scene(book, choice, made, pulls[0].organization, pulls[-1].organization)


@contextmanager
def _part(name: str, failed: list[tuple[str, str]]) -> Iterator[None]:
    """One part: what fails in it is told at the end, and the others go on."""
    console.print(f"{name} ...")
    began = time.monotonic()
    try:
        yield
    except Exception as error:  # whatever a measurement runs into
        console.print_exception()
        failed.append((name, f"{type(error).__name__}: {error}"))
    console.print(f"  {name}: {time.monotonic() - began:.0f} s")


def _save(book: Book, choice: Choice) -> None:
    """What a quick run finds is not kept."""
    if not choice.is_quick:
        book.save()


def _draw() -> None:
    from benchmarks.report import page  # the drawing library takes a second to load

    console.print(f"Plots and page: {page.write(peers.ABOUT).parent}")


def _arguments() -> tuple[list[str], Choice]:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=EVERY, help="a part; may be given several times")
    parser.add_argument("--rows", type=int, help=f"contacts of the parts that do not vary them (default {ROWS:,})")
    parser.add_argument(
        "--quick", action="store_true", help="few rows and rounds: whether it runs, not how fast; nothing is kept"
    )
    parser.add_argument("--without-peers", action="store_true", help="no other products")
    parser.add_argument("--rounds", type=int, help=f"how often what takes turns is repeated (default {ROUNDS})")
    given: Any = parser.parse_args()
    rows = given.rows or (QUICK_ROWS if given.quick else ROWS)
    return list(given.only or EVERY), Choice(
        rows, given.quick, given.without_peers, given.rounds or (2 if given.quick else ROUNDS)
    )


if __name__ == "__main__":
    sys.exit(main())
