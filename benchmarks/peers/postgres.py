"""PostgreSQL as peers want it: over TCP, with logical replication. The same binaries as Satchel's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import psycopg

from satchel.database.embedded import EmbeddedPostgres
from tests.support.processes import free_port

_INSTEAD = {
    "wal_level=minimal": "wal_level=logical",
    "max_wal_senders=0": "max_wal_senders=20",
    "listen_addresses=": "listen_addresses=127.0.0.1",
}


class PeerPostgres(EmbeddedPostgres):
    """One server for one peer."""

    def __init__(self, folder: Path) -> None:
        """Choose a port."""
        super().__init__(folder)
        self._port = free_port()

    def database(self, name: str) -> str:
        """Make a database; its URL over TCP."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"')  # type: ignore[arg-type]
        return f"postgresql://postgres@127.0.0.1:{self._port}/{name}"

    def _as_user(self, command: Sequence[str]) -> list[str]:
        """The server's command, as the peer wants it; other commands as they are."""
        changed = [_INSTEAD.get(word, word) for word in command]
        port = ["-c", f"port={self._port}"] if changed != list(command) else []
        return super()._as_user([*changed, *port])

    @property
    def url(self) -> str:
        """Over TCP: the socket's name carries the port too."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"


def database_bytes(url: str) -> int:
    """What a database takes beyond an empty one."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select pg_database_size(current_database()) - pg_database_size('template0')"
        ).fetchone()
    assert row is not None
    return int(row[0])
