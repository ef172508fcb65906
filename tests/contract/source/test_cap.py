"""A service that Satchel's authors did not write, without delta links: SAP CAP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import msgspec
import pytest

from satchel.model.changes import Source, Strategy
from satchel.model.metadata import AttributeType, Metadata
from satchel.source import Connection, open_source
from tests.contract.cap.shop import Shop
from tests.contract.source.copy import Copy

pytestmark = pytest.mark.node

EXACT = {
    "title": "L'été à 50 % — «été»",
    "price": "1234567.10",
    "weight": "1234567890.12345",
    "stock": -7,
    "sold": "9007199254740993",
    "rating": 0.1,
    "available": False,
    "published": "0999-12-31",
    "arrives": "2026-03-29T01:30:00Z",
    "counted": "2026-11-23T15:35:08.862Z",
    "opens": "23:59:59",
    "tags": ["a", "b"],
}


@pytest.fixture(scope="module")
async def source(bookshop: Shop) -> AsyncIterator[Source]:
    opened = open_source(Connection(kind="odata", url=bookshop.url))
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
async def metadata(source: Source) -> Metadata:
    return await source.metadata()


@pytest.fixture(autouse=True)
def emptied(bookshop: Shop) -> Iterator[None]:
    """Each test finds an empty shop."""
    yield
    bookshop.empty()


async def test_check_describes_the_service(source: Source) -> None:
    assert (await source.check()).description == "OData 4.0 with 5 entity sets"


def test_metadata_has_keys_lookups_and_types(metadata: Metadata) -> None:
    items, books = metadata.entity_by_name["OrderItems"], metadata.entity_by_name["Books"]
    assert items.key == ("parent_ID", "line")
    assert items.attribute_by_name["book_ID"].targets == ("Books",)
    assert books.attribute_by_name["price"].type is AttributeType.DECIMAL
    assert books.modified_attribute == "modifiedAt"
    assert metadata.entity_by_name["Genres"].modified_attribute is None


async def test_values_survive_exactly(source: Source, metadata: Metadata, bookshop: Shop) -> None:
    bookshop.post("Books", **EXACT)
    copy = Copy(source, metadata.entity_by_name["Books"])
    await copy.pull()
    (row,) = copy.rows.values()
    assert {name: row[name] for name in EXACT} == EXACT


async def test_changes_arrive_and_deletions_are_found(source: Source, metadata: Metadata, bookshop: Shop) -> None:
    made = [bookshop.post("Books", title=f"Book {i}") for i in range(7)]
    copy = Copy(source, metadata.entity_by_name["Books"])
    await copy.pull(page_size=3)
    assert copy.watermark is not None
    assert copy.watermark.strategy is Strategy.MODIFIED_SINCE

    bookshop.patch(f"Books({made[0]['ID']})", title="Anew")
    bookshop.delete(f"Books({made[1]['ID']})")
    new = bookshop.post("Books", title="New")
    await copy.pull(page_size=3)
    assert copy.rows[(made[0]["ID"],)]["title"] == "Anew"
    assert copy.rows[(new["ID"],)]["title"] == "New"

    await copy.reconcile(page_size=3)
    assert copy.rows.keys() == {(key,) for key in bookshop.keys("Books")}


async def test_composite_keys_are_read_page_by_page(source: Source, metadata: Metadata, bookshop: Shop) -> None:
    for number in range(3):
        bookshop.post("Orders", number=str(number), items=[{"line": line} for line in range(5)])
    copy = Copy(source, metadata.entity_by_name["OrderItems"])
    await copy.pull(page_size=4)
    assert len(copy.rows) == 15
    await copy.pull(page_size=4)
    await copy.reconcile(page_size=4)
    assert len(copy.rows) == 15


async def test_entity_without_modified_time_is_compared(source: Source, metadata: Metadata, bookshop: Shop) -> None:
    bookshop.post_many("Genres", [{"code": f"g'{i}", "name": f"Genre {i}"} for i in range(25)])
    copy = Copy(source, metadata.entity_by_name["Genres"])
    await copy.pull(page_size=10)
    assert copy.watermark is not None
    assert copy.watermark.strategy is Strategy.FULL_COMPARE
    bookshop.patch("Genres('g''3')", name="Anew")
    bookshop.delete("Genres('g''4')")
    await copy.pull(page_size=10)
    assert copy.rows[("g'3",)]["name"] == "Anew"
    assert len(copy.rows) == 24


async def test_pages_that_the_service_cuts_shorter_are_all_read(
    source: Source, metadata: Metadata, bookshop: Shop
) -> None:
    bookshop.post_many("Books", [{"ID": str(uuid4()), "title": f"Book {i}"} for i in range(1_200)])
    copy = Copy(source, metadata.entity_by_name["Books"])
    await copy.pull(page_size=5_000)
    assert len(copy.rows) == 1_200


async def test_rows_that_come_and_go_while_being_read_shift_no_page(
    source: Source, metadata: Metadata, bookshop: Shop
) -> None:
    stay = [f"m{i:03}" for i in range(40)]
    bookshop.post_many("Genres", [{"code": code} for code in [*stay, *(f"a{i:03}" for i in range(20))]])
    genres = metadata.entity_by_name["Genres"]
    seen: list[str] = []
    gone = iter(range(20))
    async for page in source.changes(genres, None, 6):
        seen += [row["code"] for row in msgspec.json.decode(page.rows)]
        if (number := next(gone, None)) is not None:
            bookshop.delete(f"Genres('a{number:03}')")
            bookshop.post("Genres", code=f"b{number:03}")
    assert len(seen) == len(set(seen))
    assert set(stay) <= set(seen)


async def test_single_rows_come_by_key(source: Source, metadata: Metadata, bookshop: Shop) -> None:
    order = bookshop.post("Orders", number="1", items=[{"line": line, "amount": line} for line in range(5)])
    items = metadata.entity_by_name["OrderItems"]
    page = await source.rows(items, [(order["ID"], "1"), (order["ID"], "3"), (order["ID"], "9")])
    rows = msgspec.json.decode(page.rows)
    assert sorted(row["amount"] for row in rows) == [1, 3]
