"""Service protection by an injected clock, faults on demand, and an organization that stays in its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from satchel.errors import DataFolderUnusable, InputInvalid
from satchel.sandbox.data.folder import FILE, open_organization
from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import ODataError
from satchel.sandbox.schema.customers import ACCOUNT
from satchel.sandbox.web.limits import Bounds, Limits
from tests.unit.sandbox.service import BASE, Service, code

TOKEN_FORM = {"grant_type": "client_credentials", "client_id": "c", "client_secret": "s"}


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_too_many_requests_in_a_window_are_refused_until_the_oldest_leaves_it() -> None:
    clock = Clock()
    limits = Limits(is_on=True, bounds=Bounds(requests=2, window_seconds=10), monotonic=clock)
    for _ in range(2):
        with limits.counted() as left:
            clock.now += 3
    assert left["x-ms-ratelimit-burst-remaining-xrm-requests"] == "0"
    with pytest.raises(ODataError) as refused, limits.counted():
        pass
    assert (refused.value.status, refused.value.code) == (429, "0x80072322")
    assert refused.value.headers["Retry-After"] == "4"
    clock.now += 4.5
    with limits.counted():
        pass


def test_too_many_requests_at_once_are_refused() -> None:
    limits = Limits(is_on=True, bounds=Bounds(at_once=1))
    with limits.counted(), pytest.raises(ODataError) as refused, limits.counted():
        pass
    assert (refused.value.code, refused.value.headers["Retry-After"]) == ("0x80072326", "1")


def test_too_much_execution_time_is_refused() -> None:
    clock = Clock()
    limits = Limits(is_on=True, bounds=Bounds(execution_seconds=5), monotonic=clock)
    with limits.counted() as left:
        clock.now += 6
    assert left["x-ms-ratelimit-time-remaining-xrm-requests"] == "5.00"
    with pytest.raises(ODataError, match="limit of 5,000 milliseconds") as refused, limits.counted():
        pass
    assert refused.value.code == "0x80072321"


async def test_limits_stand_on_every_answer() -> None:
    async with Service(limits=Limits(is_on=True, bounds=Bounds(requests=2))) as service:
        answers = [await service.get("WhoAmI") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-ms-ratelimit-burst-remaining-xrm-requests"] == "1"
    assert int(answers[2].headers["retry-after"]) > 0


async def _switch(service: Service, **switches: object) -> None:
    answer = await service.http.patch(f"{BASE}/sandbox/faults", json=switches)
    assert answer.status_code == 200, answer.text


async def test_service_that_is_down_can_still_be_steered(service: Service) -> None:
    await _switch(service, down=True)
    assert (await service.get("WhoAmI")).status_code == 503
    await _switch(service, down=False)
    assert (await service.get("WhoAmI")).status_code == 200


async def test_throttled_answer_says_when_to_come_again(service: Service) -> None:
    await _switch(service, throttle_probability=1, retry_after_seconds=7)
    answer = await service.get("WhoAmI")
    assert (answer.status_code, answer.headers["retry-after"], code(answer)) == (429, "7", "0x80072322")


async def test_errors_are_those_of_a_server(service: Service) -> None:
    await _switch(service, error_probability=1)
    assert (await service.get("WhoAmI")).status_code in {500, 502, 503}


async def test_broken_off_answer_is_cut_short(service: Service) -> None:
    await _switch(service, drop_probability=1)
    with pytest.raises(ConnectionResetError):
        await service.get("accounts?$top=5")


async def test_unknown_switch_is_refused(service: Service) -> None:
    assert (await service.http.patch(f"{BASE}/sandbox/faults", json={"nosuch": 1})).status_code == 400


@pytest.mark.parametrize("path", [f"{BASE}/sandbox/faults", "WhoAmI", "accounts", f"{BASE}/elsewhere"])
async def test_everything_but_the_token_endpoint_needs_a_token(service: Service, path: str) -> None:
    answer = await service.http.get(path, headers={"Authorization": "Bearer 1.x"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer authorization_uri=")


@pytest.mark.parametrize("form", [{"client_secret": "x"}, {"client_id": "x"}, {"grant_type": "password"}])
async def test_wrong_credentials_get_no_token(service: Service, form: dict[str, str]) -> None:
    answer = await service.http.post(f"{BASE}/any/oauth2/v2.0/token", data=TOKEN_FORM | form)
    assert answer.status_code in {400, 401}
    assert "access_token" not in answer.json()


def test_organization_in_a_folder_is_found_as_it_was_left(tmp_path: Path) -> None:
    first = open_organization(tmp_path, 1000, 1)
    first.store.run("update account set name = 'Kept', versionnumber = ?", (first.store.next_version(),))
    version, directory = first.store.version, first.directory
    first.store.close()
    again = open_organization(tmp_path, 1000, 1)
    assert (again.is_new, again.store.version, again.directory) == (False, version, directory)
    assert again.store.value("select distinct name from account") == "Kept"
    again.store.close()


def test_organization_whose_making_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    half = Store(str(tmp_path / FILE))
    half.load(ACCOUNT, [{"accountid": "1", "name": "Half"}])
    half.close()
    made = open_organization(tmp_path, 1000, 1)
    assert made.is_new
    assert made.store.value("select count(*) from account where name = 'Half'") == 0
    made.store.close()


def test_folder_made_of_something_else_or_in_use_is_refused(tmp_path: Path) -> None:
    opened = open_organization(tmp_path, 1000, 1)
    with pytest.raises(DataFolderUnusable, match="in use"):
        open_organization(tmp_path, 1000, 1)
    opened.store.close()
    with pytest.raises(InputInvalid, match="made of 1000 rows, seed 1"):
        open_organization(tmp_path, 1000, 2)
