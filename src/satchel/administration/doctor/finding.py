"""What was found, in words that say what to do."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class Level(IntEnum):
    """How bad it is."""

    GOOD = 0
    WARNING = 1
    WRONG = 2

    @property
    def word(self) -> str:
        """For people and programs."""
        return self.name.lower()


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be (or, where it is good, what was looked at)."""

    check: str
    """Stable name: `source`, `queue`, ..."""
    level: Level
    message: str
    advice: str = ""
    """What to do."""
    organization: str = ""
    subject: str = ""
    """What it is about: an entity, a host."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same finding when it is looked at again."""
        return self.check, self.organization, self.subject


def good(check: str, message: str, organization: str = "") -> Finding:
    """Something was looked at, and is well."""
    return Finding(check=check, level=Level.GOOD, message=message, organization=organization)


def ago(seconds: float) -> str:
    """A duration in words."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"
