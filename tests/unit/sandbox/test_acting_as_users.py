"""Impersonation: a user sees and changes what the depths of the roles allow, and the trail names both."""

from __future__ import annotations

import pytest

from satchel.sandbox.data.directory_rows import BASIC, DEEP, GLOBAL, LOCAL
from tests.unit.sandbox.service import BASE, Service, rows_of


def _give(service: Service, depth: int) -> str:
    """A user of a unit below the root, whose only role has this depth for reading and writing accounts."""
    store, owner = service.store, service.directory.users[-1]
    store.run("delete from systemuserroles where systemuserid = ?", (owner.id,))
    store.run("delete from teammembership where systemuserid = ?", (owner.id,))
    store.run("delete from principalobjectaccess where principalid = ?", (owner.id,))
    store.run("insert into role (roleid, name, businessunitid) values ('r', 'Test', ?)", (owner.unit,))
    store.run("insert into systemuserroles (systemuserroleid, systemuserid, roleid) values ('sr', ?, 'r')", (owner.id,))
    for name in ("prvReadAccount", "prvWriteAccount", "prvCreateAccount"):
        privilege = store.value("select privilegeid from privilege where name = ?", (name,))
        store.run(
            "insert into roleprivileges (roleprivilegeid, roleid, privilegeid, privilegedepthmask)"
            " values (?, 'r', ?, ?)",
            (name, privilege, depth),
        )
    return owner.id


async def _visible(service: Service, user: str, scope: str) -> set[str]:
    answer = await service.http.get(f"{BASE}/sandbox/visible?user={user}&entity=account&scope={scope}")
    return set(answer.json())


@pytest.mark.parametrize(("depth", "scope"), [(BASIC, "own"), (LOCAL, "unit"), (DEEP, "unit"), (GLOBAL, "all")])
async def test_depth_decides_what_is_read(service: Service, depth: int, scope: str) -> None:
    user = _give(service, depth)
    rows = rows_of(await service.pages("accounts?$select=name", MSCRMCallerID=user))
    assert {row["accountid"] for row in rows} == await _visible(service, user, scope)


async def test_row_of_another_unit_is_neither_read_nor_changed(service: Service) -> None:
    user = _give(service, LOCAL)
    other = min(await _visible(service, user, "all") - await _visible(service, user, "unit"))
    assert (await service.get(f"accounts({other})", MSCRMCallerID=user)).status_code == 404
    answer = await service.http.patch(f"accounts({other})", json={"name": "X"}, headers={"MSCRMCallerID": user})
    assert answer.status_code == 403


async def test_trail_names_the_user_and_the_application(service: Service) -> None:
    user = _give(service, GLOBAL)
    query = "select azureactivedirectoryobjectid from systemuser where systemuserid = ?"
    objectid = service.store.value(query, (user,))
    made = await service.http.post("accounts", json={"name": "For a user"}, headers={"CallerObjectId": objectid})
    row = (await service.get(made.headers["odata-entityid"])).json()
    assert row["_createdby_value"] == row["_modifiedby_value"] == row["_ownerid_value"] == user
    application = service.directory.application
    assert row["_createdonbehalfby_value"] == row["_modifiedonbehalfby_value"] == application


async def test_row_for_somebody_out_of_depth_is_not_made(service: Service) -> None:
    user, count = _give(service, BASIC), service.store.value("select count(*) from account")
    body = {"name": "For another", "ownerid@odata.bind": f"/systemusers({service.directory.users[0].id})"}
    answer = await service.http.post("accounts", json=body, headers={"MSCRMCallerID": user})
    assert answer.status_code == 403
    assert service.store.value("select count(*) from account") == count


async def test_tasks_follow_the_privileges_of_activities(service: Service) -> None:
    user = service.directory.field_users[0]
    assert (await service.get("tasks?$top=1", MSCRMCallerID=user)).status_code == 200


@pytest.mark.parametrize("header", ["MSCRMCallerID", "CallerObjectId"])
async def test_unknown_and_disabled_users_are_refused(service: Service, header: str) -> None:
    assert (await service.get("accounts", **{header: "11111111-1111-4111-8111-111111111111"})).status_code == 403
    user = service.directory.users[-1].id
    service.store.run("update systemuser set isdisabled = 1 where systemuserid = ?", (user,))
    column = "systemuserid" if header == "MSCRMCallerID" else "azureactivedirectoryobjectid"
    wanted = service.store.value(f"select {column} from systemuser where systemuserid = ?", (user,))
    assert (await service.get("accounts", **{header: wanted})).status_code == 403
