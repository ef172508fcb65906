"""Writing: versions and preconditions, references, ownership, and what is refused."""

from __future__ import annotations

import uuid

import pytest

from tests.unit.sandbox.service import BASE, ROOT, Service, code


async def _account(service: Service) -> str:
    key = (await service.get("accounts?$select=name&$top=1")).json()["value"][0]["accountid"]
    return f"accounts({key})"


async def test_new_row_has_location_and_version(service: Service) -> None:
    answer = await service.http.post("accounts", json={"name": "New", "creditlimit": 94.5})
    row = (await service.http.get(answer.headers["odata-entityid"])).json()
    assert answer.headers["location"] == answer.headers["odata-entityid"]
    assert (row["name"], row["creditlimit"]) == ("New", 94.5)
    assert row["@odata.etag"] == f'W/"{row["versionnumber"]}"'


async def test_representation_comes_on_request(service: Service) -> None:
    prefer = {"Prefer": "return=representation"}
    created = await service.http.post("accounts?$select=name", json={"name": "Shown"}, headers=prefer)
    assert (created.status_code, created.json()["name"]) == (201, "Shown")
    path = f"accounts({created.json()['accountid']})"
    changed = await service.http.patch(path, json={"name": "Again"}, headers=prefer)
    assert (changed.status_code, changed.json()["name"]) == (200, "Again")
    assert changed.headers["preference-applied"] == "return=representation"


async def test_stale_version_is_refused(service: Service) -> None:
    path = await _account(service)
    etag = (await service.get(path)).headers["etag"]
    assert (await service.http.patch(path, json={"name": "B"}, headers={"If-Match": etag})).status_code == 204
    for method in ("PATCH", "DELETE"):
        answer = await service.http.request(method, path, json={"name": "C"}, headers={"If-Match": etag})
        assert answer.status_code == 412
        assert answer.json()["error"]["message"].startswith("The version of the existing record doesn't match")


async def test_upsert_creates_unless_prevented(service: Service) -> None:
    path = f"accounts({uuid.uuid4()})"
    prevented = await service.http.patch(path, json={"name": "N"}, headers={"If-Match": "*"})
    created = await service.http.patch(path, json={"name": "N"})
    refused = await service.http.patch(path, json={"name": "M"}, headers={"If-None-Match": "*"})
    assert [a.status_code for a in (prevented, created, refused)] == [404, 204, 412]
    assert (await service.get(path)).json()["name"] == "N"


async def test_unchanged_row_is_not_sent_again_unless_annotations_are_wanted(service: Service) -> None:
    path = await _account(service)
    etag = (await service.get(path)).headers["etag"]
    assert (await service.http.get(path, headers={"If-None-Match": etag})).status_code == 304
    wanted = {"If-None-Match": etag, "Prefer": 'odata.include-annotations="*"'}
    assert (await service.http.get(path, headers=wanted)).status_code == 200
    assert (await service.http.get(f"{path}?$expand=createdby", headers={"If-None-Match": etag})).status_code == 200


async def test_owner_brings_unit_and_kind_along(service: Service) -> None:
    path = await _account(service)
    teams = (await service.get("teams?$filter=teamtype eq 0 and isdefault eq false&$top=1")).json()["value"]
    await service.http.patch(path, json={"ownerid@odata.bind": f"/teams({teams[0]['teamid']})"})
    row = (await service.get(path, 'odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"')).json()
    assert row["_ownerid_value"] == row["_owningteam_value"] == teams[0]["teamid"]
    assert row["_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "team"
    assert row["_owninguser_value"] is None
    assert row["_owningbusinessunit_value"] == teams[0]["_businessunitid_value"]


@pytest.mark.parametrize("body", [{"primarycontactid@odata.bind": None}, {"primarycontactid": None}])
async def test_reference_is_removed(service: Service, body: dict[str, None]) -> None:
    row = (await service.get("accounts?$filter=primarycontactid/lastname ne null&$top=1")).json()["value"][0]
    path = f"accounts({row['accountid']})"
    assert row["_primarycontactid_value"]
    await service.http.patch(path, json=body)
    assert (await service.get(path)).json()["_primarycontactid_value"] is None


async def test_reference_is_put_and_deleted(service: Service) -> None:
    path = await _account(service)
    contact = await service.create("contacts", lastname="Kim")
    put = await service.http.put(f"{path}/primarycontactid/$ref", json={"@odata.id": f"{ROOT}{contact}"})
    assert put.status_code == 204
    assert (await service.get(path)).json()["_primarycontactid_value"] in contact
    await service.http.delete(f"{path}/primarycontactid/$ref")
    assert (await service.get(path)).json()["_primarycontactid_value"] is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"nosuch": 1}, "0x80048d19"),
        ({"name": "x" * 161}, "0x80044331"),
        ({"industrycode": 99}, "0x80048408"),
        ({"creditlimit": "much"}, "0x80048d19"),
        ({"creditlimit": -1}, "0x80044331"),
        ({"createdon": "2024-01-01T00:00:00Z"}, "0x80040216"),
        ({"ownerid@odata.bind": None}, "0x80040203"),
        ({"ownerid@odata.bind": "/accounts(11111111-1111-4111-8111-111111111111)"}, "0x80060888"),
        ({"primarycontactid@odata.bind": "/contacts(11111111-1111-4111-8111-111111111111)"}, "0x80040217"),
    ],
)
async def test_unusable_body_is_refused_and_nothing_changes(
    service: Service, body: dict[str, object], expected: str
) -> None:
    path = await _account(service)
    before = (await service.get(path)).headers["etag"]
    assert code(await service.http.patch(path, json=body)) == expected
    assert (await service.get(path)).headers["etag"] == before


async def test_rows_of_privileges_cannot_be_written(service: Service) -> None:
    assert (await service.http.post("privileges", json={"name": "prvAll"})).status_code == 400


async def test_audit_tells_every_executed_write(service: Service) -> None:
    path = await service.create("accounts", name="Audited")
    user = service.directory.users[0].id
    headers = {"MSCRMCallerID": user, "x-ms-client-request-id": "r-1"}
    await service.http.patch(path, json={"name": "As a user"}, headers=headers)
    await service.http.patch(path, json={"nosuch": 1})
    entries = (await service.http.get(f"{BASE}/sandbox/audit?after=0")).json()
    assert [entry["operation"] for entry in entries] == ["create", "update"]
    assert (entries[1]["user"], entries[1]["application"]) == (user, service.directory.application)
    assert (entries[1]["request"], entries[1]["attributes"]) == ("r-1", '{"name":"As a user"}')
    assert (await service.http.get(f"{BASE}/sandbox/audit?after={entries[1]['n']}")).json() == []
