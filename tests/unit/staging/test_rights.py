"""Whether roles and shares allow a change of one row."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec
import pytest

from satchel.database.pool import Database
from satchel.model.metadata import Right
from satchel.model.scope import RowOwner, Scope
from satchel.model.user import Grants, User
from satchel.staging.head import read_scopes
from satchel.staging.image import read_image
from satchel.staging.rights import has_right, may
from tests.support.field_organization import PRINCIPALS, StagedOrganization, compiled, item, profile

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ME, TEAM, OTHER, UNIT, ELSEWHERE = (str(uuid.UUID(int=number)) for number in range(1, 6))
ROW = str(uuid.UUID(int=99))
WRITE_BIT, DELETE_BIT = 2, 65536


@pytest.mark.parametrize(
    ("grants", "share", "right", "is_allowed"),
    [
        (Grants(everything=True), 0, Right.WRITE, True),
        (Grants(), 0, Right.WRITE, False),
        (Grants(owners=(ME, TEAM)), 0, Right.WRITE, False),
        (Grants(owners=(OTHER,)), 0, Right.WRITE, True),
        (Grants(units=(ELSEWHERE,)), 0, Right.WRITE, False),
        (Grants(units=(UNIT,)), 0, Right.WRITE, True),
        (Grants(owners=(ME,), shared_to=(ME, TEAM)), 1, Right.WRITE, False),
        (Grants(owners=(ME,), shared_to=(ME, TEAM)), WRITE_BIT, Right.WRITE, True),
        (Grants(owners=(ME,), shared_to=(ME, TEAM)), WRITE_BIT, Right.DELETE, False),
        (Grants(owners=(ME,), shared_to=(ME, TEAM)), DELETE_BIT, Right.DELETE, True),
        (None, 0, Right.WRITE, True),
    ],
)
async def test_depths_and_shares(
    staging: Database, grants: Grants | None, share: int, right: Right, is_allowed: bool
) -> None:
    scope = await staged(staging, share)
    user = User(id=ME, rights={} if grants is None else {"contact": {right: grants}})
    async with staging.connection() as connection:
        entity = scope.entity_by_name["contact"]
        image = await read_image(connection, entity, entity.key, (ROW,))
        assert image is not None
        assert await may(connection, scope, user, "contact", image.row_id, right) is is_allowed
    assert has_right(user, "contact", right) is (grants != Grants())


async def staged(staging: Database, share: int) -> Scope:
    """One contact of another user, shared with a team of ours."""
    organization = StagedOrganization(staging)
    scope = compiled(profile(item("contact", rows=["all"]), principals=PRINCIPALS))
    await organization.make(msgspec.structs.replace(scope, owners={"contact": RowOwner("owner", "unit")}), NOW)
    await organization.change("contact", [{"id": ROW, "name": "Kim", "owner": OTHER, "unit": UNIT}])
    if share:
        await organization.change("share", [{"id": ROW, "row": ROW, "principal": TEAM, "rights": share}])
    async with staging.connection() as connection:
        return (await read_scopes(connection)).in_force
