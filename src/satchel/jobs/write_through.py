"""What the source made of an edit set comes into staging with the verdict: the device sees its own result at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from satchel.database.pool import Connection
from satchel.errors import PullOvertaken
from satchel.jobs.apply import apply_pages
from satchel.jobs.judge import JudgedEdit, outcome_of
from satchel.jobs.organization import OrganizationWork
from satchel.journal.rows import row_name
from satchel.journal.sets import JournaledSet, settle
from satchel.model.changes import Page, Strategy, Watermark
from satchel.model.conflict import Known, known_after
from satchel.model.edits import Action, EditOutcome, Outcome, Verdict
from satchel.model.ids import Key
from satchel.model.metadata import Entity
from satchel.staging.head import read_head
from satchel.staging.image import read_image
from satchel.staging.watermark import positions
from satchel.staging.written import lock_entities, note_unsettled, note_written, read_versions

log = structlog.get_logger()
_VOID = Watermark(strategy=Strategy.FULL_COMPARE)


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a set, on its way into the journal and staging."""

    journaled: JournaledSet
    outcome: Outcome
    known: Mapping[str, Any] | None = None
    """Not executed: what the device may take for granted all the same."""
    edits: Sequence[JudgedEdit] = ()
    """Executed."""
    told: Mapping[tuple[str, Key], bytes | None] = {}
    """Executed: the rows as the source has them now; missing: not known."""
    asked: frozenset[tuple[str, Key]] = frozenset()
    """Those of them that the source did not tell with its answer, but when it was asked later."""

    @property
    def writes(self) -> list[JudgedEdit]:
        """What the source was asked for."""
        return [each for each in self.edits if each.write_needed]


async def executed(
    work: OrganizationWork, journaled: JournaledSet, edits: Sequence[JudgedEdit], rows: Sequence[bytes | None]
) -> Settlement:
    """The source has executed the set. `rows`: for each write, the row as it has it now; None: it did not tell, and is
    asked. Errors: RetryLater; the journal still says "sending" then, and it is found out later that it was executed."""
    is_merged = any(each.decision.is_merged for each in edits)
    verdict = Verdict.MERGED if is_merged else Verdict.ACCEPTED
    outcomes = [EditOutcome(id=each.edit.id, verdict=Verdict.MERGED) for each in edits if each.decision.is_merged]
    told, asked = await _complete(work, [each for each in edits if each.write_needed], rows)
    outcome = outcome_of(journaled, verdict, outcomes)
    return Settlement(journaled=journaled, outcome=outcome, edits=edits, told=told, asked=asked)


async def settle_all(work: OrganizationWork, settlements: Sequence[Settlement]) -> None:
    """Settle sets that share no row.

    Order: rows, ops, verdicts and head in one transaction. A set that somebody else settled stays as it is.
    """
    async with work.staging.transaction() as connection:
        writes = [each for settlement in settlements for each in settlement.writes]
        told = {row: answer for settlement in settlements for row, answer in settlement.told.items()}
        fresh = await _stage(connection, writes, told)
        settled = [each for each in settlements if await _settle(connection, each, fresh)]
        head = await read_head(connection)
    for each in settled:
        reasons = [f"{edit.reason}" for edit in each.outcome.edits if edit.reason]
        log.info(
            "edit set settled",
            organization=work.organization.name,
            edit_set=each.journaled.id,
            user=each.journaled.user_id,
            verdict=each.outcome.verdict,
            reason=reasons[0] if reasons else None,
        )
    if settled:
        await work.notify(head)


async def _complete(
    work: OrganizationWork, writes: Sequence[JudgedEdit], rows: Sequence[bytes | None]
) -> tuple[dict[tuple[str, Key], bytes | None], frozenset[tuple[str, Key]]]:
    """The rows after the writes (missing: not known), and which of them the source had to be asked for."""
    told: dict[tuple[str, Key], bytes | None] = {}
    asked: set[tuple[str, Key]] = set()
    for judged, row in zip(writes, rows, strict=True):
        edit = judged.edit
        if edit.action is Action.DELETE:
            told[edit.entity, edit.key] = None
        elif row is not None:
            told[edit.entity, edit.key] = row
        else:
            asked.add((edit.entity, edit.key))
            page = await work.source.rows(judged.entity, [edit.key])
            if page.row_count == 1:
                told[edit.entity, edit.key] = bytes(msgspec.json.decode(page.rows, type=list[msgspec.Raw])[0])
    return told, frozenset(asked)


