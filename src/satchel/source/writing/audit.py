"""Dataverse's audit: whether a write was executed, where its answer was lost.

Source: powerapps-docs, developer/data-platform/auditing/retrieve-audit-data.md (`RetrieveRecordChangeHistory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from satchel.errors import RequestRefused
from satchel.model.edits import Action
from satchel.model.same import same
from satchel.model.writes import Write
from satchel.source.client import Client

UNKNOWN_SKEW = timedelta(minutes=5)
KNOWN_SKEW = timedelta(seconds=2)
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


class _History(msgspec.Struct):
    collection: _Details = msgspec.field(name="AuditDetailCollection")


async def was_executed(client: Client, write: Write, user_id: str | None, since: datetime) -> bool | None:
    """Whether the audit has the write, by this user, since then; None: the row is not audited, or nobody may ask."""
    target = f"{{'@odata.id':'{write.entity.set_name}({write.key[0]})'}}"
    try:
        answer = await client.get(f"RetrieveRecordChangeHistory(Target=@target)?@target={target}")
        history = msgspec.json.decode(answer.body, type=_History)
    except (RequestRefused, msgspec.MsgspecError):
        return None
    since = _by_its_clock(since, answer.headers.get("date"))
    details = [detail for detail in history.collection.details if detail.record is not None]
    if not details:
        return None if write.action is not Action.CREATE else False
    return any(_is_it(detail, detail.record, write, user_id, since) for detail in details if detail.record)


def _by_its_clock(since: datetime, date: str | None) -> datetime:
    """A moment of ours by the source's clock, rather too early: an answer says what time it is there."""
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return since - UNKNOWN_SKEW
    return since + (there - datetime.now(UTC)) - KNOWN_SKEW


def _is_it(detail: _Detail, record: _Record, write: Write, user_id: str | None, since: datetime) -> bool:
    is_by_user = not user_id or not record.user or record.user.lower() == user_id.lower()
    if record.operation != _OPERATION[write.action] or record.createdon < since or not is_by_user:
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
