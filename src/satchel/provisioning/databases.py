"""Each organization's staging database and the role that owns it - and nothing else on its server."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping

from satchel.database.migrate import migrate
from satchel.database.pool import Connection, Database, connects_with
from satchel.database.server import database_names, drop_database, drop_role, ensure_database, ensure_role, url_of
from satchel.errors import StoreBusy
from satchel.identity.keys import PurposeKeys
from satchel.provisioning.organizations import Organization


class StagingDatabases:
    """Makes, opens and drops staging databases, each on the server where its organization lives."""

    def __init__(
        self,
        url_by_server: Mapping[str, str],
        password_keys: PurposeKeys,
        *,
        statement_timeout_seconds: float,
        on_connect: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        """`password_keys` are what roles' passwords are derived from: nothing to store, nothing to leak.
        `on_connect`: done with each new connection to a staging database before it is used."""
        self._url_by_server = dict(url_by_server)
        self._keys = password_keys
        self._statement_timeout_seconds = statement_timeout_seconds
        self._on_connect = on_connect

    async def make(self, organization: Organization, *, with_post: bool = True) -> None:
        """Make role and database and bring the schema to this version; again is harmless."""
        await self.make_empty(organization.database_name, organization.place)
        await self.migrate(organization, with_post=with_post)

    async def migrate(self, organization: Organization, *, with_post: bool) -> int:
        """Bring the schema to this version; returns how many migrations ran. Errors: StoreBusy, DatabaseTooNew."""
        async with self.open(organization, pool_size=1) as database:
            return await migrate(database, "staging", with_post=with_post)

    async def make_empty(self, name: str, server: str) -> None:
        """Make role and database on a server, with nothing in it; again is harmless."""
        url = self.server_url(server)
        await ensure_role(url, name, self._passwords(name)[0])
        await ensure_database(url, name, owner=name)

    async def drop(self, organization: Organization, server: str | None = None) -> None:
        """Drop database and role, where the organization lives or on another server; again is harmless."""
        await self.drop_named(server or organization.place, organization.database_name)

    async def drop_named(self, server: str, database_name: str) -> None:
        """Drop a staging database and its role; again is harmless."""
        url = self.server_url(server)
        await drop_database(url, database_name)
        await drop_role(url, database_name)

    async def drop_copy(self, organization: Organization, server: str, move: str) -> None:
        """Drop what a move copied there; what is no copy of this move is kept. Errors: StoreBusy."""
        if await self.is_there(organization, server):
            name = organization.database_name
            copy = Database(self.url(name, server), pool_size=1, connection_class=self.connections(name))
            async with copy as database:
                is_begun = (await database.fetch("select to_regclass('satchel_copy.copy') is not null"))[0][0]
                if is_begun:
                    is_ours = [(move,)] == await database.fetch("select move from satchel_copy.copy")
                else:
                    is_ours = not (await database.fetch("select to_regclass('satchel.version') is not null"))[0][0]
            if not is_ours:
                raise StoreBusy("A database of this name is there, and it is no copy of this move; it is kept.")
        await self.drop(organization, server)

    async def is_there(self, organization: Organization, server: str) -> bool:
        """The server has a database of the organization."""
        name = organization.database_name
        return name in await database_names(self.server_url(server), name)

    def open(self, organization: Organization, *, pool_size: int) -> Database:
        """The organization's database, as its own role. Enter the result to connect. Errors: StoreBusy."""
        return Database(
            self.url(organization.database_name, organization.place),
            pool_size=pool_size,
            statement_timeout_seconds=self._statement_timeout_seconds,
            connection_class=self.connections(organization.database_name),
            kind="staging",
            on_connect=self._on_connect,
        )

    def connections(self, name: str) -> type[Connection]:
        """Connections as an organization's role, with the password of whichever key it has now."""
        return connects_with(lambda: self._passwords(name))

    def url(self, name: str, server: str) -> str:
        """A staging database on a server, as its own role."""
        return url_of(self.server_url(server), database=name, user=name, password=self._passwords(name)[0])

    def server_url(self, server: str) -> str:
        """The server of that name. Errors: StoreBusy where this process's settings do not name it (yet)."""
        url = self._url_by_server.get(server)
        if url is None:
            raise StoreBusy(f"The settings name no server {server!r}.", hint="Add it to [staging.servers].")
        return url

    async def set_password(self, organization: Organization) -> None:
        """Give the role the password of the newest key; connections that stand go on."""
        name = organization.database_name
        await ensure_role(self.server_url(organization.place), name, self._passwords(name)[0])

    def _passwords(self, role: str) -> list[str]:
        """Of each key, newest first."""
        return [hmac.new(key, role.encode(), hashlib.sha256).hexdigest() for key in self._keys.all]


def new_epoch() -> str:
    """A name for a new staging database's life: cursors of another one start over."""
    return secrets.token_hex(8)
