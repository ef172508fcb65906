"""Users with their teams, units, roles and shares, read from the organization's own staged rows.

Source of the rules: powerapps-docs, developer/data-platform/security-concepts.md (access levels, teams, hierarchy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.metadata import AttributeType, Right
from satchel.model.scope import Scope
from satchel.model.user import Grants, User
from satchel.staging.principal_rows import Known, Reader, Role, UserRow, as_flag, as_text, user_rows

BASIC, LOCAL, DEEP, GLOBAL = 1, 2, 4, 8
"""Depths of a privilege: rows owned by the principal, of its unit, of the units below too, all."""


async def read_user(connection: Connection, scope: Scope, user_id: str) -> User | None:
    """The user; None where the source has no such user. Without a user entity every id is a user of that name.

    Cost: up to nine small queries.
    """
    return (await read_users(connection, scope, [user_id]))[user_id]


async def read_users(connection: Connection, scope: Scope, user_ids: Sequence[str]) -> dict[str, User | None]:
    """Users by the ids they are asked for with, as `read_user`. Cost: the same queries, however many they are."""
    principals = scope.principals
    if principals is None:
        return {each: User(id=each, name=each, profiles=_profiles(scope, each, (), ())) for each in user_ids}
    entity = scope.entity_by_name[principals.user]
    is_guid = entity.attribute_by_name[entity.key[0]].type is AttributeType.GUID
    id_by_given = {each: each.lower() if is_guid else each for each in user_ids}
    rows = await user_rows(connection, scope, principals, sorted(set(id_by_given.values())))
    if not rows:
        return dict.fromkeys(user_ids)
    known = await Reader(connection, scope, principals).read(rows)
    users = {user_id: _user(scope, row, known) for user_id, row in rows.items()}
    return {given: users.get(user_id) for given, user_id in id_by_given.items()}


async def find_users(connection: Connection, scope: Scope, limit: int, text: str = "") -> list[tuple[str, str]]:
    """Enabled users (id, name), by name; of those, the ones whose name or id has the text in it, in any case."""
    principals = scope.principals
    if principals is None:
        return []
    entity = scope.entity_by_name[principals.user]
    statement = sql.SQL(
        "select {key}::text, {name} from {table} t where t._live and not {disabled}"
        " and (%(text)s::text = '' or position(lower(%(text)s) in lower({name})) > 0 or {key}::text = lower(%(text)s))"
        " order by 2, 1 limit %(limit)s"
    ).format(
        key=column(entity.key[0], of="t"),
        name=as_text(principals.user_name),
        disabled=as_flag(principals.user_disabled),
        table=table(entity.name),
    )
    cursor = await connection.execute(statement, {"limit": limit, "text": text.strip()})
    return [(row[0], row[1] or "") for row in await cursor.fetchall()]


def _user(scope: Scope, row: UserRow, known: Known) -> User:
    """One user, of what was read about all."""
    teams = known.teams.get(row.id, ())
    principals = (row.id, *teams)
    roles = [role for each in principals for role in known.roles.get(each, ())]
    grants, rights = _granted(scope, row, known, roles)
    profiles = {each for principal in principals for each in known.column_profiles.get(principal, ())}
    allowed = [each for profile in profiles for each in known.permissions.get(profile, ())]
    return User(
        id=row.id,
        name=row.name or row.id,
        is_enabled=not row.is_disabled,
        unit=row.unit,
        units=known.units_below.get(row.unit, ()) if row.unit else (),
        teams=teams,
        reports=known.reports.get(row.id, ()),
        roles=tuple(sorted({role.name for role in roles if role.name})),
        attributes=row.attributes,
        grants=grants,
        profiles=_profiles(scope, row.id, teams, [role.name or "" for role in roles]),
        readable=frozenset((each.entity, each.attribute) for each in allowed if each.can_read),
        creatable=frozenset((each.entity, each.attribute) for each in allowed if each.can_create),
        updatable=frozenset((each.entity, each.attribute) for each in allowed if each.can_update),
        rights=rights,
    )


def _granted(
    scope: Scope, row: UserRow, known: Known, roles: Sequence[Role]
) -> tuple[Mapping[str, Grants], Mapping[str, Mapping[Right, Grants]]]:
    """What the roles let the user read, by entity, and what they let the user change, by entity and right."""
    if scope.principals is None or scope.principals.roles is None:
        return {}, {}
    reports = known.reports.get(row.id, ())
    report_teams = sorted({team for each in reports for team in known.report_teams.get(each, ())})
    teams = known.teams.get(row.id, ())
    unit_of = {row.id: row.unit, **{team: known.team_units.get(team) for team in teams}}
    reach = _Reach(row.id, teams, (*reports, *report_teams), unit_of, known.units_below)
    made: dict[str, Grants] = {}

    def granted(privilege: str) -> Grants:
        if privilege not in made:
            made[privilege] = _grants(reach, roles, {role.id: _depth(known.depths, role, privilege) for role in roles})
        return made[privilege]

    grants = {entity: granted(privilege) for entity, privilege in scope.privileges.items()}
    rights = {
        entity: {right: granted(privilege) for right, privilege in privileges.items()}
        for entity, privileges in scope.rights.items()
    }
    return grants, rights


class _Reach(msgspec.Struct, frozen=True):
    """Whose rows a user's privileges can reach."""

    user: str
    teams: tuple[str, ...]
    reports: tuple[str, ...]
    """Users below, and those users' teams."""
    unit_of: Mapping[str, str | None]
    below: Mapping[str, tuple[str, ...]]


def _depth(depths: Mapping[tuple[str, str], int], role: Role, privilege: str) -> int:
    """A unit's copy of a role has the privileges of the role it is a copy of."""
    return max(depths.get((role.id, privilege), 0), depths.get((role.root or "", privilege), 0))


def _grants(reach: _Reach, held: Sequence[Role], depths: Mapping[str, int]) -> Grants:
    """What the roles give for one entity, each from where its holder stands."""
    owners: set[str] = set()
    units: set[str] = set()
    for role in held:
        depth = depths[role.id]
        if depth >= GLOBAL:
            return Grants(everything=True)
        if depth >= BASIC:
            owners |= {role.principal} | ({reach.user} if role.inherits else set())
        unit = role.unit or reach.unit_of.get(role.principal)
        if depth >= LOCAL and unit:
            units |= set(reach.below.get(unit, (unit,))) if depth >= DEEP else {unit}
    if not owners:
        return Grants()
    # Hierarchy and shares only widen: they need the privilege itself, at whatever depth.
    return Grants(
        owners=tuple(sorted(owners | set(reach.reports))),
        units=tuple(sorted(units)),
        shared_to=(reach.user, *reach.teams, *reach.reports),
    )


def _profiles(scope: Scope, user_id: str, teams: Sequence[str], roles: Sequence[str]) -> frozenset[str]:
    """The profiles the user takes part in."""
    return frozenset(
        each.profile
        for each in scope.assignments
        if each.is_for_everyone
        or user_id.lower() in (user.lower() for user in each.users)
        or not {team.lower() for team in each.teams}.isdisjoint(teams)
        or not set(each.roles).isdisjoint(roles)
    )
