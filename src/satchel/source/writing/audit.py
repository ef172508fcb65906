"""Dataverse's audit: whether a write was executed, where its answer was lost.

Source: powerapps-docs, developer/data-platform/auditing/retrieve-audit-data.md (`RetrieveRecordChangeHistory`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from satchel.errors import DeltaLinkExpired, RequestRefused
from satchel.model.edits import Action
from satchel.model.same import same
from satchel.model.writes import Sent, Write
from satchel.source.client import Client
from satchel.source.writing.requests import row_path

KNOWN_SKEW = timedelta(seconds=2)
"""Times in the audit and in answers are whole seconds."""
UNKNOWN_SKEW = timedelta(minutes=5)
"""The answer does not say what time it is there."""
_OPERATION = {Action.CREATE: 1, Action.UPDATE: 2, Action.DELETE: 3}


class _Record(msgspec.Struct):
    createdon: datetime
    operation: int
    user: str = msgspec.field(default="", name="_userid_value")


class _Detail(msgspec.Struct):
    record: _Record | None = msgspec.field(default=None, name="AuditRecord")
    new: dict[str, Any] | None = msgspec.field(default=None, name="NewValue")
    old: dict[str, Any] | None = msgspec.field(default=None, name="OldValue")


class _Details(msgspec.Struct):
    details: list[_Detail] = msgspec.field(name="AuditDetails")


class _Row(msgspec.Struct):
    modifiedon: datetime


class _History(msgspec.Struct):
    collection: _Details = msgspec.field(name="AuditDetailCollection")


async def was_executed(client: Client, write: Write, user_id: str | None, sent: Sent) -> bool | None:
    """Whether the audit has the write, by this user, since it was sent.

    None: nobody knows. The row is not audited, or nobody may ask; the audit is behind the row, as it may be for a while
    (power-platform/admin/manage-dataverse-auditing.md); or an earlier write of Satchel's own could be meant.
    """
    target = f"{{'@odata.id':'{write.entity.set_name}({write.key[0]})'}}"
    began = time.monotonic()
    try:
        answer = await client.get(f"RetrieveRecordChangeHistory(Target=@target)?@target={target}")
        history = msgspec.json.decode(answer.body, type=_History)
    except (RequestRefused, msgspec.MsgspecError):
        return None
    age = timedelta(seconds=sent.age_seconds + time.monotonic() - began)
    moment, skew = _by_its_clock(age, answer.headers.get("date"))
    details = [detail for detail in history.collection.details if detail.record is not None]
    newer = [detail for detail in details if detail.record and detail.record.createdon >= moment - skew]
    found = [detail.record for detail in newer if detail.record and _is_it(detail, detail.record, write, user_id)]
    if found:
        own = None if sent.alone_seconds is None else moment + skew - timedelta(seconds=sent.alone_seconds)
        return True if own is None or any(record.createdon > own for record in found) else None
    if newer:
        return False
    if not details:
        return False if write.action is Action.CREATE else None
    return False if await _is_up_to_date(client, write, details) else None


def _by_its_clock(age: timedelta, date: str | None) -> tuple[datetime, timedelta]:
    """A moment so long ago by the source's clock, and how far that may be off: an answer says what time it is there."""
    try:
        return parsedate_to_datetime(date or "") - age, KNOWN_SKEW
    except ValueError:
        return datetime.now(UTC) - age, UNKNOWN_SKEW


async def _is_up_to_date(client: Client, write: Write, details: Sequence[_Detail]) -> bool:
    """The audit has the newest change of the row."""
    newest = max(detail.record.createdon for detail in details if detail.record)
    try:
        answer = await client.get(f"{row_path(write)}?$select=modifiedon")
        return msgspec.json.decode(answer.body, type=_Row).modifiedon <= newest + KNOWN_SKEW
    except (RequestRefused, DeltaLinkExpired, msgspec.MsgspecError):
        return False


def _is_it(detail: _Detail, record: _Record, write: Write, user_id: str | None) -> bool:
    is_by_user = not user_id or not record.user or record.user.lower() == user_id.lower()
    if record.operation != _OPERATION[write.action] or not is_by_user:
        return False
    return write.action is not Action.UPDATE or _has(detail.new or {}, detail.old or {}, write)


def _has(new: Mapping[str, Any], old: Mapping[str, Any], write: Write) -> bool:
    """What was set is among what changed; what had the value before does not show. A value that was taken away shows
    only among the old ones."""
    found = False
    for name, value in write.values.items():
        attribute = write.entity.attribute_by_name[name]
        wire = attribute.wire_name
        if "@" in wire:
            continue
        if value is None:
            if wire in new and new[wire] is not None:
                return False
            found = found or wire in old
        elif wire in new:
            if not same(attribute.type, new[wire], value):
                return False
            found = True
    return found
