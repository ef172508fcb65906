"""Objects by path: written whole, read whole or in ranges, listed and deleted by prefix. Failures are ours.

The engine's blocking calls run in threads (they leave the interpreter free meanwhile): its asynchronous ones may touch
the interpreter from a thread of their own while the process ends, and abort it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import obstore
from obstore.store import LocalStore, ObjectStore

from satchel.errors import SatchelError, StorageBusy, StorageMisconfigured

CHUNK_BYTES = 256 * 1024
_UNFINISHED = re.compile(r"#\d+$")
_WORDS = (
    ("no space left", "there is no space left"),
    ("permission denied", "it may not be written"),
    ("timed out", "it does not answer in time"),
    ("kind: timeout", "it does not answer in time"),
    ("dns error", "its name is unknown"),
    ("error sending request", "no connection"),
    ("certificate", "its certificate is not trusted"),
)
_MISSING_PLACE = ("nosuchbucket", "containernotfound", "bucket does not exist", "container does not exist")
_WRONG_KEYS = (
    "signaturedoesnotmatch", "invalidaccesskeyid", "authenticationfailed", "authorizationfailure", "accessdenied",
    "403 forbidden", "401 unauthorized", "missing credentials", "invalidauthenticationinfo",
)  # fmt: skip


class ObjectInfo(msgspec.Struct, frozen=True):
    """An object in a listing."""

    path: str
    size_bytes: int
    modified_at: datetime


class Objects:
    """One store. Errors of all: StorageBusy (try again later), StorageMisconfigured."""

    def __init__(self, store: ObjectStore, place: str) -> None:
        """`place` names the store to people; it holds no credentials."""
        self.store = store
        self._place = place

    async def put(self, path: str, content: bytes) -> None:
        """Write an object; one that is there is replaced as a whole."""
        with self._failures():
            await asyncio.to_thread(obstore.put, self.store, path, content)

    async def put_stream(self, path: str, chunks: AsyncIterator[bytes]) -> None:
        """Write an object piece by piece; it is there as a whole or not at all."""
        with self._failures():
            await obstore.put_async(self.store, path, chunks)

    def put_now(self, path: str, content: bytes) -> None:
        """The same for a thread of its own."""
        with self._failures():
            obstore.put(self.store, path, content)

    async def put_if_absent(self, path: str, content: bytes) -> bool:
        """Write an object unless there is one of that path; False where there is. Of several writers one succeeds."""
        with self._failures():
            try:
                await asyncio.to_thread(obstore.put, self.store, path, content, mode="create")
            except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError):
                return False
        return True

    async def get(self, path: str) -> bytes | None:
        """The whole object; None where there is none."""
        with self._failures():
            try:
                return await asyncio.to_thread(lambda: bytes(obstore.get(self.store, path).bytes()))
            except FileNotFoundError as error:
                self._refuse_missing_place(error)
                return None

    async def get_range(self, path: str, start: int, end: int) -> bytes | None:
        """Bytes from `start` up to (not including) `end`, fewer where the object ends before; None: no object."""
        with self._failures():
            try:
                return await asyncio.to_thread(lambda: bytes(obstore.get_range(self.store, path, start=start, end=end)))
            except FileNotFoundError as error:
                self._refuse_missing_place(error)
                return None

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The object piece by piece; nothing where there is none (deleted since it was listed)."""
        with self._failures():
            try:
                answer = await asyncio.to_thread(obstore.get, self.store, path)
            except FileNotFoundError:
                return
            pieces = iter(answer.stream(min_chunk_size=CHUNK_BYTES))
            while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                yield bytes(piece)

    async def listed(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Objects whose path begins with `prefix` (whole path segments), in no order."""
        with self._failures():
            chunks = iter(obstore.list(self.store, prefix))
            while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
                for meta in chunk:
                    yield ObjectInfo(str(meta["path"]), int(meta["size"]), meta["last_modified"])

    async def folders(self, prefix: str) -> list[str]:
        """Names of what stands one segment below `prefix`, sorted."""
        with self._failures():
            found = await asyncio.to_thread(obstore.list_with_delimiter, self.store, prefix)
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in found["common_prefixes"])

    async def delete(self, path: str) -> None:
        """Delete an object; one that is not there is deleted already."""
        with self._failures():
            try:
                await asyncio.to_thread(obstore.delete, self.store, path)
            except FileNotFoundError as error:
                self._refuse_missing_place(error)

    async def delete_prefix(self, prefix: str) -> int:
        """Delete all objects whose path begins with `prefix` (whole path segments); returns how many."""
        with self._failures():
            return await delete_prefix(self.store, prefix)

    async def delete_unfinished(self, prefix: str, before: datetime) -> int:
        """Delete what killed uploads left below `prefix` and wrote last before a moment; returns how many.

        In a folder: no listing shows it. Other stores end uploads by a rule of their own.
        """
        folder = self.store.prefix if isinstance(self.store, LocalStore) else None
        if folder is None:
            return 0
        with self._failures():
            return await asyncio.to_thread(_delete_unfinished, Path(folder) / prefix, before.timestamp())

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except SatchelError:
            raise
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            raise self._told(error) from None  # the original tells requests in detail, some with their signatures

    def _told(self, error: Exception) -> SatchelError:
        text = str(error).lower()
        squeezed = text.replace(" ", "")
        if any(word in squeezed for word in _MISSING_PLACE):
            return StorageMisconfigured(f"There is no bucket or container at {self._place}.", hint="Make it first.")
        denied = obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError
        if isinstance(error, denied) or any(word.replace(" ", "") in squeezed for word in _WRONG_KEYS):
            return StorageMisconfigured(f"{self._place} refuses these credentials.")
        reason = next((words for sign, words in _WORDS if sign in text), type(error).__name__)
        return StorageBusy(f"Object storage at {self._place} cannot be used now: {reason}.")

    def _refuse_missing_place(self, error: Exception) -> None:
        told = self._told(error)
        if isinstance(told, StorageMisconfigured):
            raise told from None


def _delete_unfinished(folder: Path, before: float) -> int:
    count = 0
    for file in folder.glob("**/*#*"):
        if _UNFINISHED.search(file.name) and file.stat().st_mtime < before:
            file.unlink(missing_ok=True)
            count += 1
    return count


async def delete_prefix(store: ObjectStore, prefix: str) -> int:
    """Delete all objects whose path begins with `prefix`; returns how many."""
    count = 0
    chunks = iter(obstore.list(store, prefix))
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        paths = [str(meta["path"]) for meta in chunk]
        await asyncio.to_thread(obstore.delete, store, paths)
        count += len(paths)
    return count
