"""A transaction of the test's that something must wait for: it stands still at a named step, as long as is needed."""

from __future__ import annotations

import contextlib

import psycopg

from tests.support.debian_postgres import DebianPostgres

_WAITING = """
select pid from pg_stat_activity
where %(holder)s = any(pg_blocking_pids(pid)) and query ilike %(query)s and application_name like 'satchel%%'
"""
_CUT = "select pg_terminate_backend(pid) from (" + _WAITING + ") waiting"


class Stall:
    """Holds what `holding` takes in a transaction; who gets to the statement `stopped` (a pattern) waits for it."""

    def __init__(self, server: DebianPostgres, database: str, holding: str, stopped: str) -> None:
        """Hold it from now on."""
        self._stopped = stopped
        self._looking = psycopg.connect(server.superuser_url, autocommit=True, application_name="test")
        self._connection = psycopg.connect(server.superuser_url, dbname=database, application_name="stall")
        self._pid = self._connection.info.backend_pid
        self._connection.execute(holding.encode())

    def is_reached(self) -> bool:
        """Somebody stands there."""
        return bool(self._run(_WAITING))

    def cut(self) -> bool:
        """Break the connections of who stands there; False where nobody does."""
        return bool(self._run(_CUT))

    def let_go(self) -> None:
        """Hold nothing any more; also where the server was killed meanwhile."""
        with contextlib.suppress(psycopg.OperationalError):
            self._connection.rollback()
        self._connection.close()
        self._looking.close()

    def _run(self, query: str) -> list[tuple[object, ...]]:
        return self._looking.execute(query.encode(), {"holder": self._pid, "query": self._stopped}).fetchall()
