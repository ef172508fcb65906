"""The source decides who may read what: a device holds what the source itself shows its user, and nothing else.

The reference is the sample organization's own answer to a read on behalf of the user.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from satchel.device import Device
from tests.support.processes import Sandbox, Satchel, sandbox, satchel, wait_for

PROFILE = """
name = "everything"
[[entity]]
name = "account"
rows = ["all"]
columns = ["name", "revenue", "ownerid", "industrycode"]
[[entity]]
name = "contact"
rows = ["related"]
related = ["parentcustomerid_account"]
columns = ["fullname", "ownerid", "parentcustomerid"]
[[entity]]
name = "incident"
rows = ["custom"]
filter = "statecode eq 0 and customerid_account/name ne null"
related = ["new_incident_contact.incidentid/contactid"]
combine = "or"
columns = ["title", "ownerid", "customerid", "statecode"]
"""
SETS = {"account": "accounts", "contact": "contacts", "incident": "incidents"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 3000) as running:
        yield running


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("satchel")
    profile = folder / "profile.toml"
    profile.write_text(PROFILE)
    with satchel(folder / "data") as started:
        started.add(source, profile=profile)
        yield started


@pytest.fixture(scope="module")
def devices(running: Satchel, source: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Device]]:
    users = [source.users[0]["id"], source.users[1]["id"], _manager(source)]
    made = [
        Device.enroll(running.invite(user), tmp_path_factory.mktemp("device"), is_encrypted=False) for user in users
    ]
    yield made
    for device in made:
        device.close()


def _manager(source: Sandbox) -> str:
    managers = source.rows("systemusers", **{"$filter": "title eq 'Service Manager' and isdisabled eq false"})
    return str(managers[0]["systemuserid"])


def readable(source: Sandbox, user: str, entity: str) -> dict[str, dict[str, Any]]:
    """What the source shows the user."""
    found: list[dict[str, Any]] = []
    path: str | None = f"{SETS[entity]}?$top=5000"
    while path:
        page = source.send("GET", path, headers={"MSCRMCallerID": user}).json()
        found += page["value"]
        path = page.get("@odata.nextLink", "").partition("/api/data/v9.2/")[2] or None
    return {row[f"{entity}id"]: row for row in found}


def expected(source: Sandbox, user: str) -> dict[str, set[str]]:
    """The profile in plain Python, over what the source shows the user."""
    accounts = readable(source, user, "account")
    contacts = {
        key for key, row in readable(source, user, "contact").items() if row["_parentcustomerid_value"] in accounts
    }
    every_account = {row["accountid"] for row in source.rows("accounts", **{"$filter": "name ne null"})}
    ties = source.rows("new_incident_contactset")
    watched = {tie["incidentid"] for tie in ties if tie["contactid"] in contacts}
    incidents = {
        key
        for key, row in readable(source, user, "incident").items()
        if key in watched or (row["statecode"] == 0 and row["_customerid_value"] in every_account)
    }
    return {"account": set(accounts), "contact": contacts, "incident": incidents}


def held(device: Device) -> dict[str, set[str]]:
    return {entity: {row[f"{entity}id"] for row in device.sql(f"select * from {entity}")} for entity in SETS}


def settle(device: Device, source: Sandbox) -> dict[str, set[str]]:
    """Sync until the device holds what is expected; that, for a look at it."""
    user = device.enrolment.user_id
    wanted = expected(source, user)

    def agrees() -> bool:
        device.sync()
        return held(device) == wanted

    try:
        wait_for(agrees, "the device to agree with the source", seconds=30)
    except AssertionError:
        has = held(device)
        for entity in SETS:
            assert has[entity] == wanted[entity], entity
        raise
    return wanted


def test_devices_hold_what_the_source_shows_their_users(devices: list[Device], source: Sandbox) -> None:
    sizes = [{entity: len(keys) for entity, keys in settle(device, source).items()} for device in devices]
    assert all(min(size.values()) > 0 for size in sizes), sizes
    assert sizes[0] != sizes[2]


def test_a_secured_column_goes_to_those_with_a_permission_only(
    devices: list[Device], source: Sandbox, running: Satchel
) -> None:
    first, second, _ = devices
    columns = [{a.name for a in device.model.entity_by_name["account"].attributes} for device in devices]
    assert ["revenue" in names for names in columns] == [True, False, False]
    assert any(row["revenue"] is not None for row in first.sql("select revenue from account"))

    (profile,) = source.rows("fieldsecurityprofiles")
    (held_by,) = source.rows("systemuserprofilescollection")
    given = {"systemuserid": second.enrolment.user_id, "fieldsecurityprofileid": profile["fieldsecurityprofileid"]}
    source.send("POST", "systemuserprofilescollection", json=given)
    source.send("DELETE", f"systemuserprofilescollection({held_by['systemuserprofileid']})")

    def has_revenue(device: Device) -> bool:
        device.sync()
        return "revenue" in {a.name for a in device.model.entity_by_name["account"].attributes}

    wait_for(lambda: has_revenue(second) and not has_revenue(first), "the permission to move")
    assert "revenue" not in {row["name"] for row in first.sql("select name from pragma_table_info('account')")}
    assert any(row["revenue"] is not None for row in second.sql("select revenue from account"))
    settle(first, source)


def test_every_change_of_security_reaches_the_devices(devices: list[Device], source: Sandbox) -> None:
    device = devices[0]
    user = device.enrolment.user_id
    before = settle(device, source)
    every = set(readable_by_all(source, "account"))
    hidden = sorted(every - before["account"])[0]

    share = {"principalid": user, "principaltypecode": "systemuser", "objectid": hidden, "objecttypecode": "account",
             "accessrightsmask": 1, "principalobjectaccessid": str(uuid.uuid4())}  # fmt: skip
    source.send("POST", "principalobjectaccessset", json=share)
    assert hidden in settle(device, source)["account"]
    source.send("DELETE", f"principalobjectaccessset({share['principalobjectaccessid']})")
    assert hidden not in settle(device, source)["account"]

    own = sorted(before["account"])[0]
    other = next(u["systemuserid"] for u in source.rows("systemusers") if u["systemuserid"] != user)
    source.send("PATCH", f"accounts({own})", json={"ownerid@odata.bind": f"/systemusers({other})"})
    settle(device, source)

    own_roles = [r for r in source.rows("systemuserrolescollection") if r["systemuserid"] == user]
    here = {r["roleid"] for r in own_roles}
    elsewhere = [
        r["roleid"] for r in source.rows("roles") if r["name"] == "Service Manager" and r["roleid"] not in here
    ]
    tie = {"systemuserid": user, "roleid": elsewhere[-1], "systemuserroleid": str(uuid.uuid4())}
    source.send("POST", "systemuserrolescollection", json=tie)
    assert settle(device, source)["account"] > before["account"] - {own}
    source.send("DELETE", f"systemuserrolescollection({tie['systemuserroleid']})")
    settle(device, source)

    # The units' copies of a role have the privileges of the one they are copies of.
    technician = [r for r in source.rows("roles") if r["name"] == "Field Technician"]
    role = next(r["roleid"] for r in technician if r["_parentrootroleid_value"] is None)
    assert len(technician) > 1
    read = next(p["privilegeid"] for p in source.rows("privileges") if p["name"] == "prvReadAccount")
    (granted,) = [r for r in source.rows("roleprivilegescollection") if (r["roleid"], r["privilegeid"]) == (role, read)]
    source.send("PATCH", f"roleprivilegescollection({granted['roleprivilegeid']})", json={"privilegedepthmask": 8})
    assert settle(device, source)["account"] == every
    source.send("PATCH", f"roleprivilegescollection({granted['roleprivilegeid']})", json={"privilegedepthmask": 1})
    assert len(settle(device, source)["account"]) < len(every)
    for each in devices:
        settle(each, source)


def readable_by_all(source: Sandbox, entity: str) -> list[str]:
    return [row[f"{entity}id"] for row in source.rows(SETS[entity])]


def test_explain_and_preview_agree_with_the_device(
    devices: list[Device], source: Sandbox, running: Satchel, tmp_path: Path
) -> None:
    device = devices[1]
    user = device.enrolment.user_id
    has = settle(device, source)
    for key in (sorted(has["contact"])[0], *sorted(set(readable_by_all(source, "contact")) - has["contact"])[:3]):
        found = running.json("profile", "explain", "contoso", user, "contact", key)
        assert found["is_in"] is (key in has["contact"]), found
        assert found["families"]
    assert "related row" in running.run("profile", "explain", "contoso", user, "contact", sorted(has["contact"])[0])

    counted = running.json("profile", "preview", "contoso", "--user", user)
    assert {each["entity"]: each["rows"] for each in counted["entities"]} == {e: len(has[e]) for e in SETS}

    wider = tmp_path / "wider.toml"
    wider.write_text(PROFILE.replace("statecode eq 0 and ", ""))
    more = running.json("profile", "preview", "contoso", str(wider), "--user", user)
    rows = {each["entity"]: each["rows"] for each in more["entities"]}
    assert rows["incident"] > len(has["incident"])
    assert rows["account"] == len(has["account"])
    assert held(device) == has
    told = running.run("profile", "diff", "contoso", "everything", str(wider))
    assert "other rows" in told
    assert "incident" in told


def test_a_profile_of_dynamics_becomes_a_draft_that_can_be_published(running: Satchel) -> None:
    told = running.run("profile", "import-dynamics", "contoso", "--print")
    assert "Field Service Mobile - Offline, version 1, is a draft" in told
    assert 'related = ["parentcustomerid_account"]' in told
    assert "statecode eq 0 and (" in told
    listed = running.json("profile", "list", "contoso")
    assert [(each["profile"], each["in_force"]) for each in listed] == [
        ("Field Service Mobile - Offline", None),
        ("everything", 1),
    ]
    text = running.run("profile", "show", "contoso", "Field Service Mobile - Offline")
    assert "[assigned]" in text
    running.run("profile", "publish", "contoso", "Field Service Mobile - Offline")
    running.run("profile", "withdraw", "contoso", "Field Service Mobile - Offline", "--yes")
    what = [each["what"] for each in running.json("profile", "history", "contoso", "Field Service Mobile - Offline")]
    assert what == ["imported", "published", "withdrawn"]
    assert "only profile in force" in running.run("profile", "withdraw", "contoso", "everything", "--yes", status=2)


def test_managers_see_what_their_reports_own(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    manager = next(u for u in source.rows("systemusers") if u["title"] == "Administrator")
    reports = {u["systemuserid"] for u in source.rows("systemusers") if u["_parentsystemuserid_value"] is not None}
    profile = tmp_path / "manager.toml"
    profile.write_text(
        'name = "everything"\nhierarchy = "manager"\nhierarchy_depth = 1\n'
        '[[entity]]\nname = "task"\nrows = ["custom"]\nfilter = "ownerid in @my.reports"\ncolumns = ["ownerid"]\n'
    )
    running.run("profile", "import", "contoso", str(profile), "--publish")
    expected = {row["activityid"] for row in source.rows("tasks") if row["_ownerid_value"] in reports}
    with Device.enroll(running.invite(manager["systemuserid"]), tmp_path / "device", is_encrypted=False) as device:

        def agrees() -> bool:
            device.sync()
            known = "task" in device.model.entity_by_name
            return known and {row["activityid"] for row in device.sql("select activityid from task")} == expected

        wait_for(agrees, "the reports' tasks")
    assert expected
