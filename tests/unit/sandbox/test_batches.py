"""`$batch`: order, change sets, references, and where a failure ends it."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from tests.unit.sandbox.service import BASE, Service


def _part(method: str, path: str, body: dict[str, Any] | None = None, content_id: str = "") -> str:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    lines += [f"Content-ID: {content_id}"] if content_id else []
    head = "\r\n".join([*lines, "", f"{method} {path} HTTP/1.1", "Content-Type: application/json", "", ""])
    return head + (msgspec.json.encode(body).decode() if body is not None else "")


def _multipart(boundary: str, parts: list[str]) -> str:
    return "".join(f"--{boundary}\r\n{part}\r\n" for part in parts) + f"--{boundary}--\r\n"


def _change_set(*parts: str) -> str:
    return "Content-Type: multipart/mixed; boundary=c\r\n\r\n" + _multipart("c", list(parts))


async def _send(service: Service, *parts: str, prefer: str = "") -> httpx.Response:
    headers = {"Content-Type": "multipart/mixed; boundary=b"} | ({"Prefer": prefer} if prefer else {})
    return await service.http.post("$batch", content=_multipart("b", list(parts)), headers=headers)


def _statuses(answer: httpx.Response) -> list[int]:
    return [int(line.split(" ")[1]) for line in answer.text.splitlines() if line.startswith("HTTP/1.1 ")]


async def _named(service: Service, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await service.get(f"accounts?$filter=name eq '{name}'")).json()["value"]
    return rows


async def test_answers_keep_the_order(service: Service) -> None:
    create, read = _part("POST", "/api/data/v9.2/accounts", {"name": "First"}), _part("GET", "accounts?$top=1")
    answer = await _send(service, create, read, _part("GET", "WhoAmI"))
    assert (answer.status_code, _statuses(answer)) == (200, [204, 200, 200])
    assert answer.text.index("OData-EntityId") < answer.text.index("#accounts") < answer.text.index("WhoAmIResponse")


async def test_change_set_refers_to_its_own_rows(service: Service) -> None:
    contact = _part("POST", "contacts", {"lastname": "Two"}, "1")
    account = _part("POST", "accounts", {"name": "Referring", "primarycontactid@odata.bind": "$1"}, "2")
    named = _part("PATCH", "$2", {"description": "$1 is no reference here"}, "3")
    referred = _part("PUT", "$2/primarycontactid/$ref", {"@odata.id": "$1"}, "4")
    answer = await _send(service, _change_set(contact, account, named, referred))
    assert _statuses(answer) == [204, 204, 204, 204]
    row = (await _named(service, "Referring"))[0]
    assert row["description"] == "$1 is no reference here"
    assert (await service.get(f"contacts({row['_primarycontactid_value']})")).json()["lastname"] == "Two"
    entries = (await service.http.get(f"{BASE}/sandbox/audit")).json()
    assert [entry["content_id"] for entry in entries] == ["1", "2", "3", "4"]


async def test_failed_change_set_leaves_nothing(service: Service) -> None:
    good, bad = _part("POST", "accounts", {"name": "Undone"}), _part("POST", "accounts", {"nosuch": 1})
    answer = await _send(service, _change_set(good, bad))
    assert (answer.status_code, _statuses(answer)) == (400, [400])
    assert await _named(service, "Undone") == []
    assert (await service.http.get(f"{BASE}/sandbox/audit")).json() == []


async def test_failure_ends_the_batch_unless_it_is_to_go_on(service: Service) -> None:
    bad, good = _part("POST", "tasks", {"subject": "x" * 201}), _part("POST", "accounts", {"name": "Behind"})
    ended = await _send(service, bad, good)
    assert (ended.status_code, _statuses(ended), await _named(service, "Behind")) == (400, [400], [])
    went_on = await _send(service, bad, good, prefer="odata.continue-on-error")
    assert (went_on.status_code, _statuses(went_on), len(await _named(service, "Behind"))) == (200, [400, 204], 1)


async def test_undeclared_reference_is_refused(service: Service) -> None:
    part = _part("POST", "accounts", {"name": "Early", "primarycontactid@odata.bind": "$1"}, "2")
    answer = await _send(service, _change_set(part, _part("POST", "contacts", {"lastname": "Late"}, "1")))
    assert answer.status_code == 400
    assert "Content-ID Reference: '$1' does not exist in the batch context." in answer.text


async def test_reads_in_change_sets_and_batches_in_batches_are_refused(service: Service) -> None:
    assert _statuses(await _send(service, _change_set(_part("GET", "accounts")))) == [400]
    assert _statuses(await _send(service, _part("POST", "$batch", {}))) == [400]
    too_many = await _send(service, *[_part("GET", "WhoAmI")] * 1001)
    assert too_many.status_code == 400
