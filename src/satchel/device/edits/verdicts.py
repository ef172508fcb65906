"""What becomes of sent edits: the server's verdicts come in, and the user takes up what was not executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apsw
import msgspec

from satchel.device.edits import outbox
from satchel.device.edits.editing import Changes
from satchel.device.edits.outbox import PendingSet, SetState, row_key
from satchel.device.edits.overlay import Overlay, read_image
from satchel.errors import EditInvalid, EditUnknown
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.edits import Action, Edit, EditOutcome, Outcome, Verdict
from satchel.model.validation import problems

MINE, THEIRS = "mine", "theirs"
_STATE_OF = {
    Verdict.CONFLICT: SetState.CONFLICT,
    Verdict.REJECTED: SetState.REJECTED,
    Verdict.SUPERSEDED: SetState.SUPERSEDED,
}


class Choice(msgspec.Struct, frozen=True):
    """What counts for one attribute of a conflict: `mine`, `theirs`, or another value, as `Changes.update` takes it."""

    side: str = ""
    value: Any = None


def settle(connection: apsw.Connection, overlay: Overlay, outcome: Outcome) -> bool:
    """Take a verdict in, in the caller's transaction; False where it is of a version that was taken up again since."""
    pending = outbox.find_id(connection, outcome.set)
    if pending is None or pending.version != outcome.version:
        return False
    overlay.touch(pending.edits)
    state = _STATE_OF.get(outcome.verdict)
    if state is None:
        outbox.remove(connection, pending.number)
    else:
        outbox.move(connection, pending.number, state, outcome=overlay.visible(outcome, pending.edits))
    return True


def require(connection: apsw.Connection, number: int) -> PendingSet:
    """A set of the outbox. Errors: EditUnknown."""
    pending = outbox.find(connection, number)
    if pending is None or pending.is_withdrawal:
        raise EditUnknown(f"There is no pending edit {number}.")
    return pending


def retry(connection: apsw.Connection, overlay: Overlay, number: int) -> None:
    """Send a set once more as it is, with the next sync. Errors: EditUnknown, EditInvalid (it waits already)."""
    pending = require(connection, number)
    if pending.state.is_in_effect:
        raise EditInvalid(f"Edit {number} is on its way already.", hint="`satchel device sync` sends what waits.")
    outbox.replace(connection, pending, [_based_anew(connection, edit) for edit in pending.edits])
    overlay.touch(pending.edits)


def resolve(
    connection: apsw.Connection, overlay: Overlay, model: ClientModel, number: int, choices: Mapping[str, Choice]
) -> None:
    """Settle a conflict, or correct what was refused: for each attribute what counts now.

    `choices`: by attribute, or by `entity.attribute` in a set of several rows. In a conflict every attribute that both
    sides changed needs one. Errors: EditUnknown, EditInvalid.
    """
    pending = require(connection, number)
    if pending.state.is_in_effect:
        raise EditInvalid(f"Edit {number} has no conflict.")
    outcomes = {each.id: each for each in pending.outcome.edits} if pending.outcome else {}
    unused = set(choices)
    edits = []
    for edit in pending.edits:
        resolved = _resolved(connection, model, edit, outcomes.get(edit.id), choices, unused)
        if resolved is not None:
            edits.append(resolved)
    if unused:
        names = ", ".join(sorted({f"{e.entity}.{name}" for e in pending.edits for name in e.values}))
        raise EditInvalid(
            f"Edit {number} does not set {', '.join(sorted(unused))}.", hint=f"It sets {names or 'nothing'}."
        )
    overlay.touch(pending.edits)
    if edits:
        outbox.replace(connection, pending, edits)
    else:
        _withdraw(connection, pending)


def discard(connection: apsw.Connection, overlay: Overlay, number: int, *, with_dependents: bool = False) -> list[int]:
    """Let go of a set: it is undone here, and withdrawn at the server unless it is too late. Returns what went.

    Errors: EditUnknown, EditInvalid where later sets stand on a row that this one makes.
    """
    pending = require(connection, number)
    dependents = _dependents(connection, pending)
    if dependents and not with_dependents:
        listed = ", ".join(str(each.number) for each in dependents)
        raise EditInvalid(
            f"Edit {number} makes a row that edit {listed} stands on.",
            hint="Discard those first, or all of them together (--with-dependents).",
        )
    for each in (*reversed(dependents), pending):
        overlay.touch(each.edits)
        _withdraw(connection, each)
    return [pending.number, *(each.number for each in dependents)]


