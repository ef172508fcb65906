"""The organization's head: newest op id, binding version, compiled scope - one row of its staging database."""

from __future__ import annotations

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.errors import StoreBusy
from satchel.model.ids import OpId
from satchel.model.scope import Scope

_SQL = load_queries(__file__)


class Head(msgspec.Struct, frozen=True):
    """Where an organization's copy stands. Equal heads mean that there is nothing new for anyone."""

    epoch: str
    """Made anew with the staging database."""
    op: OpId
    binding: int
    """Rises when users' buckets may be others."""
    model_digest: str


async def make_head(connection: Connection, epoch: str) -> None:
    """Make the head of a new staging database."""
    await connection.execute(_SQL["make"], {"epoch": epoch})


async def read_head(connection: Connection) -> Head:
    """The head as this transaction sees it. Errors: StoreBusy while the organization is being provisioned."""
    row = await (await connection.execute(_SQL["read"])).fetchone()
    if row is None:
        raise StoreBusy("The organization is being provisioned.", hint="Try again in a minute.")
    return Head(*row)


async def read_scope(connection: Connection) -> Scope:
    """The compiled profile."""
    row = await (await connection.execute(_SQL["scope"])).fetchone()
    return msgspec.json.decode(row[0] if row else "{}", type=Scope)


async def store_scope(connection: Connection, scope: Scope) -> bool:
    """Store the compiled profile; True where it differs from the one before."""
    parameters = {
        "scope": msgspec.json.encode(scope, order="deterministic").decode(),
        "model": msgspec.json.encode(scope.client_model).decode(),
        "digest": scope.client_model.digest,
    }
    return (await connection.execute(_SQL["set_scope"], parameters)).rowcount == 1
