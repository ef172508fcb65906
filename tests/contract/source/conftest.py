"""The counterparts: a sample organization of Dataverse, and SAP CAP. Each runs once for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.cap.fixture import cap_service
from tests.contract.cap.shop import Shop
from tests.support.processes import Sandbox, sandbox


@pytest.fixture(scope="session")
def organization(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(Path(tmp_path_factory.mktemp("sandbox")), rows=1000) as running:
        yield running


@pytest.fixture(scope="session")
def bookshop() -> Iterator[Shop]:
    with cap_service() as url:
        shop = Shop(url)
        yield shop
        shop.close()
