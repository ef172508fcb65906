"""A device over real TLS: enrolled by its link, resumed where it broke off, opened only with its key."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import msgspec
import pytest

from satchel.device import Device, DeviceKey
from satchel.device import store as stores
from satchel.device.endpoint import fetch_authority
from satchel.device.store import Store
from satchel.errors import (
    DeviceBusy,
    DeviceExists,
    DeviceKeyWrong,
    DeviceNotEnrolled,
    InputInvalid,
    NotEntitled,
    QueryInvalid,
    SatchelError,
    ServerUnreachable,
    TokenInvalid,
)
from satchel.protocol.enrolment import format_link, parse_link
from tests.unit.device import lines as l
from tests.unit.device.network import KEY, FakeNetwork, first_sync


def test_the_database_cannot_be_read_without_the_key(network: FakeNetwork, device: Device, tmp_path: Path) -> None:
    first_sync(network, device, l.contact("a", "Anna Karenina"))
    device.close()

    content = b"".join(file.read_bytes() for file in (tmp_path / "device").iterdir())
    assert b"Anna Karenina" not in content
    assert b"fullname" not in content
    with pytest.raises(DeviceKeyWrong):
        Device.open(tmp_path / "device", key=DeviceKey.from_passphrase("wrong"))
    with Device.open(tmp_path / "device", key=KEY) as again:
        assert again.table("contact").count() == 1


@pytest.mark.parametrize("key", [None, KEY])
def test_a_database_keeps_its_page_size(key: DeviceKey | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page size that is not the file's own would make an encrypted one unreadable."""
    file, sizes = tmp_path / "device.sqlite", list[object]()
    monkeypatch.setattr(stores, "_PAGE_BYTES", 4096)
    old = Store(file, key)
    old.set("who", "an older version")
    old.close()
    monkeypatch.undo()

    for path in (file, tmp_path / "new.sqlite"):
        store = Store(path, key)
        sizes.append(store.connection.pragma("page_size"))
        assert (store.get("who") is None) == (path != file)
        store.close()

    assert sizes == [4096, 8192]


def test_a_broken_answer_is_resumed_at_its_last_cursor(network: FakeNetwork, device: Device) -> None:
    network.answers += [
        ([l.begin(), l.model(), l.put(l.contact("a")), l.cursor("c1"), l.put(l.contact("lost"))], True),
        ([l.begin(), l.put(l.contact("b")), l.end("c2", 9)], False),
    ]

    report = device.sync()

    assert [request.get("cursor") for request in network.requests] == [None, "c1"]
    assert {row["contactid"] for row in device.table("contact").all()} == {"a", "b"}
    assert (report.rows_put, report.checkpoint, report.answers) == (2, 9, 2)


def test_the_status_tells_of_each_table_whether_all_rows_came(network: FakeNetwork, device: Device) -> None:
    begun = [l.begin(), l.model(), {"loaded": "price"}, l.put(l.contact("a")), l.cursor("c1")]
    network.answers += [(begun, False), 403]
    with pytest.raises(TokenInvalid):
        device.sync()

    assert {table.name: table.is_complete for table in device.status().tables} == {"contact": False, "price": True}
    network.answers.append(([l.begin(), l.end("c2")], False))
    device.sync()
    assert all(table.is_complete for table in device.status().tables)


def test_nothing_new_is_said_so(network: FakeNetwork, device: Device) -> None:
    first_sync(network, device)
    network.answers.append(204)

    report = device.sync()

    assert report.was_current
    assert network.requests[-1] == {"cursor": "c1", "model": l.MODEL.digest}


def test_a_blocked_device_is_told_and_keeps_its_data(network: FakeNetwork, device: Device) -> None:
    first_sync(network, device, l.contact("a"))
    network.answers.append(401)

    with pytest.raises(TokenInvalid, match="blocked"):
        device.sync()

    assert device.table("contact").count() == 1
    assert "blocked" in (device.status().last_error or "")


def test_without_a_network_reading_goes_on(device: Device, network: FakeNetwork, tmp_path: Path) -> None:
    first_sync(network, device, l.contact("a"))
    device.close()
    from satchel.device.store import Store

    store = Store(tmp_path / "device" / "device.sqlite", KEY)
    enrolment = store.enrolment
    assert enrolment is not None
    elsewhere = msgspec.structs.replace(enrolment, server_url="https://localhost:1")
    with store.transaction():
        store.set("enrolment", msgspec.json.encode(elsewhere).decode())
    store.close()

    with Device.open(tmp_path / "device", key=KEY) as offline:
        with pytest.raises(ServerUnreachable):
            offline.sync()
        assert offline.sql("select fullname from contact") == [{"fullname": "Ann"}]


def test_another_authority_is_not_trusted(network: FakeNetwork, tmp_path: Path) -> None:
    with pytest.raises(NotEntitled, match="authority"):
        Device.enroll(network.link("0" * 64), tmp_path / "other", key=KEY)
    assert not (tmp_path / "other" / "device.json").exists()


