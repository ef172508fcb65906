"""Whether a user's roles allow a change of a staged row.

Source of the rules: powerapps-docs, developer/data-platform/security-concepts.md, security-sharing-assigning.md
(`AccessRights`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.model.metadata import Right
from satchel.model.scope import Scope
from satchel.model.user import Grants, User

_SHARE_BIT: Mapping[Right, int] = {
    Right.WRITE: 2,
    Right.APPEND: 4,
    Right.APPEND_TO: 16,
    Right.DELETE: 65536,
    Right.ASSIGN: 524288,
}


def has_right(user: User, entity: str, right: Right) -> bool:
    """Some role gives the right for some row."""
    grants = user.rights.get(entity, {}).get(right)
    return grants is None or grants != Grants()


async def may(connection: Connection, scope: Scope, user: User, entity: str, row_id: int, right: Right) -> bool:
    """The user's roles, or a share, allow this for the row."""
    grants = user.rights.get(entity, {}).get(right)
    if grants is None or grants.everything:
        return True
    owner = scope.owners.get(entity)
    if owner is None or grants == Grants():
        return grants != Grants()
    ways: list[sql.Composable] = []
    values: list[Any] = [row_id]
    for attribute, ids in ((owner.owner, grants.owners), (owner.unit, grants.units)):
        if attribute and ids:
            ways.append(sql.SQL("{}::text = any(%s)").format(column(attribute, of="t")))
            values.append(list(ids))
    shares, bit = (scope.principals.shares if scope.principals else None), _SHARE_BIT.get(right)
    if shares and grants.shared_to and bit and shares.rights:
        masks = [name for name in (shares.rights, shares.inherited_rights) if name]
        ways.append(
            sql.SQL(
                "exists (select from {shares} s where s._live and s.{row} = t.{key} and s.{principal}::text = any(%s)"
                " and (({mask}) & %s) <> 0)"
            ).format(
                shares=table(shares.entity),
                row=column(shares.row),
                key=column(scope.entity_by_name[entity].key[0]),
                principal=column(shares.principal),
                mask=sql.SQL(" | ").join(sql.SQL("coalesce(s.{}, 0)").format(column(name)) for name in masks),
            )
        )
        values += [list(grants.shared_to), bit]
    if not ways:
        return False
    statement = sql.SQL("select exists (select from {} t where t._row = %s and ({}))").format(
        table(entity), sql.SQL(" or ").join(ways)
    )
    row = await (await connection.execute(statement, values)).fetchone()
    return bool(row and row[0])
