"""Rows to be assigned, within one transaction: those that changed, and those that changes reach along paths.

`changed`: rows whose buckets are to be recomputed. `moved`: rows that went into or out of a bucket, by family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec
from psycopg import sql

from satchel.buckets.expressions import comparable, edge
from satchel.database.columns import column, postgres_type, table
from satchel.database.pool import Connection
from satchel.model.condition import Step
from satchel.model.metadata import Entity
from satchel.model.scope import Family, Scope, moving_leaves

_MAKE = """
create temp table if not exists changed (
    row_id bigint primary key, entity text not null, is_content boolean not null, was_live boolean, old text[]
) on commit delete rows;
create temp table if not exists moved (
    row_id bigint not null, family integer not null, primary key (family, row_id)
) on commit delete rows;
"""


async def begin_changes(connection: Connection) -> None:
    """Make the (empty) tables of this transaction."""
    await connection.execute("set local client_min_messages = warning")
    await connection.execute(_MAKE)


async def reach(connection: Connection, scope: Scope, entity: str) -> set[str]:
    """Add rows of other entities whose keys depend on the changed rows of this one; returns those entities.

    Cost: one query for each path that leads here. Only changes of what a path depends on go along it.
    """
    reached: set[str] = set()
    for family in scope.families:
        for path, names in family.reaches.items():
            if path[-1].entity != entity or _is_told_by_moves(family, path, names):
                continue
            statement = _reach(scope, family.entity, path)
            if (await connection.execute(statement)).rowcount:
                reached.add(family.entity)
    return reached


async def reach_moved(connection: Connection, scope: Scope, family: Family, sources: Sequence[int]) -> bool:
    """Add rows whose related rows went into or out of buckets of these families; True where there are some."""
    if family.related is None:
        return False
    path = family.related.path
    start, joins = _way_back(scope, family.entity, path)
    statement = sql.SQL(
        "insert into changed (row_id, entity, is_content) select distinct {start}._row, {entity}, false"
        " from moved m join {end} t0 on t0._row = m.row_id {joins}"
        " where m.family = any(%s) on conflict do nothing"
    ).format(start=start, entity=sql.Literal(family.entity), end=table(path[-1].entity), joins=joins)
    return bool((await connection.execute(statement, [list(sources)])).rowcount)


async def take_moving(connection: Connection, scope: Scope, seconds: float) -> bool:
    """Let the organization's moment pass by so many seconds, and put rows into `changed` whose conditions may turn.

    A comparison with now + offset turns for rows whose time lies between the old and the new edge.
    """
    before = sql.SQL("(select moment - make_interval(secs => {}) from satchel.head)").format(sql.Literal(seconds))
    await connection.execute("update satchel.head set moment = moment + make_interval(secs => %s)", [seconds])
    found = 0
    for family in scope.families:
        for path, leaf in moving_leaves(family):
            full = path + leaf.place.path
            end = scope.entity_by_name[full[-1].entity if full else family.entity]
            attribute = end.attribute_by_name[leaf.place.attribute]
            start, joins = _way_back(scope, family.entity, full)
            statement = sql.SQL(
                "insert into changed (row_id, entity, is_content) select distinct {start}._row, {entity}, false"
                " from {end} t0 {joins} where t0._live and {value} between {old} and {new} on conflict do nothing"
            ).format(
                start=start,
                entity=sql.Literal(family.entity),
                end=table(end.name),
                joins=joins,
                value=comparable(column(attribute.name, of="t0"), attribute)[0],
                old=edge(attribute, leaf.offset_seconds, before),
                new=edge(attribute, leaf.offset_seconds),
            )
            found += (await connection.execute(statement)).rowcount
    return found > 0


async def take_chunk(connection: Connection, entity: str, after_row: int, limit: int) -> int | None:
    """Put the entity's next rows into `changed`, to fill a new family; returns the last one, None at the end."""
    statement = sql.SQL(
        "with chunk as (select _row from {} where _row > %s and _live order by _row limit %s),"
        " put as (insert into changed (row_id, entity, is_content) select _row, %s, false from chunk)"
        " select max(_row) from chunk"
    )
    row = await (await connection.execute(statement.format(table(entity)), [after_row, limit, entity])).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def _is_told_by_moves(family: Family, path: tuple[Step, ...], names: frozenset[str]) -> bool:
    """Nothing of the row at the end matters but its bucket."""
    return family.related is not None and family.related.path == path and not names


def _reach(scope: Scope, entity: str, path: tuple[Step, ...]) -> sql.Composed:
    watched = scope.watched.get(path[-1].entity, ())
    return _reach_text(msgspec.json.encode((scope.entity_by_name[entity], path, _ends(scope, path), watched)))


@lru_cache(maxsize=512)
def _reach_text(definition: bytes) -> sql.Composed:
    entity, path, ends, watched = msgspec.json.decode(
        definition, type=tuple[Entity, tuple[Step, ...], tuple[Entity, ...], tuple[str, ...]]
    )
    start, joins = _join_back(entity, path, ends, watched)
    now = sql.SQL(", ").join(sql.SQL("{}::text").format(column(name, of="t0")) for name in watched)
    return sql.SQL(
        "insert into changed (row_id, entity, is_content) select distinct {start}._row, {entity}, false"
        " from changed c join {end} t0 on t0._row = c.row_id {joins}"
        " where c.entity = {end_name} and c.is_content and"
        " (c.was_live is distinct from t0._live or c.old is distinct from array[{now}]::text[])"
        " on conflict do nothing"
    ).format(
        start=start,
        entity=sql.Literal(entity.name),
        end=table(ends[-1].name),
        end_name=sql.Literal(ends[-1].name),
        joins=joins,
        now=now,
    )


def _ends(scope: Scope, path: tuple[Step, ...]) -> tuple[Entity, ...]:
    return tuple(scope.entity_by_name[step.entity] for step in path)


def _way_back(scope: Scope, entity: str, path: tuple[Step, ...]) -> tuple[sql.Identifier, sql.Composable]:
    return _join_back(scope.entity_by_name[entity], path, _ends(scope, path), None)


def _join_back(
    entity: Entity, path: tuple[Step, ...], ends: tuple[Entity, ...], watched: Sequence[str] | None
) -> tuple[sql.Identifier, sql.Composable]:
    """Joins from `t0`, the row at the path's end, back to the rows it starts from; with their alias.

    Where `watched` is given, a lookup of `t0` itself counts with its old value too (`c.old`): the row left there.
    """
    joins: list[sql.Composable] = []
    starts: Mapping[int, Entity] = dict(enumerate((entity, *ends[:-1])))
    for number, place in enumerate(reversed(range(len(path))), 1):
        step, before, after = path[place], starts[place], ends[place]
        here, there = f"t{number - 1}", f"t{number}"
        if step.is_backward:
            key = column(before.key[0], of=there)
            lookup: sql.Composable = column(step.attribute, of=here)
            tied = sql.SQL("{} = {}").format(key, lookup)
            if number == 1 and watched is not None and step.attribute in watched:
                kind = postgres_type(before.attribute_by_name[before.key[0]])
                old = sql.SQL("c.old[{}]::{}").format(sql.Literal(watched.index(step.attribute) + 1), kind)
                tied = sql.SQL("{} in ({}, {})").format(key, lookup, old)
        else:
            tied = sql.SQL("{} = {}").format(column(step.attribute, of=there), column(after.key[0], of=here))
        joins.append(sql.SQL("join {} {} on {}").format(table(before.name), sql.Identifier(there), tied))
    return sql.Identifier(f"t{len(path)}"), sql.SQL(" ").join(joins)
