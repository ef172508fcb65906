"""What the laws of edits stand on."""

from __future__ import annotations

import pytest

from satchel.database.pool import Database
from tests.support.edits.world import World


@pytest.fixture
async def world(staging: Database) -> World:
    """A staged organization whose source the test steers."""
    return World(staging)
