"""Migrations run in the order of their numbers, so no two may have the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from satchel.database import migrate

FOLDER = Path(migrate.__file__).with_name("migrations")


@pytest.mark.parametrize("kind", ["control", "staging"])
def test_numbers_have_no_holes_and_come_once(kind: str) -> None:
    numbers = sorted(int(path.name[:4]) for path in (FOLDER / kind).glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1))
