"""What a page is asked for by others: odd hosts, times without end, texts that no database has, folders of others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from litestar.testing import AsyncTestClient, RequestFactory
from obstore.store import LocalStore

from satchel.console.app import console_app
from satchel.console.desk import AnyRequest
from satchel.console.door.guard import refuse_foreign
from satchel.console.pages.watching import Looked, _wanted
from satchel.console.render import _environment
from satchel.database.pool import Database
from satchel.errors import EnrolmentRefused, RequestInvalid, RequestRefused
from satchel.http.draining import Draining
from satchel.provisioning.devices import Devices
from satchel.provisioning.organizations import Organizations
from satchel.storage import Objects
from satchel.telemetry.search import Wanted, find_newest

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.filterwarnings("ignore::litestar.exceptions.base_exceptions.LitestarDeprecationWarning")
@pytest.mark.parametrize("host", ["a:b:c", "[", "evil.example", "localhost:99999999"])
async def test_whatever_host_is_asked_for_the_answer_is_a_page(host: str) -> None:
    app = console_app(cast(Any, None), cast(Any, None), Draining(), 1024)
    async with AsyncTestClient(app) as client:
        answer = await client.get("/nowhere", headers={"host": host})
        inside = await client.get("/organizations/contoso?a=b", headers={"host": host}, follow_redirects=False)
    assert answer.status_code == 404
    assert "There is no such page." in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert (inside.status_code, inside.headers["location"]) == (303, "/sign-in?to=%2Forganizations%2Fcontoso%3Fa%3Db")


@pytest.mark.parametrize("origin", ["http://[", "http://console.example", "https://console.example.evil", "null", ""])
def test_a_form_of_another_origin_is_refused(origin: str) -> None:
    def posted(*, origin: str) -> AnyRequest:
        request = RequestFactory().post("/", headers={"Host": "console.example", "Origin": origin})
        return cast(AnyRequest, request)

    with pytest.raises(RequestRefused):
        refuse_foreign(posted(origin=origin))
    refuse_foreign(posted(origin="https://console.example"))


def test_logs_are_looked_for_in_times_there_are() -> None:
    soon = NOW + timedelta(minutes=5)
    assert _wanted(Looked(until="9999-12-31T23:59:59"), NOW).until == soon  # not hour by hour until then
    assert _wanted(Looked(), NOW).until == soon
    assert _wanted(Looked(until="0001-01-01", back="2w"), NOW).since.year == 1999
    assert _wanted(Looked(until="2026-11-28T08:00:00+02:00"), NOW).until == NOW.replace(hour=6)
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00", "soon"):
        with pytest.raises(RequestInvalid):
            _wanted(Looked(until=text), NOW)


async def test_an_organization_that_is_no_name_leads_to_no_folder(tmp_path: Path) -> None:
    objects = Objects(LocalStore(tmp_path), "the test's folder")
    for organization in ("../../organizations", "contoso/2026", "/"):
        wanted = Wanted(since=NOW, until=NOW, organization=organization)
        assert await find_newest(objects, wanted, 10) == []


async def test_a_text_that_no_database_has_names_nobody(control: Database) -> None:
    assert await Organizations(control).find("con\x00toso") is None
    with pytest.raises(EnrolmentRefused):
        await Devices(control).enroll("contoso", "CODE", "phone\x00")


def test_what_a_form_sends_back_is_what_it_was_given() -> None:
    visit = SimpleNamespace(may_change=True, path="/", said="", form_key="k", caller=SimpleNamespace(name="grace"))
    text = "name = 'a\u200b\u202eb'\t# <b>"
    page = _environment.get_template("profile-edit.html").render(
        visit=visit, now=NOW, name="contoso", text=text, comment='\u200b"x', checked=None
    )
    assert "name = &#39;a\u200b\u202eb&#39;\t# &lt;b&gt;</textarea>" in page
    assert 'value="\u200b&#34;x"' in page
