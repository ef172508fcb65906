"""Pages: none is too long, and rows are neither skipped nor repeated while others come and go."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox.service import BASE, Service, rows_of

SIZE = "odata.maxpagesize=50"


def _keys(rows: list[dict[str, Any]]) -> list[str]:
    return [row["contactid"] for row in rows]


async def _read_while_deleting(service: Service, query: str) -> tuple[list[str], set[str], set[str]]:
    """All pages of a read; rows of each page are deleted before the next is asked for. Read, there before, deleted."""
    before = set(_keys(rows_of(await service.pages("contacts?$select=fullname"))))
    page = (await service.get(f"contacts?$select=fullname{query}", SIZE)).json()
    read, deleted = _keys(page["value"]), set()
    while "@odata.nextLink" in page:
        for key in _keys(page["value"])[::7]:
            assert (await service.http.delete(f"contacts({key})")).status_code == 204
            deleted.add(key)
        page = (await service.get(page["@odata.nextLink"], SIZE)).json()
        read += _keys(page["value"])
    return read, before, deleted


@pytest.mark.parametrize("prefer_tracking", [False, True])
async def test_pages_stay_stable_while_rows_are_deleted(service: Service, prefer_tracking: bool) -> None:
    if prefer_tracking:
        service.http.headers["Prefer"] = "odata.track-changes"
    read, before, deleted = await _read_while_deleting(service, "")
    assert len(deleted) > 20
    assert len(read) == len(set(read))
    assert set(read) == before


async def test_pages_shift_on_demand(service: Service) -> None:
    answer = await service.http.patch(f"{BASE}/sandbox/faults", json={"shifting_pages": True})
    assert answer.status_code == 200
    read, before, deleted = await _read_while_deleting(service, "")
    assert deleted <= set(read)
    assert set(read) < before


async def test_rows_made_meanwhile_do_not_disturb_pages(service: Service) -> None:
    first = (await service.get("contacts?$select=fullname", SIZE)).json()
    before = set(_keys(rows_of(await service.pages("contacts?$select=fullname"))))
    for place in range(20):
        await service.create("contacts", lastname=f"New {place}")
    read = _keys(first["value"]) + _keys(rows_of(await service.pages(first["@odata.nextLink"], SIZE)))
    assert len(read) == len(set(read))
    assert before <= set(read)


async def test_pages_keep_order_filter_and_size(service: Service) -> None:
    pages = await service.pages("contacts?$select=fullname&$filter=statecode eq 0&$orderby=fullname desc", SIZE)
    names = [row["fullname"] for row in rows_of(pages)]
    assert {len(page["value"]) for page in pages[:-1]} == {50}
    assert names == sorted(names, key=str.lower, reverse=True)
    assert len(names) == int((await service.get("contacts/$count?$filter=statecode eq 0")).text)


async def test_top_and_count_hold_over_pages(service: Service) -> None:
    pages = await service.pages("contacts?$select=fullname&$top=120&$count=true", SIZE)
    assert [len(page["value"]) for page in pages] == [50, 50, 20]
    assert pages[0]["@odata.count"] == int((await service.get("contacts/$count")).text)


@pytest.mark.parametrize("query", ["$skiptoken=abc", "$skiptoken=", "$top=x", "$orderby=name sideways", "$foo=1"])
async def test_unusable_options_are_refused(service: Service, query: str) -> None:
    assert (await service.get(f"contacts?{query}")).status_code == 400
