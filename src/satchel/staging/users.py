"""Users as they were last read, and since when they are the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import msgspec
from psycopg import sql

from satchel.database.columns import column, table
from satchel.database.pool import Connection
from satchel.errors import SignInRefused
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.staging.head import Head
from satchel.staging.principals import read_user, read_users

_USERS_KEPT = 4096
_USERS_AT_ONCE = 500
_GROUNDS_KEPT = 1000


class _Known(msgspec.Struct):
    """A user who was the same at every binding version that was settled from `since` to `as_of`."""

    user: User | None
    since: int
    as_of: int


class Users:
    """Users as they were last read: one who is asked for again costs no query until principals change.

    When they did, all who are known are read together (`settle`). Who is the same then, on the same ground, is bound to
    the same buckets as before. Only settled versions are compared: what was so in between, nobody knows.
    """

    def __init__(self) -> None:
        """Know nobody yet."""
        self._epoch = ""
        self._known: dict[str, _Known] = {}
        self._fresh: dict[tuple[int, str], User | None] = {}
        self._grounds: dict[int, Hashable] = {}
        """By binding version, in order."""

    async def find(self, connection: Connection, head: Head, scope: Scope, user_id: str) -> User | None:
        """The user, as of this head."""
        self._begin(head.epoch)
        if self.knows(user_id, head.binding):
            return self._known[user_id].user
        key = (head.binding, user_id)
        if key not in self._fresh:
            _make_room(self._fresh, _USERS_KEPT)
            self._fresh[key] = await read_user(connection, scope, user_id)
        return self._fresh[key]

    async def settle(
        self, connection: Connection, head: Head, scope: Scope, ground: Hashable, wanted: Iterable[str]
    ) -> None:
        """Read all who are known or wanted, as of this head. `ground`: all else that their buckets follow from.

        Cost: up to nine queries for each 500 users who were not read as of this binding version yet.
        """
        self._begin(head.epoch)
        last = next(reversed(self._grounds), -1)
        if head.binding < last:
            return
        waiting = [each for each in {*self._known, *wanted} if not self.knows(each, head.binding)]
        for start in range(0, len(waiting), _USERS_AT_ONCE):
            found = await read_users(connection, scope, waiting[start : start + _USERS_AT_ONCE])
            if self._epoch != head.epoch:
                return  # another database meanwhile
            for user_id, user in found.items():
                known = self._known.pop(user_id, None)
                if known is None or known.as_of != last or known.user != user:
                    known = _Known(user, head.binding, head.binding)
                known.as_of = head.binding
                _make_room(self._known, _USERS_KEPT)
                self._known[user_id] = known
        if head.binding not in self._grounds:
            _make_room(self._grounds, _GROUNDS_KEPT)
            self._grounds[head.binding] = ground
            self._fresh.clear()

    def is_settled(self, head: Head) -> bool:
        """All who are known were read as of this binding version."""
        return head.epoch == self._epoch and head.binding in self._grounds

    def knows(self, user_id: str, binding: int) -> bool:
        """The user was read as of this binding version."""
        known = self._known.get(user_id)
        return known is not None and known.as_of == binding

    def known(self, user_id: str, binding: int) -> User | None:
        """The user as of this binding version, one object as long as the same is read; None also where not known."""
        return self._known[user_id].user if self.knows(user_id, binding) else None

    def is_same(self, user_id: str, before: int, now: int) -> bool:
        """The user was bound to the same buckets at both binding versions, those made in between left out."""
        known, grounds = self._known.get(user_id), self._grounds
        return (
            known is not None
            and known.since <= before
            and known.as_of == now
            and before in grounds
            and now in grounds
            and grounds[before] == grounds[now]
        )

    def _begin(self, epoch: str) -> None:
        if epoch != self._epoch:
            self._epoch = epoch
            self._known, self._fresh, self._grounds = {}, {}, {}


def _make_room(kept: dict[Any, Any], most: int) -> None:
    while len(kept) >= most:
        del kept[next(iter(kept))]


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
