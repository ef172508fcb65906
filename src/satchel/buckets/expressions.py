"""Conditions and parts of keys as SQL over staging tables. Values stand in it as typed literals only. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from psycopg import sql

from satchel.database.columns import column, postgres_type, table
from satchel.model.condition import (
    Comparison,
    Condition,
    Constant,
    Either,
    Every,
    Exists,
    MomentComparison,
    Operator,
    Opposite,
    Place,
    Step,
)
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.model.scope import Part, PartKind

SEPARATOR = sql.SQL("chr(31)")
"""Stands between the values of a part with several."""
_SIGNS = {
    Operator.GT: sql.SQL(">"),
    Operator.GE: sql.SQL(">="),
    Operator.LT: sql.SQL("<"),
    Operator.LE: sql.SQL("<="),
}


class Expressions:
    """Writes expressions for one statement: every table along a path gets an alias of its own."""

    def __init__(self, entities: Mapping[str, Entity]) -> None:
        """The staged entities by name."""
        self._entities = entities
        self._count = 0

    def part(self, part: Part, entity: Entity, alias: str) -> sql.Composable:
        """The part's value for the row `alias`, as text."""
        if part.kind is PartKind.FLAG:
            assert part.term is not None  # noqa: S101 - a flag has a condition
            return sql.SQL("case when {} then 't' else 'f' end").format(self.condition(part.term, entity, alias))
        assert part.place is not None  # noqa: S101 - the others have a place
        if part.kind is PartKind.VALUE:
            plain = sql.SQL("lower({}::text)" if part.ignores_case else "{}::text")
            return self._at(part.place, entity, alias, lambda value, _: plain.format(value))
        tables, end, last = self.path(part.path, entity, alias)
        # Without the separator, so that no value can pass for several.
        single = sql.SQL("replace(lower({}::text), {}, '')" if part.ignores_case else "replace({}::text, {}, '')")
        value = self._at(part.place, end, last, lambda value, _: single.format(value, SEPARATOR))
        term = sql.SQL("true") if part.term is None else self.condition(part.term, end, last)
        return sql.SQL(
            "(select string_agg(distinct v.value, {separator} order by v.value)"
            " from (select {value} as value from {tables} and {term}) v)"
        ).format(separator=SEPARATOR, value=value, tables=tables, term=term)

    def condition(self, term: Condition, entity: Entity, alias: str) -> sql.Composable:
        """A static condition on the row `alias`: true or false, never null."""
        match term:
            case Constant(value):
                return sql.SQL("true" if value else "false")
            case Every(terms) | Either(terms):
                join = sql.SQL(" and " if isinstance(term, Every) else " or ").join
                return sql.SQL("({})").format(join(self.condition(each, entity, alias) for each in terms))
            case Opposite(inner):
                return sql.SQL("not {}").format(self.condition(inner, entity, alias))
            case Exists(path, inner):
                tables, end, last = self.path(path, entity, alias)
                found = self.condition(inner, end, last)
                return sql.SQL("exists (select from {} and {})").format(tables, found)
            case Comparison(place, operator, values, ignores_case):
                return self._at(
                    place,
                    entity,
                    alias,
                    lambda value, attribute: _compared(value, attribute, operator, values, ignores_case=ignores_case),
                    missing=sql.SQL("true" if operator in {Operator.IS_NULL, Operator.NE} else "false"),
                )
            case MomentComparison(place, operator, offset):
                return self._at(
                    place,
                    entity,
                    alias,
                    lambda value, attribute: _moved(value, attribute, operator, offset),
                    missing=sql.SQL("false"),
                )
        raise AssertionError(term)

    def path(self, path: tuple[Step, ...], entity: Entity, alias: str) -> tuple[sql.Composed, Entity, str]:
        """`a join b on ... where` the path from the row `alias`; with the entity it leads to, and that one's alias."""
        tables, tied, end, last = self.joined(path, entity, alias)
        return sql.SQL("{} where {}").format(tables, tied), end, last

    def joined(
        self, path: tuple[Step, ...], entity: Entity, alias: str
    ) -> tuple[sql.Composable, sql.Composable, Entity, str]:
        """The path's tables, and what ties the first of them to the row `alias`; then as `path`."""
        joins: list[sql.Composable] = []
        first: sql.Composable = sql.SQL("")
        for step in path:
            reached = self._entities[step.entity]
            self._count += 1
            name = f"p{self._count}"
            tied = hop(entity, alias, step, reached, name)
            if not joins:
                joins.append(sql.SQL("{} {}").format(table(reached.name), sql.Identifier(name)))
                first = tied
            else:
                joins.append(sql.SQL("join {} {} on {}").format(table(reached.name), sql.Identifier(name), tied))
            entity, alias = reached, name
        return sql.SQL(" ").join(joins), first, entity, alias

    def _at(
        self,
        place: Place,
        entity: Entity,
        alias: str,
        write: Callable[[sql.Composable, Attribute], sql.Composable],
        missing: sql.Composable | None = None,
    ) -> sql.Composable:
        """What `write` makes of the value at a place; `missing` where a lookup leads nowhere."""
        if not place.path:
            return write(column(place.attribute, of=alias), entity.attribute_by_name[place.attribute])
        tables, end, last = self.path(place.path, entity, alias)
        value = write(column(place.attribute, of=last), end.attribute_by_name[place.attribute])
        found = sql.SQL("(select {} from {})").format(value, tables)
        return found if missing is None else sql.SQL("coalesce({}, {})").format(found, missing)


