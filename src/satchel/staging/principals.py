"""Users, teams and business units, read from the organization's own staged rows."""

from __future__ import annotations

import msgspec
from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.metadata import AttributeType
from satchel.model.scope import Principals, Scope


class User(msgspec.Struct, frozen=True):
    """A user of the source, with what buckets are bound by."""

    id: str
    name: str = ""
    unit: str | None = None
    teams: tuple[str, ...] = ()
    is_enabled: bool = True


async def read_user(connection: Connection, scope: Scope, user_id: str) -> User | None:
    """The user; None where the source has no such user. Without a user entity every id is a user of that name."""
    principals = scope.principals
    if principals is None:
        return User(user_id, user_id)
    entity = scope.entity_by_name[principals.user_entity]
    statement = sql.SQL("select {name}, {unit}, {disabled} from {table} t where t._live and {key}::text = %s").format(
        name=_text(principals.user_name_attribute),
        unit=_text(principals.user_unit_attribute),
        disabled=_flag(principals.user_disabled_attribute),
        table=table(entity.name),
        key=column(entity.key[0], of="t"),
    )
    if entity.attribute_by_name[entity.key[0]].type is AttributeType.GUID:
        user_id = user_id.lower()
    row = await (await connection.execute(statement, [user_id])).fetchone()
    if row is None:
        return None
    teams = await _teams(connection, principals, user_id)
    return User(user_id, row[0] or user_id, row[1], teams, is_enabled=not row[2])


async def find_users(connection: Connection, scope: Scope, limit: int) -> list[tuple[str, str]]:
    """Enabled users (id, name), by name."""
    principals = scope.principals
    if principals is None:
        return []
    entity = scope.entity_by_name[principals.user_entity]
    statement = sql.SQL(
        "select {key}::text, {name} from {table} t where t._live and not {disabled} order by 2, 1 limit %s"
    ).format(
        key=column(entity.key[0], of="t"),
        name=_text(principals.user_name_attribute),
        disabled=_flag(principals.user_disabled_attribute),
        table=table(entity.name),
    )
    return [(row[0], row[1] or "") for row in await (await connection.execute(statement, [limit])).fetchall()]


async def _teams(connection: Connection, principals: Principals, user_id: str) -> tuple[str, ...]:
    user, team = principals.membership_user_attribute, principals.membership_team_attribute
    if principals.membership_entity is None or user is None or team is None:
        return ()
    statement = sql.SQL("select distinct {team}::text from {table} t where t._live and {user}::text = %s order by 1")
    statement_text = statement.format(
        team=column(team, of="t"), table=table(principals.membership_entity), user=column(user, of="t")
    )
    return tuple(row[0] for row in await (await connection.execute(statement_text, [user_id])).fetchall() if row[0])


def _text(attribute: str | None) -> sql.Composable:
    return sql.SQL("{}::text").format(column(attribute, of="t")) if attribute else sql.SQL("null::text")


def _flag(attribute: str | None) -> sql.Composable:
    return sql.SQL("coalesce({}, false)").format(column(attribute, of="t")) if attribute else sql.SQL("false")
