"""Names in a real BIND 9: kept by updates, again and again the same, and nobody else's touched."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from satchel.errors import NameForeign, NameImpossible, NameServerBusy
from satchel.naming.records import Target, organization_name, zone_file
from satchel.naming.updates import NameServer, Zone
from tests.support.bind import Bind


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bind]:
    with Bind(tmp_path_factory.mktemp("bind")) as running:
        yield running


def zone_of(bind: Bind, *, unit: str = "north", secret: str = "", **more: object) -> Zone:
    server = NameServer("127.0.0.1", bind.port, "satchel-key", "hmac-sha256", secret or bind.secret)
    target = Target(bind.zone, unit, f"unit.{bind.zone}", [], 60)
    return Zone(server, msgspec.structs.replace(target, **more))


def stands(bind: Bind, name: str) -> dict[str, list[str]]:
    kinds = {kind: bind.look(f"{name}.{bind.zone}", kind) for kind in ("CNAME", "A", "AAAA", "TXT")}
    kinds["owner"] = bind.look(f"_satchel.{name}.{bind.zone}", "TXT")
    return {kind: found for kind, found in kinds.items() if found}


async def test_a_name_comes_stays_follows_and_goes(bind: Bind) -> None:
    zone = zone_of(bind)

    assert await zone.publish("contoso")
    assert stands(bind, "contoso")["CNAME"] == [f"unit.{bind.zone}."]
    assert not await zone.publish("contoso")  # again changes nothing
    elsewhere = zone_of(bind, host="", addresses=["192.0.2.7", "192.0.2.8", "2001:db8::7"])
    assert await elsewhere.publish("contoso")
    assert stands(bind, "contoso") == {
        "A": ["192.0.2.7", "192.0.2.8"], "AAAA": ["2001:db8::7"], "owner": ['"v=satchel1 unit=north"'],
    }  # fmt: skip
    assert await elsewhere.remove("contoso")
    assert stands(bind, "contoso") == {}
    assert not await elsewhere.remove("contoso")


@pytest.mark.parametrize("name", ["www", "taken"])
async def test_a_name_that_somebody_else_uses_is_not_touched(bind: Bind, name: str) -> None:
    before = stands(bind, name)

    with pytest.raises(NameForeign):
        await zone_of(bind).publish(name)
    assert not await zone_of(bind).remove(name)

    assert stands(bind, name) == before


async def test_another_scale_units_name_is_not_touched(bind: Bind) -> None:
    await zone_of(bind, unit="south").publish("fabrikam")
    before = stands(bind, "fabrikam")

    with pytest.raises(NameForeign):
        await zone_of(bind, host=f"other.{bind.zone}").publish("fabrikam")
    assert not await zone_of(bind).remove("fabrikam")

    assert stands(bind, "fabrikam") == before


async def test_what_others_changed_under_our_name_is_put_right(bind: Bind) -> None:
    zone = zone_of(bind)
    await zone.publish("northwind")
    bind.change(f"update delete northwind.{bind.zone}", f"update add northwind.{bind.zone} 60 A 192.0.2.66")

    assert not await zone.is_current("northwind")
    assert await zone.publish("northwind")

    assert stands(bind, "northwind")["CNAME"] == [f"unit.{bind.zone}."]


async def test_what_others_keep_at_our_name_stays(bind: Bind) -> None:
    zone, name = zone_of(bind, host="", addresses=["192.0.2.7"]), f"litware.{bind.zone}"
    await zone.publish("litware")
    bind.change(f"update add {name} 60 MX 10 ns.{bind.zone}.", f'update add {name} 60 TXT "v=spf1 -all"')

    assert await zone_of(bind, host="", addresses=["192.0.2.8"]).publish("litware")
    with pytest.raises(NameForeign, match="MX, TXT"):
        await zone_of(bind).publish("litware")
    assert bind.look(name, "A") == ["192.0.2.8"]
    assert await zone.remove("litware")

    assert stands(bind, "litware") == {"TXT": ['"v=spf1 -all"']}
    assert bind.look(name, "MX") == [f"10 ns.{bind.zone}."]


async def test_a_wrong_key_and_a_silent_server_are_waited_for(bind: Bind) -> None:
    with pytest.raises(NameServerBusy):
        await zone_of(bind, secret="d3Jvbmc=" * 4).publish("adatum")
    assert stands(bind, "adatum") == {}
    bind.stop()
    with pytest.raises(NameServerBusy):
        await zone_of(bind).publish("adatum")
    bind.start()
    assert await zone_of(bind).publish("adatum")


@pytest.mark.parametrize(
    "name", ["", "a" * 64, "a.b", "*", "-a", "a-", "A", "ü", "a\nb", "a;b", "_satchel", "a b", "@", "\\046"]
)
def test_a_hostile_name_is_no_name(name: str) -> None:
    with pytest.raises(NameImpossible):
        organization_name(name, "satchel.test")


def test_a_name_that_is_too_long_together_is_no_name() -> None:
    with pytest.raises(NameImpossible):
        organization_name("a" * 63, ".".join(["b" * 60] * 3 + ["c" * 10]))


def test_binds_own_checker_takes_the_exported_zone(bind: Bind, tmp_path: Path) -> None:
    target = zone_of(bind).target
    addresses = msgspec.structs.replace(target, host="", addresses=["192.0.2.7", "2001:db8::7"])
    head = f"$ORIGIN {bind.zone}.\n$TTL 60\n@ IN SOA ns a 1 1 1 1 1\n@ IN NS ns\nns IN A 127.0.0.1\n"
    for number, each in enumerate((target, addresses)):
        file = tmp_path / f"zone{number}"
        file.write_text(head + zone_file(["contoso", "a-1"], each))
        subprocess.run(["named-checkzone", bind.zone, str(file)], check=True, capture_output=True, timeout=20)
