"""What staged rows say about users - teams, units, roles, reports, secured columns -, read for all of them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.scope import Membership, Principals, Roles, Scope


class UserRow(msgspec.Struct, frozen=True):
    """What a user's own row says."""

    id: str
    name: str | None
    unit: str | None
    is_disabled: bool
    attributes: dict[str, str | None]


class Role(msgspec.Struct, frozen=True):
    """A role that a user or a team has."""

    principal: str
    id: str
    name: str | None
    unit: str | None
    inherits: bool
    root: str | None


class Permission(msgspec.Struct, frozen=True):
    """What one column security profile lets its users do with an attribute."""

    entity: str
    attribute: str
    can_read: bool
    can_create: bool
    can_update: bool


class Known(msgspec.Struct, frozen=True):
    """All that was read about some users: each mapping by what it is about."""

    teams: Mapping[str, tuple[str, ...]]
    reports: Mapping[str, tuple[str, ...]]
    report_teams: Mapping[str, tuple[str, ...]]
    roles: Mapping[str, list[Role]]
    """By user or team."""
    depths: Mapping[tuple[str, str], int]
    team_units: Mapping[str, str | None]
    units_below: Mapping[str, tuple[str, ...]]
    column_profiles: Mapping[str, tuple[str, ...]]
    """By user or team."""
    permissions: Mapping[str, list[Permission]]


