"""What Satchel asks a source to change, and what the source made of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from satchel.model.edits import Action
from satchel.model.ids import Key
from satchel.model.metadata import Entity


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """One change of one row, as it goes to the source."""

    entity: Entity
    key: Key
    action: Action
    values: Mapping[str, Any] = {}
    """Wire values by attribute, the form devices have (see `AttributeType`)."""
    etag: str | None = None
    """Update, delete: only if the row still has this version. None: whatever version it has, but it must exist."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A write whose answer was lost. Seconds, so that it matters to nobody whose clock is right."""

    age_seconds: float
    """Since it was sent."""
    alone_seconds: float | None = None
    """Between then and the last write of the same row by Satchel before it; None: long, or nothing is known of one."""


class Execution(StrEnum):
    """What became of the writes of one edit set: all of them, or none."""

    DONE = "done"
    CHANGED = "changed"  # a row has another version than expected (412)
    EXISTS = "exists"  # a row that was to be created is there already (412, 409)
    MISSING = "missing"  # a row that was to be changed or deleted is not there (404, 410)
    REFUSED = "refused"  # anything else the source does not do, in its own words


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """The source's answer."""

    execution: Execution
    rows: tuple[bytes | None, ...] = ()
    """DONE: for each write the row as the source has it now (JSON object, wire names, `@odata.etag`); None where it was
    deleted or the service does not tell."""
    place: int = 0
    """Else: which write it was."""
    status: int = 0
    code: str = ""
    message: str = ""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a source can do for edits; found out, not assumed. None: not known yet."""

    impersonates: bool = False
    """Writes count for the user who made them; else for Satchel's own account there."""
    has_batch: bool | None = None
    """Several writes happen as a whole."""
    has_etags: bool | None = None
    """A row's version can be made a condition."""
    requires_etags: bool | None = None
    """A write without one is refused (428)."""
    has_audit: bool | None = None
    """It can say afterwards whether a write was executed."""
