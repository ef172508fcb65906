"""What the source made of an edit set comes into staging with the verdict: the device sees its own result at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from satchel.database.pool import Connection
from satchel.jobs.apply import apply_pages
from satchel.jobs.judge import JudgedEdit, outcome_of
from satchel.jobs.organization import OrganizationWork
from satchel.journal.rows import key_json
from satchel.journal.sets import JournaledSet, settle
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.conflict import Known, known_after
from satchel.model.edits import Action, EditOutcome, Outcome, Verdict
from satchel.model.ids import Key
from satchel.model.metadata import Entity
from satchel.staging.head import Head, read_head
from satchel.staging.image import read_image
from satchel.staging.written import lock_entities, note_unsettled, note_written, read_versions

log = structlog.get_logger()
_VOID = Watermark(strategy=Strategy.FULL_COMPARE)


async def settle_executed(
    work: OrganizationWork, journaled: JournaledSet, edits: Sequence[JudgedEdit], rows: Sequence[bytes | None]
) -> None:
    """The source has executed the set. `rows`: for each write, the row as it has it now; None: it did not tell.

    Order: rows, ops, verdict and head in one transaction. Errors: RetryLater; the journal still says "sending" then,
    and it is found out later that it was executed.
    """
    is_merged = any(each.decision.is_merged for each in edits)
    verdict = Verdict.MERGED if is_merged else Verdict.ACCEPTED
    outcomes = [EditOutcome(id=each.edit.id, verdict=Verdict.MERGED) for each in edits if each.decision.is_merged]
    outcome = outcome_of(journaled, verdict, outcomes)
    told = await _complete(work, [each for each in edits if each.write_needed], rows)
    head = await _settle(work, journaled, edits, told, outcome)
    await _tell(work, journaled, outcome, head)


async def settle_judged(
    work: OrganizationWork, journaled: JournaledSet, outcome: Outcome, known: Mapping[str, Any] | None = None
) -> None:
    """A verdict without execution. `known`: what the device may take for granted all the same."""
    async with work.staging.transaction() as connection:
        is_settled = await settle(connection, journaled.number, outcome, known) is not None
        head = await read_head(connection)
    await _tell(work, journaled, outcome, head if is_settled else None)


async def _tell(work: OrganizationWork, journaled: JournaledSet, outcome: Outcome, head: Head | None) -> None:
    if head is None:
        return
    reasons = [f"{each.reason}" for each in outcome.edits if each.reason]
    log.info(
        "edit set settled",
        organization=work.organization.name,
        edit_set=journaled.id,
        user=journaled.user_id,
        verdict=outcome.verdict,
        reason=reasons[0] if reasons else None,
    )
    await work.notify(head)


async def _complete(
    work: OrganizationWork, writes: Sequence[JudgedEdit], rows: Sequence[bytes | None]
) -> dict[tuple[str, Key], bytes | None]:
    """The rows after the writes; what the source did not tell is asked for. Missing: not known."""
    told: dict[tuple[str, Key], bytes | None] = {}
    for judged, row in zip(writes, rows, strict=True):
        edit = judged.edit
        if edit.action is Action.DELETE:
            told[edit.entity, edit.key] = None
        elif row is not None:
            told[edit.entity, edit.key] = row
        else:
            page = await work.source.rows(judged.entity, [edit.key])
            if page.row_count == 1:
                told[edit.entity, edit.key] = bytes(msgspec.json.decode(page.rows, type=list[msgspec.Raw])[0])
    return told


async def _settle(
    work: OrganizationWork,
    journaled: JournaledSet,
    edits: Sequence[JudgedEdit],
    told: dict[tuple[str, Key], bytes | None],
    outcome: Outcome,
) -> Head | None:
    """None: somebody else settled it."""
    async with work.staging.transaction() as connection:
        writes = [each for each in edits if each.write_needed]
        await lock_entities(connection, {each.edit.entity for each in writes})
        fresh = [each for each in writes if (each.edit.entity, each.edit.key) in told]
        fresh = [each for each in fresh if await _is_as_judged(connection, each)]
        await apply_pages(connection, _pages(fresh, told))
        for each in writes:
            if each not in fresh:
                await note_unsettled(connection, each.edit.entity, [each.edit.key])
        if fresh:
            await note_written(connection, [(each.edit.entity, each.edit.key) for each in fresh])
        known = {
            f"{each.edit.entity} {key_json(each.edit.key)}": (
                _known_unstaged(each, told) if each in writes and each not in fresh else await _known(connection, each)
            )
            for each in edits
        }
        is_settled = await settle(connection, journaled.number, outcome, known) is not None
        head = await read_head(connection)
    return head if is_settled else None


async def _is_as_judged(connection: Connection, judged: JudgedEdit) -> bool:
    """Nobody staged another state of the row since it was judged."""
    key = judged.edit.key
    now = (await read_versions(connection, judged.entity, [key], is_locked=True)).get(key)
    theirs = judged.theirs
    if theirs is None or not theirs.is_live:
        return now is None
    return now == theirs.version


def _pages(edits: Sequence[JudgedEdit], told: dict[tuple[str, Key], bytes | None]) -> list[tuple[Entity, Page]]:
    by_entity: dict[str, list[JudgedEdit]] = {}
    for judged in edits:
        by_entity.setdefault(judged.edit.entity, []).append(judged)
    pages = []
    for name in sorted(by_entity):
        rows = [told[name, each.edit.key] for each in by_entity[name]]
        there = [row for row in rows if row is not None]
        removed = tuple(e.edit.key for e, row in zip(by_entity[name], rows, strict=True) if row is None)
        page = Page(
            rows=b"[" + b",".join(there) + b"]",
            row_count=len(there),
            removed=removed,
            watermark=_VOID,
            is_last=True,
        )
        pages.append((by_entity[name][0].entity, page))
    return pages


def _known_unstaged(judged: JudgedEdit, told: Mapping[tuple[str, Key], bytes | None]) -> Known:
    """What staging has may be another state: what counts is what the source told of the write."""
    if judged.edit.action is Action.DELETE:
        return known_after(judged.client, judged.edit, None, None, judged.known)
    row = told.get((judged.edit.entity, judged.edit.key))
    answer = msgspec.json.decode(row) if row is not None else {}
    wire_names = {each.name: each.wire_name for each in judged.entity.attributes}
    names = [each.name for each in judged.client.attributes]
    seen = {name: answer[wire_names[name]] for name in names if wire_names.get(name) in answer}
    theirs = judged.theirs.values if judged.theirs is not None and judged.theirs.is_live else None
    after = {**(theirs or {}), **judged.edit.values, **seen}
    return known_after(judged.client, judged.edit, theirs, after, judged.known)


async def _known(connection: Connection, judged: JudgedEdit) -> Any:
    names = [attribute.name for attribute in judged.client.attributes]
    image = await read_image(connection, judged.entity, names, judged.edit.key)
    after = image.values if image is not None and image.is_live else None
    theirs = judged.theirs.values if judged.theirs is not None and judged.theirs.is_live else None
    return known_after(judged.client, judged.edit, theirs, after, judged.known)
