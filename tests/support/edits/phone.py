"""A device in the process of the test: its real store, outbox, upload and download, joined to the real journal and sync
without a network; beside it, what it was told, as plain dictionaries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from satchel.database.pool import Database
from satchel.device.apply import Applier
from satchel.device.edits import outbox
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet
from satchel.device.edits.overlay import Overlay
from satchel.device.edits.upload import upload
from satchel.device.edits.verdicts import Choice, discard, resolve, retry
from satchel.device.store import Store
from satchel.errors import ServerUnreachable
from satchel.journal.receive import receive
from satchel.protocol.messages import EditsAnswer, EditsRequest, Line
from satchel.staging.head import read_scope
from satchel.staging.users import Users
from satchel.sync.cursor import CursorSeal
from satchel.sync.download import download
from satchel.sync.step import Caller, StepLimits
from tests.support.edits.reference import Row


class Phone:
    """One device of one user."""

    def __init__(self, name: str, user: str, folder: Path, server: Database) -> None:
        self.name, self.user = name, user
        self.store = Store(folder / f"{name}.sqlite", None)
        self.told: dict[str, Row] = {}
        self.outcomes: list[dict[str, Any]] = []
        """Every verdict that came, as it stood on the wire."""
        self.may_lose_entities = False
        self._server = server
        self._seal = CursorSeal([b"k" * 32], "org", name)
        self._uncommitted: list[dict[str, Any]] = []

    def close(self) -> None:
        self.store.close()

    def pending(self) -> list[PendingSet]:
        """The outbox, without what is only there to be withdrawn."""
        return [each for each in outbox.all_sets(self.store.connection) if not each.is_withdrawal]

    def is_empty(self) -> bool:
        return not list(outbox.all_sets(self.store.connection))

    def table(self, columns: list[str]) -> dict[str, Row]:
        """What a program reads."""
        found = self.store.connection.execute(f"select {', '.join(columns)} from contact")
        return {str(row[0]): dict(zip(columns, row, strict=True)) for row in found}

    def edit(self, change: Callable[[Changes], None]) -> PendingSet | None:
        """One local transaction."""
        with self.store.transaction() as connection:
            changes = Changes(connection, self.store.model)
            change(changes)
            number = changes.keep()
        return outbox.find(self.store.connection, number) if number else None

    def discard(self, number: int, *, with_dependents: bool) -> list[int]:
        """Errors: EditInvalid."""
        with self.store.transaction() as connection:
            overlay = Overlay(connection, self.store.model)
            gone = discard(connection, overlay, number, with_dependents=with_dependents)
            overlay.finish(is_complete=False)
        return gone

    def take_up(self, number: int, choices: dict[str, Choice] | None) -> PendingSet | None:
        """Resolve with these choices, or retry without any; the set as it waits now, None where nothing is left."""
        with self.store.transaction() as connection:
            overlay = Overlay(connection, self.store.model)
            if choices is None:
                retry(connection, overlay, number)
            else:
                resolve(connection, overlay, self.store.model, number, choices)
            overlay.finish(is_complete=False)
        found = outbox.find(self.store.connection, number)
        return None if found is None or found.is_withdrawal else found

    async def upload(self, *, is_heard: bool = True, is_answered: bool = True) -> bool:
        """Hand over what waits; False where the network fails, before or behind the journal."""
        loop = asyncio.get_running_loop()

        def post(request: EditsRequest) -> EditsAnswer:
            if not is_heard:
                raise ServerUnreachable("lost on the way")
            answer = asyncio.run_coroutine_threadsafe(self._receive(request), loop).result(30)
            if not is_answered:
                raise ServerUnreachable("the answer is lost")
            return answer

        try:
            await asyncio.to_thread(upload, self.store, post)
        except ServerUnreachable:
            return False
        return True

    async def _receive(self, request: EditsRequest) -> EditsAnswer:
        async with self._server.connection() as connection:
            model = (await read_scope(connection)).client_model
        got = await receive(
            self._server, request.sets, model, device=self.name, user_id=self.user, max_unsettled=10_000
        )
        return EditsAnswer(got.receipts)

    async def download(self, *, cut: int | None = None, rows_per_step: int = 1000) -> bool:
        """Sync down to the end, or to the line number `cut`; True where it came to the end."""
        self._uncommitted = []
        for _ in range(100):
            lines = await self._answer(rows_per_step)
            with Applier(self.store) as applier:
                for line in lines[:cut]:
                    self._note(json.loads(line))
                    if applier.take(msgspec.json.decode(line, type=Line)):
                        return True
            if cut is not None:
                return False
        raise AssertionError("the download does not come to an end")

    async def _answer(self, rows_per_step: int) -> list[bytes]:
        cursor = self.store.get("cursor")
        state = self._seal.open(cursor) if cursor else None
        model = self.store.model.digest if self.store.has_model else None
        limits = StepLimits(rows_per_step=rows_per_step, rows_per_line=3)
        batches = download(
            self._server, Users(), Caller(self.user, self.name), state, model, limits=limits, seal=self._seal.seal
        )
        return [line async for batch in batches for line in batch.splitlines()]

    def _note(self, line: dict[str, Any]) -> None:
        """What stands before a cursor counts with it."""
        if "cursor" not in line and "end" not in line:
            self._uncommitted.append(line)
            return
        for each in self._uncommitted:
            assert "wipe" not in each or self.may_lose_entities, "nothing was rebuilt"
            if "contact" in each.get("wipe", ()):
                self.told.clear()
            if each.get("put") == "contact":
                for values in each["rows"]:
                    row = dict(zip(each["columns"], values, strict=True))
                    self.told[row["id"]] = row
            if each.get("remove") == "contact":
                for key in each["keys"]:
                    self.told.pop(key[0] if isinstance(key, list) else key, None)
            if "outcome" in each:
                self.outcomes.append(each["outcome"])
        self._uncommitted = []
