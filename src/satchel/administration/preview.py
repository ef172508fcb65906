"""What a scope would hand out, counted on the staged rows before anything is published.

The families are filled and the users bound exactly as publishing does it - in a transaction that is rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from satchel.buckets.assign import assign_family
from satchel.buckets.bound import bound_buckets
from satchel.buckets.changed import begin_changes, take_chunk
from satchel.buckets.decisions import in_path
from satchel.buckets.families import make_temporary_family, standing_families
from satchel.buckets.members import count_rows
from satchel.database.pool import Connection, Database
from satchel.errors import UserUnknown
from satchel.model.ids import OpId
from satchel.model.scope import Family, Scope, reached_attributes
from satchel.model.user import User
from satchel.staging.head import read_scopes
from satchel.staging.principals import find_users, read_user
from satchel.staging.render import row_bytes
from satchel.staging.schema import unstaged

MANY_ROWS = 200_000
MANY_BUCKETS = 10_000
_CHUNK_ROWS = 50_000


class EntityPreview(msgspec.Struct, frozen=True):
    """One entity; of several users the one with most rows, and the middle one."""

    entity: str
    rows: int
    rows_of_most: int
    bytes_of_most: int


class Preview(msgspec.Struct, frozen=True):
    """What users would get."""

    users: int
    """How many users were counted."""
    entities: list[EntityPreview]
    buckets_of_most: int
    warnings: list[str]


async def preview_scope(database: Database, scope: Scope, user_id: str | None, limit: int) -> Preview:
    """Count what the scope would hand out to a user, or to up to `limit` users. Errors: UserUnknown."""
    warnings: list[str] = []
    async with database.connection() as connection, connection.transaction(force_rollback=True):
        await connection.execute("set transaction isolation level repeatable read")
        return await _preview(connection, scope, user_id, limit, warnings)


async def _preview(
    connection: Connection, scope: Scope, user_id: str | None, limit: int, warnings: list[str]
) -> Preview:
    standing_scope = (await read_scopes(connection)).maintained
    missing = await unstaged(connection, scope)
    countable = _countable(scope, missing, warnings)
    ids = await _fill(connection, scope, countable)
    readable = _readable(standing_scope, scope, missing, warnings)
    users = await _users(connection, readable, user_id, limit)
    counts: list[dict[str, int]] = []
    most_buckets = 0
    for user in users:
        buckets = await bound_buckets(connection, scope, ids, user) if user.is_enabled else {}
        counts.append(await count_rows(connection, list(buckets)))
        most_buckets = max(most_buckets, len(buckets))
    entities = []
    for name in scope.client_model.entity_by_name:
        rows = sorted(count.get(name, 0) for count in counts) or [0]
        staged = scope.entity_by_name[name]
        known = frozenset(a.name for a in staged.attributes) - {each for entity, each in missing if entity == name}
        size = await row_bytes(connection, staged.only(known)) if rows[-1] else 0
        entities.append(EntityPreview(name, rows[len(rows) // 2], rows[-1], round(rows[-1] * size)))
    warnings += _warnings(scope, countable, counts, most_buckets)
    warnings += await _unused(connection, countable, ids)
    return Preview(len(users), entities, most_buckets, warnings)


def _countable(scope: Scope, missing: Sequence[tuple[str, str]], warnings: list[str]) -> list[Family]:
    """Families that stand on what is staged already."""
    countable: list[Family] = []
    for family in scope.families:
        needed = set(reached_attributes(family)) | {(family.entity, name) for name in _key(scope, family.entity)}
        absent = sorted(f"{entity}.{name}" for entity, name in missing if (entity, name) in needed)
        if absent:
            warnings.append(f"{family.entity}: not counted, for {', '.join(absent[:5])} is not staged yet.")
        elif set(family.sources) <= {each.name for each in countable}:
            countable.append(family)
        else:
            warnings.append(f"{family.entity}: related rows are not counted, for those they are related to are not.")
    return countable


def _key(scope: Scope, entity: str) -> tuple[str, ...]:
    return scope.entity_by_name[entity].key


async def _fill(connection: Connection, scope: Scope, families: Sequence[Family]) -> dict[str, int]:
    """Fill them under names of their own, so that a publish does not wait for this; returns their ids by name."""
    await begin_changes(connection)
    before = await standing_families(connection)
    ids = {name: standing.id for name, standing in before.items() if standing.state == "ready"}
    for family in families:
        if family.name in ids:
            continue
        ids[family.name] = await make_temporary_family(connection, family)
        last: int | None = 0
        while last is not None:
            last = await take_chunk(connection, family.entity, last, _CHUNK_ROWS)
            await assign_family(connection, scope, family, ids, OpId(0))
            await connection.execute("truncate changed")
    return {family.name: ids[family.name] for family in families}


def _readable(standing: Scope, scope: Scope, missing: Sequence[tuple[str, str]], warnings: list[str]) -> Scope:
    """The scope by which users are read: where its principals are not staged yet, those that are now in force."""
    user = scope.principals.user if scope.principals else ""
    absent = {entity for entity, _ in missing} & (scope.principals.entities if scope.principals else frozenset())
    if not absent:
        return scope
    warnings.append(f"Users are counted by what is in force: {', '.join(sorted(absent))} is not staged yet.")
    known = standing.entity_by_name.get(user)
    attributes = tuple(name for name in scope.user_attributes if known and name in known.attribute_by_name)
    return msgspec.structs.replace(
        scope,
        entities=standing.entities,
        principals=standing.principals,
        privileges=scope.privileges if standing.privileges else {},
        user_attributes=attributes,
    )


async def _users(connection: Connection, scope: Scope, user_id: str | None, limit: int) -> list[User]:
    """The users to count for; where no entity of users is known, anyone."""
    if scope.principals is None:
        ids = [user_id or ""]
    else:
        ids = [user_id] if user_id else [each for each, _ in await find_users(connection, scope, limit)]
    users = [await read_user(connection, scope, each) for each in ids]
    if user_id and users == [None]:
        raise UserUnknown(f"There is no user {user_id!r}.")
    return [user for user in users if user is not None]


def _warnings(
    scope: Scope, countable: Sequence[Family], counts: Sequence[dict[str, int]], most_buckets: int
) -> list[str]:
    found = []
    most_rows = max((sum(count.values()) for count in counts), default=0)
    if most_rows > MANY_ROWS:
        found.append(f"A user would get {most_rows:,} rows; more than {MANY_ROWS:,} make the first sync long.")
    if most_buckets > MANY_BUCKETS:
        found.append(f"A user would be bound to {most_buckets:,} buckets; it works, and polls get slower.")
    if counts and not any(sum(count.values()) for count in counts) and countable:
        found.append("No user would get a single row.")
    for entity in scope.entities:
        if not entity.tracks_changes and entity.modified_attribute is None:
            found.append(f"{entity.name}: the source cannot tell what changed; it is read in full each time.")
    return found


async def _unused(connection: Connection, families: Sequence[Family], ids: Mapping[str, int]) -> list[str]:
    found = []
    for family in families:
        if family.related is not None:
            cursor = await connection.execute(
                "select 1 from satchel.bucket where family = %s limit 1", [ids[family.name]]
            )
            if await cursor.fetchone() is None:
                path = in_path(family.related.path)
                found.append(f"{family.entity}: the relationship {path} brings in no row.")
    return found
