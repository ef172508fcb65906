"""Users as they were last read."""

from __future__ import annotations

from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.errors import SignInRefused
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.staging.head import Head
from satchel.staging.principals import read_user

_USERS_KEPT = 4096


class Users:
    """Users as they were last read: one who is asked for again costs no query until principals change."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._known: dict[tuple[str, int, str], User | None] = {}

    async def find(self, connection: Connection, head: Head, scope: Scope, user_id: str) -> User | None:
        """The user, as of this head."""
        key = (head.epoch, head.binding, user_id)
        if key not in self._known:
            while len(self._known) >= _USERS_KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = await read_user(connection, scope, user_id)
        return self._known[key]


def no_user() -> SignInRefused:
    """What is said where there is no such user, and no such organization."""
    return SignInRefused(
        "The source has no user for this sign-in.",
        hint="Check the organization's name; sign in as another user, or ask your administrator.",
    )


async def find_signed_in(connection: Connection, scope: Scope, attribute: str, value: str) -> User:
    """The enabled user of the source in whose row an attribute has this value, whatever its case.

    Without a user entity, the value itself is the user. Errors: SignInRefused.
    """
    principals = scope.principals
    if principals is not None:
        entity = scope.entity_by_name[principals.user]
        if attribute not in {*principals.user_identifiers, entity.key[0]} & entity.attribute_by_name.keys():
            raise SignInRefused(
                f"Users of this organization are not known by {attribute!r} yet.",
                hint="Your administrator finds what to do in docs/how-to/sign-in-with-entra-id.md.",
            )
        statement = sql.SQL(
            "select {key}::text from {table} t where t._live and lower({given}::text) = lower(%s) limit 2"
        )
        formatted = statement.format(
            key=column(entity.key[0], of="t"), table=table(entity.name), given=column(attribute, of="t")
        )
        rows = await (await connection.execute(formatted, [value])).fetchall()
        if len(rows) > 1:
            raise SignInRefused("Several users at the source fit this sign-in.")
        value = rows[0][0] if rows else ""
    user = await read_user(connection, scope, value) if value else None
    if user is None:
        raise no_user()
    if not user.is_enabled:
        raise SignInRefused("The user for this sign-in is disabled at the source.")
    return user
