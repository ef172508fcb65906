"""Users as they were last read."""

from __future__ import annotations

from satchel.database.pool import Connection
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
