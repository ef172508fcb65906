"""What Satchel needs of object storage, over a folder, an Azure Blob server and an S3 server."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from satchel.errors import SettingInvalid, StorageBusy, StorageMisconfigured
from satchel.settings.schema import Data, Settings, Storage
from satchel.storage import Objects, open_objects
from tests.contract.storage.fixture import azure_storage, azurite, s3_server, s3_storage

KINDS = ("folder", "azure", "s3")
Make = Callable[[], Storage]


@pytest.fixture(scope="module")
def makers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Make]]:
    with azurite(tmp_path_factory.mktemp("azurite")) as azure, s3_server(tmp_path_factory.mktemp("s3")) as s3:
        yield {"azure": lambda: azure_storage(azure), "s3": lambda: s3_storage(s3), "folder": Storage}


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, makers: dict[str, Make]) -> Storage:
    return makers[request.param]()


@pytest.fixture
def objects(storage: Storage, tmp_path: Path) -> Objects:
    return open_objects(Settings(data=Data(folder=str(tmp_path)), storage=storage))


async def paths(objects: Objects, prefix: str) -> list[str]:
    return sorted([each.path async for each in objects.listed(prefix)])


async def test_an_object_is_read_as_it_was_written_and_replaced_as_a_whole(objects: Objects) -> None:
    await objects.put("a/b/c.bin", b"\x00first" * 1000)
    await objects.put("a/b/c.bin", b"second")

    assert await objects.get("a/b/c.bin") == b"second"


async def test_an_object_that_is_not_there_is_none(objects: Objects) -> None:
    await objects.put("a/there", b"x")

    assert await objects.get("a/nothing") is None
    assert await objects.get_range("a/nothing", 0, 5) is None
    assert [chunk async for chunk in objects.stream("a/nothing")] == []


async def test_a_conditional_put_never_replaces(objects: Objects) -> None:
    assert await objects.put_if_absent("once", b"first")
    assert not await objects.put_if_absent("once", b"second")
    assert await objects.get("once") == b"first"


@pytest.mark.parametrize("storage", ["folder", "azure"], indirect=True)  # moto checks and writes in two steps
async def test_of_conditional_puts_at_the_same_time_one_succeeds(objects: Objects) -> None:
    done = await asyncio.gather(*(objects.put_if_absent("race", str(n).encode()) for n in range(12)))

    assert sum(done) == 1
    assert await objects.get("race") == str(done.index(True)).encode()


async def test_ranges(objects: Objects) -> None:
    await objects.put("range", bytes(range(200)))

    assert await objects.get_range("range", 10, 20) == bytes(range(10, 20))
    assert await objects.get_range("range", 190, 400) == bytes(range(190, 200))


async def test_large_objects_are_streamed_in_pieces(objects: Objects) -> None:
    content = os.urandom(3_000_000)
    await objects.put("large", content)

    pieces = [piece async for piece in objects.stream("large")]

    assert b"".join(pieces) == content
    assert len(pieces) > 1


async def test_lists_go_by_whole_segments(objects: Objects) -> None:
    for path in ("x/a/1", "x/a/2", "x/ab/3", "y/4"):
        await objects.put(path, b"12345")

    assert await paths(objects, "x/a") == ["x/a/1", "x/a/2"]
    assert await paths(objects, "x") == ["x/a/1", "x/a/2", "x/ab/3"]
    assert await paths(objects, "nothing") == []
    assert await objects.folders("x") == ["a", "ab"]
    assert {each.size_bytes async for each in objects.listed("y")} == {5}


async def test_a_list_of_more_than_a_page(objects: Objects, storage: Storage) -> None:
    count = 1100 if storage.url.startswith("s3") else 60
    for start in range(0, count, 50):
        await asyncio.gather(*(objects.put(f"many/{n:05}", b"") for n in range(start, min(start + 50, count))))

    assert await paths(objects, "many") == [f"many/{n:05}" for n in range(count)]
    assert await objects.delete_prefix("many") == count
    assert await paths(objects, "many") == []


async def test_deleting_takes_what_stands_below_and_nothing_else(objects: Objects) -> None:
    for path in ("o/a/1", "o/a/2/3", "o/ab/4"):
        await objects.put(path, b"")

    assert await objects.delete_prefix("o/a/") == 2
    await objects.delete("o/a/1")  # again is harmless

    assert await paths(objects, "o") == ["o/ab/4"]


async def test_wrong_credentials_are_told_in_words_without_them(makers: dict[str, Make]) -> None:
    wrong = msgspec.structs.replace(makers["azure"](), key_secret="cGxhbnRlZC1zZWNyZXQ=")  # moto takes any
    with pytest.raises(StorageMisconfigured) as caught:
        await open_objects(Settings(storage=wrong)).put("x", b"")
    assert "cGxhbnRlZC1zZWNyZXQ" not in repr(caught.value)
    assert "credentials" in caught.value.message


@pytest.mark.parametrize("kind", ["azure", "s3"])
async def test_a_bucket_that_is_not_there_is_told(kind: str, makers: dict[str, Make]) -> None:
    known = makers[kind]()
    elsewhere = msgspec.structs.replace(known, url=f"{known.url.split(':')[0]}://nowhere-1/p")
    objects = open_objects(Settings(storage=elsewhere))

    with pytest.raises(StorageMisconfigured, match="no bucket or container"):
        await objects.put("x", b"")
    with pytest.raises(StorageMisconfigured, match="no bucket or container"):
        await objects.get("x")


@pytest.mark.parametrize("kind", ["azure", "s3"])
async def test_credentials_may_come_from_the_environment(
    kind: str, makers: dict[str, Make], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = makers[kind]()
    names = {
        "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "azure": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
    }[kind]
    for name, value in zip(names, (known.key_id, known.key_secret), strict=True):
        monkeypatch.setenv(name, value)
    objects = open_objects(Settings(storage=msgspec.structs.replace(known, key_id="", key_secret="")))

    await objects.put("x", b"from the environment")

    assert await objects.get("x") == b"from the environment"


@pytest.mark.parametrize("kind", ["azure", "s3"])
async def test_a_server_that_is_silent_is_given_up_in_time(kind: str, makers: dict[str, Make]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/devstoreaccount1"
        deaf = msgspec.structs.replace(makers[kind](), endpoint=endpoint, timeout_seconds=1.0)
        objects = open_objects(Settings(storage=deaf))
        async with asyncio.timeout(15):
            with pytest.raises(StorageBusy, match="cannot be used now"):
                await objects.put("x", b"")


async def test_a_server_that_is_not_there_is_told(makers: dict[str, Make]) -> None:
    gone = msgspec.structs.replace(makers["s3"](), endpoint="http://127.0.0.1:9", timeout_seconds=1.0)

    with pytest.raises(StorageBusy, match="no connection"):
        await open_objects(Settings(storage=gone)).get("x")


def test_an_address_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(SettingInvalid, match=r"\[storage\] url"):
        open_objects(Settings(storage=Storage(url="ftp://x/y")))
