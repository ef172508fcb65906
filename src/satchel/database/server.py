"""Databases and roles on a PostgreSQL server: one of each for every organization."""

from __future__ import annotations

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from satchel.database.pool import Connection
from satchel.errors import DatabaseUnusable, StoreBusy


def url_of(server_url: str, *, database: str, user: str | None = None, password: str | None = None) -> str:
    """The connection string of another database on the same server."""
    parts = conninfo_to_dict(server_url)
    parts["dbname"] = database
    if user is not None:
        parts["user"] = user
        parts["password"] = password
    return make_conninfo("", **{key: str(value) for key, value in parts.items() if value is not None})


async def ensure_database(server_url: str, name: str, *, owner: str | None = None) -> None:
    """Create the database unless it stands."""
    async with await _connect(server_url) as connection:
        row = await (await connection.execute("select 1 from pg_database where datname = %s", [name])).fetchone()
        if row is None:
            await _create(connection, name, owner)
        revoke = sql.SQL("revoke all on database {} from public")
        await connection.execute(revoke.format(sql.Identifier(name)))


async def ensure_role(server_url: str, name: str, password: str) -> None:
    """Create the login role, or set its password if it stands. The server, and so its log, sees only the verifier."""
    async with await _connect(server_url) as connection:
        row = await (await connection.execute("select 1 from pg_roles where rolname = %s", [name])).fetchone()
        # Who may make roles may not name `superuser` for one that stands, not even to say that it is none.
        begin = sql.SQL("alter role {} login" if row else "create role {} login nosuperuser nocreatedb nocreaterole")
        verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        statement = sql.SQL("{} password {}").format(begin.format(sql.Identifier(name)), sql.Literal(verifier))
        await connection.execute(statement)
        # A creator that is no superuser must be a member of the role to make it a database's owner.
        if not row:
            await connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(name)))


async def drop_database(server_url: str, name: str) -> None:
    """Drop the database if it stands, with the connections to it."""
    async with await _connect(server_url) as connection:
        await connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


async def drop_role(server_url: str, name: str) -> None:
    """Drop the role if it stands."""
    async with await _connect(server_url) as connection:
        await connection.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(name)))


async def database_names(server_url: str, prefix: str) -> list[str]:
    """Names of the databases that begin with `prefix`."""
    async with await _connect(server_url) as connection:
        cursor = await connection.execute("select datname from pg_database where starts_with(datname, %s)", [prefix])
        return [str(row[0]) for row in await cursor.fetchall()]


async def server_version(server_url: str) -> str:
    """The server's version, such as 15.18. Errors: StoreBusy, DatabaseUnusable."""
    async with await _connect(server_url) as connection:
        return str(connection.info.parameter_status("server_version") or "")


async def database_bytes(connection: Connection) -> int:
    """How large the connected database is, with its indexes."""
    row = await (await connection.execute("select pg_database_size(current_database())")).fetchone()
    return int(row[0]) if row else 0


async def _create(connection: psycopg.AsyncConnection[tuple[object, ...]], name: str, owner: str | None) -> None:
    """With a character type that knows letters beyond ASCII, where the server has one: text compares without case."""
    owned = sql.SQL(" owner {}").format(sql.Identifier(owner)) if owner else sql.SQL("")
    plain = sql.SQL("create database {} encoding 'UTF8' template template0").format(sql.Identifier(name)) + owned
    try:
        await connection.execute(plain + sql.SQL(" lc_ctype 'C.UTF-8'"))
    except psycopg.errors.WrongObjectType:
        await connection.execute(plain)


async def _connect(server_url: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    try:
        return await psycopg.AsyncConnection.connect(server_url, autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no answer"
        if "authentication failed" in reason or "does not exist" in reason:
            raise DatabaseUnusable(
                f"PostgreSQL refuses the connection: {reason}", hint="Check [database] url (SATCHEL_DATABASE__URL)."
            ) from error
        raise StoreBusy(f"PostgreSQL does not answer: {reason}") from error
