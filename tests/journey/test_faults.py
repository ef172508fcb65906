"""A source that throttles, breaks, goes down, forgets delta links or shifts pages: everything still converges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from satchel.device import Device, DeviceKey
from tests.support.checker import differences
from tests.support.processes import Sandbox, Satchel, wait_for


@pytest.fixture(scope="module")
def device(running: Satchel, source: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    link = running.invite(source.users[0]["id"])
    with Device.enroll(link, tmp_path_factory.mktemp("device"), key=DeviceKey.from_passphrase("x")) as enrolled:
        enrolled.sync()
        yield enrolled


@pytest.fixture(autouse=True)
def no_faults_afterwards(source: Sandbox) -> Iterator[None]:
    yield
    source.faults(
        latency_seconds=0, drop_probability=0, error_probability=0, throttle_probability=0, shifting_pages=False,
        down=False, page_limit=0,
    )  # fmt: skip


def agrees(device: Device, source: Sandbox) -> bool:
    device.sync()
    return not differences(device, source, source.users[0]["id"])


def converge(device: Device, source: Sandbox) -> None:
    try:
        wait_for(lambda: agrees(device, source), "the device to agree", seconds=60)
    except AssertionError:
        raise AssertionError(differences(device, source, source.users[0]["id"])[:10]) from None


def problems(running: Satchel) -> list[str]:
    return [e["problem"] for e in running.json("org", "show", "contoso")["entities"] if e.get("problem")]


def test_at_rest_the_device_equals_the_source(device: Device, source: Sandbox) -> None:
    converge(device, source)


def test_a_storm_of_429_and_errors_and_broken_connections(device: Device, source: Sandbox) -> None:
    source.faults(throttle_probability=0.4, error_probability=0.2, drop_probability=0.1, page_limit=50)
    source.mutate(300, seed=11)
    # The checker itself asks the source, so the storm ends before it does.
    wait_for(lambda: device.sync().rows_put > 0, "something to come through the storm")
    source.faults(throttle_probability=0, error_probability=0, drop_probability=0)

    converge(device, source)


def test_expired_delta_links_lead_to_a_full_read_that_loses_and_doubles_nothing(
    device: Device, source: Sandbox
) -> None:
    source.mutate(100, seed=21)
    source.faults(expire_delta_links=True)
    source.mutate(100, seed=22, kinds=["delete", "create", "assign"])

    converge(device, source)


def test_pages_that_shift_while_they_are_read(device: Device, source: Sandbox) -> None:
    source.faults(shifting_pages=True, page_limit=100, expire_delta_links=True)
    for seed in range(31, 41):
        source.mutate(40, seed=seed, kinds=["delete", "create"])

    converge(device, source)


def test_a_source_that_is_down_is_shown_and_caught_up_with(device: Device, source: Sandbox, running: Satchel) -> None:
    source.faults(down=True)
    wait_for(lambda: problems(running), "the outage to be shown")
    device.sync()  # what was pulled before stays available
    source.mutate(100, seed=51)
    source.faults(down=False)

    converge(device, source)
    wait_for(lambda: not problems(running), "the outage to be over")


def test_a_user_who_is_disabled_or_moved_loses_what_is_not_theirs(device: Device, source: Sandbox) -> None:
    user = source.users[0]["id"]
    units = [unit["businessunitid"] for unit in source.rows("businessunits")]
    source.send("PATCH", f"systemusers({user})", json={"businessunitid@odata.bind": f"/businessunits({units[1]})"})
    (tie,) = [r for r in source.rows("systemuserrolescollection") if r["systemuserid"] == user]
    there = next(
        role["roleid"]
        for role in source.rows("roles")
        if role["name"] == "Field Technician" and role["_businessunitid_value"] == units[1]
    )  # a role counts from its own unit, so the user gets the new unit's copy
    source.send("PATCH", f"systemuserrolescollection({tie['systemuserroleid']})", json={"roleid": there})
    converge(device, source)
    teams = [m for m in source.rows("teammemberships") if m["systemuserid"] == user]
    source.send("DELETE", f"teammemberships({teams[0]['teammembershipid']})")
    converge(device, source)
    held = device.table("contact").count()

    source.send("PATCH", f"systemusers({user})", json={"isdisabled": True})

    wait_for(lambda: device.sync() and device.table("contact").count() == 0, "a disabled user's device to be empty")
    assert device.table("product").count() == 0
    source.send("PATCH", f"systemusers({user})", json={"isdisabled": False})
    wait_for(lambda: device.sync() and device.table("contact").count() == held, "the rows to come back")
    converge(device, source)
