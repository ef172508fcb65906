"""A fake service, and a clock that only sleeping moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.source.fake_service import FakeService, Hours, fake_service


@pytest.fixture
def service() -> Iterator[FakeService]:
    with fake_service() as running:
        yield running


@pytest.fixture
def hours() -> Hours:
    return Hours()
