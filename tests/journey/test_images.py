"""First syncs of large buckets come as sealed images; whoever takes neither images nor zstd gets the same rows."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import psycopg
import pytest

from satchel.device import Device
from satchel.device.apply import Applier
from satchel.device.download import Download
from satchel.device.endpoint import Endpoint
from satchel.device.store import Enrolment, Store
from satchel.protocol.images import IMAGE_MEDIA_TYPE, quoted
from satchel.protocol.messages import SyncRequest
from satchel.protocol.reader import read_lines
from tests.support.checker import differences
from tests.support.processes import Sandbox, Satchel, wait_for

IS_SEALED = """
select count(*) = 1 from satchel.head h, satchel.sealing s
where s.op = h.op and not exists (select from satchel.projection p where p.asked_at > s.looked_at)
"""
FIRST = SyncRequest(None, None)


@pytest.fixture(scope="module")
def device(running: Satchel, source: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    link = running.invite(source.users[0]["id"])
    with Device.enroll(link, tmp_path_factory.mktemp("device"), is_encrypted=False) as enrolled:
        yield enrolled


def rows_by_kind(enrolment: Enrolment) -> Counter[str]:
    """How many rows a first sync brings as images, and how many one by one."""
    endpoint = Endpoint(enrolment)
    try:
        with endpoint.sync(FIRST, 0.0) as answer:
            found: Counter[str] = Counter()
            for line in read_lines(answer.iter_raw(), answer.headers["content-encoding"]):
                found["images"] += line.count if line.image else 0
                found["frames"] += bool(line.image)
                found["rows"] += len(line.rows or ()) if line.put else 0
            return found
    finally:
        endpoint.close()


@pytest.fixture(scope="module")
def sealed(device: Device, running: Satchel) -> Counter[str]:
    """What a first sync brings once all that is large enough is sealed, in the columns that it asked for."""
    rows_by_kind(device.enrolment)
    with psycopg.connect(running.database_url("satchel")) as control:
        (database,) = control.execute("select database_name from satchel.organization").fetchone() or ("",)
    with psycopg.connect(running.database_url(database), autocommit=True) as staging:
        wait_for(lambda: staging.execute(IS_SEALED).fetchone() == (True,), "all to be sealed")
    return rows_by_kind(device.enrolment)


def content(store: Store) -> dict[str, list[Any]]:
    """All rows of all tables, in an order that follows from them."""
    return {
        entity.name: sorted(store.connection.execute(f"select * from {quoted(entity.name)}"), key=repr)
        for entity in store.model.entities
    }


def first_sync(enrolment: Enrolment, file: Path) -> tuple[dict[str, list[Any]], int]:
    """Sync to the end into a new file; its rows, and how many answers it took."""
    store, endpoint = Store(file, None), Endpoint(enrolment)
    try:
        report = Download(store, endpoint, pause=lambda _: None).run()
        return content(store), report.answers
    finally:
        endpoint.close()
        store.close()


def test_a_first_sync_comes_as_images_and_equals_the_source(
    device: Device, sealed: Counter[str], source: Sandbox
) -> None:
    report = device.sync(from_start=True)

    assert sealed["frames"] > 3
    assert sealed["images"] > sealed["rows"]
    assert report.rows_put == sealed["images"] + sealed["rows"]
    assert not differences(device, source, source.users[0]["id"])


@pytest.mark.usefixtures("sealed")
@pytest.mark.parametrize("takes_images", [False, True], ids=["rows", "images"])
def test_a_client_of_gzip_alone_gets_the_same_rows(device: Device, tmp_path: Path, takes_images: bool) -> None:
    expected, _ = first_sync(device.enrolment, tmp_path / "images.db")
    enrolment, store = device.enrolment, Store(tmp_path / "gzip.db", None)
    headers = {"Authorization": f"Bearer {enrolment.token}", "Accept-Encoding": "gzip"}
    headers |= {"Accept": IMAGE_MEDIA_TYPE} if takes_images else {}
    trusted = ssl.create_default_context(cadata=enrolment.ca_pem)
    url = f"{enrolment.server_url}/v1/orgs/{enrolment.organization}/sync"
    with (
        httpx.Client(verify=trusted, headers=headers, trust_env=False) as client,
        client.stream("POST", url, content=msgspec.json.encode(FIRST)) as answer,
        Applier(store) as applier,
    ):
        assert answer.headers["content-encoding"] == "gzip"
        lines = list(read_lines(answer.iter_bytes(), "identity"))  # by httpx, which reads the first member only
        assert [applier.take(line) for line in lines].index(True) == len(lines) - 1

    assert any(line.image for line in lines) == takes_images
    assert content(store) == expected
    assert sum(map(len, expected.values())) > 100
    store.close()
