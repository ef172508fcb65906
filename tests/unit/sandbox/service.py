"""The sample organization in this process: `async with Service() as service`."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from satchel.sandbox.data.generate import generate
from satchel.sandbox.data.store import Store
from satchel.sandbox.web.app import Sandbox
from satchel.sandbox.web.limits import Limits

BASE = "http://sandbox.example"
ROOT = f"{BASE}/api/data/v9.2/"


class Service:
    """A service and a client that is signed in as the application."""

    def __init__(self, rows: int = 1000, delta_expiry_seconds: float = 3600.0, limits: Limits | None = None) -> None:
        """A new organization; the rows are the same each time."""
        self.store = Store()
        self.directory = generate(self.store, rows, seed=1)
        self.sandbox = Sandbox(
            self.store, self.directory.application, client_id="c", client_secret="s",
            delta_expiry_seconds=delta_expiry_seconds, limits=limits or Limits(is_on=False),
        )  # fmt: skip
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=self.sandbox), base_url=ROOT)

    async def __aenter__(self) -> Service:
        form = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}
        answer = await self.http.post(f"{BASE}/contoso/oauth2/v2.0/token", data=form)
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        self.store.close()

    async def get(self, path: str, prefer: str = "", **headers: str) -> httpx.Response:
        """GET below the service root, or a whole link."""
        return await self.http.get(path, headers=({"Prefer": prefer} if prefer else {}) | headers)

    async def create(self, set_name: str, **values: Any) -> str:
        """A new row; its address below the service root."""
        answer = await self.http.post(set_name, json=values)
        assert answer.status_code == 204, answer.text
        return answer.headers["odata-entityid"].removeprefix(ROOT)

    async def pages(self, path: str, prefer: str = "", **headers: str) -> list[dict[str, Any]]:
        """All pages of a collection."""
        found = [(await self.get(path, prefer, **headers)).json()]
        while "@odata.nextLink" in found[-1]:
            found.append((await self.get(found[-1]["@odata.nextLink"], prefer, **headers)).json())
        return found


def code(answer: httpx.Response) -> str:
    """The error's code."""
    return str(answer.json()["error"]["code"])


def rows_of(pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of some pages."""
    return [row for page in pages for row in page["value"]]
