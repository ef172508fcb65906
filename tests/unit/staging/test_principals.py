"""Users as their rows, teams, roles and places in a hierarchy make them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles
from satchel.database.pool import Database
from satchel.model.metadata import Attribute, Metadata
from satchel.model.user import Grants
from satchel.staging.head import read_scope
from satchel.staging.principals import read_user
from tests.support.field_organization import GUID, METADATA, PRINCIPALS, StagedOrganization, entity, item, profile

NOW = datetime(2026, 11, 23, tzinfo=UTC)
POSITION = entity("position", id=GUID, parent=GUID)


def guid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


async def test_who_stands_below_in_positions_reports(staging: Database) -> None:
    """Two levels down, and no further; colleagues of the same position do not report to each other."""
    user = METADATA.entity_by_name["user"]
    placed = msgspec.structs.replace(
        user, attributes=(*user.attributes, Attribute(name="position", wire_name="position", type=GUID))
    )
    others = tuple(each for each in METADATA.entities if each.name != "user")
    principals = PRINCIPALS.replace(
        'user_manager = "manager"', 'user_position = "position"\nposition = "position"\nposition_parent = "parent"'
    )
    text = profile(item("account", rows=["all"]), principals=principals)
    scope = compile_profiles([parse_profile(text)], Metadata((*others, placed, POSITION)), "odata")
    staged = StagedOrganization(staging)
    await staged.make(scope, NOW)
    chain = ["head", "region", "district", "street"]
    above = {name: guid(chain[place - 1]) if place else None for place, name in enumerate(chain)}
    await staged.change("position", [{"id": guid(name), "parent": above[name]} for name in chain])
    people = {"boss": "head", "peer": "head", "middle": "region", "low": "district", "lowest": "street"}
    await staged.change("user", [{"id": guid(who), "position": guid(where)} for who, where in people.items()])
    await staged.change("role", [{"id": guid("role"), "name": "r", "inherits": 0}])
    await staged.change("userrole", [{"id": guid("tie"), "user": guid("boss"), "role": guid("role")}])
    privilege = {"id": guid("privilege"), "role": guid("role"), "entity": "account", "depth": 1}
    await staged.change("privilege", [privilege])

    async with staging.connection() as connection:
        boss = await read_user(connection, await read_scope(connection), guid("boss"))
        low = await read_user(connection, await read_scope(connection), guid("low"))

    assert boss is not None
    assert low is not None
    assert set(boss.reports) == {guid("middle"), guid("low")}
    assert set(boss.grants["account"].owners) == {guid("boss"), *boss.reports}
    assert low.reports == (guid("lowest"),)
    assert low.grants["account"] == Grants()  # no role: a hierarchy only widens
