"""The buckets a user is bound to: those whose keys meet the conditions of the scope with the user's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from psycopg import sql

from satchel.database.pool import Connection
from satchel.model.condition import (
    NEVER,
    Assigned,
    Condition,
    Constant,
    Either,
    Every,
    Operator,
    Opposite,
    PartFlag,
    PartGranted,
    PartRelated,
    PartUser,
    either,
    every,
    opposite,
)
from satchel.model.ids import BucketId
from satchel.model.scope import Binding, Family, PartKind, Scope
from satchel.model.user import Grants, User


async def bound_buckets(
    connection: Connection, scope: Scope, ids: Mapping[str, int], user: User
) -> dict[BucketId, Family]:
    """The buckets the user is bound to, with their families. Cost: one query for each level of related rows.

    `ids`: the standing families by name.
    """
    bound: dict[BucketId, Family] = {}
    by_family: dict[str, list[int]] = {}
    for level in _levels(scope):
        parameters = _Parameters()
        selects: list[sql.Composable] = []
        families: dict[int, Family] = {}
        for binding in level:
            family = binding.family
            condition = for_user(binding.condition, user)
            if condition == NEVER or family.name not in ids:
                continue
            held = [bucket for name in family.sources for bucket in by_family.get(name, ())]
            families[ids[family.name]] = family
            selects.append(
                sql.SQL("select b.family, b.id from satchel.bucket b where b.family = {} and {}").format(
                    sql.Literal(ids[family.name]), _sql(condition, family, user, parameters, held)
                )
            )
        if selects:
            cursor = await connection.execute(sql.SQL(" union ").join(selects), parameters.values)
            for family_id, bucket in await cursor.fetchall():
                bound[BucketId(bucket)] = families[family_id]
                by_family.setdefault(families[family_id].name, []).append(bucket)
    return bound


def for_user(term: Condition, user: User) -> Condition:
    """The condition with what is the same for all rows decided."""
    match term:
        case Every(terms):
            return every(*(for_user(each, user) for each in terms))
        case Either(terms):
            return either(*(for_user(each, user) for each in terms))
        case Opposite(inner):
            return opposite(for_user(inner, user))
        case Assigned(profile):
            return Constant(value=profile in user.profiles)
        case PartGranted(entity, owner, unit, shares):
            grants = user.grants.get(entity, Grants(everything=True))
            if grants.everything:
                return Constant(value=True)
            is_possible = (
                (owner is not None and grants.owners)
                or (unit is not None and grants.units)
                or (shares is not None and grants.shared_to)
            )
            return term if is_possible else NEVER
        case PartUser(_, operator, parameter):
            return term if user.values(parameter) else Constant(value=operator is Operator.NE)
    return term


class _Parameters:
    """Values of one statement; equal ones are sent once."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def texts(self, values: Sequence[str]) -> sql.Composable:
        key = tuple(values)
        name = self._names.setdefault(key, f"v{len(self._names)}")
        self.values[name] = list(key)
        return sql.SQL("{}::text[]").format(sql.Placeholder(name))

    def numbers(self, values: Sequence[int]) -> sql.Composable:
        name = f"n{len(self.values)}"
        self.values[name] = [str(value) for value in values]
        return sql.SQL("{}::text[]").format(sql.Placeholder(name))


def _levels(scope: Scope) -> Iterable[list[Binding]]:
    """Bindings by how many families stand between them and rows of their own."""
    level_by_name: dict[str, int] = {}
    levels: dict[int, list[Binding]] = {}
    for binding in scope.bindings:  # sources first
        level = 1 + max((level_by_name.get(name, 0) for name in binding.family.sources), default=-1)
        level_by_name[binding.family.name] = max(level, level_by_name.get(binding.family.name, 0))
        levels.setdefault(level, []).append(binding)
    return [levels[level] for level in sorted(levels)]


def _sql(term: Condition, family: Family, user: User, parameters: _Parameters, held: Sequence[int]) -> sql.Composable:
    match term:
        case Constant(value):
            return sql.SQL("true" if value else "false")
        case Every(terms) | Either(terms):
            join = sql.SQL(" and " if isinstance(term, Every) else " or ").join
            return sql.SQL("({})").format(join(_sql(each, family, user, parameters, held) for each in terms))
        case Opposite(inner):
            return sql.SQL("not {}").format(_sql(inner, family, user, parameters, held))
        case PartFlag(part):
            return sql.SQL("b.key[{}] = 't'").format(_at(part))
        case PartRelated():
            return sql.SQL("b.key[{}] = any({})").format(_at(len(family.parts) - 1), parameters.numbers(held))
        case PartUser(part, operator, parameter):
            found = _meets(part, family, parameters.texts(user.values(parameter)))
            return sql.SQL("not {}").format(found) if operator is Operator.NE else found
        case PartGranted(entity, owner, unit, shares):
            grants = user.grants[entity]
            reached = ((owner, grants.owners), (unit, grants.units), (shares, grants.shared_to))
            ways = [_meets(part, family, parameters.texts(ids)) for part, ids in reached if part is not None and ids]
            return sql.SQL("({})").format(sql.SQL(" or ").join(ways))
    raise AssertionError(term)


def _meets(part: int, family: Family, values: sql.Composable) -> sql.Composable:
    """The part is one of the values, or has one of them; a missing one never."""
    if family.parts[part].ignores_case:
        values = sql.SQL("(select array_agg(lower(v)) from unnest({}) v)").format(values)
    if family.parts[part].kind is PartKind.VALUES:
        part_key = sql.SQL("b.key[{}]").format(_at(part))
        held = sql.SQL("case {0} when '' then array[''] else string_to_array({0}, chr(31)) end").format(part_key)
        return sql.SQL("coalesce({} && {}, false)").format(held, values)
    return sql.SQL("coalesce(b.key[{}] = any({}), false)").format(_at(part), values)


def _at(part: int) -> sql.Composable:
    return sql.Literal(part + 1)
