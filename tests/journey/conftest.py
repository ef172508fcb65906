"""One running Satchel and one sample organization for the journeys that do not break them, and a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.processes import Sandbox, Satchel, sandbox, satchel

ARGUMENTS = [
    "--no-sandbox",  # it refuses to run as root with one
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",  # nothing goes out
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 3000) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    with satchel(tmp_path_factory.mktemp("satchel") / "data") as started:
        started.add(source)
        yield started


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as engine:
        path = shutil.which("chromium")
        assert path, "chromium is missing: python tests/prepare.py installs it"
        browser = engine.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
