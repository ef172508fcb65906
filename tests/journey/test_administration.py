"""What an administrator does, and what they are told when it is wrong: a clear error, status 2, nothing changed."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from satchel.device import Clock, Device, DeviceKey
from satchel.errors import CursorInvalid, DeviceWiped, EnrolmentRefused, LeaseEnded, OrganizationUnknown, TokenInvalid
from satchel.identity.certificates import ensure_server_certificate
from satchel.identity.keys import MasterKey
from satchel.identity.sign_in import PERMISSIONS
from satchel.identity.tokens import make_service_token
from satchel.settings.load import load
from tests.support.processes import EXAMPLE_PROFILE, IS_SEPARATE, Sandbox, Satchel, satchel, wait_for

KEY = DeviceKey.from_passphrase("x")


@pytest.fixture
def device(running: Satchel, source: Sandbox, tmp_path: Path) -> Iterator[Device]:
    with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY) as enrolled:
        enrolled.sync()
        yield enrolled


@pytest.fixture
def management(running: Satchel) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(running.folder / "tls" / "ca.pem"))
    with httpx.Client(base_url=f"https://localhost:{running.management_port}", verify=context) as client:
        yield client


def service_token(running: Satchel) -> str:
    settings = load(None, running.environment, {})
    key = MasterKey.load(settings).derive("service token")
    return make_service_token(key, "test", datetime.now(UTC), PERMISSIONS)


def add(running: Satchel, source: Sandbox, tmp_path: Path, status: int = 2, **changes: str) -> str:
    secret = tmp_path / "secret"
    secret.write_text(changes.get("secret", source.client_secret))
    profile = tmp_path / "profile.toml"
    profile.write_text(changes.get("profile", EXAMPLE_PROFILE.read_text()))
    return running.run(
        "org", "add", changes.get("name", "second"), "--source", changes.get("url", source.url),
        "--token-url", changes.get("token_url", source.token_url), "--client-id", source.client_id,
        "--client-secret-file", str(secret), "--profile", str(profile), status=status,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://127.0.0.1:9"}, "No connection"),
        ({"url": "ftp://x"}, "not an http or https address"),
        ({"secret": "wrong"}, "secret"),
        ({"profile": 'name = "x"\n[[entity]]\nname = "contcat"\nrows = ["all"]'}, "Did you mean contact"),
        ({"profile": 'name = "x"\n[[entity]]\nname = "contact"\ncolumns = ["fulname"]'}, "fullname"),
        ({"profile": 'name = "x"\n[[entity]]\nname = "product"\nrows = ["own"]'}, "belong to no one"),
        ({"profile": "not toml"}, "not valid TOML"),
        ({"name": "No Spaces!"}, "cannot be an organization's name"),
        ({"name": "contoso"}, "already"),
    ],
)
def test_a_wrong_registration_is_refused_and_nothing_is_saved(
    changes: dict[str, str], words: str, running: Satchel, source: Sandbox, tmp_path: Path
) -> None:
    told = add(running, source, tmp_path, **changes)

    assert words in told
    assert "Traceback" not in told
    assert [o["name"] for o in running.json("org", "list")] == ["contoso"]


def test_the_secret_is_nowhere_in_clear(running: Satchel, source: Sandbox) -> None:
    logs = running.log.read_text()
    assert source.client_secret not in logs
    secret = source.client_secret.encode()
    # Not by rglob, which fails where a folder goes away meanwhile.
    walks = [walked for folder in running.folders for walked in os.walk(folder)]
    paths = [Path(folder) / name for folder, _, names in walks for name in names]
    looked_at = [path for path in paths if holds(path, secret) is not None]
    assert len(looked_at) > 100  # or else it was the wrong folder
    assert not [path for path in looked_at if holds(path, secret)]


def holds(path: Path, what: bytes) -> bool | None:
    """Whether a file has these bytes; None: a socket, or gone: PostgreSQL removes some at any moment."""
    with suppress(FileNotFoundError):
        return what in path.read_bytes() if path.is_file() else None
    return None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["org", "show", "ghost"], "no organization named 'ghost'"),
        (["org", "invite", "contoso", "nobody"], "no enabled user"),
        (["org", "pull", "contoso", "ghost"], "stages no entity"),
        (["org", "block", "contoso", "nothing"], "no device"),
        (["org", "wipe", "contoso", "nothing", "--yes"], "no device"),
        pytest.param(
            ["up"],
            "runs already",
            marks=pytest.mark.skipif(IS_SEPARATE, reason="nothing runs that `satchel up` started"),
        ),
        (["nonsense"], "No such command"),
        (["device", "enroll", "no-link", "--folder", "/proc/none"], "not an enrolment link"),
    ],
)
def test_a_wrong_argument_is_told_with_status_2(arguments: list[str], words: str, running: Satchel) -> None:
    assert words in running.run(*arguments, status=2)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SATCHEL_SYNC__PROT": "1"}, "Did you mean [sync] port"),
        ({"SATCHEL_SYNC__PORT": "many"}, "[sync] port"),
        ({"SATCHEL_SYNC__PORT": "70000"}, "[sync] port"),
        ({"SATCHEL_SECRETS__KEY": "c2hvcnQ="}, "instead of 32"),
        ({"SATCHEL_DATA__FOLDER": "/proc/none"}, "cannot be made"),
    ],
)
def test_a_wrong_setting_does_not_start(variables: dict[str, str], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "satchel", "up"],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SATCHEL_DATA__FOLDER": str(tmp_path / "data"), **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "data" / "run" / "supervisor.json").exists()


def test_a_full_disk_does_not_start(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    script = f"mount -t tmpfs -o size=6m none {folder} && exec {sys.executable} -m satchel up"
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*namespace, "sh", "-c", script],
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "SATCHEL_DATA__FOLDER": str(folder)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 2, done.stderr
    assert "no space left" in done.stderr.lower()
    assert "Try:" in done.stderr


def test_a_configured_certificate_takes_the_place_of_the_development_one(
    source: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ensure_server_certificate(tmp_path / "real", [])
    files = {
        "SATCHEL_SYNC__TLS_CERTIFICATE_FILE": str(real.cert_file),
        "SATCHEL_SYNC__TLS_KEY_FILE": str(real.key_file),
        "SSL_CERT_FILE": str(real.ca_file),  # the authority is one that this system trusts
    }
    with satchel(tmp_path / "data", **files) as running:
        running.add(source)
        link = running.invite(source.users[0]["id"])
        assert "ca=" not in link
        monkeypatch.setenv("SSL_CERT_FILE", str(real.ca_file))
        with Device.enroll(link, tmp_path / "device", key=KEY) as device:
            assert device.sync().rows_put > 0
        assert not (running.folder / "tls" / "ca.pem").exists()


def test_an_offline_lease_locks_a_device_until_it_is_heard_again(source: Sandbox, tmp_path: Path) -> None:
    now = [1_800_000_000.0]
    clock = Clock(now=lambda: now[0])
    with satchel(tmp_path / "data", SATCHEL_DEVICES__OFFLINE_LEASE_DAYS="30") as running:
        running.add(source)
        with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY, clock=clock) as device:
            assert device.sync().rows_put > 0
            assert device.status().lease_ends == "2027-02-14T08:00:00+00:00"
            for _ in range(2):  # told with the rows, and where nothing is new
                now[0] += 31 * 86_400
                with pytest.raises(LeaseEnded, match="sync to unlock"):
                    device.table("account")
                wait_for(lambda: device.sync().was_current, "nothing more to be new")
                assert device.table("account").count() > 0
            now[0] += 29 * 86_400
            assert device.sql("select count(*) as n from account")[0]["n"] > 0


def test_a_port_in_use_does_not_start(running: Satchel, tmp_path: Path) -> None:
    environment = {**running.environment, "SATCHEL_DATA__FOLDER": str(tmp_path / "other"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-m", "satchel", "up"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert f"Port {running.sync_port}" in done.stderr


def test_a_code_works_once(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    link = running.invite(source.users[1]["id"])
    Device.enroll(link, tmp_path / "one", key=KEY).close()

    with pytest.raises(EnrolmentRefused):
        Device.enroll(link, tmp_path / "two", key=KEY)
    with pytest.raises(EnrolmentRefused):
        Device.enroll(link.replace("code=", "code=A"), tmp_path / "two", key=KEY)
    assert not (tmp_path / "two" / "device.json").exists()


def test_a_tampered_cursor_and_one_of_another_device_are_refused(
    device: Device, running: Satchel, source: Sandbox, tmp_path: Path
) -> None:
    store = device._writer
    own = store.get("cursor")
    assert own is not None
    with Device.enroll(running.invite(source.users[1]["id"]), tmp_path / "other", key=KEY) as other:
        other.sync()
        foreign = other._writer.get("cursor")
    flipped = own[:40] + ("A" if own[40] != "A" else "B") + own[41:]
    for cursor in (flipped, foreign, "nonsense", own[:20]):
        with store.transaction():
            store.set("cursor", cursor)
        with pytest.raises(CursorInvalid):
            device.sync()

    report = device.sync(from_start=True)

    assert report.rows_put > 0
    assert report.rows_removed == 0


def test_a_blocked_device_is_shut_out_and_let_in_again(device: Device, running: Satchel) -> None:
    device_id = device.status().device_id
    running.run("org", "block", "contoso", device_id)

    def is_refused() -> bool:
        try:
            device.sync()
        except TokenInvalid:
            return True
        return False

    wait_for(is_refused, "the block to take effect", seconds=15)
    running.run("org", "block", "contoso", device_id, "--undo")
    assert device.sync().checkpoint or device.sync().was_current


def test_a_wiped_device_erases_all_it_holds_and_says_so(
    device: Device, running: Satchel, source: Sandbox, tmp_path: Path
) -> None:
    enrolment = device.enrolment
    context = ssl.create_default_context(cadata=enrolment.ca_pem)
    url = f"https://localhost:{running.sync_port}/v1/orgs/contoso"

    def listed() -> dict[str, Any]:
        return next(d for d in running.json("org", "devices", "contoso") if d["id"] == enrolment.device_id)

    def is_wiped() -> bool:
        try:
            device.sync()
        except DeviceWiped:
            return True
        return False

    with httpx.Client(verify=context, headers={"Authorization": f"Bearer {enrolment.token}"}) as client:
        assert client.post(f"{url}/wiped").status_code == 403  # no wipe was ordered
        assert (listed()["wipe_requested"], listed()["wiped"]) == (None, None)
        running.run("org", "wipe", "contoso", enrolment.device_id, "--yes")
        assert listed()["wipe_requested"]

        wait_for(is_wiped, "the wipe to take effect", seconds=15)

        answer = client.post(f"{url}/sync", json={})
        assert (answer.status_code, answer.json()["code"]) == (403, "E504")
    assert {file.name for file in (tmp_path / "device").iterdir()} == {"device.wiped", "device.lock"}
    assert listed()["wipe_requested"] <= listed()["wipe_told"] <= listed()["wiped"]
    assert "erased" in running.run("org", "devices", "contoso")
    told = running.run("device", "status", "--folder", str(tmp_path / "device"), status=2)
    assert "was wiped" in told
    assert "enroll anew" in told
    with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY) as again:
        assert again.sync().rows_put > 0


def test_tokens_open_only_their_own_doors(device: Device, running: Satchel, management: httpx.Client) -> None:
    enrolment = device.enrolment
    url = f"https://localhost:{running.sync_port}/v1/orgs"
    context = ssl.create_default_context(cadata=enrolment.ca_pem)
    with httpx.Client(verify=context, headers={"Authorization": f"Bearer {enrolment.token}"}) as client:
        assert client.post(f"{url}/contoso/sync", json={}).status_code == 200
        assert client.post(f"{url}/another/sync", json={}).status_code == 403
        assert client.post(f"{url}/contoso/sync", json={"cursor": 5}).status_code == 400
        assert client.post(f"{url}/contoso/sync", content=b"x" * 2_000_000).status_code in {400, 413}
        assert client.post(f"{url}/contoso/sync?wait=9999", json={}).status_code == 400
        assert management.get("/v1/organizations", headers=dict(client.headers)).status_code == 401
        client.headers["Authorization"] = "Bearer satd_forged"
        answer = client.post(f"{url}/contoso/sync", json={})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "E501"
    assert management.get("/v1/organizations").status_code == 401


def test_the_management_endpoint_takes_events_and_shows_organizations(
    running: Satchel, source: Sandbox, management: httpx.Client, tmp_path: Path
) -> None:
    management.headers["Authorization"] = f"Bearer {service_token(running)}"
    add(running, source, tmp_path, status=0, name="second")

    answer = management.post("/v1/organization-events", json={"event": "provision", "organization": "second"})

    assert answer.status_code == 202

    def state() -> str | None:
        listed = {o["name"]: o["state"] for o in management.get("/v1/organizations").json()}
        return listed.get("second")

    wait_for(lambda: state() == "active", "the organization to be provisioned")
    assert management.get("/v1/organizations/second/model").json()["entities"]
    assert (
        management.post("/v1/organization-events", json={"event": "provision", "organization": "ghost"}).status_code
        == 404
    )
    assert (
        management.post("/v1/organization-events", json={"event": "explode", "organization": "second"}).status_code
        == 400
    )
    deprovision = {"event": "deprovision", "organization": "second"}
    assert management.post("/v1/organization-events", json=deprovision).status_code == 202
    wait_for(lambda: state() is None, "the organization to be gone")


def test_another_profile_changes_what_devices_hold(device: Device, running: Satchel, tmp_path: Path) -> None:
    profile = tmp_path / "narrow.toml"
    profile.write_text('name = "Field service"\n[[entity]]\nname = "contact"\nrows = ["own"]\ncolumns = ["fullname"]\n')
    running.run("profile", "import", "contoso", str(profile), "--publish")

    wait_for(lambda: device.sync() and set(device.model.entity_by_name) == {"contact"}, "the narrow model")
    assert [a.name for a in device.model.entity_by_name["contact"].attributes] == ["contactid", "fullname"]
    tables = [row["name"] for row in device.sql("select name from sqlite_master where type = 'table'")]
    assert [name for name in tables if not name.startswith(("_satchel_", "sqlite_"))] == ["contact"]

    running.run("profile", "rollback", "contoso", "Field service")
    wait_for(lambda: device.sync() and "account" in device.model.entity_by_name, "the wide model")
    wait_for(lambda: device.sync() and device.table("account").count() > 0, "the accounts to come again")


def test_deprovision_leaves_nothing_behind(running: Satchel, source: Sandbox, tmp_path: Path) -> None:
    import psycopg

    name = f"gone-{uuid.uuid4().hex[:6]}"
    add(running, source, tmp_path, status=0, name=name)
    running.run("org", "provision", name, "--wait")
    with Device.enroll(running.invite(source.users[0]["id"], name), tmp_path / "gone", key=KEY) as device:
        device.sync()
        running.run("org", "deprovision", name, "--yes", "--wait")
        with pytest.raises((TokenInvalid, OrganizationUnknown)):
            device.sync()
    url = running.database_url()
    with psycopg.connect(url) as connection:
        databases = connection.execute("select datname from pg_database").fetchall()
        roles = connection.execute("select rolname from pg_roles").fetchall()
    with psycopg.connect(running.database_url("satchel")) as control:
        left = "select 1 from procrastinate_jobs where args ->> 'organization' = %s and status <> 'succeeded'"
        # What was being done just then ends by itself.
        wait_for(lambda: not control.execute(left, [name]).fetchall(), "its work items to be gone", seconds=120)
    assert not [row for row in (*databases, *roles) if name.replace("-", "_") in row[0]]
    assert name not in [o["name"] for o in running.json("org", "list")]
    assert not list((running.folder / "objects").rglob(f"*{name.replace('-', '_')}*"))
