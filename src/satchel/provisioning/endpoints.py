"""The sync servers that are up, and telling them that an organization came or went.

Telling is a courtesy that saves them seconds: a sync server that missed it reads the register by itself.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
import structlog
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from satchel.database.pool import Database
from satchel.database.queries import load_queries

_SQL = load_queries(__file__)
_TIMEOUT_SECONDS = 5.0
log = structlog.get_logger()


class SyncServers:
    """The register of sync servers."""

    def __init__(self, control: Database, make_token: Callable[[], str], ca_file: str | None) -> None:
        """`make_token` signs a service token; `ca_file` verifies the management endpoints (None: system's CAs)."""
        self._control = control
        self._make_token = make_token
        self._ca_file = ca_file

    async def register(self, management_url: str) -> None:
        """Say that a sync server is up; again every few seconds."""
        await self._control.fetch(_SQL["register"], {"url": management_url})

    async def leave(self, management_url: str) -> None:
        """Say that a sync server stops."""
        await self._control.fetch(_SQL["leave"], {"url": management_url})

    async def announce(self, organization: str, *, is_gone: bool = False) -> None:
        """Tell all sync servers that an organization came, changed its client model, or went."""
        urls = [row[0] for row in await self._control.fetch(_SQL["alive"])]
        if not urls:
            return
        context = ssl.create_default_context(cafile=self._ca_file)
        headers = {"Authorization": f"Bearer {self._make_token()}"}
        async with httpx.AsyncClient(verify=context, headers=headers, timeout=_TIMEOUT_SECONDS) as client:
            for url in urls:
                await self._tell(client, f"{url}/v1/organizations/{organization}", is_gone=is_gone)

    async def _tell(self, client: httpx.AsyncClient, url: str, *, is_gone: bool) -> None:
        try:
            headers: dict[str, str] = {}
            TraceContextTextMapPropagator().inject(headers)
            (await client.request("DELETE" if is_gone else "PUT", url, headers=headers)).raise_for_status()
        except httpx.HTTPError as error:
            log.warning("sync server not told", url=url, reason=type(error).__name__)
