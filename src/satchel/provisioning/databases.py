"""Each organization's staging database and the role that owns it - and nothing else on the server."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from satchel.database.migrate import migrate
from satchel.database.pool import Database
from satchel.database.server import drop_database, drop_role, ensure_database, ensure_role, url_of
from satchel.provisioning.organizations import Organization


class StagingDatabases:
    """Makes, opens and drops staging databases on one server."""

    def __init__(self, server_url: str, password_key: bytes, *, statement_timeout_seconds: float) -> None:
        """`password_key` is the key from which each role's password is derived: nothing to store, nothing to leak."""
        self._server_url = server_url
        self._key = password_key
        self._statement_timeout_seconds = statement_timeout_seconds

    async def make(self, organization: Organization) -> None:
        """Make role and database and bring the schema to this version; again is harmless."""
        name = organization.database_name
        await ensure_role(self._server_url, name, self._password(name))
        await ensure_database(self._server_url, name, owner=name)
        async with self.open(organization, pool_size=1) as database:
            await migrate(database, "staging")

    async def drop(self, organization: Organization) -> None:
        """Drop database and role; again is harmless."""
        await drop_database(self._server_url, organization.database_name)
        await drop_role(self._server_url, organization.database_name)

    def open(self, organization: Organization, *, pool_size: int) -> Database:
        """The organization's database, as its own role. Enter the result to connect."""
        name = organization.database_name
        url = url_of(self._server_url, database=name, user=name, password=self._password(name))
        return Database(url, pool_size=pool_size, statement_timeout_seconds=self._statement_timeout_seconds)

    def _password(self, role: str) -> str:
        return hmac.new(self._key, role.encode(), hashlib.sha256).hexdigest()


def new_epoch() -> str:
    """A name for a new staging database's life: cursors of another one start over."""
    return secrets.token_hex(8)
