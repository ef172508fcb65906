"""From the base domain to an organization: the name stands in a real BIND, the device finds it, and it goes again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dns.resolver
import httpx
import pytest

from satchel.device import Device, DeviceKey
from tests.support.bind import Bind
from tests.support.processes import Sandbox, Satchel, sandbox, wait_for

KEY = DeviceKey.from_passphrase("a passphrase")
NAME = "contoso.satchel.test"


@pytest.fixture
def bind(tmp_path: Path) -> Iterator[Bind]:
    with Bind(tmp_path / "bind") as running:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], running.port
        dns.resolver.override_system_resolver(resolver)  # this process asks BIND, as a device in the field does
        try:
            yield running
        finally:
            dns.resolver.restore_system_resolver()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path, 1000) as running:
        yield running


def test_a_device_finds_its_organization_by_name(tmp_path: Path, bind: Bind, source: Sandbox) -> None:
    running = Satchel(tmp_path / "data", bind.settings)
    base = f"https://satchel.test:{running.sync_port}"
    running.environment |= {
        "SATCHEL_SYNC__PUBLIC_URL": base,
        "SATCHEL_DNS__ENDPOINT_PORT": str(running.sync_port),
    }
    try:
        running.start()
        bind.stop()  # a name server that is away holds up nothing
        running.add(source)
        bind.start()
        wait_for(lambda: bind.look(NAME, "CNAME"), "the name to come")
        assert "contoso" in running.run("dns", "check")
        assert f"{NAME}. 60 IN CNAME" in running.run("dns", "export")

        with Device.enroll(running.invite(source.users[0]["id"]), tmp_path / "device", key=KEY) as device:
            assert device.enrolment.server_url == f"https://{NAME}:{running.sync_port}"
            device.sync()
            assert device.table("account").count() > 0
        same = {_asked(base, name) for name in ("contoso", "ghost", "a" * 63)}
        assert same == {200}
        assert {_asked(base, name) for name in ("a.b", "", "A", "a" * 64, "..", "ü")} == {400}

        bind.change(f"update delete {NAME}")
        wait_for(lambda: bind.look(NAME, "CNAME"), "the name to be put right")
        running.run("org", "deprovision", "contoso", "--yes", "--wait")
        wait_for(lambda: not bind.look(NAME, "CNAME"), "the name to go")
        assert bind.look(f"_satchel.{NAME}", "TXT") == []
        assert bind.look("www.satchel.test", "A") == ["192.0.2.80"]
    finally:
        running.stop()


def _asked(base: str, name: str) -> int:
    answer = httpx.get(f"{base}/v1/discover", params={"org": name}, verify=False, timeout=10)  # noqa: S501
    if answer.status_code == 200:
        assert set(answer.json()) == {"sync_url"}
        assert answer.json()["sync_url"].startswith(f"https://{name}.satchel.test")
    return answer.status_code
