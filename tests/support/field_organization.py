"""A small organization with every kind of tie between rows, staged without a source: metadata, profiles, changes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles
from satchel.buckets.assign import assign_changed, lock_head, raise_binding
from satchel.buckets.changed import begin_changes
from satchel.buckets.families import family_ids
from satchel.database.pool import Database
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.publish import bring_into_force, prepare
from satchel.model.changes import Strategy, Watermark
from satchel.model.ids import Key
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata
from satchel.model.scope import Scope
from satchel.provisioning.organizations import Organization
from satchel.staging.head import make_head, read_scopes
from satchel.staging.rows import remove_rows, stage_rows

GUID, STRING, MONEY = AttributeType.GUID, AttributeType.STRING, AttributeType.MONEY
INTEGER, BOOLEAN, DATETIME, DATE = (
    AttributeType.INTEGER, AttributeType.BOOLEAN, AttributeType.DATETIME, AttributeType.DATE,
)  # fmt: skip


def entity(name: str, key: Sequence[str] = ("id",), /, **attributes: AttributeType | str) -> Entity:
    """An entity whose wire names are its names; an attribute given by an entity's name is a lookup, `stamp` is
    what only the source sets."""
    made = []
    for attribute, kind in attributes.items():
        is_lookup = kind not in list(AttributeType)
        made.append(
            Attribute(
                name=attribute,
                wire_name=attribute,
                type=GUID if is_lookup else AttributeType(kind),
                targets=(str(kind),) if is_lookup else (),
                is_secured=attribute == "secret",
                is_updatable=attribute != "stamp",
            )
        )
    return Entity(name=name, set_name=f"{name}s", key=tuple(key), attributes=tuple(made))


ACCOUNT = entity("account", id=GUID, name=STRING, owner=GUID, unit=GUID, industry=INTEGER, parent="account",
                 modified=DATETIME, secret=MONEY)  # fmt: skip
CONTACT = entity("contact", id=GUID, name=STRING, owner=GUID, unit=GUID, account="account", status=INTEGER, due=DATE,
                 stamp=INTEGER)  # fmt: skip
TASK = entity("task", id=GUID, subject=STRING, owner=GUID, unit=GUID, contact="contact", due=DATETIME)
WATCH = entity("watch", id=GUID, contact="contact", account="account")
PRODUCT = entity("product", ("code", "size"), code=STRING, size=INTEGER, name=STRING)
DIRECTORY = (
    entity("user", id=GUID, name=STRING, unit=GUID, disabled=BOOLEAN, manager=GUID, region=STRING),
    entity("unit", id=GUID, parent=GUID),
    entity("team", id=GUID, unit=GUID),
    entity("membership", id=GUID, user=GUID, team=GUID),
    entity("role", id=GUID, name=STRING, inherits=INTEGER),
    entity("userrole", id=GUID, user=GUID, role=GUID),
    entity("teamrole", id=GUID, team=GUID, role=GUID),
    entity("privilege", id=GUID, role=GUID, entity=STRING, depth=INTEGER),
    entity("share", id=GUID, row=GUID, principal=GUID, rights=INTEGER),
    entity("permission", id=GUID, profile=GUID, entity=STRING, attribute=STRING, can_read=INTEGER),
    entity("userprofile", id=GUID, user=GUID, profile=GUID),
    entity("teamprofile", id=GUID, team=GUID, profile=GUID),
)
BUSINESS = (ACCOUNT, CONTACT, TASK, WATCH, PRODUCT)
METADATA = Metadata((*BUSINESS, *DIRECTORY))
PRINCIPALS = """
[principals]
user = "user"
user_name = "name"
user_unit = "unit"
user_disabled = "disabled"
user_manager = "manager"
hierarchy_depth = 2
unit = "unit"
unit_parent = "parent"
team = "team"
team_unit = "unit"
membership = {entity = "membership", left = "user", right = "team"}
[principals.roles]
entity = "role"
name = "name"
inherits = "inherits"
depth = "depth"
of_users = {entity = "userrole", left = "user", right = "role"}
of_teams = {entity = "teamrole", left = "team", right = "role"}
privileges = {entity = "privilege", left = "role", right = "entity"}
[principals.shares]
entity = "share"
row = "row"
principal = "principal"
rights = "rights"
[principals.columns]
permissions = "permission"
profile = "profile"
entity = "entity"
attribute = "attribute"
can_read = "can_read"
of_users = {entity = "userprofile", left = "user", right = "profile"}
of_teams = {entity = "teamprofile", left = "team", right = "profile"}
"""
SIMPLE_PRINCIPALS = """
[principals]
user = "user"
user_name = "name"
user_unit = "unit"
user_disabled = "disabled"
membership = {entity = "membership", left = "user", right = "team"}
"""


def item(name: str, **settings: object) -> str:
    """One `[[entity]]` of a profile; owner and unit are this organization's."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in {"owner": "owner", "unit": "unit", **settings}.items()]
    return f'[[entity]]\nname = "{name}"\n' + "\n".join(lines) + "\n"


