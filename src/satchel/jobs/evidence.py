"""What became of an attempt whose answer was lost: the rows tell, and the source's audit where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from satchel.jobs.judge import JudgedEdit
from satchel.jobs.organization import OrganizationWork
from satchel.journal.sets import Attempt, JournaledSet
from satchel.model.edits import Action
from satchel.model.same import same
from satchel.model.writes import Sent
from satchel.staging.written import asked_now


class Evidence(StrEnum):
    """What a row tells of an attempt."""

    EXECUTED = "executed"  # the source's audit has it
    LIKELY = "likely"  # the row is as it would be
    NOT_EXECUTED = "not executed"
    UNKNOWN = "unknown"


async def was_executed(
    work: OrganizationWork, journaled: JournaledSet, edits: Sequence[JudgedEdit], attempt: Attempt
) -> bool | None:
    """Whether it was executed; None: nobody knows. `edits`: judged by the rows as the source has them now.

    It was executed as a whole or not at all, so one edit's proof counts for all. A row that is as it would be proves
    nothing where another edit of the set shows otherwise.
    """
    async with work.staging.connection() as connection:
        age_seconds = (await asked_now(connection) - attempt.since).total_seconds()
    found = []
    for each in edits:
        if each.edit.id in attempt.etags:
            sent = Sent(age_seconds=age_seconds, alone_seconds=attempt.alone_seconds.get(each.edit.id))
            found.append(await _evidence(work, journaled.user_id, each, attempt.etags[each.edit.id], sent))
    if Evidence.NOT_EXECUTED in found:
        return False
    if Evidence.EXECUTED in found:
        return True
    return True if found and all(each is Evidence.LIKELY for each in found) else None


async def _evidence(work: OrganizationWork, user_id: str, judged: JudgedEdit, etag: str | None, sent: Sent) -> Evidence:
    edit, theirs = judged.edit, judged.theirs
    row = theirs.values if theirs is not None and theirs.is_live else None
    if theirs is not None and row is not None and etag is not None and theirs.etag == etag:
        return Evidence.NOT_EXECUTED  # nothing happened to the row since
    if edit.action is Action.CREATE and row is not None and judged.has_own_key:
        return Evidence.EXECUTED  # nobody else knows its key
    told = await work.source.was_executed(judged.write, user_id, sent)
    if told is not None:
        return Evidence.EXECUTED if told else Evidence.NOT_EXECUTED
    if edit.action is Action.DELETE:
        return Evidence.LIKELY if row is None else Evidence.NOT_EXECUTED
    if row is None:
        return Evidence.NOT_EXECUTED if edit.action is Action.CREATE else Evidence.UNKNOWN
    kinds = {a.name: a.type for a in judged.client.attributes}
    is_as_set = all(same(kinds[n], v, row.get(n)) for n, v in edit.values.items() if n in kinds)
    return Evidence.LIKELY if is_as_set else Evidence.UNKNOWN
