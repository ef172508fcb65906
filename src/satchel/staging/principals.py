"""Users with their teams, units, roles and shares, read from the organization's own staged rows.

Source of the rules: powerapps-docs, developer/data-platform/security-concepts.md (access levels, teams, hierarchy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.metadata import AttributeType, Right
from satchel.model.scope import Membership, Principals, Roles, Scope
from satchel.model.user import Grants, User

BASIC, LOCAL, DEEP, GLOBAL = 1, 2, 4, 8
"""Depths of a privilege: rows owned by the principal, of its unit, of the units below too, all."""


async def read_user(connection: Connection, scope: Scope, user_id: str) -> User | None:
    """The user; None where the source has no such user. Without a user entity every id is a user of that name.

    Cost: up to nine small queries.
    """
    principals = scope.principals
    if principals is None:
        return User(id=user_id, name=user_id, profiles=_profiles(scope, user_id, (), ()))
    entity = scope.entity_by_name[principals.user]
    if entity.attribute_by_name[entity.key[0]].type is AttributeType.GUID:
        user_id = user_id.lower()
    row = await _user_row(connection, scope, principals, user_id)
    if row is None:
        return None
    name, unit, is_disabled, attributes = row
    reader = _Reader(connection, scope, principals)
    teams = await reader.linked(principals.membership, [user_id])
    reports = await reader.reports(user_id)
    roles = await reader.roles(user_id, teams)
    units = await reader.units_below([unit]) if unit else {}
    grants, rights = await reader.grants(scope, user_id, unit, teams, reports, roles)
    readable, creatable, updatable = await reader.columns(user_id, teams)
    return User(
        id=user_id,
        name=name or user_id,
        is_enabled=not is_disabled,
        unit=unit,
        units=units.get(unit, ()) if unit else (),
        teams=teams,
        reports=reports,
        roles=tuple(sorted({role.name for role in roles if role.name})),
        attributes=attributes,
        grants=grants,
        profiles=_profiles(scope, user_id, teams, [role.name or "" for role in roles]),
        readable=readable,
        creatable=creatable,
        updatable=updatable,
        rights=rights,
    )


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
        name=_text(principals.user_name),
        disabled=_flag(principals.user_disabled),
        table=table(entity.name),
    )
    cursor = await connection.execute(statement, {"limit": limit, "text": text.strip()})
    return [(row[0], row[1] or "") for row in await cursor.fetchall()]


class _Role(msgspec.Struct, frozen=True):
    """A role that a user or a team has."""

    principal: str
    id: str
    name: str | None
    unit: str | None
    inherits: bool
    root: str | None


class _Reader:
    """Queries about one user."""

    def __init__(self, connection: Connection, scope: Scope, principals: Principals) -> None:
        self._connection = connection
        self._principals = principals
        self._keys = {entity.name: entity.key[0] for entity in scope.entities}

    async def _rows(self, statement: sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(statement, list(values))).fetchall()

    async def linked(self, link: Membership | None, left: Sequence[str]) -> tuple[str, ...]:
        """What an intersection entity ties these to."""
        if link is None or not left:
            return ()
        statement = sql.SQL("select distinct {right}::text from {table} t where t._live and {left}::text = any(%s)")
        rows = await self._rows(
            statement.format(
                right=column(link.right, of="t"), left=column(link.left, of="t"), table=table(link.entity)
            ),
            list(left),
        )
        return tuple(sorted(row[0] for row in rows if row[0]))

    async def units_below(self, units: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """For each of these business units, itself and all below it."""
        principals = self._principals
        found: dict[str, list[str]] = {unit: [unit] for unit in units}
        if principals.unit is None or principals.unit_parent is None:
            return {unit: tuple(below) for unit, below in found.items()}
        statement = sql.SQL(
            "with recursive below (top, unit) as (select u, u from unnest(%s::text[]) as u union"
            " select b.top, {key}::text from below b join {table} t on {parent}::text = b.unit and t._live)"
            " select top, unit from below order by 1, 2"
        ).format(
            key=self._key(principals.unit),
            table=table(principals.unit),
            parent=column(principals.unit_parent, of="t"),
        )
        below: dict[str, list[str]] = {}
        for top, unit in await self._rows(statement, list(units)):
            below.setdefault(top, []).append(unit)
        return {top: tuple(found) for top, found in below.items()}

    async def reports(self, user_id: str) -> tuple[str, ...]:
        """Users below this one in the hierarchy of managers or of positions."""
        principals = self._principals
        if principals.user_manager:
            rows = await self._below(principals.user, principals.user_manager, [user_id])
        elif principals.position and principals.position_parent and principals.user_position:
            own = Membership(principals.user, self._keys[principals.user], principals.user_position)
            position = await self.linked(own, [user_id])
            below = await self._below(principals.position, principals.position_parent, position)
            back = Membership(principals.user, principals.user_position, own.left)
            rows = await self.linked(back, [each for each in below if each not in position])
        else:
            return ()
        return tuple(each for each in rows if each != user_id)

    async def _below(self, entity: str, parent: str, tops: Sequence[str]) -> tuple[str, ...]:
        statement = sql.SQL(
            "with recursive below (id, depth) as (select u, 0 from unnest(%s::text[]) as u union"
            " select {key}::text, b.depth + 1 from below b join {table} t on {parent}::text = b.id and t._live"
            " where b.depth < %s) select distinct id from below order by 1"
        ).format(key=self._key(entity), table=table(entity), parent=column(parent, of="t"))
        return tuple(row[0] for row in await self._rows(statement, list(tops), self._principals.hierarchy_depth))

    async def roles(self, user_id: str, teams: Sequence[str]) -> list[_Role]:
        """The roles of the user and of the user's teams."""
        roles = self._principals.roles
        if roles is None:
            return []
        found = await self._roles_of(roles, roles.of_users, [user_id])
        return found + (await self._roles_of(roles, roles.of_teams, teams) if roles.of_teams and teams else [])

    async def _roles_of(self, roles: Roles, link: Membership, principals: Sequence[str]) -> list[_Role]:
        statement = sql.SQL(
            "select distinct {principal}::text, {role}::text, {name}, {unit}, {inherits}, {root}"
            " from {link} l join {roles} t on {key} = {role} and t._live"
            " where l._live and {principal}::text = any(%s)"
        ).format(
            principal=column(link.left, of="l"),
            role=column(link.right, of="l"),
            name=_text(roles.name),
            unit=_text(roles.unit),
            root=_text(roles.root),
            inherits=sql.SQL("coalesce({}, 0) = 1").format(column(roles.inherits, of="t"))
            if roles.inherits
            else sql.SQL("false"),
            link=table(link.entity),
            roles=table(roles.entity),
            key=self._key(roles.entity),
        )
        return [_Role(*row) for row in await self._rows(statement, list(principals))]

    async def grants(
        self,
        scope: Scope,
        user_id: str,
        unit: str | None,
        teams: Sequence[str],
        reports: Sequence[str],
        held: Sequence[_Role],
    ) -> tuple[Mapping[str, Grants], Mapping[str, Mapping[Right, Grants]]]:
        """What the roles let the user read, by entity, and what they let the user change, by entity and right."""
        if self._principals.roles is None:
            return {}, {}
        named = {each for role in held for each in (role.id, role.root) if each}
        depths = await self._depths(self._principals.roles, sorted(named), scope)
        team_units = await self._team_units(teams)
        unit_of = {user_id: unit, **team_units}
        all_units = {role.unit or unit_of.get(role.principal) for role in held}
        below = await self.units_below(sorted(each for each in all_units if each))
        report_teams = await self.linked(self._principals.membership, reports)
        principals = _Reach(user_id, tuple(teams), (*reports, *report_teams), unit_of, below)

        def granted(privilege: str) -> Grants:
            return _grants(principals, held, {role.id: _depth(depths, role, privilege) for role in held})

        grants = {entity: granted(privilege) for entity, privilege in scope.privileges.items()}
        rights = {
            entity: {right: granted(privilege) for right, privilege in privileges.items()}
            for entity, privileges in scope.rights.items()
        }
        return grants, rights

    async def _depths(self, roles: Roles, ids: Sequence[str], scope: Scope) -> dict[tuple[str, str], int]:
        """The depth of each (role, privilege)."""
        if not ids:
            return {}
        link = roles.privileges
        named: sql.Composable = sql.SQL("{}::text").format(column(link.right, of="l"))
        join: sql.Composable = sql.SQL("")
        if roles.privilege_entity:
            named = column(roles.privilege_name or "", of="t")
            join = sql.SQL("join {} t on {} = {} and t._live").format(
                table(roles.privilege_entity), self._key(roles.privilege_entity), column(link.right, of="l")
            )
        statement = sql.SQL(
            "select {role}::text, {named}, max({depth}) from {link} l {join}"
            " where l._live and {role}::text = any(%s) and {named} = any(%s) group by 1, 2"
        ).format(
            role=column(link.left, of="l"),
            named=named,
            depth=column(roles.depth, of="l"),
            link=table(link.entity),
            join=join,
        )
        names = {*scope.privileges.values(), *(name for each in scope.rights.values() for name in each.values())}
        rows = await self._rows(statement, list(ids), sorted(names))
        return {(role, privilege): depth or 0 for role, privilege, depth in rows}

    async def _team_units(self, teams: Sequence[str]) -> dict[str, str | None]:
        principals = self._principals
        if principals.team is None or principals.team_unit is None or not teams:
            return {}
        statement = sql.SQL("select {key}::text, {unit}::text from {table} t where t._live and {key}::text = any(%s)")
        rows = await self._rows(
            statement.format(
                key=self._key(principals.team),
                unit=column(principals.team_unit, of="t"),
                table=table(principals.team),
            ),
            list(teams),
        )
        return dict(rows)

    async def columns(self, user_id: str, teams: Sequence[str]) -> tuple[frozenset[tuple[str, str]], ...]:
        """The secured attributes (entity, attribute) that the user may read, set in new rows, and change."""
        columns = self._principals.columns
        if columns is None:
            return frozenset(), frozenset(), frozenset()
        profiles = {*await self.linked(columns.of_users, [user_id]), *await self.linked(columns.of_teams, teams)}
        statement = sql.SQL(
            "select {entity}, {attribute}, coalesce(bool_or({read}), false), coalesce(bool_or({create}), false),"
            " coalesce(bool_or({update}), false)"
            " from {table} t where t._live and {profile}::text = any(%s) group by 1, 2"
        ).format(
            entity=column(columns.entity, of="t"),
            attribute=column(columns.attribute, of="t"),
            profile=column(columns.profile, of="t"),
            read=_allows(columns.can_read),
            create=_allows(columns.can_create),
            update=_allows(columns.can_update),
            table=table(columns.permissions),
        )
        rows = await self._rows(statement, sorted(profiles))
        return tuple(frozenset((row[0], row[1]) for row in rows if row[place]) for place in (2, 3, 4))

    def _key(self, entity: str) -> sql.Composable:
        return column(self._keys[entity], of="t")


