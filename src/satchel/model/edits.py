"""Edits made offline: what a device wants changed, and what became of it.

An edit set is one local transaction of a device. At the source it happens as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

MAX_EDITS_IN_A_SET = 500
MAX_SET_BYTES = 4 * 1024 * 1024
"""Of a set's JSON; a device refuses a larger one when it is made."""

EditId = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
KeyPart = Annotated[str, Meta(max_length=1000)]
Values = Mapping[str, Any]
"""Wire values (see `AttributeType`) by attribute."""


class Action(StrEnum):
    """What an edit does to its row."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One change of one row."""

    id: EditId
    """Made by the device (UUIDv7)."""
    entity: Name
    key: Annotated[tuple[KeyPart, ...], Meta(min_length=1, max_length=16)]
    action: Action
    values: dict[Name, Any] = {}
    """The attributes to set; of a new row without its key."""
    base: dict[Name, Any] | None = None
    """The row as the server had told it when the edit was made, all attributes of the client model. None: the row was
    made by an earlier edit that was not yet confirmed, or has left the device since."""
    after: EditId | None = None
    """The device's edit set that changed the row before, where it was not settled when this edit was made."""


class EditSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The edits of one local transaction, in order."""

    id: EditId
    version: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """Rises when the user takes the set up again after a verdict: to try it again, to resolve it, to withdraw it."""
    made_at: Annotated[str, Meta(max_length=40)]
    """ISO 8601, UTC, by the device's clock."""
    edits: Annotated[tuple[Edit, ...], Meta(max_length=MAX_EDITS_IN_A_SET)]
    """None at all: the set is withdrawn."""


class Verdict(StrEnum):
    """What became of an edit."""

    ACCEPTED = "accepted"  # the source has it
    MERGED = "merged"  # the source has it, beside what others changed in the same row meanwhile
    CONFLICT = "conflict"  # others changed the same: the user decides
    REJECTED = "rejected"  # it cannot be executed as it is, for a reason
    SUPERSEDED = "superseded"  # others changed the row, and their change counts
    WITHDRAWN = "withdrawn"  # the user took it back

    @property
    def is_final(self) -> bool:
        """Nobody needs to decide anything any more."""
        return self not in {Verdict.CONFLICT, Verdict.REJECTED}


class Reason(StrEnum):
    """Why an edit was rejected, as a program needs it."""

    SOURCE = "source"  # the source refused: its own code and words
    PRIVILEGE = "privilege"  # the user's roles do not allow it
    SCOPE = "scope"  # the row is not (any more) among those the user works with
    DELETED = "deleted"  # the row is gone at the source
    MODEL = "model"  # entity or attribute is not (any more) what it was when the edit was made
    INVALID = "invalid"  # a value does not fit
    CLOSED = "closed"  # an administrator closed it


class EditOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one edit."""

    id: str
    verdict: Verdict
    reason: Reason | None = None
    code: str = ""
    """The source's own, or Satchel's."""
    message: str = ""
    overlap: tuple[str, ...] = ()
    """Conflict: the attributes that both sides changed."""
    theirs: dict[str, Any] | None = None
    """Conflict: the row as the source has it, in the columns the user may read. None: it is gone there."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of an edit set; it stands until the device sends a higher version."""

    set: str
    version: int
    verdict: Verdict
    edits: tuple[EditOutcome, ...] = ()

    @property
    def is_closed(self) -> bool:
        """An administrator gave it up: it holds back nothing any more, but its user may take it up."""
        return any(edit.reason is Reason.CLOSED for edit in self.edits)


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the server did with an edit set that a device handed over."""

    id: str
    version: int
    """The version the server has now, durably; 0: it has none."""
    refusal: str = ""
    """Why it is not taken; nothing is kept of it. Sending it again, unchanged, is of no use."""
    verdict: Verdict | None = None
    """It is settled already: another version comes too late."""
    is_other: bool = False
    """With a verdict: what was settled sets other values than the version that was sent now."""
