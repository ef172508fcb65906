"""What is kept of logs and traces, and what becomes of it when object storage is away, slow or full."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from satchel.errors import StorageBusy
from satchel.jobs.tidy_telemetry import tidy_telemetry
from satchel.settings.schema import Data, Settings
from satchel.storage import Objects, open_objects
from satchel.telemetry.archive import MAX_UNWRITTEN_BYTES, MAX_WAITING, Archive, encoded
from satchel.telemetry.partition import Kind, folder_of, hours, partition
from satchel.telemetry.search import Record, Wanted, find_logs, find_newest, find_spans, follow_logs, time_of_record

NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
NO_WAIT = 3600.0


class Store:
    """Takes objects, or refuses them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_away = False
        self.tries = threading.Semaphore(0)

    def put(self, path: str, content: bytes) -> None:
        self.tries.release()
        if self.is_away:
            raise StorageBusy
        self.objects[path] = content


class Counted(Objects):
    """Notes what is read."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.read: list[str] = []

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        self.read.append(path)
        async for piece in super().stream(path):
            yield piece


def line(text: str) -> Any:
    return lambda: encoded({"event": text})


def texts(store: Store) -> list[str]:
    return [zstandard.decompress(content, 10**8).decode() for content in store.objects.values()]


def test_records_stand_by_kind_organization_and_hour() -> None:
    store = Store()
    archive = Archive(store.put, "worker", "host-1-ab", flush_seconds=NO_WAIT)
    archive.start()
    for organization, hour in (("contoso", 0), ("contoso", 0), ("contoso", 1), (None, 0), ("../etc", 0)):
        archive.add(Kind.LOGS, organization, (NOW + timedelta(hours=hour)).timestamp(), line("x"))
    archive.add(Kind.TRACES, "contoso", NOW.timestamp(), line("y"))
    archive.close()

    assert sorted(path.rsplit("/", 1)[0] for path in store.objects) == [
        "telemetry/logs/_system/2026/05/01/12",
        "telemetry/logs/contoso/2026/05/01/12",
        "telemetry/logs/contoso/2026/05/01/13",
        "telemetry/traces/contoso/2026/05/01/12",
    ]
    assert archive.kept == 6
    assert archive.dropped == 0


def test_a_burst_is_bounded_and_what_is_dropped_is_counted() -> None:
    archive = Archive(Store().put, "s", "i", flush_seconds=NO_WAIT)
    for _ in range(MAX_WAITING + 7):
        archive.add(Kind.LOGS, None, 0.0, line("x"))

    assert archive.dropped == 7


def test_what_a_store_that_is_away_did_not_take_is_written_later() -> None:
    store = Store()
    store.is_away = True
    archive = Archive(store.put, "s", "i", flush_seconds=0.01)
    archive.start()
    archive.add(Kind.LOGS, None, NOW.timestamp(), line("kept"))
    assert all(store.tries.acquire(timeout=10) for _ in range(3))
    store.is_away = False
    archive.close()

    assert texts(store) == ['{"event":"kept"}\n']
    assert archive.dropped == 0


def test_while_a_store_is_away_memory_is_bounded() -> None:
    store = Store()
    store.is_away = True
    archive = Archive(store.put, "s", "i", flush_seconds=0.01)
    archive.start()
    for _ in range(24):
        random = os.urandom(2**20)
        archive.add(Kind.LOGS, None, NOW.timestamp(), lambda random=random: random)
        assert store.tries.acquire(timeout=10)
        assert store.tries.acquire(timeout=10)
    archive.close()

    assert archive.dropped >= (24 * 2**20 - MAX_UNWRITTEN_BYTES) // 2**20


def test_a_store_that_hangs_holds_nobody_up() -> None:
    hanging = threading.Event()
    archive = Archive(lambda *_: hanging.wait(30) and None, "s", "i", flush_seconds=0.01)
    archive.start()
    for _ in range(1000):
        archive.add(Kind.LOGS, None, 0.0, line("x"))
    archive.close(seconds=0.2)
    hanging.set()


def test_a_record_that_cannot_be_written_costs_itself_only() -> None:
    store = Store()
    archive = Archive(store.put, "s", "i", flush_seconds=NO_WAIT)
    archive.start()
    archive.add(Kind.LOGS, None, NOW.timestamp(), lambda: 1 / 0)
    archive.add(Kind.LOGS, None, NOW.timestamp(), line("kept"))
    archive.close()

    assert texts(store) == ['{"event":"kept"}\n']
    assert archive.dropped == 1


@pytest.mark.parametrize("name", ["", "a/b", "..", "A", "_system", "x" * 41, None, 3, "-a"])
def test_what_is_no_organizations_name_makes_no_folder(name: object) -> None:
    assert folder_of(name) == "_system"


# -- searching ----------------------------------------------------------------------------------------------------


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return open_objects(Settings(data=Data(folder=str(tmp_path))))


def keep(objects: Objects, records: list[Record], service: str, *, number: int = 0) -> None:
    """One object for each organization and hour, as a process would write them."""
    by_place: dict[str, list[bytes]] = {}
    for record in records:
        moment = datetime.fromisoformat(record["timestamp"])
        place = partition(Kind.LOGS, record.get("organization") or "_system", moment)
        by_place.setdefault(place, []).append(encoded({"level": "info", "service": service, **record}))
    for place, lines in by_place.items():
        content = zstandard.compress(b"\n".join(lines) + b"\n")
        objects.put_now(f"{place}/{service}-h-1-{number:08}.ndjson.zst", content)


def at(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def wanted(**more: Any) -> Wanted:
    return Wanted(**{"since": NOW - timedelta(hours=2), "until": NOW + timedelta(hours=2), **more})


async def events(objects: Objects, **more: Any) -> list[str]:
    return [record["event"] async for record in find_logs(objects, wanted(**more))]


async def test_records_of_all_processes_come_in_the_order_of_time(objects: Objects) -> None:
    keep(objects, [{"timestamp": at(n), "event": f"w{n}", "organization": "a"} for n in (0, 2, 40)], "worker")
    keep(objects, [{"timestamp": at(n), "event": f"w{n}", "organization": "a"} for n in (42, 44)], "worker", number=1)
    keep(objects, [{"timestamp": at(n), "event": f"s{n}", "organization": "b"} for n in (1, 3, 43)], "sync")
    keep(objects, [{"timestamp": at(2.5), "event": "p"}], "provisioning")

    assert await events(objects) == ["w0", "s1", "w2", "p", "s3", "w40", "w42", "s43", "w44"]
    assert await events(objects, organization="a") == ["w0", "w2", "w40", "w42", "w44"]
    assert await events(objects, since=NOW + timedelta(minutes=2.2), until=NOW + timedelta(minutes=41)) == [
        "p", "s3", "w40"
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_of_the_newest_tell_everything_once(objects: Objects, size: int) -> None:
    moments = [0, 0, 0, 1, 5, 5, 61, 61, 62, 125]  # minutes: several at one moment, several hours
    for number, minutes in enumerate(moments):
        keep(objects, [{"timestamp": at(minutes), "event": str(number)}], f"s{number}", number=number)
    everything = wanted(until=NOW + timedelta(hours=4))
    found: list[Record] = []
    until, skip = everything.until, 0
    while page := await find_newest(objects, msgspec.structs.replace(everything, until=until), size, skip=skip):
        oldest = time_of_record(page[-1])
        skip = sum(time_of_record(each) == oldest for each in page) + (skip if oldest == until else 0)
        found, until = found + page, oldest
    assert sorted(each["event"] for each in found) == sorted(map(str, range(len(moments))))
    assert [each["timestamp"] for each in found] == sorted((each["timestamp"] for each in found), reverse=True)


async def test_filters(objects: Objects) -> None:
    records: list[Record] = [
        {"timestamp": at(1), "event": "pulled", "organization": "a", "entity": "contact", "trace": "t" * 32},
        {"timestamp": at(2), "event": "went wrong", "organization": "a", "level": "error", "device": "d1"},
        {"timestamp": at(3), "event": "item", "organization": "a", "work_item": "playback", "work_item_number": 17},
    ]
    keep(objects, records, "worker")

    assert await events(objects, entity="contact") == ["pulled"]
    assert await events(objects, trace="t" * 32) == ["pulled"]
    assert await events(objects, level="warning") == ["went wrong"]
    assert await events(objects, device="d1") == ["went wrong"]
    assert await events(objects, work_item="17") == await events(objects, work_item="playback") == ["item"]
    assert await events(objects, text="WENT") == ["went wrong"]
    assert await events(objects, service="sync") == []


async def test_only_the_hours_and_organizations_asked_for_are_read(objects: Objects) -> None:
    keep(objects, [{"timestamp": at(0), "event": "x", "organization": "a"}], "worker")
    for place in ("a/2026/05/01/09", "b/2026/05/01/12"):
        objects.put_now(f"telemetry/logs/{place}/worker-h-1-00000000.ndjson.zst", b"not to be read")
    counted = Counted(objects.store, "here")

    assert await events(counted, organization="a", since=NOW - timedelta(hours=1)) == ["x"]
    assert counted.read == ["telemetry/logs/a/2026/05/01/12/worker-h-1-00000000.ndjson.zst"]


async def test_a_damaged_object_ends_by_itself(objects: Objects) -> None:
    keep(objects, [{"timestamp": at(0), "event": "x", "organization": "a"}], "worker")
    objects.put_now("telemetry/logs/a/2026/05/01/12/sync-h-2-00000000.ndjson.zst", b"damaged")

    assert await events(objects) == ["x"]


async def test_following_gives_what_comes_in_once(objects: Objects) -> None:
    now = datetime.now(UTC)
    keep(objects, [{"timestamp": now.isoformat(), "event": "first", "organization": "a"}], "worker")
    following = follow_logs(objects, Wanted(since=now - timedelta(minutes=1), until=now))
    assert (await anext(following))["event"] == "first"
    keep(objects, [{"timestamp": now.isoformat(), "event": "second", "organization": "a"}], "worker", number=1)

    assert (await anext(following))["event"] == "second"
    await following.aclose()  # type: ignore[attr-defined]


async def test_a_search_holds_no_more_than_a_piece_of_each_process(objects: Objects) -> None:
    many = [{"timestamp": at(n / 1000), "event": "x" * 400, "organization": "a"} for n in range(20_000)]
    keep(objects, many, "worker")
    tracemalloc.start()
    count = len([None async for _ in find_logs(objects, wanted())])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 12_000_000  # the records take over 10 MB as text, and many times that as values


def test_hours_are_those_that_a_range_touches() -> None:
    found = list(hours(datetime(2026, 1, 31, 23, 59, tzinfo=UTC), datetime(2026, 2, 1, 1, 0, tzinfo=UTC)))

    assert [hour.hour for hour in found] == [23, 0, 1]


# -- retention ----------------------------------------------------------------------------------------------------


async def test_days_beyond_their_time_go_and_nothing_else(objects: Objects) -> None:
    for path in (
        "logs/a/2026/04/16/23",
        "logs/a/2026/04/17/00",
        "traces/_system/2025/12/31/01",
        "logs/a/2026/05/01/12",
    ):
        objects.put_now(f"telemetry/{path}/w-1-00000000.ndjson.zst", b"x")
    objects.put_now("organizations/a/snapshot", b"x")

    count = await tidy_telemetry(objects, NOW, retention_days=14)

    left = sorted([info.path async for info in objects.listed("")])
    assert count == 2
    assert left == [
        "organizations/a/snapshot",
        "telemetry/logs/a/2026/04/17/00/w-1-00000000.ndjson.zst",
        "telemetry/logs/a/2026/05/01/12/w-1-00000000.ndjson.zst",
    ]
    assert await tidy_telemetry(objects, NOW, retention_days=14) == 0


async def test_spans_of_a_trace_are_found_in_all_partitions(objects: Objects) -> None:
    for number, folder in enumerate(("a", "_system")):
        span = {"trace": "1" * 32, "span": f"{number:016}", "name": "n", "service": "s", "instance": "i",
                "start": at(number), "seconds": 0.1}  # fmt: skip
        other = {**span, "trace": "2" * 32}
        place = partition(Kind.TRACES, folder, NOW)
        content = zstandard.compress(encoded(span) + b"\n" + encoded(other) + b"\n")
        objects.put_now(f"{place}/s-i-{number:08}.ndjson.zst", content)

    found = await find_spans(objects, wanted(trace="1" * 32))

    assert [span.span for span in found] == [f"{0:016}", f"{1:016}"]
