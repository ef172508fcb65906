"""A fresh sample organization for each test that wants one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.sandbox.service import Service


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as running:
        yield running
