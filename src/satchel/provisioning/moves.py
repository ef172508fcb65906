"""Moves of staging databases between servers, as the control database records them: it says which place counts."""

from __future__ import annotations

import secrets
from datetime import datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.database.queries import load_queries
from satchel.errors import InputInvalid
from satchel.provisioning.organizations import Organization

_SQL = load_queries(__file__)


class Move(msgspec.Struct, frozen=True):
    """One move."""

    id: str
    from_server: str
    to_server: str
    state: str
    """`copying`: the old place counts; `switched`: the new one."""
    is_aborted: bool
    progress: str | None
    began_at: datetime


class Moves:
    """The register of moves."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def find(self, organization: Organization) -> Move | None:
        """The organization's move, if it is under way."""
        rows = await self._control.fetch(_SQL["find"], {"organization": organization.id})
        return Move(*rows[0]) if rows else None

    async def abort(self, organization: Organization) -> None:
        """Have the organization stay where it is. Errors: InputInvalid where it is too late, or nothing moves."""
        if not await self._control.fetch(_SQL["abort"], {"organization": organization.id}):
            raise InputInvalid(f"There is no move of {organization.name} that can be aborted.")

    async def note(self, move: Move, progress: str) -> None:
        """Keep how far it is, for people."""
        await self._control.fetch(_SQL["note"], {"id": move.id, "progress": progress})

    async def switch(self, move: Move) -> bool:
        """From now on the new place counts; False where the move was aborted before. One statement, one truth."""
        return bool(await self._control.fetch(_SQL["switch"], {"id": move.id}))

    async def end(self, move: Move) -> None:
        """Forget a move: nothing of it is left but its result."""
        await self._control.fetch(_SQL["end"], {"id": move.id})


async def begin_move(connection: Connection, organization: Organization, server: str) -> None:
    """Record a move, in the caller's transaction, where its work item is deferred. The same again is harmless.

    Errors: InputInvalid where the organization moves elsewhere just now, or is not active.
    """
    parameters = {"organization": organization.id, "id": secrets.token_hex(8), "server": server}
    row = await (await connection.execute(_SQL["begin"], parameters)).fetchone()
    if row is None:
        raise InputInvalid(
            f"{organization.name} cannot move to {server} now.",
            hint="It is active on another server, and no other move of it is under way? See `satchel org show`.",
        )
