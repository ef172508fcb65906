"""How far an organization's first read is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from satchel.administration.organizations import EntityStatus, OrganizationStatus
from satchel.administration.overview import progress_of
from satchel.jobs.provision import STEPS

READ = datetime(2026, 11, 28, tzinfo=UTC)


def status(state: str, *pulled: datetime | None) -> OrganizationStatus:
    entities = [EntityStatus(str(n), 0, None, at, "", None, 0) for n, at in enumerate(pulled)]
    return OrganizationStatus("contoso", state, None, "https://x.example", "odata", None, entities)


@pytest.mark.parametrize(
    ("seen", "steps", "expected"),
    [
        (status("registered"), 0, None),
        (status("provisioning"), 0, 0.0),
        (status("provisioning"), len(STEPS), 0.1),
        (status("active", None, None), len(STEPS), 0.1),
        (status("active", READ, None), len(STEPS), 0.55),
        (status("active", READ, READ), len(STEPS), None),
        (status("broken", None), len(STEPS), None),
    ],
)
def test_progress(seen: OrganizationStatus, steps: int, expected: float | None) -> None:
    found = progress_of(seen, steps)
    assert found == (None if expected is None else pytest.approx(expected))
