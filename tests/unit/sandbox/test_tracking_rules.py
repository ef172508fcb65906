"""Change tracking by the rules of the documentation: what is refused, what is told, when a link ends."""

from __future__ import annotations

import pytest

from tests.unit.sandbox.service import Service, code, rows_of

TRACK = "odata.track-changes"


async def _delta(service: Service, path: str = "accounts?$select=name", prefer: str = TRACK) -> str:
    """The delta link behind all pages."""
    return str((await service.pages(path, prefer))[-1]["@odata.deltaLink"])


@pytest.mark.parametrize("option", ["$filter=statecode eq 0", "$orderby=name", "$expand=createdby", "$top=5"])
async def test_options_refused_together_with_tracking_are_named(service: Service, option: str) -> None:
    answer = await service.get(f"accounts?{option}", TRACK)
    name = option.partition("=")[0]
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert message == f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.'


async def test_entity_that_does_not_track_changes_refuses(service: Service) -> None:
    assert (await service.get("privileges", TRACK)).status_code == 400


async def test_every_page_confirms_tracking(service: Service) -> None:
    first = await service.get("contacts?$select=fullname", f"{TRACK},odata.maxpagesize=100")
    second = await service.get(first.json()["@odata.nextLink"], f"{TRACK},odata.maxpagesize=100")
    assert TRACK in first.headers["preference-applied"]
    assert TRACK in second.headers["preference-applied"]


async def test_row_made_and_deleted_in_between_comes_as_deleted(service: Service) -> None:
    link = await _delta(service)
    path = await service.create("accounts", name="Short-lived")
    await service.http.delete(path)
    delta = (await service.get(link)).json()
    assert delta["@odata.context"].endswith("#accounts(name)/$delta")
    key = path.removeprefix("accounts(").removesuffix(")")
    context = delta["@odata.context"].replace("(name)/$delta", "/$deletedEntity")
    assert delta["value"] == [{"@odata.context": context, "id": key, "reason": "deleted"}]


async def test_removed_keys_come_behind_changed_rows_over_pages(service: Service) -> None:
    link = await _delta(service)
    keys = [row["accountid"] for row in (await service.get("accounts?$select=name&$top=20")).json()["value"]]
    for key in keys[:10]:
        await service.http.delete(f"accounts({key})")
    for key in keys[10:]:
        await service.http.patch(f"accounts({key})", json={"name": "Changed"})
    pages = await service.pages(link, "odata.maxpagesize=3")
    rows = rows_of(pages)
    assert [row.get("accountid") for row in rows[:10]] == keys[10:]
    assert [row.get("id") for row in rows[10:]] == keys[:10]
    assert max(len(page["value"]) for page in pages) == 3
    assert "@odata.deltaLink" in pages[-1]


async def test_what_changes_while_a_link_is_followed_comes_with_the_next_one(service: Service) -> None:
    link = await _delta(service)
    keys = [row["accountid"] for row in (await service.get("accounts?$select=name&$top=5")).json()["value"]]
    for key in keys:
        await service.http.patch(f"accounts({key})", json={"name": "Once"})
    first = (await service.get(link, "odata.maxpagesize=2")).json()
    await service.http.patch(f"accounts({keys[0]})", json={"name": "Twice"})
    rest = await service.pages(first["@odata.nextLink"], "odata.maxpagesize=2")
    later = (await service.get(rest[-1]["@odata.deltaLink"])).json()
    assert [row["name"] for row in later["value"]] == ["Twice"]


async def test_count_of_changes_counts_removals(service: Service) -> None:
    link = await _delta(service)
    path = await service.create("accounts", name="Stays")
    await service.http.delete(await service.create("accounts", name="Goes"))
    await service.http.patch(path, json={"name": "Stays on"})
    assert (await service.get(link.replace("accounts?", "accounts/$count?"))).text == "2"


async def test_old_link_is_refused() -> None:
    async with Service(delta_expiry_seconds=0) as service:
        answer = await service.get(await _delta(service))
    assert (answer.status_code, code(answer)) == (400, "0x80044352")


async def test_links_made_before_the_switch_are_expired_and_later_ones_are_good(service: Service) -> None:
    before = await _delta(service)
    service.sandbox.faults.change(b'{"expire_delta_links": true}')
    assert code(await service.get(before)) == "0x80044352"
    assert (await service.get(await _delta(service))).status_code == 200


async def test_user_without_organization_wide_read_gets_no_changes(service: Service) -> None:
    user = service.directory.field_users[0]
    assert (await service.get("accounts", TRACK, MSCRMCallerID=user)).status_code == 403
    assert (await service.get("products", TRACK, MSCRMCallerID=user)).status_code == 200