def hop(entity: Entity, alias: str, step: Step, reached: Entity, name: str) -> sql.Composed:
    """The condition that ties the row `name` of the entity reached to the row `alias`."""
    if step.is_backward:
        left, right = column(step.attribute, of=name), column(entity.key[0], of=alias)
    else:
        left, right = column(reached.key[0], of=name), column(step.attribute, of=alias)
    return sql.SQL("{} = {} and {}._live").format(left, right, sql.Identifier(name))


def _compared(
    value: sql.Composable, attribute: Attribute, operator: Operator, values: tuple[str, ...], *, ignores_case: bool
) -> sql.Composable:
    if operator is Operator.IS_NULL:
        return sql.SQL("{} is null").format(value)
    value, kind = comparable(value, attribute)
    literals: list[sql.Composable] = [sql.SQL("{}::{}").format(sql.Literal(each), kind) for each in values]
    if ignores_case:
        value = sql.SQL("lower({})").format(value)
        literals = [sql.SQL("lower({})").format(each) for each in literals]
    if operator is Operator.NE:
        return sql.SQL("{} is distinct from {}").format(value, literals[0])
    if operator is Operator.HAS_BIT:
        return sql.SQL("coalesce({} & {} <> 0, false)").format(value, literals[0])
    if operator in {Operator.EQ, Operator.IN}:
        return sql.SQL("coalesce({} in ({}), false)").format(value, sql.SQL(", ").join(literals))
    if operator in _SIGNS:
        return sql.SQL("coalesce({} {} {}, false)").format(value, _SIGNS[operator], literals[0])
    if operator is Operator.CONTAINS:
        return sql.SQL("coalesce(strpos({}, {}) > 0, false)").format(value, literals[0])
    if operator is Operator.STARTS_WITH:
        return sql.SQL("coalesce(starts_with({}, {}), false)").format(value, literals[0])
    return sql.SQL("coalesce(right({value}, length({end})) = {end}, false)").format(value=value, end=literals[0])


def _moved(value: sql.Composable, attribute: Attribute, operator: Operator, offset: int) -> sql.Composable:
    value, _ = comparable(value, attribute)
    return sql.SQL("coalesce({} {} {}, false)").format(value, _SIGNS[operator], edge(attribute, offset))


def comparable(value: sql.Composable, attribute: Attribute) -> tuple[sql.Composable, sql.SQL]:
    """The value and its type; a time that is finer than PostgreSQL's is staged as text."""
    kind = postgres_type(attribute)
    if attribute.type is AttributeType.DATETIME and kind == sql.SQL("text"):
        return sql.SQL("{}::timestamptz").format(value), sql.SQL("timestamptz")
    return value, kind


def edge(attribute: Attribute, offset: int, moment: sql.Composable | None = None) -> sql.Composable:
    """The time with which a moving comparison compares: that of `head.moment` (or another) plus the offset."""
    base = moment or sql.SQL("(select moment from satchel.head)")
    moved = sql.SQL("{} + make_interval(secs => {})").format(base, sql.Literal(offset))
    if attribute.type is AttributeType.DATE:
        return sql.SQL("(({}) at time zone 'UTC')::date").format(moved)
    return sql.SQL("({})").format(moved)
