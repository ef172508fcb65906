"""The bookshop as its own users see it: rows are made, changed and deleted there."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin

import httpx

from tests.contract.cap.fixture import AUDIT_PATH

_REQUESTS_IN_A_BATCH = 200
_WHATEVER_VERSION = {"if-match": "*"}
"""Entities with ETags take no write without one."""
_SETS = {"Books": "ID", "Authors": "ID", "Orders": "ID", "Genres": "code"}


class Shop:
    """A client of the bookshop's service."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=30)

    def post(self, name: str, **row: Any) -> dict[str, Any]:
        """Make a row; returns it as the service now has it."""
        made: dict[str, Any] = self._done(self._http.post(name, json=row)).json()
        return made

    def post_many(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Make rows in batches."""
        self._batch([("POST", name, row) for row in rows])

    def patch(self, path: str, **values: Any) -> None:
        """Change a row: `Books(<id>)`."""
        self._done(self._http.patch(path, json=values, headers=_WHATEVER_VERSION))

    def delete(self, path: str) -> None:
        """Delete a row."""
        self._done(self._http.delete(path, headers=_WHATEVER_VERSION))

    def keys(self, name: str) -> set[str]:
        """The keys of an entity set's first 1,000 rows."""
        key = _SETS[name]
        return {row[key] for row in self._done(self._http.get(name, params={"$select": key})).json()["value"]}

    def rows(self, name: str, order: str) -> list[dict[str, Any]]:
        """All rows of an entity set, or of another service where the name is a URL."""
        found: list[dict[str, Any]] = []
        url: str | None = f"{name}?$orderby={order}"
        while url:
            page = self._done(self._http.get(url)).json()
            found += page["value"]
            link = page.get("@odata.nextLink")
            url = urljoin(name, link) if link else None
        return found

    def writes(self) -> list[dict[str, Any]]:
        """The executed writes of books, in order: number, event, book, who sent it, and as JSON what was set."""
        return self.rows(urljoin(self.url, AUDIT_PATH + "Writes"), order="n")

    def empty(self) -> None:
        """Delete everything."""
        for name, key in _SETS.items():
            while keys := self.keys(name):
                literals = [value if key == "ID" else "'" + value.replace("'", "''") + "'" for value in keys]
                self._batch([("DELETE", f"{name}({literal})", None) for literal in literals])

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _batch(self, requests: list[tuple[str, str, dict[str, Any] | None]]) -> None:
        parts: list[dict[str, Any]] = []
        for number, (method, url, body) in enumerate(requests):
            headers = {"content-type": "application/json"} if body else _WHATEVER_VERSION
            part = {"id": str(number), "method": method, "url": url, "headers": headers}
            parts.append({**part, "body": body} if body else part)
        for start in range(0, len(parts), _REQUESTS_IN_A_BATCH):
            answer = self._http.post("$batch", json={"requests": parts[start : start + _REQUESTS_IN_A_BATCH]})
            assert all(part["status"] < 300 for part in self._done(answer).json()["responses"]), answer.text[:500]

    @staticmethod
    def _done(answer: httpx.Response) -> httpx.Response:
        assert answer.is_success, f"{answer.request.method} {answer.url}: {answer.status_code} {answer.text[:500]}"
        return answer
