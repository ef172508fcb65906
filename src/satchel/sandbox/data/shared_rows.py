"""Rows shared with users and teams, who may read secured columns, and contacts that watch cases."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from satchel.sandbox.data.directory_rows import Directory, new_guid
from satchel.sandbox.data.store import Store
from satchel.sandbox.schema.kinds import Entity
from satchel.sandbox.schema.sharing import (
    FIELD_PERMISSION,
    FIELD_SECURITY_PROFILE,
    INCIDENT_CONTACT,
    PRINCIPAL_OBJECT_ACCESS,
    SYSTEM_USER_PROFILES,
    TEAM_PROFILES,
)

READ, WRITE = 1, 2
ALLOWED = 4
_SHARES_IN = 200
_WATCHED_IN = 10


def make_shares(
    store: Store, chance: random.Random, directory: Directory, keys: Mapping[Entity, Sequence[str]]
) -> None:
    """One row of two hundred is shared, one case of ten is watched; one user may read secured columns."""
    principals = [*directory.users, *directory.teams]
    shares = []
    for entity, rows in keys.items():
        for row in rows[::_SHARES_IN]:
            principal = chance.choice(principals)
            shares.append({
                "principalobjectaccessid": new_guid(chance), "principalid": principal.id,
                "principaltypecode": principal.type, "objectid": row, "objecttypecode": entity.name,
                "accessrightsmask": chance.choice((0, READ, READ | WRITE)),
                "inheritedaccessrightsmask": chance.choice((0, READ)),
            })  # fmt: skip
    store.load(PRINCIPAL_OBJECT_ACCESS, shares)
    by_name = {entity.name: rows for entity, rows in keys.items()}
    contacts = by_name["contact"]
    store.load(INCIDENT_CONTACT, [
        {"new_incident_contactid": new_guid(chance), "incidentid": incident, "contactid": chance.choice(contacts)}
        for incident in by_name["incident"][::_WATCHED_IN]
    ])  # fmt: skip
    profile = new_guid(chance)
    store.load(FIELD_SECURITY_PROFILE, [{"fieldsecurityprofileid": profile, "name": "Finance"}])
    permission = {"fieldsecurityprofileid": profile, "entityname": "account", "attributelogicalname": "revenue"}
    store.load(FIELD_PERMISSION, [
        {"fieldpermissionid": new_guid(chance), **permission, "canread": ALLOWED, "cancreate": 0, "canupdate": 0}
    ])  # fmt: skip
    store.load(SYSTEM_USER_PROFILES, [
        {"systemuserprofileid": new_guid(chance), "systemuserid": directory.field_users[0],
         "fieldsecurityprofileid": profile}
    ])  # fmt: skip
    store.load(TEAM_PROFILES, [
        {"teamprofileid": new_guid(chance), "teamid": directory.teams[-1].id, "fieldsecurityprofileid": profile}
    ])  # fmt: skip
