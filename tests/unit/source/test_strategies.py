"""How changes are found: delta links, modified time, everything; and what happens when a service cannot."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from satchel.errors import DeltaLinkExpired, RequestRefused
from satchel.model.changes import Page, Source, Strategy, Watermark
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source import Connection, open_source
from tests.unit.source.fake_service import Asked, FakeService, Hours, Reply

PART = Entity(
    name="part",
    set_name="parts",
    key=("id",),
    attributes=(
        Attribute(name="id", wire_name="id", type=AttributeType.STRING),
        Attribute(name="changedAt", wire_name="changedAt", type=AttributeType.DATETIME),
    ),
    modified_attribute="changedAt",
)
PLAIN = msgspec.structs.replace(PART, modified_attribute=None)
LOOKUP = Attribute(
    name="owneridtype", wire_name="_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname", type=AttributeType.STRING
)
TRACKED = msgspec.structs.replace(PART, tracks_changes=True, attributes=(*PART.attributes, LOOKUP))
EXPIRED = Reply({"error": {"code": "0x80044352", "message": "Version stamp has expired."}}, status=400)
REFUSED = Reply({"error": {"code": "0", "message": "not supported"}}, status=400)


@pytest.fixture
async def dataverse(service: FakeService, hours: Hours) -> AsyncIterator[Source]:
    source = open_source(Connection(kind="dataverse", url=service.root), hours.pace())
    yield source
    await source.aclose()


@pytest.fixture
async def odata(service: FakeService, hours: Hours) -> AsyncIterator[Source]:
    source = open_source(Connection(kind="odata", url=service.root), hours.pace())
    yield source
    await source.aclose()


class Parts:
    """A service with rows, that understands what Satchel asks it; `refuses` says what it does not."""

    def __init__(self, service: FakeService, count: int, refuses: Callable[[Asked], bool] = lambda _: False) -> None:
        self.rows = {f"p{i:02}": f"2026-01-01T00:00:{i:02}Z" for i in range(count)}
        self.refuses = refuses
        self.served: list[list[str]] = []
        self.before_page: Callable[[], None] = lambda: None
        service.respond = self.respond

    def respond(self, asked: Asked) -> Reply:
        if self.refuses(asked):
            return REFUSED
        if "$skiptoken" in asked.options or "$top" not in asked.options:
            return self._by_links(asked)
        self.before_page()
        found = self._filtered(asked.options.get("$filter", ""))
        order = asked.options["$orderby"]
        if order.startswith("changedAt"):
            found.sort(key=lambda pair: (pair[1], pair[0]), reverse=order.endswith("desc"))
        return self._page(found[: int(asked.options["$top"])])

    def _by_links(self, asked: Asked) -> Reply:
        size = int(re.findall(r"maxpagesize=(\d+)", asked.prefer)[0])
        start = int(asked.options.get("$skiptoken", "0"))
        found = self._filtered(asked.options.get("$filter", ""))
        more = {"@odata.nextLink": f"parts?$skiptoken={start + size}"} if start + size < len(found) else {}
        return self._page(found[start : start + size], **more)

    def _filtered(self, text: str) -> list[tuple[str, str]]:
        found = sorted(self.rows.items())
        if since := re.search(r"changedAt ge (\S+?)\)?(?: |$)", text):
            found = [pair for pair in found if pair[1] >= since[1]]
        if behind := re.search(r"changedAt gt (\S+) or \(changedAt eq \S+ and id gt '(.*?)'\)", text):
            found = [pair for pair in found if (pair[1], pair[0]) > (behind[1], behind[2])]
        elif behind := re.search(r"^\(?id gt '(.*?)'", text):
            found = [pair for pair in found if pair[0] > behind[1]]
        return found

    def _page(self, found: list[tuple[str, str]], **more: Any) -> Reply:
        self.served.append([key for key, _ in found])
        return Reply(
            {"@odata.context": "$metadata#parts", "value": [{"id": k, "changedAt": m} for k, m in found], **more}
        )


async def read(source: Source, entity: Entity, watermark: Watermark | None = None, page_size: int = 4) -> list[Page]:
    return [page async for page in source.changes(entity, watermark, page_size)]


def ids(pages: list[Page]) -> list[str]:
    return [row["id"] for page in pages for row in msgspec.json.decode(page.rows)]


def delta_page(*rows: str, link: str = "", next_link: str = "", removed: tuple[str, ...] = ()) -> Reply:
    value: list[dict[str, Any]] = [{"id": row} for row in rows]
    value += [{"@odata.context": "$metadata#parts/$deletedEntity", "id": key, "reason": "deleted"} for key in removed]
    body: dict[str, Any] = {"@odata.context": "$metadata#parts", "value": value}
    body |= {"@odata.deltaLink": link} if link else {}
    body |= {"@odata.nextLink": next_link} if next_link else {}
    return Reply(body, headers={"preference-applied": "odata.track-changes"})


async def test_first_read_of_tracked_entity_ends_with_a_delta_link(dataverse: Source, service: FakeService) -> None:
    service.script(delta_page("a", next_link="parts?$skiptoken=1"), delta_page("b", link="parts?$deltatoken=7"))
    first, last = await read(dataverse, TRACKED)
    assert (first.is_last, last.is_last) == (False, True)
    assert first.watermark.position is None
    assert last.watermark.position == f"{service.root}api/data/v9.2/parts?$deltatoken=7"
    assert last.watermark.strategy is Strategy.DELTA_LINK
    assert last.watermark.is_full_read
    assert last.watermark.taken_at is not None


async def test_first_read_asks_to_track_and_for_the_annotations(dataverse: Source, service: FakeService) -> None:
    service.script(delta_page("a", link="parts?$deltatoken=7"))
    await read(dataverse, TRACKED)
    assert service.asked[0].options == {"$select": "id,changedAt"}
    assert service.asked[0].prefer == (
        'odata.track-changes,odata.maxpagesize=4,odata.include-annotations="Microsoft.Dynamics.CRM.lookuplogicalname"'
    )


async def test_delta_link_gives_changes_and_removed_keys(dataverse: Source, service: FakeService) -> None:
    service.script(delta_page("a", link="parts?$deltatoken=8", removed=("b",)))
    before = Watermark(strategy=Strategy.DELTA_LINK, position=f"{service.root}api/data/v9.2/parts?$deltatoken=7")
    (page,) = await read(dataverse, TRACKED, before)
    assert (ids([page]), page.removed) == (["a"], (("b",),))
    assert page.watermark.position == f"{service.root}api/data/v9.2/parts?$deltatoken=8"
    assert not page.watermark.is_full_read
    assert "track-changes" not in service.asked[0].prefer


async def test_read_under_way_goes_on_at_its_page(dataverse: Source, service: FakeService) -> None:
    service.script(delta_page("a", next_link="parts?$skiptoken=1"), delta_page("b", link="parts?$deltatoken=7"))
    first = await anext(dataverse.changes(TRACKED, None, 4))  # type: ignore[arg-type]
    (last,) = await read(dataverse, TRACKED, first.watermark)
    assert service.asked[-1].options == {"$skiptoken": "1"}
    assert last.watermark.is_full_read


@pytest.mark.parametrize("reply", [EXPIRED, Reply(status=410), REFUSED, Reply(status=404)])
async def test_old_delta_link_is_expired(dataverse: Source, service: FakeService, reply: Reply) -> None:
    service.script(reply)
    before = Watermark(strategy=Strategy.DELTA_LINK, position=f"{service.root}api/data/v9.2/parts?$deltatoken=7")
    with pytest.raises(DeltaLinkExpired):
        await read(dataverse, TRACKED, before)


async def test_stored_link_to_another_origin_is_refused(dataverse: Source) -> None:
    before = Watermark(strategy=Strategy.DELTA_LINK, position="https://evil.example/parts?$deltatoken=7")
    with pytest.raises(RequestRefused):
        await read(dataverse, TRACKED, before)


async def test_pages_that_lead_in_a_circle_are_refused(dataverse: Source, service: FakeService) -> None:
    service.script(delta_page("a", next_link="parts?$skiptoken=1"))
    with pytest.raises(RequestRefused, match="circle"):
        await read(dataverse, TRACKED)


async def test_service_that_confirms_tracking_is_read_by_delta_link(odata: Source, service: FakeService) -> None:
    service.script(delta_page(), delta_page("a", link="parts?$deltatoken=7"))
    (page,) = await read(odata, PART)
    assert page.watermark.strategy is Strategy.DELTA_LINK


async def test_read_that_ends_without_delta_link_goes_on_by_another_strategy(
    odata: Source, service: FakeService
) -> None:
    service.script(delta_page("a"))
    (page,) = await read(odata, PART)
    assert page.watermark == Watermark(strategy=Strategy.MODIFIED_SINCE, is_full_read=True)


async def test_service_without_delta_links_is_read_by_modified_time(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10)
    pages = await read(odata, PART)
    assert ids(pages) == sorted(parts.rows)
    assert pages[-1].watermark.strategy is Strategy.MODIFIED_SINCE
    assert pages[-1].watermark.position == "2026-01-01T00:00:09Z"


async def test_later_read_brings_what_was_modified_and_the_overlap(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10)
    before = (await read(odata, PART))[-1].watermark
    parts.rows["p01"] = "2026-01-01T00:01:00Z"
    pages = await read(odata, PART, before)
    assert ids(pages) == ["p04", "p05", "p06", "p07", "p08", "p09", "p01"]
    assert pages[-1].watermark.position == "2026-01-01T00:01:00Z"
    assert not pages[-1].watermark.is_full_read


async def test_position_is_taken_before_the_read(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10)
    parts.before_page = lambda: parts.rows.update(p00="2026-01-01T00:09:00Z") if len(parts.served) == 3 else None
    before = (await read(odata, PART))[-1].watermark
    assert before.position == "2026-01-01T00:00:09Z"
    assert "p00" in ids(await read(odata, PART, before))


async def test_rows_that_come_and_go_shift_no_page(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 12)

    def shift() -> None:
        parts.rows.pop(f"p{len(parts.served) - 3:02}", None)
        parts.rows[f"a{len(parts.served)}"] = "2026-01-01T00:00:00Z"

    parts.before_page = shift
    found = ids(await read(odata, PLAIN))
    assert len(found) == len(set(found))
    assert {key for key in parts.rows if key.startswith("p")} <= set(found)


async def test_interrupted_read_goes_on_behind_its_last_row(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10)
    first = await anext(odata.changes(PART, None, 4))  # type: ignore[arg-type]
    rest = await read(odata, PART, first.watermark)
    assert ids([first, *rest]) == sorted(parts.rows)
    assert rest[-1].watermark.position == "2026-01-01T00:00:09Z"


async def test_empty_entity_yields_one_last_page(odata: Source, service: FakeService) -> None:
    Parts(service, 0)
    (page,) = await read(odata, PART)
    assert (page.row_count, page.is_last, page.watermark.strategy) == (0, True, Strategy.MODIFIED_SINCE)
    (again,) = await read(odata, PART, page.watermark)
    assert again.is_last


async def test_entity_without_modified_time_is_compared_whole(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 5)
    first = await read(odata, PLAIN)
    second = await read(odata, PLAIN, first[-1].watermark)
    assert ids(first) == ids(second) == sorted(parts.rows)
    assert second[-1].watermark.strategy is Strategy.FULL_COMPARE
    assert second[-1].watermark.is_full_read


async def test_service_that_cannot_sort_is_read_by_links_and_compared(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10, refuses=lambda asked: "$orderby" in asked.options)
    pages = await read(odata, PART)
    assert ids(pages) == sorted(parts.rows)
    assert pages[-1].watermark.strategy is Strategy.FULL_COMPARE


async def test_service_that_cannot_compare_keys_is_read_by_links_from_the_start(
    odata: Source, service: FakeService
) -> None:
    parts = Parts(service, 10, refuses=lambda asked: " gt " in asked.options.get("$filter", ""))
    pages = await read(odata, PART)
    assert set(ids(pages)) == parts.rows.keys()
    assert pages[-1].watermark.strategy is Strategy.MODIFIED_SINCE
    keys = [key for page in [k async for k in odata.keys(PART, 4)] for (key,) in page]
    assert keys == sorted(parts.rows)


async def test_service_that_later_refuses_to_filter_is_compared(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 6)
    before = (await read(odata, PART))[-1].watermark
    parts.refuses = lambda asked: "changedAt ge" in asked.options.get("$filter", "")
    pages = await read(odata, PART, before)
    assert ids(pages) == sorted(parts.rows)
    assert pages[-1].watermark.strategy is Strategy.FULL_COMPARE


async def test_times_that_are_cut_off_in_answers_do_not_stop_a_read(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10)
    parts.rows = dict.fromkeys(parts.rows, "2026-01-01T00:00:07Z")
    before = (await read(odata, PART))[-1].watermark
    respond = service.respond

    def cut_off(asked: Asked) -> Reply:
        reply = respond(asked)
        for row in reply.body["value"]:
            row["changedAt"] = "2026-01-01T00:00:00Z"
        return reply

    service.respond = cut_off
    assert set(ids(await read(odata, PART, before))) == parts.rows.keys()


async def test_link_of_a_read_that_no_longer_leads_anywhere_is_expired(odata: Source, service: FakeService) -> None:
    parts = Parts(service, 10, refuses=lambda asked: "$orderby" in asked.options)
    first = await anext(odata.changes(PLAIN, None, 4))  # type: ignore[arg-type]
    parts.refuses = lambda _: True
    with pytest.raises(DeltaLinkExpired):
        await read(odata, PLAIN, first.watermark)


async def test_modified_attribute_is_read_where_it_is_not_pulled(odata: Source, service: FakeService) -> None:
    Parts(service, 3)
    pages = await read(odata, PART.only(frozenset()))
    again = await read(odata, PART.only(frozenset()), pages[-1].watermark)
    assert service.asked[-1].options["$select"] == "id,changedAt"
    assert again[-1].watermark.position == "2026-01-01T00:00:02Z"


async def test_rows_by_key_come_over_several_urls_and_pages(odata: Source, service: FakeService) -> None:
    service.respond = lambda asked: (
        delta_page("y")
        if "$skiptoken" in asked.options
        else delta_page("x", next_link=f"parts?$skiptoken={len(service.asked)}")
    )
    page = await odata.rows(PART, [(f"{i:0100}",) for i in range(100)])
    assert page.row_count == len(service.asked)
    assert page.row_count > 2
