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
from satchel.buckets.families import family_ids, make_families, standing_families
from satchel.buckets.members import count_rows
from satchel.database.pool import Connection, Database
from satchel.errors import UserUnknown
from satchel.model.ids import OpId
from satchel.model.scope import Family, Scope
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
    countable = await _countable(connection, scope, warnings)
    await _fill(connection, scope, countable)
    users = await _users(connection, standing_scope, scope, user_id, limit)
    ids = await family_ids(connection)
    counts: list[dict[str, int]] = []
    most_buckets = 0
    for user in users:
        buckets = await bound_buckets(connection, scope, ids, user)
        counts.append(await count_rows(connection, list(buckets)))
        most_buckets = max(most_buckets, len(buckets))
    entities = []
    for name in scope.client_model.entity_by_name:
        rows = sorted(count.get(name, 0) for count in counts) or [0]
        size = await row_bytes(connection, scope.entity_by_name[name]) if rows[-1] else 0
        entities.append(EntityPreview(name, rows[len(rows) // 2], rows[-1], round(rows[-1] * size)))
    warnings += _warnings(scope, countable, counts, most_buckets)
    warnings += await _unused(connection, countable, ids)
    return Preview(len(users), entities, most_buckets, warnings)


async def _countable(connection: Connection, scope: Scope, warnings: list[str]) -> list[Family]:
    """Families that stand on what is staged already."""
    missing = await unstaged(connection, scope)
    countable: list[Family] = []
    for family in scope.families:
        needed = {family.entity} | {step.entity for path in family.reaches for step in path}
        absent = sorted(f"{entity}.{name}" for entity, name in missing if entity in needed)
        if absent:
            warnings.append(
                f"{family.entity}: not counted, for {', '.join(absent[:5])} is not staged yet; publishing reads it."
            )
        elif set(family.sources) <= {each.name for each in countable}:
            countable.append(family)
    return countable


async def _fill(connection: Connection, scope: Scope, families: Sequence[Family]) -> None:
    await begin_changes(connection)
    before = await standing_families(connection)
    await make_families(connection, families)
    ids = await family_ids(connection)
    for family in families:
        if family.name in before and before[family.name].state == "ready":
            continue
        last: int | None = 0
        while last is not None:
            last = await take_chunk(connection, family.entity, last, _CHUNK_ROWS)
            await assign_family(connection, scope, family, ids, OpId(0))
            await connection.execute("truncate changed")


async def _users(connection: Connection, standing: Scope, scope: Scope, user_id: str | None, limit: int) -> list[User]:
    """Users as the scope would see them, known by what is staged now."""
    known = standing.entity_by_name
    needed = scope.principals.entities if scope.principals else frozenset()
    readable = scope if needed <= known.keys() else standing
    ids = [user_id] if user_id else [each for each, _ in await find_users(connection, readable, limit)]
    users = [await read_user(connection, readable, each) for each in ids]
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
