"""Verdicts on a device's edits, as lines: with the row as others left it only where the user may have that row now."""

from __future__ import annotations

import msgspec

from satchel.journal.sets import edits_of, outcomes
from satchel.model.edits import Edit, EditOutcome, Outcome
from satchel.model.keys import key_problem
from satchel.protocol import codec
from satchel.staging.image import is_member, read_image
from satchel.sync.cursor import CursorState
from satchel.sync.step import View


async def verdict_lines(view: View, state: CursorState) -> tuple[CursorState, list[bytes], bool]:
    """The state behind them, the lines, and whether it is all.

    They go behind all rows of this snapshot, so that what was accepted is there already.
    """
    if state.verdict >= view.head.verdict:
        return msgspec.structs.replace(state, verdict=view.head.verdict), [], True
    limit = view.limits.rows_per_step
    found = await outcomes(view.connection, view.device_id, after=state.verdict, until=view.head.verdict, limit=limit)
    is_complete = len(found) < limit
    verdict = view.head.verdict if is_complete else found[-1][0]
    lines = [codec.outcome_line(await _visible(view, outcome)) for _, outcome in found]
    return msgspec.structs.replace(state, verdict=verdict), lines, is_complete


async def _visible(view: View, outcome: Outcome) -> Outcome:
    """It was judged a while ago: the row may have left the user's scope since, a column the user's rights."""
    if all(each.theirs is None for each in outcome.edits):
        return outcome
    kept = await edits_of(view.connection, [outcome.set])
    edits = {edit.id: edit for edit in kept.get(outcome.set, ())}
    told = [await _seen(view, each, edits.get(each.id)) for each in outcome.edits]
    return msgspec.structs.replace(outcome, edits=tuple(told))


async def _seen(view: View, told: EditOutcome, edit: Edit | None) -> EditOutcome:
    if told.theirs is None:
        return told
    theirs = told.theirs if edit is not None and await _is_theirs(view, edit) else None
    if theirs is not None and edit is not None:
        client = view.user.client_model.entity_by_name[edit.entity]
        theirs = {a.name: theirs[a.name] for a in client.attributes if a.name in theirs}
    return msgspec.structs.replace(told, theirs=theirs)


async def _is_theirs(view: View, edit: Edit) -> bool:
    """The row is among those that the user has."""
    client = view.user.client_model.entity_by_name.get(edit.entity)
    entity = view.scope.entity_by_name.get(edit.entity)
    if client is None or entity is None or key_problem(client, edit.key) is not None:
        return False
    image = await read_image(view.connection, entity, entity.key, edit.key)
    return image is not None and await is_member(view.connection, image.row_id, list(view.user.entity_by_bucket))