class Reader:
    """Queries about some users, each about all of them at once."""

    def __init__(self, connection: Connection, scope: Scope, principals: Principals) -> None:
        self._connection = connection
        self._scope = scope
        self._principals = principals
        self._keys = {entity.name: entity.key[0] for entity in scope.entities}

    async def read(self, rows: Mapping[str, UserRow]) -> Known:
        """What there is about these users."""
        principals, users = self._principals, sorted(rows)
        teams = await self._linked(principals.membership, users)
        team_ids = _all_of(teams)
        reports = await self._reports(users)
        roles = await self._roles(users, team_ids)
        team_units = await self._team_units(team_ids)
        held = [role for each in roles.values() for role in each]
        units = {row.unit for row in rows.values()} | {role.unit for role in held} | set(team_units.values())
        columns = principals.columns
        column_profiles = {
            **(await self._linked(columns.of_users if columns else None, users)),
            **(await self._linked(columns.of_teams if columns else None, team_ids)),
        }
        return Known(
            teams=teams,
            reports=reports,
            report_teams=await self._linked(principals.membership, _all_of(reports)) if principals.roles else {},
            roles=roles,
            depths=await self._depths(sorted({each for role in held for each in (role.id, role.root) if each})),
            team_units=team_units,
            units_below=await self._units_below(sorted(each for each in units if each)),
            column_profiles=column_profiles,
            permissions=await self._permissions(_all_of(column_profiles)),
        )

    async def _rows(self, statement: sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(statement, list(values))).fetchall()

    async def _linked(self, link: Membership | None, left: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What an intersection entity ties each of these to."""
        if link is None or not left:
            return {}
        statement = sql.SQL(
            "select distinct {left}::text, {right}::text from {table} t"
            " where t._live and {left}::text = any(%s) and {right} is not null order by 1, 2"
        )
        rows = await self._rows(
            statement.format(
                right=column(link.right, of="t"), left=column(link.left, of="t"), table=table(link.entity)
            ),
            list(left),
        )
        return _grouped(rows)

    async def _units_below(self, units: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """For each of these business units, itself and all below it."""
        principals = self._principals
        if principals.unit is None or principals.unit_parent is None or not units:
            return {unit: (unit,) for unit in units}
        statement = sql.SQL(
            "with recursive below (top, unit) as (select u, u from unnest(%s::text[]) as u union"
            " select b.top, {key}::text from below b join {table} t on {parent}::text = b.unit and t._live)"
            " select top, unit from below order by 1, 2"
        ).format(
            key=self._key(principals.unit),
            table=table(principals.unit),
            parent=column(principals.unit_parent, of="t"),
        )
        return _grouped(await self._rows(statement, list(units)))

    async def _reports(self, users: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Users below each of these in the hierarchy of managers or of positions."""
        principals = self._principals
        found: dict[str, tuple[str, ...]] = {}
        if principals.user_manager:
            found = await self._below(principals.user, principals.user_manager, users)
        elif principals.position and principals.position_parent and principals.user_position:
            own = Membership(principals.user, self._keys[principals.user], principals.user_position)
            position = await self._linked(own, users)
            below = await self._below(principals.position, principals.position_parent, _all_of(position))
            placed = await self._linked(Membership(principals.user, own.right, own.left), _all_of(below))
            for user, own_positions in position.items():
                lower = {each for at in own_positions for each in below.get(at, ())} - set(own_positions)
                found[user] = tuple(sorted({each for at in lower for each in placed.get(at, ())}))
        return {user: tuple(each for each in below if each != user) for user, below in found.items()}

    async def _below(self, entity: str, parent: str, tops: Sequence[str]) -> dict[str, tuple[str, ...]]:
        statement = sql.SQL(
            "with recursive below (top, id, depth) as (select u, u, 0 from unnest(%s::text[]) as u union"
            " select b.top, {key}::text, b.depth + 1 from below b join {table} t on {parent}::text = b.id and t._live"
            " where b.depth < %s) select distinct top, id from below order by 1, 2"
        ).format(key=self._key(entity), table=table(entity), parent=column(parent, of="t"))
        return _grouped(await self._rows(statement, list(tops), self._principals.hierarchy_depth)) if tops else {}

    async def _roles(self, users: Sequence[str], teams: Sequence[str]) -> dict[str, list[Role]]:
        """The roles of these users and teams."""
        roles = self._principals.roles
        if roles is None:
            return {}
        found = await self._roles_of(roles, roles.of_users, users)
        found += await self._roles_of(roles, roles.of_teams, teams) if roles.of_teams and teams else []
        by_principal: dict[str, list[Role]] = {}
        for role in found:
            by_principal.setdefault(role.principal, []).append(role)
        return by_principal

    async def _roles_of(self, roles: Roles, link: Membership, principals: Sequence[str]) -> list[Role]:
        statement = sql.SQL(
            "select distinct {principal}::text, {role}::text, {name}, {unit}, {inherits}, {root}"
            " from {link} l join {roles} t on {key} = {role} and t._live"
            " where l._live and {principal}::text = any(%s)"
        ).format(
            principal=column(link.left, of="l"),
            role=column(link.right, of="l"),
            name=as_text(roles.name),
            unit=as_text(roles.unit),
            root=as_text(roles.root),
            inherits=sql.SQL("coalesce({}, 0) = 1").format(column(roles.inherits, of="t"))
            if roles.inherits
            else sql.SQL("false"),
            link=table(link.entity),
            roles=table(roles.entity),
            key=self._key(roles.entity),
        )
        return [Role(*row) for row in await self._rows(statement, list(principals))]

    async def _depths(self, ids: Sequence[str]) -> dict[tuple[str, str], int]:
        """The depth of each (role, privilege)."""
        roles, scope = self._principals.roles, self._scope
        if not ids or roles is None:
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
        if principals.roles is None or principals.team is None or principals.team_unit is None or not teams:
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

    async def _permissions(self, profiles: Sequence[str]) -> dict[str, list[Permission]]:
        """What each of these column security profiles gives."""
        columns = self._principals.columns
        if columns is None or not profiles:
            return {}
        statement = sql.SQL(
            "select {profile}::text, {entity}, {attribute}, coalesce(bool_or({read}), false),"
            " coalesce(bool_or({create}), false), coalesce(bool_or({update}), false)"
            " from {table} t where t._live and {profile}::text = any(%s) group by 1, 2, 3"
        ).format(
            entity=column(columns.entity, of="t"),
            attribute=column(columns.attribute, of="t"),
            profile=column(columns.profile, of="t"),
            read=_allows(columns.can_read),
            create=_allows(columns.can_create),
            update=_allows(columns.can_update),
            table=table(columns.permissions),
        )
        found: dict[str, list[Permission]] = {}
        for profile, *permission in await self._rows(statement, list(profiles)):
            found.setdefault(profile, []).append(Permission(*permission))
        return found

    def _key(self, entity: str) -> sql.Composable:
        return column(self._keys[entity], of="t")


async def user_rows(
    connection: Connection, scope: Scope, principals: Principals, user_ids: Sequence[str]
) -> dict[str, UserRow]:
    entity = scope.entity_by_name[principals.user]
    extra = [sql.SQL(", {}").format(as_text(name)) for name in scope.user_attributes]
    statement = sql.SQL(
        "select {key}::text, {name}, {unit}, {off} {extra} from {table} t where t._live and {key}::text = any(%s)"
    )
    formatted = statement.format(
        name=as_text(principals.user_name),
        unit=as_text(principals.user_unit),
        off=as_flag(principals.user_disabled),
        extra=sql.SQL("").join(extra),
        table=table(entity.name),
        key=column(entity.key[0], of="t"),
    )
    rows = await (await connection.execute(formatted, [list(user_ids)])).fetchall()
    return {
        row[0]: UserRow(row[0], row[1], row[2], row[3], dict(zip(scope.user_attributes, row[4:], strict=True)))
        for row in rows
    }


def as_text(attribute: str | None) -> sql.Composable:
    return sql.SQL("{}::text").format(column(attribute, of="t")) if attribute else sql.SQL("null::text")


def _allows(attribute: str | None) -> sql.Composable:
    return sql.SQL("{} > 0").format(column(attribute, of="t")) if attribute else sql.SQL("false")


def as_flag(attribute: str | None) -> sql.Composable:
    return sql.SQL("coalesce({}, false)").format(column(attribute, of="t")) if attribute else sql.SQL("false")


def _grouped(rows: Iterable[tuple[Any, ...]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for left, right in rows:
        found.setdefault(left, []).append(right)
    return {left: tuple(right) for left, right in found.items()}


def _all_of(found: Mapping[str, Iterable[str]]) -> list[str]:
    return sorted({each for some in found.values() for each in some})