async def _stage(
    connection: Connection, writes: Sequence[JudgedEdit], told: Mapping[tuple[str, Key], bytes | None]
) -> set[tuple[str, Key]]:
    """Stage what the source told of the writes; returns the rows of which it was the newest word."""
    if not writes:
        return set()
    await lock_entities(connection, {each.edit.entity for each in writes})
    known = [each for each in writes if (each.edit.entity, each.edit.key) in told]
    fresh = await _as_judged(connection, known)
    await apply_pages(connection, _pages(fresh, told))
    rows = {(each.edit.entity, each.edit.key) for each in fresh}
    for each in writes:
        if (each.edit.entity, each.edit.key) not in rows:
            await note_unsettled(connection, each.edit.entity, [each.edit.key])
    await note_written(connection, sorted((each.edit.entity, each.edit.key) for each in writes), by_edit=True)
    return rows


async def _settle(connection: Connection, settlement: Settlement, fresh: Collection[tuple[str, Key]]) -> bool:
    """False: somebody else settled it."""
    known = settlement.known
    if settlement.edits:
        known = {
            row_name(each.edit.entity, each.edit.key): await _known(connection, settlement, each, fresh)
            for each in settlement.edits
        }
    return await settle(connection, settlement.journaled.number, settlement.outcome, known) is not None


async def _as_judged(connection: Connection, edits: Sequence[JudgedEdit]) -> list[JudgedEdit]:
    """Those of whose rows nobody staged another state since they were judged. Errors: PullOvertaken."""
    found = []
    for name, group in _by_entity(edits).items():
        entity = group[0].entity
        if any(each.entity != entity for each in group):
            raise PullOvertaken(entity=name)
        versions = await read_versions(connection, entity, [each.edit.key for each in group], is_locked=True)
        position = (await positions(connection, [name])).get(name)
        for each in group:
            version = each.theirs.version if each.theirs is not None and each.theirs.is_live else None
            # Of a row that was not there a page may have told meanwhile that it is gone again, which leaves no trace.
            if versions.get(each.edit.key) == version and (version is not None or each.position == position):
                found.append(each)
    return found


def _by_entity(edits: Sequence[JudgedEdit]) -> dict[str, list[JudgedEdit]]:
    """Sorted, as rows are locked in that order."""
    found: dict[str, list[JudgedEdit]] = {}
    for each in sorted(edits, key=lambda each: (each.edit.entity, each.edit.key)):
        found.setdefault(each.edit.entity, []).append(each)
    return found


def _pages(edits: Sequence[JudgedEdit], told: Mapping[tuple[str, Key], bytes | None]) -> list[tuple[Entity, Page]]:
    pages = []
    for name, group in _by_entity(edits).items():
        rows = [told[name, each.edit.key] for each in group]
        there = [row for row in rows if row is not None]
        page = Page(
            rows=b"[" + b",".join(there) + b"]",
            row_count=len(there),
            removed=tuple(each.edit.key for each, row in zip(group, rows, strict=True) if row is None),
            watermark=_VOID,
            is_last=True,
        )
        pages.append((group[0].entity, page))
    return pages


async def _known(
    connection: Connection, settlement: Settlement, judged: JudgedEdit, fresh: Collection[tuple[str, Key]]
) -> Known:
    row = (judged.edit.entity, judged.edit.key)
    theirs = judged.theirs.values if judged.theirs is not None and judged.theirs.is_live else None
    if judged.edit.action is Action.DELETE:
        after: Mapping[str, Any] | None = None
    elif not judged.write_needed:
        after = theirs
    elif row in fresh:
        after = await _staged(connection, judged)
    else:  # staging may have another state
        after = {**(theirs or {}), **judged.edit.values, **_answered(judged, settlement.told)}
    was_told = judged.write_needed and row not in settlement.asked
    stamps = judged.entity.stamps
    return known_after(judged.client, judged.edit, theirs, after, judged.known, was_told=was_told, stamps=stamps)


def _answered(judged: JudgedEdit, told: Mapping[tuple[str, Key], bytes | None]) -> dict[str, Any]:
    """What the source told of the row."""
    row = told.get((judged.edit.entity, judged.edit.key))
    answer = msgspec.json.decode(row) if row is not None else {}
    wire_names = {each.name: each.wire_name for each in judged.entity.attributes}
    names = [each.name for each in judged.client.attributes]
    return {name: answer[wire_names[name]] for name in names if wire_names.get(name) in answer}


async def _staged(connection: Connection, judged: JudgedEdit) -> Mapping[str, Any] | None:
    names = [attribute.name for attribute in judged.client.attributes]
    image = await read_image(connection, judged.entity, names, judged.edit.key)
    return image.values if image is not None and image.is_live else None
