"""The sample organization: delta links, and every fault a source can have while it is read."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from satchel.errors import SourceMisconfigured
from satchel.model.changes import Source, Strategy
from satchel.model.metadata import AttributeType, Entity
from satchel.source import Connection, Pace, open_source
from tests.contract.source.copy import Copy
from tests.support.processes import Sandbox

_SPEED = 50.0
_SEEDS = itertools.count(1)


def connection(organization: Sandbox, **more: Any) -> Connection:
    given = {"url": organization.url, "client_secret": organization.client_secret, **more}
    return Connection(
        kind="dataverse", token_url=organization.token_url, client_id=organization.client_id, overlap_seconds=5, **given
    )


@pytest.fixture(scope="module")
async def source(organization: Sandbox) -> AsyncIterator[Source]:
    # Waits pass fifty times as fast as they are asked for.
    pace = Pace(monotonic=lambda: time.monotonic() * _SPEED, sleep=lambda seconds: asyncio.sleep(seconds / _SPEED))
    opened = open_source(connection(organization), pace)
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
async def account(source: Source) -> Entity:
    return (await source.metadata(frozenset({"account"}))).entity_by_name["account"]


@pytest.fixture(autouse=True)
def healed(organization: Sandbox) -> Iterator[None]:
    """Each test begins and ends with a sound source."""
    yield
    organization.faults(
        latency_seconds=0,
        drop_probability=0,
        error_probability=0,
        throttle_probability=0,
        shifting_pages=False,
        down=False,
    )


def there(organization: Sandbox, entity: Entity) -> dict[str, str]:
    """What the source itself has: ETag by key."""
    rows = organization.rows(entity.set_name)
    return {row[entity.key[0]]: row["@odata.etag"] for row in rows}


def held(copy: Copy) -> dict[str, str]:
    return {key: row["@odata.etag"] for (key,), row in copy.rows.items()}


async def test_check_says_who_we_are(source: Source) -> None:
    info = await source.check()
    assert info.kind == "dataverse"
    assert info.user_id


async def test_wrong_secret_is_said_plainly(organization: Sandbox) -> None:
    opened = open_source(connection(organization, client_secret="wrong"))
    with pytest.raises(SourceMisconfigured, match="secret is wrong"):
        await opened.check()
    await opened.aclose()


async def test_wrong_path_is_said_plainly(organization: Sandbox) -> None:
    opened = open_source(connection(organization, url=organization.url + "/api/data/v1.0"))
    with pytest.raises(SourceMisconfigured):
        await opened.check()
    await opened.aclose()


def test_metadata_has_lookups_and_details(account: Entity) -> None:
    assert account.tracks_changes
    assert account.attribute_by_name["primarycontactid"].targets == ("contact",)
    assert account.attribute_by_name["ownerid"].type_attribute == "owneridtype"
    assert any(a.type is AttributeType.MONEY for a in account.attributes)
    assert any(a.options for a in account.attributes)


async def test_whole_metadata_is_read(source: Source) -> None:
    names = (await source.metadata()).entity_by_name.keys()
    assert {"account", "contact", "systemuser", "team", "businessunit"} <= names


async def test_first_read_brings_all_rows(source: Source, account: Entity, organization: Sandbox) -> None:
    copy = Copy(source, account)
    await copy.pull()
    assert copy.watermark is not None
    assert copy.watermark.strategy is Strategy.DELTA_LINK
    assert held(copy) == there(organization, account)


async def test_annotation_of_polymorphic_lookup_comes_along(source: Source, account: Entity) -> None:
    page = await anext(source.changes(account, None, 10))  # type: ignore[arg-type]
    wire_name = account.attribute_by_name["owneridtype"].wire_name
    assert {row.get(wire_name) for row in msgspec.json.decode(page.rows)} <= {"systemuser", "team"}


async def test_delta_link_brings_changes_and_deletions(source: Source, account: Entity, organization: Sandbox) -> None:
    copy = Copy(source, account)
    await copy.pull()
    organization.mutate(300, next(_SEEDS))
    await copy.pull()
    assert held(copy) == there(organization, account)


async def test_expired_delta_link_leads_to_the_same_rows(
    source: Source, account: Entity, organization: Sandbox
) -> None:
    copy = Copy(source, account)
    await copy.pull()
    organization.mutate(300, next(_SEEDS))
    organization.faults(expire_delta_links=True)
    await copy.pull()
    assert copy.started_over == 1
    assert held(copy) == there(organization, account)


@pytest.mark.parametrize(
    "faults",
    [
        {"throttle_probability": 0.4, "retry_after_seconds": 2},
        {"error_probability": 0.3},
        {"drop_probability": 0.3},
        {"shifting_pages": True},
        {"throttle_probability": 0.2, "error_probability": 0.2, "drop_probability": 0.2, "shifting_pages": True},
    ],
    ids=["throttled", "failing", "dropping", "shifting", "all at once"],
)
async def test_copy_converges_under(
    source: Source, account: Entity, organization: Sandbox, faults: dict[str, Any]
) -> None:
    organization.faults(**faults)
    copy = Copy(source, account)
    await copy.pull(page_size=20)
    organization.mutate(100, next(_SEEDS))
    await copy.pull(page_size=20)
    organization.faults(drop_probability=0, error_probability=0, throttle_probability=0)
    await copy.pull(page_size=20)
    assert held(copy) == there(organization, account)


@pytest.mark.parametrize("tracks_changes", [True, False])
async def test_copy_converges_though_pages_shift_while_they_are_read(
    source: Source, account: Entity, organization: Sandbox, tracks_changes: bool
) -> None:
    organization.faults(shifting_pages=True)
    copy = Copy(source, msgspec.structs.replace(account, tracks_changes=tracks_changes))
    copy.between_pages = lambda: organization.mutate(20, next(_SEEDS))
    await copy.pull(page_size=10)
    copy.between_pages = lambda: None
    await copy.pull(page_size=10)
    await copy.reconcile(page_size=10)
    assert held(copy) == there(organization, account)


async def test_copy_converges_after_the_source_was_down(source: Source, account: Entity, organization: Sandbox) -> None:
    copy = Copy(source, account)
    await copy.pull()
    organization.mutate(100, next(_SEEDS))
    organization.faults(down=True)
    heal = asyncio.get_running_loop().run_in_executor(None, _heal_later, organization)
    await copy.pull()
    await heal
    assert held(copy) == there(organization, account)


async def test_entity_without_delta_links_is_read_by_modified_time(
    source: Source, account: Entity, organization: Sandbox
) -> None:
    untracked = msgspec.structs.replace(account, tracks_changes=False)
    copy = Copy(source, untracked)
    await copy.pull()
    organization.mutate(100, next(_SEEDS))
    await copy.pull()
    await copy.reconcile()
    assert copy.watermark is not None
    assert copy.watermark.strategy is Strategy.MODIFIED_SINCE
    assert held(copy) == there(organization, account)


async def test_single_rows_come_by_key(source: Source, account: Entity, organization: Sandbox) -> None:
    keys = [(key,) for key in list(there(organization, account))[:100]]
    page = await source.rows(account, [*keys, ("00000000-0000-0000-0000-00000000dead",)][-100:])
    assert page.row_count == 99


def _heal_later(organization: Sandbox) -> None:
    time.sleep(0.5)
    organization.faults(down=False)
