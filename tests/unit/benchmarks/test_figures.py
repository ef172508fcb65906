"""What a run of the benchmarks keeps: its own figures, and those of parts that it did not run."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from benchmarks.data import COLUMNS, contacts
from benchmarks.ground.figures import Book, Subject

RATE = Subject("rate", "rows/s", ">=", 100.0)
SIZE = Subject("size", "B/row", "<=", 78.0)


def test_a_figure_is_the_median_and_says_whether_its_goal_is_met(tmp_path: Path) -> None:
    book = Book("this machine", tmp_path / "latest.json")
    book.note(RATE, [90.0, 300.0, 110.0])
    book.note(SIZE, [80.0])
    book.save()
    rate, size = json.loads((tmp_path / "latest.json").read_text())
    assert (rate["satchel"], rate["lowest"], rate["highest"], rate["runs"], rate["met"]) == (
        110.0,
        90.0,
        300.0,
        3,
        True,
    )
    assert (size["satchel"], size["goal"], size["met"], size["machine"]) == (80.0, "<= 78", False, "this machine")


def test_a_part_that_was_not_run_keeps_what_it_has(tmp_path: Path) -> None:
    first = Book("one machine", tmp_path / "latest.json")
    first.note(RATE, [100.0])
    first.limit(RATE, [500.0], "the limit")
    first.peer(RATE, "another", [50.0])
    first.note(SIZE, [70.0])
    first.save()
    second = Book("another machine", tmp_path / "latest.json")
    second.peer(RATE, "a third", "not run: it did not start")
    second.note(SIZE, [60.0])
    second.save()
    rate, size = json.loads((tmp_path / "latest.json").read_text())
    assert (rate["satchel"], rate["limit"], rate["machine"]) == (100.0, 500.0, "one machine")
    assert rate["peers"] == {"another": 50.0, "a third": "not run: it did not start"}
    assert (size["satchel"], size["machine"]) == (60.0, "another machine")


def test_a_figure_that_comes_after_its_peers_is_of_its_own_day(tmp_path: Path) -> None:
    first = Book("one machine", tmp_path / "latest.json")
    first.note(RATE, [100.0])
    first.figures[RATE.figure].measured_at = "2000-01-01T00:00+00:00"
    first.save()
    second = Book("another machine", tmp_path / "latest.json")
    second.peer(RATE, "another", [50.0])
    second.save()
    second.note(RATE, [120.0])
    second.save()
    (rate,) = json.loads((tmp_path / "latest.json").read_text())
    assert (rate["satchel"], rate["machine"]) == (120.0, "another machine")
    assert rate["measured_at"] > "2000-01-02"


def test_the_contacts_are_the_same_on_each_run_and_as_large_as_they_say() -> None:
    rows = list(contacts(2_000))
    assert rows == list(contacts(2_000))
    assert tuple(msgspec.structs.asdict(rows[0])) == COLUMNS
    assert 360 < len(msgspec.json.encode(rows)) / len(rows) < 380
    assert len({row.id for row in rows}) == 2_000