def test_only_the_authority_of_the_fingerprint_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Base64 ends at its padding: another certificate behind it does not change the fingerprint, and is not kept."""
    known = b"padded in Base64"
    text = ssl.DER_cert_to_PEM_cert(known) + ssl.DER_cert_to_PEM_cert(b"someone else")
    monkeypatch.setattr(httpx.Client, "get", lambda *_: httpx.Response(200, text=text))
    link = format_link("https://localhost", "contoso", "CODE", hashlib.sha256(known).hexdigest())

    assert fetch_authority(parse_link(link)) == ssl.DER_cert_to_PEM_cert(known)


def test_a_certificate_that_the_system_does_not_know_is_refused(network: FakeNetwork, tmp_path: Path) -> None:
    with pytest.raises(NotEntitled, match="does not trust"):
        Device.enroll(format_link(network.url, "contoso", "CODE", None), tmp_path / "other", key=KEY)
    assert not (tmp_path / "other" / "device.json").exists()


def test_an_enrolment_without_a_network_can_be_tried_again(network: FakeNetwork, tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        Device.enroll(format_link("https://localhost:1", "contoso", "CODE", None), tmp_path / "device", key=KEY)
    assert "again with the same link" in caught.value.hint
    Device.enroll(network.link(), tmp_path / "device", key=KEY).close()


@pytest.mark.parametrize("host", ["a..b", "a" * 70, "xn--", "[v1.x]"])
def test_an_impossible_address_is_refused(host: str, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="not an address"):
        Device.enroll(f"https://{host}/enroll#org=a&code=b", tmp_path / "none", key=KEY)


def test_the_key_may_stand_in_the_environment(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATCHEL_DEVICE_KEY", "correct horse battery staple")
    Device.open(tmp_path / "device").close()
    monkeypatch.setenv("SATCHEL_DEVICE_KEY", "another")
    with pytest.raises(DeviceKeyWrong):
        Device.open(tmp_path / "device")


def test_watching_waits_while_another_process_syncs(device: Device, tmp_path: Path) -> None:
    troubles: list[SatchelError] = []
    with Device.open(tmp_path / "device", key=KEY) as other, other._folder.lock():
        device.watch(lambda _: None, on_trouble=troubles.append, should_stop=lambda: bool(troubles))
    assert [type(trouble) for trouble in troubles] == [DeviceBusy]


@pytest.mark.parametrize(
    "link", ["", "http://localhost/enroll#org=a&code=b", "https://localhost/enroll#org=a", "x" * 99]
)
def test_what_is_no_link_is_refused(link: str, tmp_path: Path) -> None:
    with pytest.raises(InputInvalid, match="not an enrolment link"):
        Device.enroll(link, tmp_path / "none", key=KEY)


def test_a_folder_holds_one_device(device: Device, network: FakeNetwork, tmp_path: Path) -> None:
    with pytest.raises(DeviceExists):
        Device.enroll(network.link(), tmp_path / "device", key=KEY)
    with pytest.raises(DeviceNotEnrolled):
        Device.open(tmp_path / "nothing")


def test_only_one_process_syncs_at_a_time(device: Device, tmp_path: Path) -> None:
    with Device.open(tmp_path / "device", key=KEY) as other, other._folder.lock(), pytest.raises(DeviceBusy):
        device.sync()


def test_typed_values_come_back_exactly(network: FakeNetwork, device: Device) -> None:
    row = l.contact(
        "a", credit="1234567890.10", exact="12345678901234567890.0123456789", donotemail=True, birthdate="1980-02-29"
    )
    first_sync(network, device, row, l.contact("b", credit="-0.05"), l.contact("c", credit=None))

    found = device.table("contact").get("a")

    assert found is not None
    assert found["creditlimit"] == Decimal("1234567890.10")
    assert str(found["creditlimit"]) == "1234567890.10"
    assert found["exact"] == Decimal("12345678901234567890.0123456789")
    assert found["donotemail"] is True
    assert found["birthdate"] == date(1980, 2, 29)
    assert found["modifiedon"] == datetime(2026, 11, 23, 15, 35, 8, tzinfo=UTC)
    assert [r["contactid"] for r in device.table("contact").where("creditlimit", "<", Decimal("0")).all()] == ["b"]
    assert [r["contactid"] for r in device.table("contact").where("creditlimit", "=", None).all()] == ["c"]
    assert device.sql("select sum(creditlimit) as s from contact")[0]["s"] == pytest.approx(1234567890.05)


def test_queries_are_checked_against_the_client_model(network: FakeNetwork, device: Device) -> None:
    first_sync(network, device, l.contact("a"), l.contact("b", "Bea"))
    table = device.table("contact")

    assert table.where("fullname", "like", "B%").count() == 1
    assert [r["fullname"] for r in table.order_by("fullname", descending=True).limit(1).all()] == ["Bea"]
    assert table.where("contactid", "in", ["a", "b"]).count() == 2
    with pytest.raises(QueryInvalid) as caught:
        table.where("fulname", "=", "x")
    assert "fullname" in caught.value.hint
    with pytest.raises(QueryInvalid, match="operator"):
        table.where("fullname", "; drop", "x")
    with pytest.raises(QueryInvalid, match="no entity"):
        device.table("ghost")


@pytest.mark.parametrize(
    "query",
    ["delete from contact", "drop table contact", "create table x (y)", "selec 1", "pragma user_version = 9", ""],
)
def test_sql_only_reads(query: str, network: FakeNetwork, device: Device) -> None:
    first_sync(network, device, l.contact("a"))

    if query in {"", "pragma user_version = 9"}:
        with contextlib.suppress(QueryInvalid):
            device.sql(query)
    else:
        with pytest.raises(QueryInvalid):
            device.sql(query)

    assert device.table("contact").count() == 1
    assert device.sql("pragma user_version")[0]["user_version"] == 0