def _withdraw(connection: apsw.Connection, pending: PendingSet) -> None:
    is_settled = pending.outcome is not None and pending.outcome.verdict.is_final
    outbox.hand_on(connection, pending)
    if pending.told == 0 or is_settled:
        outbox.remove(connection, pending.number)  # the server never heard of it, or is done with it
    else:
        outbox.replace(connection, pending, ())


def _dependents(connection: apsw.Connection, pending: PendingSet) -> list[PendingSet]:
    """Later sets that change or refer to a row that this one makes, and what stands on them."""
    found: dict[int, PendingSet] = {}
    makers = [pending]
    later = [each for each in outbox.all_sets(connection) if each.number > pending.number and not each.is_withdrawal]
    while makers:
        made = {row_key(e.entity, e.key) for each in makers for e in each.edits if e.action is Action.CREATE}
        keys = {e.key[0] for each in makers for e in each.edits if e.action is Action.CREATE}
        makers = [each for each in later if each.number not in found and _stands_on(each, made, keys)]
        found.update((each.number, each) for each in makers)
    return [found[number] for number in sorted(found)]


def _stands_on(pending: PendingSet, rows: set[outbox.RowKey], keys: set[str]) -> bool:
    return any(
        row_key(edit.entity, edit.key) in rows or any(isinstance(v, str) and v in keys for v in edit.values.values())
        for edit in pending.edits
    )


def _based_anew(connection: apsw.Connection, edit: Edit) -> Edit:
    """What was stripped of its base stands on what the row is now, where it is there."""
    if edit.action is Action.CREATE or edit.base is not None:
        return edit
    return msgspec.structs.replace(edit, base=read_image(connection, row_key(edit.entity, edit.key)), after=None)


def _resolved(
    connection: apsw.Connection,
    model: ClientModel,
    edit: Edit,
    outcome: EditOutcome | None,
    choices: Mapping[str, Choice],
    unused: set[str],
) -> Edit | None:
    """The edit with the choices in it; None where nothing of it is left."""
    entity = model.entity_by_name.get(edit.entity)
    overlap = set(outcome.overlap) if outcome else set()
    pairs = _pairs(entity, edit)
    values = _chosen(Changes(connection, model), entity, edit, pairs, overlap, choices)
    unused.difference_update(each for name in edit.values.keys() - pairs.values() for each in _spelled(edit, name))
    if edit.action is Action.UPDATE and not values:
        return None
    if edit.action is Action.DELETE and "" in choices:
        unused.discard("")
        if choices[""].side == THEIRS:
            return None
    if entity is not None:
        for problem in problems(entity, edit.action, values):
            raise EditInvalid(f"{edit.entity}.{problem.attribute}: {problem.message}.")
    if outcome is not None and outcome.theirs is not None:
        return msgspec.structs.replace(edit, values=values, base=outcome.theirs, after=None)
    return _based_anew(connection, msgspec.structs.replace(edit, values=values))


def _pairs(entity: ClientEntity | None, edit: Edit) -> dict[str, str]:
    """The edit's lookups that name their target in another attribute: both are decided as one."""
    attributes = entity.attributes if entity else ()
    return {a.name: a.type_attribute for a in attributes if a.type_attribute and a.name in edit.values}


def _chosen(
    changes: Changes,
    entity: ClientEntity | None,
    edit: Edit,
    pairs: Mapping[str, str],
    overlap: set[str],
    choices: Mapping[str, Choice],
) -> dict[str, Any]:
    """What the edit sets now."""
    known = {a.name for a in entity.attributes} if entity else set()
    values = dict(edit.values)
    for name in edit.values:
        if name in pairs.values():
            continue  # as its lookup
        names = {name, pairs.get(name, name)}
        choice = next((choices[each] for each in _spelled(edit, name) if each in choices), None)
        if choice is None:
            if names & overlap:
                raise EditInvalid(
                    f"Both sides changed {edit.entity}.{name}.", hint=f"Say which counts: {name}=mine or {name}=theirs."
                )
        elif choice.side == THEIRS:
            values = {each: value for each, value in values.items() if each not in names}
        elif choice.side != MINE:
            new = {name: choice.value}
            values |= changes.wire(entity, new) if entity and name in known else new
    return values


def _spelled(edit: Edit, name: str) -> tuple[str, str]:
    return f"{edit.entity}.{name}", name


def conflicts_of(pending: PendingSet) -> Sequence[tuple[Edit, EditOutcome]]:
    """The edits of a set that have a verdict of their own."""
    outcomes = {each.id: each for each in pending.outcome.edits} if pending.outcome else {}
    return [(edit, outcomes[edit.id]) for edit in pending.edits if edit.id in outcomes]
