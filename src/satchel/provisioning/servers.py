"""The PostgreSQL servers of the staging databases: which there are, and which takes the next organization."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from satchel.database.pool import Database
from satchel.database.queries import load_queries
from satchel.errors import InputInvalid
from satchel.provisioning.organizations import DEFAULT_SERVER, Organization

_SQL = load_queries(__file__)


class Servers:
    """The servers that the settings name, and how much of the load each is to take."""

    def __init__(self, control: Database, names: list[str], weights: Mapping[str, float]) -> None:
        """Where other servers are named, the default one takes new organizations only where it has a weight."""
        self._control = control
        default = 1.0 if names == [DEFAULT_SERVER] else 0.0
        self.weights = {n: weights.get(n, default if n == DEFAULT_SERVER else 1.0) for n in names}

    def require(self, name: str) -> str:
        """The name, if the settings have it. Errors: InputInvalid."""
        if name not in self.weights:
            raise InputInvalid(
                f"The settings name no server {name!r}.", hint=f"They name {', '.join(sorted(self.weights))}."
            )
        return name

    async def place(self, organization: Organization) -> Organization:
        """The organization with its place: the one it has, else the server with the least load for its weight.

        Order: two that are placed at once take turns, so that each counts for the other. Errors: InputInvalid where
        no server takes any.
        """
        takers = {name: weight for name, weight in self.weights.items() if weight > 0}
        parameters = {"id": organization.id, "names": list(takers), "weights": list(takers.values())}
        async with self._control.transaction() as connection:
            await connection.execute(_SQL["take_turns"])
            row = await (await connection.execute(_SQL["place"], parameters)).fetchone()
        if row is None or row[0] is None:
            raise InputInvalid("No server takes new organizations.", hint="Give one a weight: [staging.weights].")
        return msgspec.structs.replace(organization, server=str(row[0]))

    async def choose(self, organization: Organization, server: str) -> None:
        """Let an organization that was not placed yet live on this server. Errors: InputInvalid."""
        parameters = {"id": organization.id, "server": self.require(server)}
        if not await self._control.fetch(_SQL["choose"], parameters):
            raise InputInvalid(
                f"{organization.name} lives on {organization.place} already.",
                hint=f"`satchel org move {organization.name} {server}` moves it.",
            )

    async def loads(self) -> dict[str, int]:
        """How many organizations live on each server, or are on their way there."""
        return {str(row[0]): int(row[1]) for row in await self._control.fetch(_SQL["loads"])}
