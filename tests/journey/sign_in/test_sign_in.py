"""Signing in at a certified provider: by browser and by code, renewed, revoked, refused - with real processes."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from satchel.device import Device, DeviceKey, by_browser
from satchel.device.sign_in import Grant, IssuerClient
from satchel.device.sign_in.kept import KeptSignIn, read_kept, write_kept
from satchel.errors import (
    DeviceWiped,
    InputInvalid,
    IssuerUnreachable,
    SatchelError,
    SignInNeeded,
    SignInRefused,
    TokenInvalid,
)
from satchel.identity.sign_in import PROVISION, READ
from satchel.protocol.messages import SignInOptions
from tests.contract.issuer.fixture import TENANT, RunningIssuer
from tests.support.processes import Sandbox, Satchel, free_port, wait_for

pytestmark = pytest.mark.node
KEY = DeviceKey.from_passphrase("phone")


def person(issuer: RunningIssuer, account: str) -> Callable[[IssuerClient], Grant]:
    """Someone in front of a browser."""

    def show(url: str) -> None:
        threading.Thread(target=issuer.sign_in, args=(url, account), daemon=True).start()

    return lambda client: by_browser(client, show)


class Phone:
    """A device and what the server says of its token."""

    def __init__(self, running: Satchel, folder: Path) -> None:
        self.folder = folder
        self._running = running
        self._http = httpx.Client(
            base_url=f"https://localhost:{running.sync_port}", verify=_context(running), timeout=30
        )

    def open(self) -> Device:
        """The device, as its user opens it."""
        return Device.open(self.folder, key=KEY)

    def wait_until_ended(self) -> None:
        """Until the server asks for the sign-in to be proved anew."""
        with self.open() as device:
            headers = {"Authorization": f"Bearer {device.enrolment.token}"}

        def is_ended() -> bool:
            answer = self._http.post("/v1/orgs/contoso/sync", headers=headers, json={})
            assert answer.status_code == 200 or answer.json()["code"] == SignInNeeded.code
            return answer.status_code == 401 or answer.status_code == 403

        wait_for(is_ended, "the end of the sign-in", 20)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@pytest.fixture
def phone(running: Satchel, issuer: RunningIssuer, link: str, tmp_path: Path) -> Iterator[Phone]:
    Device.sign_in(link, folder=tmp_path / "phone", ask=person(issuer, "ann"), key=KEY).close()
    made = Phone(running, tmp_path / "phone")
    yield made
    made.close()


def _context(running: Satchel) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(running.folder / "tls" / "ca.pem"))


def options(running: Satchel, issuer: RunningIssuer) -> SignInOptions:
    return SignInOptions(
        issuer.url, "satchel-device", "openid offline_access access", "access", "http://localhost", tenants=[TENANT]
    )


def access_token(running: Satchel, issuer: RunningIssuer, account: str) -> str:
    """What the issuer gives a user's device, or a program that looks at no tenant."""
    client = IssuerClient(msgspec.structs.replace(options(running, issuer), tenants=[]))
    try:
        return person(issuer, account)(client).access_token
    finally:
        client.close()


def test_who_signs_in_gets_their_own_rows_for_as_long_as_the_issuer_agrees(
    running: Satchel, source: Sandbox, issuer: RunningIssuer, phone: Phone
) -> None:
    user = source.users[0]["id"]
    with phone.open() as device:
        device.sync()
        assert device.enrolment.user_id == user
        seen = source.visible(user, "contact", "own") | source.visible(user, "contact", "team")
        assert {row["contactid"] for row in device.sql("select contactid from contact")} == seen
        first = read_kept(device._writer)
    assert first is not None
    phone.wait_until_ended()
    with phone.open() as device:
        device.sync()
        kept = read_kept(device._writer)
    assert kept is not None
    assert kept.valid_until > first.valid_until
    assert kept.refresh_token != first.refresh_token  # the issuer gives another one each time
    [row] = [each for each in running.json("org", "devices", "contoso") if each["id"] == device.enrolment.device_id]
    assert row["signed_in_until"] is not None


def test_who_is_revoked_at_the_issuer_goes_on_offline_and_loses_no_edit(
    issuer: RunningIssuer, source: Sandbox, phone: Phone
) -> None:
    with phone.open() as device:
        device.sync()
        contact = device.sql("select contactid from contact limit 1")[0]["contactid"]
        issuer.control("disable", account="ann")
        try:
            phone.wait_until_ended()
            device.update("contact", contact, jobtitle="Signed in")
            for _ in range(2):
                with pytest.raises(SignInNeeded) as needed:
                    device.sync()
            assert "satchel device sign-in" in needed.value.hint
            assert SignInNeeded.code in (device.status().last_error or "")
            assert device.status().pending == {"waiting": 1}
            assert device.sql("select jobtitle from contact where contactid = ?", [contact]) == [
                {"jobtitle": "Signed in"}
            ]
            with pytest.raises(SignInRefused):
                Device.sign_in(None, folder=phone.folder, ask=by_refused(issuer), key=KEY)
        finally:
            issuer.control("enable", account="ann")
    with Device.sign_in(None, folder=phone.folder, ask=person(issuer, "ann"), key=KEY) as device:
        device.sync()
        wait_for(lambda: device.sync() and not device.status().pending, "the edit to be accepted", 30)
    assert source.send("GET", f"contacts({contact})").json()["jobtitle"] == "Signed in"


