"""An administrator's day at the console, in a real browser; and what others try there."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import cast

import psycopg
import pytest
from litestar.routes import HTTPRoute
from playwright.sync_api import Page

from satchel.console.app import console_app
from satchel.console.desk import Desk
from satchel.console.desk import Visit as Visitor
from satchel.console.door.guard import OPEN
from satchel.database.pool import Database
from satchel.device import Device, DeviceKey, SetState
from satchel.errors import RequestRefused, TokenInvalid
from satchel.http.draining import Draining
from satchel.identity.sign_in import PROVISION, READ, Caller
from satchel.identity.tokens import token_hash
from satchel.provisioning.console import Session
from tests.contract.issuer.fixture import TENANT, RunningIssuer
from tests.journey.console.conftest import Console, Visit, cookies_of, sign_in
from tests.support.processes import Sandbox, Satchel, wait_for

pytestmark = pytest.mark.node
HOSTILE = "<img src=x onerror=alert(1)>{{7*7}}"
SESSION = "__Host-satchel-console"


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, running: Satchel, source: Sandbox) -> Iterator[Device]:
    folder = tmp_path_factory.mktemp("device")
    link = running.invite(source.users[1]["id"])
    with Device.enroll(link, folder / "device", key=DeviceKey.from_passphrase("phone"), name=HOSTILE) as enrolled:
        enrolled.sync()
        yield enrolled


def shown(page: Page) -> str:
    return page.inner_text("main")


def is_harmless(page: Page) -> bool:
    """Nothing of what others wrote became part of the page."""
    return page.locator("script, img[src=x]").count() == 0 and HOSTILE in shown(page)


def test_an_administrator_signs_in_and_sees_how_it_stands(grace: Page, console: Console) -> None:
    assert grace.title() == "Organizations – Satchel"
    assert "grace@contoso.example" in grace.inner_text("header")
    row = grace.get_by_role("row").filter(has_text="contoso")
    assert re.search(r"active\s+1,\d{3}\s+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", row.inner_text())
    (cookie,) = [each for each in grace.context.cookies() if each["name"] == SESSION]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "Lax", "/")
    assert cookie["domain"] == "localhost"
    answer = grace.reload()
    assert answer is not None
    for name, value in (
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ):
        assert value in (answer.header_value(name) or "")


def test_each_page_opens(grace: Page, console: Console, source: Sandbox) -> None:
    for path, words in (
        ("/organizations/contoso", "delta link"),
        ("/organizations/contoso/profiles", "Field service"),
        ("/organizations/contoso/users?text=" + source.users[1]["name"][:4], source.users[1]["name"]),
        (f"/organizations/contoso/user?id={source.users[1]['id']}", "Why is a row among it"),
        ("/organizations/contoso/devices", "devices"),
        ("/organizations/contoso/edits", "Nothing is stuck"),
        ("/health", "Processes"),
    ):
        answer = grace.goto(console.url + path)
        assert answer is not None
        assert answer.status == 200, shown(grace)
        assert words in shown(grace)


def test_a_person_without_the_role_is_refused(visit: Visit, console: Console) -> None:
    page = visit()
    sign_in(page, console, "ann")
    assert "you are not an administrator" in shown(page)
    assert SESSION not in cookies_of(page)
    page.goto(f"{console.url}/organizations/contoso")
    assert "Sign in" in shown(page)
    assert "contoso" not in shown(page)


def test_a_profile_is_checked_published_and_rolled_back(grace: Page, console: Console, running: Satchel) -> None:
    grace.goto(f"{console.url}/organizations/contoso/profiles")
    grace.get_by_role("link", name="Field service").click()
    grace.get_by_role("link", name="Change this text").click()
    box = grace.get_by_label("The text (TOML)")
    text = box.input_value()
    box.fill(text + "\n[nonsense]\n")
    grace.get_by_role("button", name="Check and count").click()
    assert grace.get_by_role("alert").inner_text()
    box = grace.get_by_label("The text (TOML)")
    assert "[nonsense]" in box.input_value()  # nothing that was typed is lost
    box.fill(without_incident(text))
    grace.get_by_label("Comment").fill(HOSTILE)
    grace.get_by_role("button", name="Check and count").click()
    for words in ("Entities that go: incident", "Counted for", '-name = "incident"'):
        assert words in shown(grace)
    grace.get_by_role("button", name="Publish").click()
    assert "comes into force" in grace.get_by_role("status").inner_text()
    assert is_harmless(grace)
    assert "Version 2 in force" in shown(grace)  # a look kept nothing
    other = grace.context.new_page()
    other.goto(grace.url)  # somebody else looks at the same page
    grace.get_by_role("button", name="Roll back").click()
    assert "version 1, comes into force again" in grace.get_by_role("status").inner_text()
    other.get_by_role("button", name="Roll back").click()
    assert "meanwhile version 1 came into force" in shown(other)  # else it would be rolled back to what was wrong
    other.close()
    (listed,) = running.json("profile", "list", "contoso")
    assert (listed["in_force"], listed["newest"]) == (1, 2)


def without_incident(text: str) -> str:
    head, *entities = text.split("[[entity]]")
    return "[[entity]]".join([head, *(each for each in entities if 'name = "incident"' not in each)])


def test_a_stuck_edit_is_looked_at_and_closed(grace: Page, console: Console, device: Device, source: Sandbox) -> None:
    rows = device.table("contact").where("ownerid", "=", device.enrolment.user_id).order_by("contactid")
    key = str(rows.limit(1).all()[0]["contactid"])
    device.update("contact", key, jobtitle=HOSTILE)
    source.send("PATCH", f"contacts({key})", json={"jobtitle": "theirs"})
    device.sync()
    grace.goto(f"{console.url}/organizations/contoso/edits")
    row = grace.get_by_role("row").filter(has_text="conflict")
    assert source.users[1]["name"] in row.inner_text()
    row.get_by_role("link").first.click()
    assert is_harmless(grace)
    assert re.search(r"jobtitle\s+both changed it\s.*\s" + re.escape(HOSTILE) + r"\s+theirs", shown(grace), re.DOTALL)
    grace.get_by_label("Reason").fill("entered by phone")
    grace.get_by_role("button", name="Close").click()
    assert "1 closed." in grace.get_by_role("status").inner_text()
    assert "Nothing is stuck" in shown(grace)
    device.sync()
    (pending,) = device.pending()
    assert pending.state is SetState.REJECTED
    assert "entered by phone" in str(pending.outcome)
    device.discard(pending.number)


def test_a_device_is_blocked_and_let_in_again(grace: Page, console: Console, device: Device) -> None:
    grace.goto(f"{console.url}/organizations/contoso/devices")
    assert is_harmless(grace)
    grace.get_by_role("button", name=f"Block {HOSTILE}").click()
    assert "refused from now on" in grace.get_by_role("status").inner_text()
    with pytest.raises(TokenInvalid, match="blocked"):
        wait_for(lambda: device.sync() is None, "the block")
    grace.get_by_role("button", name=f"Unblock {HOSTILE}").click()
    wait_for(lambda: is_let_in(device), "being let in again")
    grace.get_by_role("link", name=f"Wipe {HOSTILE}").click()
    assert "cannot be taken back" in shown(grace)
    grace.get_by_role("link", name="Leave it as it is").click()


def is_let_in(device: Device) -> bool:
    try:
        device.sync()
    except TokenInvalid:
        return False
    return True


def test_another_sites_form_changes_nothing(grace: Page, console: Console, device: Device) -> None:
    device_id = device.enrolment.device_id
    grace.goto(f"{console.url}/organizations/contoso/devices")
    own = grace.locator("input[name=form_key]").first.input_value()
    path, fields = "/organizations/contoso/devices/block", {"device": device_id}
    with console.client({SESSION: cookies_of(grace)[SESSION]}) as client:
        tries = [
            client.post(path, data=fields),
            client.post(path, data={**fields, "form_key": "0" * 64}),
            client.post(path, data={**fields, "form_key": own}, headers={"Origin": "https://evil.example"}),
            client.post(path, data={**fields, "form_key": own}, headers={"Origin": "null"}),
            client.post(path, data={**fields, "form_key": own}, headers={"Sec-Fetch-Site": "cross-site"}),
            client.post(path, json={**fields, "form_key": own}),
        ]
    assert {each.status_code for each in tries} == {400}
    assert all(RequestRefused.code in each.text for each in tries[:5])
    grace.reload()
    assert "may sync" in shown(grace)
    assert "blocked" not in shown(grace)


def paths() -> Iterator[tuple[str, str]]:
    """Every path of the console, with names that fit."""
    with warnings.catch_warnings(action="ignore"):  # the framework's, of its next version
        routes = console_app(cast("Desk", None), cast("Database", None), Draining(), 1024).routes
    for route in routes:
        if isinstance(route, HTTPRoute):
            path = re.sub(r"\{name:str\}", "contoso", route.path)
            for method in route.methods & {"GET", "POST"}:
                yield method, re.sub(r"\{number:(int|str)\}", "1", path)


def test_no_page_opens_and_nothing_changes_without_a_session(console: Console) -> None:
    closed = [each for each in paths() if each[1] not in OPEN and not each[1].startswith("/health/")]
    assert len(closed) > 20
    with console.client({SESSION: "sats_" + "A" * 43}) as client:
        for method, path in closed:
            answer = client.request(method, path, data={"x": "1"} if method == "POST" else None)
            expected = 303 if method == "GET" else 403
            assert answer.status_code == expected, f"{method} {path}"
            assert "contoso" not in answer.text or method == "GET"
            assert answer.headers["content-security-policy"]
        for path in ("/console.css", "/health/ready", "/health/live"):
            assert client.get(path).status_code == 200


def test_who_may_only_look_changes_nothing(console: Console, device: Device) -> None:
    reader, token = Caller("reader", frozenset({READ})), "sats_" + "r" * 43
    with psycopg.connect(console.satchel.database_url("satchel"), autocommit=True) as control:
        control.execute(
            "insert into satchel.console_session (token_hash, name, permissions, expires_at, proved_until)"
            " values (%s, 'reader', %s, now() + interval '1 hour', now() + interval '1 hour')",
            [token_hash(token), [READ]],
        )
    visit = Visitor(Session(b"", reader, must_be_proved=False, sealed_refresh=None), token, "/")
    fields = {"device": device.enrolment.device_id, "form_key": visit.form_key}
    with console.client({SESSION: token}) as client:
        page = client.get("/organizations/contoso/devices")
        refused = client.post("/organizations/contoso/devices/block", data=fields)
    assert page.status_code == 200
    assert "devices/block" not in page.text
    assert refused.status_code == 403
    assert PROVISION in refused.text


def test_what_was_changed_is_logged_with_who_did_it(grace: Page, console: Console, running: Satchel) -> None:
    def found() -> str:
        words = ("logs", "--service", "console", "--text", "administrator", "--organization", "contoso")
        return running.run(*words)

    log = wait_for(lambda: text if "what=block device" in (text := found()) else "", "the log of the console")
    for words in ("what=publish profile", "what=roll back profile", "what=close edits", "by=grace@contoso.example"):
        assert words in log
    grace.goto(f"{console.url}/logs?organization=contoso&service=console&text=block+device")
    assert "what=block device" in re.sub(r"\s*=\s*", "=", shown(grace))
    grace.get_by_role("link", name="trace").first.click()
    assert "POST /organizations/{name" in shown(grace)


def test_a_link_of_the_command_line_opens_once(visit: Visit, running: Satchel, console: Console) -> None:
    link = running.json("console", "open")["link"]
    page, other = visit(), visit()
    for tab in (page, other):  # looking uses nothing up
        tab.goto(link)
    page.get_by_role("button", name="Open the console").click()
    assert page.title() == "Organizations – Satchel"
    other.get_by_role("button", name="Open the console").click()
    assert "used before" in shown(other)
    stolen = cookies_of(page)[SESSION]
    page.get_by_role("button", name="Sign out").click()
    with console.client({SESSION: stolen}) as client:
        answer = client.get("/organizations/contoso")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?to=%2Forganizations%2Fcontoso")


def test_a_session_ends_when_the_role_is_taken_away(visit: Visit, console: Console, issuer: RunningIssuer) -> None:
    page = visit()
    sign_in(page, console, "linus")
    assert page.title() == "Organizations – Satchel"
    issuer.control("account", account="linus", claims={"oid": "object-linus", "tid": TENANT})

    def has_ended() -> bool:
        page.goto(console.url)
        return page.title() == "Sign in – Satchel"

    wait_for(has_ended, "the end of the session", 20)
