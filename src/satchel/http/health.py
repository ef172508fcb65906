"""Liveness and readiness, for load balancers and people."""

from __future__ import annotations

from litestar import Controller, Response, get

from satchel.database.pool import Database
from satchel.errors import SatchelError
from satchel.http.draining import Draining


class Readiness:
    """What this server knows of the whole, beside its own database; `services.py` keeps it true."""

    reason = ""
    """One word why devices had better go elsewhere; empty: none."""


readiness = Readiness()


class HealthController(Controller):
    """Answers without a token, and tells nothing but whether this server can serve."""

    path = "/health"

    @get("/live")
    async def live(self) -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @get("/ready")
    async def ready(self, control: Database, draining: Draining) -> Response[dict[str, str]]:
        """The control database answers, this server is not about to end, and nothing is late beyond the limits set."""
        reason = "draining" if draining.has_begun else readiness.reason
        if reason:
            return Response({"status": "not ready", "reason": reason}, status_code=503)
        try:
            await control.fetch("select 1")
        except SatchelError as error:
            return Response({"status": "not ready", "reason": error.code}, status_code=503)
        return Response({"status": "ready"})
