"""Liveness and readiness, for load balancers and people."""

from __future__ import annotations

from litestar import Controller, Response, get

from satchel.database.pool import Database
from satchel.errors import SatchelError


class HealthController(Controller):
    """Answers without a token, and tells nothing but whether this server can serve."""

    path = "/health"

    @get("/live")
    async def live(self) -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @get("/ready")
    async def ready(self, control: Database) -> Response[dict[str, str]]:
        """The control database answers."""
        try:
            await control.fetch("select 1")
        except SatchelError as error:
            return Response({"status": "not ready", "reason": error.code}, status_code=503)
        return Response({"status": "ready"})
