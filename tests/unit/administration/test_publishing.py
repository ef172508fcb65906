"""Two administrators at once: what one decided on is still so, or nothing changes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from satchel.administration.profiles import require_seen
from satchel.database.pool import Connection, Database
from satchel.errors import InputInvalid
from satchel.provisioning.organizations import Organization, Organizations
from satchel.provisioning.profiles import Profiles, ProfileVersion

INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, state)
values ('contoso', 'odata', 'https://x.example', '', 'd', 'active')
"""


async def organization(control: Database) -> Organization:
    await control.fetch(INSERT)
    return await Organizations(control).get("contoso")


async def test_of_two_who_withdraw_the_last_two_profiles_one_is_refused(control: Database) -> None:
    """Each left the other in force when it was checked: together they would leave nothing."""
    profiles, own = Profiles(control), await organization(control)
    for name in ("Sales", "Service"):
        await profiles.publish(own, name, await profiles.add(own, name, f"name = '{name}'"))
    in_force = await profiles.published(own)

    results = await asyncio.gather(
        *(profiles.publish(own, name, None, instead_of=in_force) for name in ("Sales", "Service")),
        return_exceptions=True,
    )

    [refusal] = [each for each in results if each is not None]
    assert isinstance(refusal, InputInvalid)
    assert "meanwhile" in refusal.message
    assert len(await profiles.published(own)) == 1
    assert len(await profiles.publications(own)) == 3


async def test_a_version_and_the_work_item_that_carries_it_out_are_one(control: Database) -> None:
    """Else a process that is killed between them leaves a version in force that nobody has before the next hour."""
    profiles, own = Profiles(control), await organization(control)
    version = await profiles.add(own, "Sales", "name = 'Sales'")

    async def killed(_: Connection) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await profiles.publish(own, "Sales", version, then=killed)

    assert await profiles.published(own) == []


@pytest.mark.parametrize(("seen", "words"), [(1, "version 2 came into force"), (0, "version 2"), (2, ""), (None, "")])
def test_what_was_decided_on_another_version_is_refused(seen: int | None, words: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    in_force = [ProfileVersion("Sales", 2, "", "", at, is_published=True, published_at=at)]
    if words:
        with pytest.raises(InputInvalid, match=words):
            require_seen(in_force, "Sales", seen)
    else:
        require_seen(in_force, "Sales", seen)
    with pytest.raises(InputInvalid, match="taken out of force"):
        require_seen(in_force, "Service", 3)