class _Reach(msgspec.Struct, frozen=True):
    """Whose rows a user's privileges can reach."""

    user: str
    teams: tuple[str, ...]
    reports: tuple[str, ...]
    """Users below, and those users' teams."""
    unit_of: Mapping[str, str | None]
    below: Mapping[str, tuple[str, ...]]


def _depth(depths: Mapping[tuple[str, str], int], role: _Role, privilege: str) -> int:
    """A unit's copy of a role has the privileges of the role it is a copy of."""
    return max(depths.get((role.id, privilege), 0), depths.get((role.root or "", privilege), 0))


def _grants(reach: _Reach, held: Sequence[_Role], depths: Mapping[str, int]) -> Grants:
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


async def _user_row(
    connection: Connection, scope: Scope, principals: Principals, user_id: str
) -> tuple[str | None, str | None, bool, dict[str, str | None]] | None:
    entity = scope.entity_by_name[principals.user]
    extra = [sql.SQL(", {}").format(_text(name)) for name in scope.user_attributes]
    statement = sql.SQL("select {name}, {unit}, {off} {extra} from {table} t where t._live and {key}::text = %s")
    formatted = statement.format(
        name=_text(principals.user_name),
        unit=_text(principals.user_unit),
        off=_flag(principals.user_disabled),
        extra=sql.SQL("").join(extra),
        table=table(entity.name),
        key=column(entity.key[0], of="t"),
    )
    row = await (await connection.execute(formatted, [user_id])).fetchone()
    if row is None:
        return None
    return row[0], row[1], row[2], dict(zip(scope.user_attributes, row[3:], strict=True))


def _text(attribute: str | None) -> sql.Composable:
    return sql.SQL("{}::text").format(column(attribute, of="t")) if attribute else sql.SQL("null::text")


def _allows(attribute: str | None) -> sql.Composable:
    return sql.SQL("{} > 0").format(column(attribute, of="t")) if attribute else sql.SQL("false")


def _flag(attribute: str | None) -> sql.Composable:
    return sql.SQL("coalesce({}, false)").format(column(attribute, of="t")) if attribute else sql.SQL("false")
