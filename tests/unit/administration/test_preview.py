"""A preview counts what would be handed out, says what it cannot count, and is in nobody's way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from satchel.administration.preview import Preview, preview_scope
from satchel.administration.profiles import difference
from satchel.database.pool import Database
from satchel.errors import UserUnknown
from satchel.model.scope import Scope
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANN, BOB, UNIT = (f"00000000-0000-4000-8000-{number:012}" for number in (1, 2, 9))
USERS = [{"id": ANN, "name": "Ann", "unit": UNIT, "disabled": False}, {"id": BOB, "unit": UNIT, "disabled": True}]
ACCOUNTS = [
    {"id": f"00000000-0000-4000-8000-{100 + n:012}", "name": f"a{n}", "owner": ANN, "industry": n} for n in range(5)
]
CONTACT = {"id": f"00000000-0000-4000-8000-{300:012}", "account": ACCOUNTS[0]["id"]}
ALL = item("account", rows=["all"], columns=["name", "owner"])


async def organization(database: Database, scope: Scope) -> StagedOrganization:
    staged = StagedOrganization(database)
    await staged.make(scope, NOW)
    await staged.change("user", USERS)
    await staged.change("account", ACCOUNTS)
    await staged.change("contact", [CONTACT])
    return staged


def rows(found: Preview) -> dict[str, int]:
    return {each.entity: each.rows_of_most for each in found.entities}


async def test_rows_are_counted_for_those_who_may_have_them(staging: Database) -> None:
    await organization(staging, compiled(profile(ALL)))
    own = compiled(profile(item("account", rows=["own"], columns=["name", "owner"])))

    assert rows(await preview_scope(staging, own, ANN, 10)) == {"account": 5}
    assert rows(await preview_scope(staging, own, BOB, 10)) == {"account": 0}
    assert (await preview_scope(staging, own, None, 10)).users == 1
    with pytest.raises(UserUnknown):
        await preview_scope(staging, own, UNIT, 10)


async def test_one_more_column_does_not_keep_rows_from_being_counted(staging: Database) -> None:
    await organization(staging, compiled(profile(ALL)))
    wider = compiled(profile(item("account", rows=["all"], columns=["name", "industry"])))

    found = await preview_scope(staging, wider, ANN, 10)

    assert rows(found) == {"account": 5}
    assert found.entities[0].bytes_of_most > 0


async def test_what_cannot_be_counted_is_said(staging: Database) -> None:
    await organization(staging, compiled(profile(ALL, item("contact", rows=["all"], columns=["account"]))))
    filtered = item("account", rows=["custom"], columns=["name"], filter="industry eq 1")
    related = item("contact", related=["account"], columns=["account"])

    found = await preview_scope(staging, compiled(profile(filtered, related)), ANN, 10)

    assert any("account.industry is not staged yet" in each for each in found.warnings)
    assert any(each.startswith("contact: related rows are not counted") for each in found.warnings)
    secured = compiled(profile(ALL, principals=PRINCIPALS))
    assert any("role" in each for each in (await preview_scope(staging, secured, ANN, 10)).warnings)


async def test_where_no_users_are_known_anyone_is_counted(staging: Database) -> None:
    scope = compiled(profile(ALL, principals=""))
    await organization(staging, scope)

    assert rows(await preview_scope(staging, scope, None, 10)) == {"account": 5}


async def test_nobody_waits_for_a_preview_and_nothing_stays_of_it(staging: Database) -> None:
    staged = await organization(staging, compiled(profile(ALL)))
    other = compiled(profile(item("account", rows=["own", "custom"], filter="name eq 'a1'", columns=["name", "owner"])))
    before = await staging.fetch("select count(*) from satchel.family")
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(preview_scope(staging, other, None, 10))
        group.create_task(_change(staged))
    assert await staging.fetch("select count(*) from satchel.family") == before
    await staged.publish(other, NOW)
    assert rows(await preview_scope(staging, other, ANN, 10)) == {"account": 5}


async def _change(staged: StagedOrganization) -> None:
    row: dict[str, Any] = {**ACCOUNTS[0], "name": "changed"}
    await staged.change("account", [row])


def test_a_difference_tells_of_rows_columns_and_who_gets_them() -> None:
    before = compiled(profile(ALL, item("product", rows=["all"])))
    assert difference(before, before).rows_changed == []
    assert difference(before, compiled(profile(ALL))).entities_removed == ["product"]
    narrowed = compiled(
        profile(item("account", rows=["own"], columns=["name", "owner"]), item("product", rows=["all"]))
    )
    assert difference(before, narrowed).rows_changed == ["account"]
    fewer = compiled(profile(item("account", rows=["all"], columns=["name"]), item("product", rows=["all"])))
    assert difference(before, fewer).columns_changed == ["account"]
    assigned = compiled(profile(ALL, item("product", rows=["all"]), assigned=f'[assigned]\nusers = ["{ANN}"]'))
    assert difference(before, assigned).rows_changed == ["account", "product"]
