"""The outbox goes to the server: in order, a bounded piece at a time, again where an answer was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import apsw
import msgspec

from satchel.device.edits import outbox
from satchel.device.edits.outbox import PendingSet, SetState
from satchel.device.edits.overlay import Overlay
from satchel.device.store import Store
from satchel.errors import JournalLost
from satchel.model.edits import Action, Edit, EditOutcome, EditSet, Outcome, Reason, Receipt, Verdict
from satchel.protocol.messages import EditsAnswer, EditsRequest

SETS_PER_REQUEST = 200
JOURNAL = "journal"
"""In the store's state: the journal that has the sets that were sent."""
BYTES_PER_REQUEST = 1024 * 1024

Post = Callable[[EditsRequest], EditsAnswer]


class UploadProgress(msgspec.Struct, frozen=True):
    """How far the upload is."""

    sent: int
    total: int


def upload(store: Store, post: Post, on_progress: Callable[[UploadProgress], None] | None = None) -> int:
    """Send what waits; returns how many sets the server has taken. Memory is bounded by one request.

    Order: the server has a set durably before it counts as sent here; a set that was changed meanwhile stays waiting.
    Where the journal that had the earlier ones is lost, all that is not settled is sent once more, from the first on:
    later edits never overtake those they stand on. Errors: whatever `post` raises; what was taken before stays taken.
    """
    try:
        return _upload(store, post, on_progress)
    except JournalLost:
        with store.transaction() as connection:
            outbox.send_again(connection)
            store.set(JOURNAL, None)
        return _upload(store, post, on_progress)


def _upload(store: Store, post: Post, on_progress: Callable[[UploadProgress], None] | None) -> int:
    total = outbox.counts(store.connection).get(SetState.WAITING, 0)
    sent = last = 0
    while total and (piece := _offer(store, last)):
        for part in _pieces(piece):
            last = part[-1][0].number
            journal = store.get(JOURNAL)
            answer = post(EditsRequest([msgspec.Raw(body) for _, body in part], journal))
            if answer.journal != journal and answer.journal is not None:
                with store.transaction():
                    store.set(JOURNAL, answer.journal)
            sent += _note(store, [pending for pending, _ in part], answer.sets)
            if on_progress is not None:
                on_progress(UploadProgress(sent, max(total, sent)))
    return sent


def _offer(store: Store, after: int) -> list[PendingSet]:
    """What is sent next. One transaction reads it and notes that the server may have it: who lets go of it from here on
    takes it back there too."""
    with store.transaction() as connection:
        piece = outbox.waiting(connection, after=after, limit=SETS_PER_REQUEST, max_bytes=BYTES_PER_REQUEST)
        outbox.note_offered(connection, [(pending.number, pending.version) for pending in piece])
    return piece


def _pieces(piece: Sequence[PendingSet]) -> Iterator[list[tuple[PendingSet, bytes]]]:
    part: list[tuple[PendingSet, bytes]] = []
    size = 0
    for pending in piece:
        body = msgspec.json.encode(
            EditSet(id=pending.id, version=pending.version, made_at=pending.made_at, edits=pending.edits)
        )
        if part and size + len(body) > BYTES_PER_REQUEST:
            yield part
            part, size = [], 0
        part.append((pending, body))
        size += len(body)
    if part:
        yield part


def _note(store: Store, part: Sequence[PendingSet], receipts: Sequence[Receipt]) -> int:
    by_id = {receipt.id: receipt for receipt in receipts}
    taken = [each for each in part if _is_taken(each, by_id.get(each.id))]
    with store.transaction() as connection:
        outbox.note_sent(connection, [(each.number, each.version) for each in taken])
        overlay = Overlay(connection, store.model)
        for each in part:
            now = outbox.find(connection, each.number)
            if now is None or now.version != each.version:
                continue  # taken up again meanwhile
            receipt = by_id.get(each.id, Receipt(each.id, 0))
            if receipt.verdict is not None:  # it was settled before this version came
                _note_settled(connection, each, receipt, receipt.verdict)
                overlay.touch(each.edits)
            elif receipt.refusal and each.edits:
                outbox.move(connection, each.number, SetState.REJECTED, outcome=_refused(each, receipt.refusal))
                overlay.touch(each.edits)
        overlay.finish(is_complete=False)
    return len(taken)


def _note_settled(connection: apsw.Connection, pending: PendingSet, receipt: Receipt, verdict: Verdict) -> None:
    """Another version of it is settled: what this one says beyond that goes on, or the user sees why not."""
    if pending.is_withdrawal or (verdict is not Verdict.SUPERSEDED and not receipt.is_other):
        outbox.remove(connection, pending.number)
    elif receipt.is_other:
        is_executed = verdict in {Verdict.ACCEPTED, Verdict.MERGED}
        edits = [_behind(edit, pending.id) for edit in pending.edits] if is_executed else pending.edits
        outbox.send_anew(connection, pending, edits)
    else:
        outcome = Outcome(set=pending.id, version=pending.version, verdict=verdict)
        outbox.move(connection, pending.number, SetState.SUPERSEDED, outcome=outcome)


def _behind(edit: Edit, set_id: str) -> Edit:
    """The edit on top of a set that has executed another version of it."""
    action = Action.UPDATE if edit.action is Action.CREATE else edit.action
    return msgspec.structs.replace(edit, action=action, after=set_id)


def _is_taken(pending: PendingSet, receipt: Receipt | None) -> bool:
    return receipt is not None and not receipt.refusal and receipt.version >= pending.version


def _refused(pending: PendingSet, words: str) -> Outcome:
    edits = tuple(
        EditOutcome(id=edit.id, verdict=Verdict.REJECTED, reason=Reason.INVALID, code="E402", message=words)
        for edit in pending.edits[:1]
    )
    return Outcome(set=pending.id, version=pending.version, verdict=Verdict.REJECTED, edits=edits)