def by_refused(issuer: RunningIssuer) -> Callable[[IssuerClient], Grant]:
    """Someone who says no to the issuer's question."""

    def show(url: str) -> None:
        back = parse_qs(urlsplit(url).query)
        answer = {"error": "access_denied", "state": back["state"][0], "iss": issuer.url}
        threading.Thread(target=httpx.get, args=(back["redirect_uri"][0],), kwargs={"params": answer}).start()

    return lambda client: by_browser(client, show)


def test_an_issuer_that_does_not_answer_is_told_from_one_that_refuses(phone: Phone) -> None:
    phone.wait_until_ended()
    with phone.open() as device:
        kept = read_kept(device._writer)
        assert kept is not None
        gone = msgspec.structs.replace(kept.options, issuer=f"http://127.0.0.1:{free_port()}")
        write_kept(device._writer, msgspec.structs.replace(kept, options=gone))
        with pytest.raises(IssuerUnreachable):
            device.sync()
        write_kept(device._writer, kept)
        device.sync()


def test_a_crash_between_issuer_and_server_costs_nothing(phone: Phone, running: Satchel) -> None:
    phone.wait_until_ended()
    with phone.open() as device:
        kept = read_kept(device._writer)
        assert kept is not None
        with closing(IssuerClient(kept.options)) as client:
            renewed = client.refresh(kept.refresh_token or "")
        write_kept(device._writer, msgspec.structs.replace(kept, refresh_token=renewed.refresh_token))  # killed here
        device.sync()
        assert not device.status().last_error


def test_who_has_no_user_at_the_source_is_refused(issuer: RunningIssuer, link: str, tmp_path: Path) -> None:
    with pytest.raises(SignInRefused, match="no user for this sign-in"):
        Device.sign_in(link, folder=tmp_path / "device", ask=person(issuer, "eve"), key=KEY)
    assert not (tmp_path / "device" / "device.json").exists()


def test_users_of_another_customers_tenant_stay_out(
    running: Satchel, issuer: RunningIssuer, link: str, phone: Phone, tmp_path: Path
) -> None:
    """Their tokens are good, and name the very same user: only whose tenant the organization belongs to tells."""
    url = f"https://localhost:{running.sync_port}/v1/orgs/contoso/sign-in"
    token = access_token(running, issuer, "mallory")
    with phone.open() as device:
        own = device.enrolment.token
    with httpx.Client(verify=_context(running), headers={"Authorization": f"Bearer {token}"}) as client:
        assert client.get(url).json()["tenants"] == [TENANT]  # who else is served is nobody's business
        for body in ({"device_name": "x"}, {"device_token": own}):
            answer = client.post(url, json=body)
            assert (answer.status_code, answer.json()["code"]) == (401, TokenInvalid.code)
        management = f"https://localhost:{running.management_port}/v1/organizations"
        assert client.get(management).status_code == 401
    with pytest.raises(SatchelError, match="another tenant"):
        Device.sign_in(link, folder=tmp_path / "mallorys", ask=person(issuer, "mallory"), key=KEY)
    assert "none of [sign_in] tenants" in running.run("org", "tenants", "contoso", "elsewhere", status=2)
    assert running.json("org", "tenants", "contoso")["tenants"] == [TENANT]


def test_another_user_does_not_take_a_device_over(issuer: RunningIssuer, phone: Phone) -> None:
    with phone.open() as device:
        device.sync()
        rows = device.sql("select count(*) as rows from contact")
    with pytest.raises(SignInRefused, match="belongs to"):
        Device.sign_in(None, folder=phone.folder, ask=person(issuer, "bob"), key=KEY)
    with phone.open() as device:
        assert device.sql("select count(*) as rows from contact") == rows
        device.sync()


