"""The topology of the examples, and changes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from satchel.deploy.parse import parse
from satchel.deploy.topology import Topology

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "topology.toml"


@pytest.fixture(scope="session")
def text() -> str:
    return EXAMPLE.read_text()


@pytest.fixture(scope="session")
def topology(text: str) -> Topology:
    return parse(text)