def profile(*items: str, name: str = "test", principals: str = SIMPLE_PRINCIPALS, assigned: str = "") -> str:
    """A profile's text."""
    return f'name = "{name}"\n{assigned}\n' + principals + "\n" + "\n".join(items)


def compiled(*texts: str) -> Scope:
    """What profiles come to here."""
    return compile_profiles([parse_profile(text) for text in texts], METADATA, "odata")


class StagedOrganization:
    """The organization's staging database, and what the worker does with it."""

    def __init__(self, database: Database) -> None:
        """Make nothing yet."""
        self.database = database
        organization = Organization(1, "o", "active", "odata", "", b"", [], "o", None, datetime(2026, 1, 1))
        fields: dict[str, Any] = {"source": None, "staging": database, "control": database, "page_size": 100}
        self.work = OrganizationWork(
            organization=organization, reconcile_interval_seconds=9e9, deletion_check_interval_seconds=9e9, **fields
        )

    async def make(self, scope: Scope, now: datetime) -> None:
        """Make the head and bring the first scope into force."""
        async with self.database.transaction() as connection:
            await make_head(connection, uuid.uuid4().hex)
        await self.publish(scope, now)

    async def publish(self, scope: Scope, now: datetime) -> None:
        """Publish at once, where nothing needs to be read again."""
        await prepare(self.work, scope, now)
        await self.read_to_the_end()
        await bring_into_force(self.work)

    async def read_to_the_end(self) -> None:
        """Note that every entity was read completely."""
        position = msgspec.json.encode(Watermark(strategy=Strategy.DELTA_LINK, position="here")).decode()
        async with self.database.transaction() as connection:
            await connection.execute("update satchel.watermark set pulled_at = now(), watermark = %s", [position])

    async def scope(self) -> Scope:
        """What is staged."""
        async with self.database.connection() as connection:
            return (await read_scopes(connection)).maintained

    async def change(self, name: str, rows: Sequence[Mapping[str, Any]] = (), removed: Sequence[Key] = ()) -> int:
        """Stage a page and make its ops, as a pull does; returns how many rows changed."""
        async with self.database.transaction() as connection:
            scope = (await read_scopes(connection)).maintained
            staged = scope.entity_by_name.get(name)
            if staged is None:
                return 0
            watched = scope.watched.get(name, ())
            await begin_changes(connection)
            changed = await stage_rows(connection, staged, json.dumps(list(rows)).encode(), watched) if rows else 0
            changed += await remove_rows(connection, staged, removed, watched)
            op = await lock_head(connection)
            await assign_changed(connection, scope, await family_ids(connection), [name], op)
            if changed and scope.principals and name in scope.principals.entities:
                await raise_binding(connection)
            return changed
