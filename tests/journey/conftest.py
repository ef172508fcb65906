"""One running Satchel and one sample organization for the journeys that do not break them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.processes import Sandbox, Satchel, sandbox, satchel


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 3000) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    with satchel(tmp_path_factory.mktemp("satchel") / "data") as started:
        started.add(source)
        yield started
