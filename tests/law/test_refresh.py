"""A page that was under way while a profile changed ends up in the new buckets as well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from satchel.buckets.assign import assign_changed, lock_head, take_chunk
from satchel.buckets.families import apply_families, set_ready, standing_families
from satchel.database.pool import Database
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.pull import pull
from satchel.model.changes import Page, SourceInfo, Strategy, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Entity, Metadata
from satchel.model.scope import Binding, BoundBy
from satchel.provisioning.organizations import Organization
from satchel.staging.head import store_scope
from satchel.staging.rows import begin_changes
from tests.support.tables import BY_OWNER, BY_UNIT, CONTACT, scope_of, set_up

OWNER, UNIT = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
ROW = {"id": "33333333-3333-4333-8333-333333333333", "name": "Ann", "credit": None, "owner": OWNER, "unit": UNIT}


class SlowSource:
    """A source whose only page waits until the test lets it go."""

    def __init__(self) -> None:
        self.is_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def check(self) -> SourceInfo:
        return SourceInfo(kind="odata", description="slow")

    async def metadata(self, only: frozenset[str] | None = None) -> Metadata:
        return Metadata((CONTACT,))

    async def changes(self, entity: Entity, watermark: Watermark | None, page_size: int) -> AsyncIterator[Page]:
        self.is_asked.set()
        await self.may_answer.wait()
        position = Watermark(strategy=Strategy.DELTA_LINK, position="next")
        yield Page(rows=json.dumps([ROW]).encode(), row_count=1, watermark=position, is_last=True)

    async def keys(self, entity: Entity, page_size: int) -> AsyncIterator[Sequence[Key]]:
        yield [(ROW["id"] or "",)]

    async def rows(self, entity: Entity, keys: Sequence[Key]) -> Page:
        return Page(rows=b"[]", row_count=0, watermark=Watermark(strategy=Strategy.DELTA_LINK), is_last=True)

    async def aclose(self) -> None:
        return None


async def test_a_page_under_way_while_the_profile_changes_reaches_the_new_family(staging: Database) -> None:
    before, after = scope_of([Binding(BY_OWNER, BoundBy.USER)]), scope_of([Binding(BY_UNIT, BoundBy.UNIT)])
    await set_up(staging, before)
    source = SlowSource()
    fields: dict[str, Any] = {"source": source, "staging": staging, "control": staging, "page_size": 100}
    organization = Organization(1, "o", "active", "odata", "", b"", "", "", None, None)  # type: ignore[arg-type]
    work = OrganizationWork(
        organization=organization, reconcile_interval_seconds=9e9, deletion_check_interval_seconds=9e9, **fields
    )
    pulling = asyncio.ensure_future(pull(work, "contact"))
    await source.is_asked.wait()
    async with staging.transaction() as connection:
        await begin_changes(connection)
        op = await lock_head(connection)
        await apply_families(connection, after.families)
        await store_scope(connection, after)
        family = (await standing_families(connection))[BY_UNIT.entity, BY_UNIT.name]
        assert await take_chunk(connection, CONTACT, 0, 100) is None
        await assign_changed(connection, CONTACT, {family.id: BY_UNIT}, op)
        await set_ready(connection, family.id)
    source.may_answer.set()
    await pulling

    members = await staging.fetch(
        "select f.name, b.key from satchel.member m join satchel.bucket b on b.id = m.bucket"
        " join satchel.family f on f.id = b.family where m.is_live"
    )
    assert members == [(BY_UNIT.name, UNIT)]