def test_a_blocked_device_does_not_come_back_by_signing_in_and_a_wiped_one_erases(
    running: Satchel, issuer: RunningIssuer, phone: Phone
) -> None:
    with phone.open() as device:
        device_id, kept = device.enrolment.device_id, read_kept(device._writer)
    running.run("org", "block", "contoso", device_id)
    with pytest.raises(TokenInvalid, match="blocked"):
        Device.sign_in(None, folder=phone.folder, ask=person(issuer, "ann"), key=KEY)
    running.run("org", "wipe", "contoso", device_id, "--yes")
    with phone.open() as device, pytest.raises(DeviceWiped):
        device.sync()
    assert not phone.folder.joinpath("device.sqlite").exists()
    assert is_forgotten(kept)


def is_forgotten(kept: KeptSignIn | None) -> bool:
    """The issuer gives nothing any more for what a device held of a sign-in."""
    assert kept is not None
    assert kept.refresh_token is not None
    with closing(IssuerClient(kept.options)) as client, pytest.raises(SignInNeeded, match="invalid_grant"):
        client.refresh(kept.refresh_token)
    return True


def sign_out(running: Satchel, phone: Phone, *, notes: int = 0) -> list[str]:
    """By the command, as a person does; what it says of what could not be done."""
    key = phone.folder.parent / "passphrase"
    key.write_text("phone")
    told = running.json("device", "sign-out", "--folder", str(phone.folder), "--passphrase-file", str(key))
    assert told["signed_out"]
    assert len(told["problems"]) == notes, told
    problems: list[str] = told["problems"]
    return problems


def test_who_signs_out_keeps_everything_and_syncs_no_more_before_signing_in(
    running: Satchel, source: Sandbox, issuer: RunningIssuer, phone: Phone
) -> None:
    with phone.open() as device:
        device.sync()
        contact = device.sql("select contactid from contact limit 1")[0]["contactid"]
        device.update("contact", contact, jobtitle="Signed out")
        kept = read_kept(device._writer)
        held = {"Authorization": f"Bearer {device.enrolment.token}"}

    sign_out(running, phone)

    assert is_forgotten(kept)
    phone.wait_until_ended()
    with phone.open() as device:
        assert device.status().signed_in_until is None
        with pytest.raises(SignInNeeded, match="signed out"):
            device.sync()
        assert device.status().pending == {"waiting": 1}
        assert device.sql("select jobtitle from contact where contactid = ?", [contact])[0]["jobtitle"] == "Signed out"
        [row] = [each for each in running.json("org", "devices", "contoso") if each["id"] == device.enrolment.device_id]
    with httpx.Client(base_url=f"https://localhost:{running.sync_port}", verify=_context(running)) as client:
        assert client.post("/v1/orgs/contoso/sign-out", headers=held).status_code == 204  # again is harmless
        assert client.post("/v1/orgs/other/sign-out", headers=held).status_code == 403
        assert client.post("/v1/orgs/contoso/sign-out").status_code == 401
    assert datetime.fromisoformat(row["signed_in_until"]) < datetime.now(UTC)
    with Device.sign_in(None, folder=phone.folder, ask=person(issuer, "ann"), key=KEY) as device:
        wait_for(lambda: device.sync() and not device.status().pending, "the edit to be accepted", 30)
    assert source.send("GET", f"contacts({contact})").json()["jobtitle"] == "Signed out"


def test_without_a_network_signing_out_ends_it_here_and_says_what_is_left(running: Satchel, phone: Phone) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with phone.open() as device:
        kept = read_kept(device._writer)
        assert kept is not None
        options = msgspec.structs.replace(kept.options, issuer=nowhere)
        write_kept(device._writer, msgspec.structs.replace(kept, options=options))
        gone = msgspec.structs.replace(device.enrolment, server_url=nowhere)
        with device._writer.transaction():
            device._writer.set("enrolment", msgspec.json.encode(gone).decode())

    problems = sign_out(running, phone, notes=2)

    assert all("does not answer" in problem for problem in problems)
    with phone.open() as device:
        kept = read_kept(device._writer)
        assert kept is not None
        assert kept.refresh_token is None
        with pytest.raises(SignInNeeded):
            device.sync()


def test_a_wipe_reaches_a_device_whose_user_signed_out(running: Satchel, phone: Phone) -> None:
    sign_out(running, phone)
    with phone.open() as device:
        running.run("org", "wipe", "contoso", device.enrolment.device_id, "--yes")
        with pytest.raises(DeviceWiped):
            device.sync()
    assert not phone.folder.joinpath("device.sqlite").exists()


def test_a_device_that_came_by_a_link_has_no_sign_in_to_end(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY) as device:
        with pytest.raises(InputInvalid):
            device.sign_out()
        device.sync()


def test_a_device_that_came_by_a_link_can_sign_in(
    running: Satchel, source: Sandbox, issuer: RunningIssuer, tmp_path: Path
) -> None:
    place = tmp_path / "device"
    Device.enroll(running.invite(source.users[0]["id"]), place, key=KEY).close()
    with Device.sign_in(None, folder=place, ask=person(issuer, "ann"), key=KEY) as device:
        device.sync()
        assert device.status().signed_in_until


