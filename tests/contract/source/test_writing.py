"""Writing to the sample organization and to SAP CAP, over HTTP, as playback does."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from satchel.errors import SourceBusy, SourceUnreachable
from satchel.model.changes import Source
from satchel.model.edits import Action
from satchel.model.metadata import Entity, Right
from satchel.model.writes import Execution, Sent, Write
from satchel.source import Connection, open_source
from tests.contract.cap.shop import Shop
from tests.support.processes import Sandbox


def guid() -> str:
    return str(uuid.uuid4())


@pytest.fixture
async def dataverse(organization: Sandbox) -> AsyncIterator[Source]:
    source = open_source(
        Connection(
            kind="dataverse",
            url=organization.url,
            token_url=organization.token_url,
            client_id=organization.client_id,
            client_secret=organization.client_secret,
            patience_seconds=0.5,
        )
    )
    yield source
    await source.aclose()
    organization.faults(drop_after_probability=0, throttle_probability=0)


@pytest.fixture
async def cap(bookshop: Shop) -> AsyncIterator[Source]:
    source = open_source(Connection(kind="odata", url=bookshop.url))
    yield source
    await source.aclose()


async def entity(source: Source, name: str) -> Entity:
    return (await source.metadata(frozenset({name}))).entity_by_name[name]


def make(kind: Entity, key: str, **values: Any) -> Write:
    return Write(entity=kind, key=(key,), action=Action.CREATE, values=values)


def change(kind: Entity, key: str, etag: str | None, **values: Any) -> Write:
    return Write(entity=kind, key=(key,), action=Action.UPDATE, values=values, etag=etag)


def row_of(row: bytes | None) -> dict[str, Any]:
    assert row is not None
    found: dict[str, Any] = msgspec.json.decode(row)
    return found


def contact_of(organization: Sandbox, **query: str) -> tuple[str, str]:
    """A contact that a user owns, and its version."""
    user = organization.users[0]["id"]
    row = organization.rows("contacts", **{"$filter": f"_ownerid_value eq {user}", "$top": "1", **query})[0]
    return row["contactid"], row["@odata.etag"]


async def test_metadata_says_how_lookups_are_written_and_what_privileges_are_needed(dataverse: Source) -> None:
    contact = await entity(dataverse, "contact")
    customer = {r.entity: (r.set_name, r.navigation) for r in contact.attribute_by_name["parentcustomerid"].references}
    assert customer["account"] == ("accounts", "parentcustomerid_account")
    assert {r.entity for r in contact.attribute_by_name["ownerid"].references} == {"systemuser", "team"}
    assert contact.privileges[Right.CREATE] == "prvCreateContact"


async def test_a_row_comes_and_goes_under_the_users_name(dataverse: Source, organization: Sandbox) -> None:
    contact, user, key = await entity(dataverse, "contact"), organization.users[0]["id"], guid()
    account = organization.rows("accounts", **{"$top": "1"})[0]["accountid"]
    lookup = {"parentcustomerid": account, "parentcustomeridtype": "account"}
    write = make(contact, key, lastname="Kim", creditlimit="12.50", birthdate="1980-02-29", **lookup)
    played = await dataverse.play([write], user, guid())
    row = row_of(played.rows[0])
    assert (row["lastname"], row["creditlimit"], row["birthdate"]) == ("Kim", 12.5, "1980-02-29")
    assert row["_parentcustomerid_value"] == account
    assert (await dataverse.play([write], user, guid())).execution is Execution.EXISTS
    gone = {"parentcustomerid": None, "parentcustomeridtype": None}
    changed = await dataverse.play([change(contact, key, row["@odata.etag"], **gone)], user, guid())
    assert row_of(changed.rows[0])["_parentcustomerid_value"] is None
    stale = Write(entity=contact, key=(key,), action=Action.DELETE, etag=row["@odata.etag"])
    assert (await dataverse.play([stale], user, guid())).execution is Execution.CHANGED
    deletion = msgspec.structs.replace(stale, etag=row_of(changed.rows[0])["@odata.etag"])
    assert (await dataverse.play([deletion], user, guid())).execution is Execution.DONE
    assert (await dataverse.play([deletion], user, guid())).execution is Execution.MISSING
    written = [each for each in organization.get("/sandbox/audit") if each["key"] == key]
    assert [(each["operation"], each["user"]) for each in written] == [
        ("create", user), ("update", user), ("delete", user),
    ]  # fmt: skip


async def test_a_change_set_is_executed_as_a_whole_or_not_at_all(dataverse: Source, organization: Sandbox) -> None:
    contact, account = await entity(dataverse, "contact"), await entity(dataverse, "account")
    user, one, other = organization.users[0]["id"], guid(), guid()
    lookup = {"parentcustomerid": one, "parentcustomeridtype": "account"}
    both = [make(account, one, name="Contoso"), make(contact, other, lastname="Kim", **lookup)]
    key, _ = contact_of(organization)
    failing = [*both, change(contact, key, 'W/"1"', jobtitle="too late")]
    played = await dataverse.play(failing, user, guid())
    assert (played.execution, played.place) == (Execution.CHANGED, 2)
    assert not organization.rows("accounts", **{"$filter": f"accountid eq {one}"})
    played = await dataverse.play(both, user, guid())
    assert played.execution is Execution.DONE
    assert [row_of(row)["@odata.etag"] != "" for row in played.rows] == [True, True]


async def test_a_refusal_has_the_sources_own_words(dataverse: Source, organization: Sandbox) -> None:
    contact, user = await entity(dataverse, "contact"), organization.users[0]["id"]
    key, etag = contact_of(organization)
    played = await dataverse.play([change(contact, key, etag, jobtitle="x" * 5000)], user, guid())
    assert played.execution is Execution.REFUSED
    assert "maximum allowed length" in played.message
    lookup = {"parentcustomerid": guid(), "parentcustomeridtype": "account"}
    played = await dataverse.play([change(contact, key, etag, **lookup)], user, guid())
    assert played.execution is Execution.REFUSED, "what is missing is not the row, but the one it refers to"


async def test_throttled_is_not_executed_and_broken_off_is_not_known(dataverse: Source, organization: Sandbox) -> None:
    contact, user = await entity(dataverse, "contact"), organization.users[0]["id"]
    key, etag = contact_of(organization)
    write = change(contact, key, etag, jobtitle=f"once {key}")
    before = time.monotonic()

    def sent() -> Sent:
        return Sent(age_seconds=time.monotonic() - before)

    organization.faults(throttle_probability=1, retry_after_seconds=30)
    with pytest.raises(SourceBusy):
        await dataverse.play([write], user, guid())
    organization.faults(throttle_probability=0)
    assert await dataverse.was_executed(write, user, sent()) in {False, None}
    organization.faults(drop_after_probability=1)
    with pytest.raises(SourceUnreachable):
        await dataverse.play([write], user, guid())
    organization.faults(drop_after_probability=0)
    assert await dataverse.was_executed(write, user, sent()) is True
    later = Sent(age_seconds=-10)
    assert await dataverse.was_executed(write, user, later) is False, "an earlier write of the same value is no proof"
    just_before = Sent(age_seconds=0, alone_seconds=0.1)
    assert await dataverse.was_executed(write, user, just_before) is None, "it may be the earlier one that is seen"
    assert await dataverse.was_executed(write, organization.users[1]["id"], sent()) is False


async def test_cap_takes_conditional_writes_and_refuses_blind_ones(cap: Source) -> None:
    books, key = await entity(cap, "Books"), guid()
    played = await cap.play([make(books, key, title="One", price="94.50", available=True)], None, guid())
    assert played.execution is Execution.DONE
    page = await cap.rows(books, [(key,)])
    row = msgspec.json.decode(page.rows)[0]
    assert (row["title"], float(row["price"])) == ("One", 94.5)
    with pytest.raises(SourceUnreachable, match="UNIQUE"):  # CAP fails (500): playback looks at the row then
        await cap.play([make(books, key, title="Two")], None, guid())
    done = await cap.play([change(books, key, row["@odata.etag"], title="Three")], None, guid())
    assert done.execution is Execution.DONE
    stale = await cap.play([change(books, key, row["@odata.etag"], title="Four")], None, guid())
    assert stale.execution is Execution.CHANGED
    assert (await cap.play([change(books, guid(), None, title="x")], None, guid())).execution is Execution.MISSING
    row = msgspec.json.decode((await cap.rows(books, [(key,)])).rows)[0]
    assert row["title"] == "Three"
    deletion = Write(entity=books, key=(key,), action=Action.DELETE, etag=row["@odata.etag"])
    assert (await cap.play([deletion], None, guid())).execution is Execution.DONE
    assert not (await cap.rows(books, [(key,)])).row_count


async def test_cap_executes_a_change_set_as_a_whole(cap: Source) -> None:
    authors, books = await entity(cap, "Authors"), await entity(cap, "Books")
    author, book = guid(), guid()
    both = [make(authors, author, name="Ann"), make(books, book, title="Hers", author_ID=author)]
    failing = [*both, change(books, guid(), 'W/"x"', title="no such row")]
    assert (await cap.play(failing, None, guid())).execution is not Execution.DONE
    assert not (await cap.rows(authors, [(author,)])).row_count
    assert (await cap.play(both, None, guid())).execution is Execution.DONE
    assert msgspec.json.decode((await cap.rows(books, [(book,)])).rows)[0]["author_ID"] == author
    assert (await cap.abilities()).has_batch is True


async def test_what_cap_can_do_is_found_out(cap: Source) -> None:
    books = await entity(cap, "Books")
    await cap.play([make(books, guid(), title="There is one")], None, guid())
    found = await cap.abilities([books])  # by reading
    assert (found.has_batch, found.has_etags, found.has_audit, found.impersonates) == (True, True, False, False)
