"""Playback: edit sets go from the journal to the source, each once, and come home with a verdict.

Sets that share no row go side by side; one that waits or is refused holds only what stands on its own rows. Whatever
moment this is killed at, the journal says what may have been executed, and the source is asked before it is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from satchel.errors import RetryLater, SatchelError, SourceBusy, SourceMisconfigured
from satchel.jobs.ask_again import ask_again, refresh_rows
from satchel.jobs.evidence import was_executed
from satchel.jobs.judge import Judge, JudgedEdit, Judgement, outcome_of
from satchel.jobs.organization import OrganizationWork
from satchel.jobs.settler import Settler
from satchel.jobs.write_through import Settlement, executed
from satchel.journal.lock import end_playing, try_playing
from satchel.journal.sets import Attempt, JournaledSet, forget_settled, is_left, mark_sending, playable, wait
from satchel.model.edits import Action, EditOutcome, Outcome, Reason, Verdict
from satchel.model.ids import Key
from satchel.model.metadata import Entity
from satchel.model.writes import Execution, Played
from satchel.staging.abilities import save_abilities
from satchel.staging.head import read_scopes
from satchel.staging.users import Users
from satchel.staging.written import asked_now, executed_lately, forget_old, note_written, noted_among
from satchel.telemetry.trace import span

SIDE_BY_SIDE = 16
LOOK_SECONDS = 0.05
_ROUNDS = 6
_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0
_FAILED = 500
_TRIES_AT_ONCE = 3
"""After so many tries without an answer, one that was not executed rests before the next."""
_REST_SECONDS = 3.0
_KEPT_DAYS = 90
_REMEMBERED_DAYS = 1000
"""Of each set, what became of it."""
_LATELY_SECONDS = 600.0
"""A source's audit may be read with clocks that are minutes apart."""
_CHANGED_SINCE = "The answer of the source was lost, and the row has changed since: see what counts."
_NOT_OFFERED = "The answer of the source was lost, and the row is not offered any more: nobody can tell what counts."
log = structlog.get_logger()


async def playback(work: OrganizationWork) -> int:
    """Play what may be played now; returns how many sets were settled. One process at a time does it."""
    async with work.staging.connection() as guard:
        if not await try_playing(guard):
            return 0
        try:
            count = await _Player(work).run()
        finally:
            await end_playing(guard)
    await ask_again(work)
    async with work.staging.transaction() as connection:
        await forget_settled(connection, days=_KEPT_DAYS, remembered_days=_REMEMBERED_DAYS)
        await forget_old(connection)
        if count:
            await save_abilities(connection, await work.source.abilities())
    return count


async def must_come_again(work: OrganizationWork) -> bool:
    """Something waits for its time."""
    async with work.staging.connection() as connection:
        return await is_left(connection)