def test_without_encryption_no_refresh_token_lies_on_the_disk(issuer: RunningIssuer, link: str, tmp_path: Path) -> None:
    with Device.sign_in(link, folder=tmp_path / "d", ask=person(issuer, "ann"), is_encrypted=False) as device:
        kept = read_kept(device._writer)
    assert kept is not None
    assert kept.refresh_token is None


def test_only_the_browser_that_was_sent_out_is_believed(running: Satchel, issuer: RunningIssuer) -> None:
    seen: list[int] = []

    def show(url: str) -> None:
        back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for query in ({"code": "guessed", "state": "guessed"}, {"code": "guessed"}, {"error": "access_denied"}):
            seen.append(httpx.get(back, params=query).status_code)
        seen.append(httpx.get(f"{back}/elsewhere", params=query).status_code)
        threading.Thread(target=issuer.sign_in, args=(url, "ann"), daemon=True).start()

    client = IssuerClient(options(running, issuer))
    assert by_browser(client, show).access_token
    client.close()
    assert seen == [400, 400, 400, 400]


def command_line(running: Satchel, folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text("phone")
    command = [sys.executable, "-m", "satchel", "device", "sign-in", *more, "--json"]
    command += ["--folder", str(folder / "device"), "--key-file", str(folder / "key")]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def test_the_command_opens_the_users_browser(
    running: Satchel, source: Sandbox, issuer: RunningIssuer, link: str, tmp_path: Path
) -> None:
    script = tmp_path / "browser"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path.cwd())!r})\n"
        "from tests.contract.issuer.fixture import RunningIssuer\n"
        f"RunningIssuer({issuer.url!r}).sign_in(sys.argv[1], 'ann')\n"
    )
    script.chmod(0o755)
    process = command_line(running, tmp_path, link, BROWSER=f"{script} %s &")
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert json.loads(printed)["user"] == source.users[0]["name"]


def test_the_management_endpoint_knows_services_by_scope_and_administrators_by_role(
    running: Satchel, issuer: RunningIssuer, phone: Phone
) -> None:
    with phone.open() as device:
        device_token = device.enrolment.token
    erp = issuer.service_token("erp", "erp-secret", READ)
    tokens = {
        "erp": erp,
        "provisioner": issuer.service_token("erp", "erp-secret", PROVISION),
        "admin": access_token(running, issuer, "admin"),
        "ann": access_token(running, issuer, "ann"),
        "device": device_token,
        "forged": erp[:-6] + "AAAAAA",
    }
    calls = {
        "list": ("GET", "/v1/organizations", None),
        "model": ("GET", "/v1/organizations/contoso/model", None),
        "announce": ("PUT", "/v1/organizations/contoso", None),
        "event": ("POST", "/v1/organization-events", {"event": "provision", "organization": "nobody"}),
    }
    found: dict[str, list[int]] = {}
    with httpx.Client(base_url=f"https://localhost:{running.management_port}", verify=_context(running)) as client:
        for who, token in tokens.items():
            headers = {"Authorization": f"Bearer {token}"}
            answers = [client.request(m, url, json=body, headers=headers) for m, url, body in calls.values()]
            found[who] = [answer.status_code for answer in answers]
            assert not any(token in answer.text for answer in answers)
    assert found == {
        "erp": [200, 200, 403, 403],
        "provisioner": [403, 403, 403, 404],
        "admin": [200, 200, 204, 404],
        "ann": [403, 403, 403, 403],
        "device": [401, 401, 401, 401],
        "forged": [401, 401, 401, 401],
    }


def test_forged_and_foreign_tokens_get_nothing_at_the_sync_endpoint(running: Satchel, issuer: RunningIssuer) -> None:
    good = access_token(running, issuer, "ann")
    tampered = [good[:-8] + "AAAAAAAA", "x.y.z", "x", "x" * 60_000, issuer.service_token("erp", "erp-secret", READ)]
    url = f"https://localhost:{running.sync_port}/v1/orgs/contoso/sign-in"
    with httpx.Client(verify=_context(running)) as client:
        for token in tampered:
            answer = client.post(url, json={"device_name": "x"}, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code in {401, 403, 431}
            assert "traceback" not in answer.text.lower()
            assert len(token) < 5 or token not in answer.text
        answer = client.post(url, json={"device_name": "x"}, headers={"Authorization": f"Bearer {good}"})
        assert answer.status_code == 200


def test_no_token_stands_in_the_log(running: Satchel, phone: Phone) -> None:
    text = running.log.read_text()
    assert "device signed in" in text
    assert not re.search(r"eyJ[\w-]{8,}\.|satd_[\w-]{8}|refresh_token", text)
