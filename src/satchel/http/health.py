"""Liveness and readiness, for load balancers and people."""

from __future__ import annotations

from litestar import Controller, Response, get

from satchel.database.pool import Database
from satchel.errors import SatchelError
from satchel.http.draining import Draining


class HealthController(Controller):
    """Answers without a token, and tells nothing but whether this server can serve."""

    path = "/health"

    @get("/live")
    async def live(self) -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @get("/ready")
    async def ready(self, control: Database, draining: Draining) -> Response[dict[str, str]]:
        """The control database answers, and this server is not about to end."""
        if draining.has_begun:
            return Response({"status": "not ready", "reason": "draining"}, status_code=503)
        try:
            await control.fetch("select 1")
        except SatchelError as error:
            return Response({"status": "not ready", "reason": error.code}, status_code=503)
        return Response({"status": "ready"})
