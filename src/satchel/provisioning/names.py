"""Names of organizations in DNS, as the control database wants them; `naming/` brings DNS to it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from satchel.database.pool import Connection, Database
from satchel.database.queries import load_queries

_SQL = load_queries(__file__)


class WantedName(msgspec.Struct, frozen=True):
    """One name."""

    name: str
    is_wanted: bool
    problem: str | None
    checked_at: datetime | None


class Names:
    """The register of names."""

    def __init__(self, control: Database) -> None:
        """Keep the control database."""
        self._control = control

    async def find(self, name: str) -> WantedName | None:
        """The name, if it is or was an organization's."""
        rows = await self._control.fetch(_SQL["find"], {"name": name})
        return WantedName(*rows[0]) if rows else None

    async def all(self) -> list[WantedName]:
        """All names."""
        return [WantedName(*row) for row in await self._control.fetch(_SQL["list"])]

    async def done(self, wanted: WantedName, *, again_seconds: float) -> None:
        """DNS is as wanted; it is looked at again later. A name that is wanted no more is forgotten."""
        if wanted.is_wanted:
            parameters = {"name": wanted.name, "problem": None, "tries": 0, "seconds": again_seconds}
            await self._control.fetch(_SQL["done"], parameters | {"is_wanted": True})
        else:
            await self._control.fetch(_SQL["gone"], {"name": wanted.name})

    async def failed(self, name: str, problem: str) -> None:
        """It is tried again, at growing distances and without end."""
        await self._control.fetch(_SQL["failed"], {"name": name, "problem": problem[:300]})


async def take_due_names(connection: Connection) -> list[str]:
    """Names to be looked at now, in the transaction in which their work items are deferred."""
    await connection.execute(_SQL["agree"])
    return [str(row[0]) for row in await (await connection.execute(_SQL["due"])).fetchall()]