class _Player:
    """The sets under way."""

    def __init__(self, work: OrganizationWork) -> None:
        self._work = work
        self._users = Users()
        self._settler = Settler(work)
        self._tasks: dict[int, asyncio.Task[bool]] = {}
        self._settled = 0

    async def run(self) -> int:
        try:
            while await self._begin_more() or self._tasks:
                await self._await_some()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._settler.close()
        return self._settled

    async def _begin_more(self) -> bool:
        room = SIDE_BY_SIDE - len(self._tasks)
        if room <= 0:
            return False
        async with self._work.staging.connection() as connection:
            sets = await playable(connection, under_way=self._tasks, limit=room)
        for journaled in sets:
            play = _Play(self._work, self._users, self._settler, journaled)
            self._tasks[journaled.number] = asyncio.create_task(play.run())
        return bool(sets)

    async def _await_some(self) -> None:
        """Until one is done; what was handed over meanwhile is looked for as well."""
        if not self._tasks:
            return
        done, _ = await asyncio.wait(self._tasks.values(), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for number, task in list(self._tasks.items()):
            if task in done:
                del self._tasks[number]
                self._settled += task.result()


def _is_unguarded(judged: JudgedEdit) -> bool:
    """The source will not say that the row is another one by now: there is no version to hold it to, or nothing that it
    is asked for."""
    if not judged.write_needed:
        return True
    return judged.write.etag is None and judged.edit.action is not Action.CREATE


class _Play:
    """One edit set on its way to a verdict."""

    def __init__(self, work: OrganizationWork, users: Users, settler: Settler, journaled: JournaledSet) -> None:
        self._work = work
        self._users = users
        self._settler = settler
        self._set = journaled
        self._attempt = journaled.attempt
        """What was sent last."""
        self._is_unknown = journaled.attempt is not None
        """The source may have executed it."""

    async def run(self) -> bool:
        """True where it was settled, False where it waits. Errors: StoreBusy; then the journal is as it was."""
        name, device = self._work.organization.name, self._set.device
        with (
            span("play edit set", parent=self._set.trace, organization=name, device=device, edit_set=self._set.id),
            structlog.contextvars.bound_contextvars(device=device, edit_set=self._set.id),
        ):
            return await self._run_or_wait()

    async def _run_or_wait(self) -> bool:
        try:
            return await self._run()
        except SatchelError as error:
            if await self._is_settled_after(error):
                return True
            await self._wait(error)
        except Exception as error:  # a defect of ours delays this one set, and nothing else
            log.error("edit set failed", exc_info=error)
            await self._wait(SatchelError("Playing it failed; the log of the worker says why."))
        return False

    async def _run(self) -> bool:
        attempt = self._attempt
        if attempt is not None:
            if await self._clear_up(attempt):
                return True
            if self._set.tries >= _TRIES_AT_ONCE:
                await self._rest()
                return False
        judgement = await self._judge()
        if judgement.outcome is None and any(_is_unguarded(each) for each in judgement.edits):
            await self._refresh(judgement.edits)
            judgement = await self._judge()
        for _ in range(_ROUNDS):
            if judgement.outcome is not None:
                await self._settle(judgement.outcome, judgement.carried)
                return True
            if not judgement.writes:
                await self._settle_executed(judgement.edits)
                return True
            sent = judgement
            etags = {each.edit.id: each.write.etag for each in sent.writes}
            played = await self._send(sent.writes, etags)
            if played is None:
                return False  # taken up again meanwhile
            if played.execution is Execution.DONE:
                await self._settle_executed(sent.edits, played.rows)
                return True
            self._is_unknown = False
            if played.execution is Execution.REFUSED:
                await self._reject(sent.writes, played)
                return True
            if attempt is not None and await self._clear_up(attempt):  # it was executed late
                return True
            await self._refresh(sent.edits)
            judgement = await self._judge()
            is_as_sent = played.execution is not Execution.MISSING and etags == {
                each.edit.id: each.write.etag for each in judgement.writes
            }
            if judgement.outcome is None and is_as_sent:  # the row is as it was asked for: nothing else will help
                await self._reject(sent.writes, played)
                return True
        raise RetryLater("The row changes at the source faster than it can be read.")

    async def _clear_up(self, attempt: Attempt) -> bool:
        """Find out what became of an attempt whose answer was lost; True where that settles the set."""
        judgement = await self._judge(is_past=True)
        await self._refresh(judgement.edits)
        judgement = await self._judge(is_past=True)
        if not judgement.edits:
            await self._settle_uncertain(_NOT_OFFERED)
            return True
        executed = await was_executed(self._work, self._set, judgement.edits, attempt)
        if executed is None:
            await self._settle_uncertain(_CHANGED_SINCE)
        elif executed:
            rows = sorted((each.edit.entity, each.edit.key) for each in judgement.edits)
            async with self._work.staging.transaction() as connection:
                await note_written(connection, rows, by_edit=True)
            await self._settle_executed([each.done() for each in judgement.edits])
        else:
            self._is_unknown = False
        return executed is not False

    async def _judge(self, *, is_past: bool = False) -> Judgement:
        """Rows of which it is not known whether staging has their newest state are asked for first."""
        rows = {(edit.entity, edit.key) for edit in self._set.edits}
        async with self._work.staging.snapshot() as connection:
            noted = await noted_among(connection, rows)
            if not noted:
                return await Judge(connection, self._users).judge(self._set, is_past=is_past)
            known = (await read_scopes(connection)).maintained.entity_by_name
        for name in noted.keys() & known.keys():
            await refresh_rows(self._work, known[name], noted[name])
        async with self._work.staging.snapshot() as connection:
            return await Judge(connection, self._users).judge(self._set, is_past=is_past)

    async def _send(self, writes: Sequence[JudgedEdit], etags: dict[str, str | None]) -> Played | None:
        """Order: the journal says what may be executed before the source hears of it."""
        rows = {(each.edit.entity, each.edit.key): each.edit.id for each in writes}
        async with self._work.staging.transaction() as connection:
            lately = await executed_lately(connection, rows, seconds=_LATELY_SECONDS)
            alone = {rows[row]: seconds for row, seconds in lately.items()}
            attempt = Attempt(since=await asked_now(connection), etags=etags, alone_seconds=alone)
            if not await mark_sending(connection, self._set, attempt):
                return None
        self._attempt = attempt
        self._is_unknown = True
        try:
            return await self._work.source.play([each.write for each in writes], self._set.user_id, self._set.id)
        except (SourceBusy, SourceMisconfigured):
            self._is_unknown = False  # it was not let in
            raise

    async def _reject(self, writes: Sequence[JudgedEdit], played: Played) -> None:
        edit = writes[min(played.place, len(writes) - 1)].edit
        told = EditOutcome(
            id=edit.id,
            verdict=Verdict.REJECTED,
            reason=Reason.SOURCE,
            code=played.code or str(played.status),
            message=played.message or f"The source refused it (status {played.status}).",
        )
        await self._settle(outcome_of(self._set, Verdict.REJECTED, [told]))

    async def _settle_executed(self, edits: Sequence[JudgedEdit], rows: Sequence[bytes | None] = ()) -> None:
        await self._settler.settle(await executed(self._work, self._set, edits, rows))

    async def _settle(self, outcome: Outcome, known: Mapping[str, Any] | None = None) -> None:
        await self._settler.settle(Settlement(journaled=self._set, outcome=outcome, known=known))

    async def _refresh(self, edits: Sequence[JudgedEdit]) -> None:
        by_entity: dict[str, tuple[Entity, list[Key]]] = {}
        for each in edits:
            by_entity.setdefault(each.entity.name, (each.entity, []))[1].append(each.edit.key)
        for entity, keys in by_entity.values():
            await refresh_rows(self._work, entity, keys)

    async def _settle_uncertain(self, message: str) -> None:
        """It may have been executed: sent again it could undo what others did since."""
        async with self._work.staging.snapshot() as connection:
            judge = Judge(connection, self._users)
            told = [
                EditOutcome(
                    id=edit.id,
                    verdict=Verdict.CONFLICT,
                    code="satchel/uncertain",
                    message=message,
                    overlap=tuple(sorted(edit.values)),
                    theirs=await judge.seen(self._set, edit),
                )
                for edit in self._set.edits
            ]
        await self._settle(outcome_of(self._set, Verdict.CONFLICT, told))

    async def _is_settled_after(self, error: SatchelError) -> bool:
        """The source answered that it failed: it is done with it, so the rows tell at once what became of it."""
        if self._attempt is None or not self._is_unknown or error.facts.get("status") != _FAILED:
            return False
        try:
            return await self._clear_up(self._attempt)
        except SatchelError:
            return False

    async def _rest(self) -> None:
        """It was not executed, again: for a moment its user can take it back."""
        problem = "Its answers are lost again and again; it was not executed."
        async with self._work.staging.transaction() as connection:
            await wait(connection, self._set, seconds=_REST_SECONDS, problem=problem, is_unknown=False)

    async def _wait(self, error: SatchelError) -> None:
        wished = error.wait_seconds if isinstance(error, RetryLater) else 0.0
        backoff = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0 ** min(self._set.tries, 10))
        log.info(
            "edit set waits",
            organization=self._work.organization.name,
            reason=error.code,
            may_be_executed=self._is_unknown,
        )
        async with self._work.staging.transaction() as connection:
            await wait(
                connection,
                self._set,
                seconds=max(wished, backoff),
                problem=f"{error.message} [{error.code}]",
                is_unknown=self._is_unknown,
            )
