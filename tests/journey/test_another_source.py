"""A service we did not write (SAP CAP, no delta links), end to end: what it has arrives, changes, goes - exactly."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from satchel.device import Choice, Device
from tests.contract.cap.fixture import cap_service
from tests.support.processes import Satchel, satchel, wait_for

pytestmark = pytest.mark.node

PROFILE = """
name = "Books"
[[entity]]
name = "Books"
rows = ["all"]
[[entity]]
name = "Authors"
rows = ["own"]
owner = "createdBy"
[[entity]]
name = "OrderItems"
rows = ["all"]
[[entity]]
name = "Genres"
rows = ["all"]
"""
ANY = {"if-match": "*"}
BOOK = {
    "title": "Il nome della rosa",
    "price": "94.50",
    "weight": "1234567890.12345",
    "stock": 7,
    "sold": 9007199254740991,
    "available": True,
    "published": "1980-02-29",
    "arrives": "2026-03-29T02:30:00Z",
    "counted": "2026-11-23T15:35:08.862Z",
    "opens": "08:00:00",
    "blurb": "Stat rosa pristina nomine 🌹\nnomina nuda tenemus",
}


@pytest.fixture(scope="module")
def bookshop() -> Iterator[httpx.Client]:
    with cap_service() as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, bookshop: httpx.Client) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("books")
    profile = folder / "profile.toml"
    profile.write_text(PROFILE)
    with satchel(folder / "data") as started:
        source = str(bookshop.base_url)
        started.run("org", "add", "books", "--kind", "odata", "--source", source, "--profile", str(profile))
        started.run("org", "provision", "books", "--wait")
        yield started


@pytest.fixture(scope="module")
def device(running: Satchel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    folder: Path = tmp_path_factory.mktemp("device")
    with Device.enroll(running.invite("privileged", "books"), folder, is_encrypted=False) as enrolled:
        yield enrolled


def create(bookshop: httpx.Client, entity_set: str, **values: object) -> dict[str, object]:
    answer = bookshop.post(entity_set, json=values)
    assert answer.is_success, answer.text
    created: dict[str, object] = answer.json()
    return created


def test_values_survive_exactly(bookshop: httpx.Client, device: Device) -> None:
    key = create(bookshop, "Books", **BOOK)["ID"]

    row = wait_for(
        lambda: device.sync() and "Books" in device.model.entity_by_name and device.table("Books").get(key), "the book"
    )

    assert row["price"] == Decimal("94.50")
    assert str(row["price"]) == "94.50"
    assert row["weight"] == Decimal("1234567890.12345")
    assert row["sold"] == 9007199254740991
    assert row["available"] is True
    assert row["published"] == date(1980, 2, 29)
    assert row["arrives"] == datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    assert datetime.fromisoformat(str(row["counted"])) == datetime(2026, 11, 23, 15, 35, 8, 862000, tzinfo=UTC)
    assert row["opens"] == time(8, 0)
    assert row["blurb"] == BOOK["blurb"]


def test_changes_and_deletions_arrive(bookshop: httpx.Client, device: Device) -> None:
    keys = [str(create(bookshop, "Books", title=f"Volume {n}", price="1.00")["ID"]) for n in range(20)]
    wait_for(lambda: device.sync() and device.table("Books").where("ID", "in", keys).count() == 20, "twenty books")

    bookshop.patch(f"Books/{keys[0]}", json={"price": "2.50"}, headers=ANY).raise_for_status()
    bookshop.delete(f"Books/{keys[1]}", headers=ANY).raise_for_status()

    wait_for(lambda: device.sync() and device.table("Books").get(keys[1]) is None, "the deletion")
    wait_for(
        lambda: device.sync() and (device.table("Books").get(keys[0]) or {}).get("price") == Decimal("2.50"),
        "the change",
    )
    assert device.table("Books").where("ID", "in", keys).count() == 19


def test_an_entity_without_a_time_of_modification_is_compared_whole(bookshop: httpx.Client, device: Device) -> None:
    create(bookshop, "Genres", code="crime", name="Crime")
    wait_for(lambda: device.sync() and device.table("Genres").get("crime"), "the genre")

    bookshop.patch("Genres/crime", json={"name": "Detective stories"}).raise_for_status()
    wait_for(
        lambda: device.sync() and device.table("Genres").where("name", "=", "Detective stories").count(), "its name"
    )

    bookshop.delete("Genres/crime").raise_for_status()
    wait_for(lambda: device.sync() and device.table("Genres").get("crime") is None, "its deletion")


def test_a_composite_key_travels(bookshop: httpx.Client, device: Device) -> None:
    order = create(
        bookshop, "Orders", number="A1", total="1.2345", items=[{"line": 1, "amount": 3}, {"line": 2, "amount": 5}]
    )

    wait_for(lambda: device.sync() and device.table("OrderItems").get(order["ID"], 2), "the second line")
    bookshop.delete(f"OrderItems(parent_ID={order['ID']},line=2)").raise_for_status()

    wait_for(lambda: device.sync() and device.table("OrderItems").get(order["ID"], 2) is None, "its deletion")
    assert device.table("OrderItems").get(order["ID"], 1)["amount"] == 3  # type: ignore[index]


def test_how_changes_are_found_is_shown(running: Satchel, device: Device) -> None:
    strategies = {e["entity"]: e["strategy"] for e in running.json("org", "show", "books")["entities"]}

    assert strategies == {
        "Authors": "modified since",
        "Books": "modified since",
        "Genres": "full compare",
        "OrderItems": "modified since",
    }


def test_edits_are_written_with_the_version_they_were_judged_by(device: Device, bookshop: httpx.Client) -> None:
    device.sync()
    with device.edit() as changes:
        book = changes.create("Books", title="Written offline", price="12.50", available=True)
        other = changes.create("Books", title="So is this")
    assert device.sync().edits_settled == {"accepted": 1}
    assert bookshop.get(f"Books({book})").json()["title"] == "Written offline"
    device.update("Books", book, title="Mine")
    bookshop.patch(f"Books({book})", json={"stock": 3}, headers=ANY).raise_for_status()
    assert device.sync().edits_settled == {"merged": 1}
    device.update("Books", book, title="Mine again")
    bookshop.patch(f"Books({book})", json={"title": "Theirs"}, headers=ANY).raise_for_status()
    assert device.sync().edits_settled == {"conflict": 1}
    pending = device.pending()[0]
    device.resolve(pending.number, {"title": Choice(side="mine")})
    assert device.sync().edits_settled == {"accepted": 1}
    assert bookshop.get(f"Books({book})").json()["title"] == "Mine again"
    device.delete("Books", other)
    assert device.sync().edits_settled == {"accepted": 1}
    assert bookshop.get(f"Books({other})").status_code == 404


def test_without_versions_rows_are_read_before_they_are_written(device: Device, bookshop: httpx.Client) -> None:
    create(bookshop, "Genres", code="poem", name="Poems")
    wait_for(lambda: device.sync() and device.table("Genres").get("poem"), "the genre")
    device.update("Genres", "poem", name="Mine")
    bookshop.patch("Genres/poem", json={"name": "Theirs"}).raise_for_status()
    assert device.sync().edits_settled == {"conflict": 1}
    device.discard(device.pending()[0].number)
    device.sync()
    device.update("Genres", "poem", name="Mine")
    assert device.sync().edits_settled == {"accepted": 1}
    assert bookshop.get("Genres/poem").json()["name"] == "Mine"
