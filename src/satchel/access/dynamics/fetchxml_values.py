"""Values of FetchXML conditions as literals of a filter: every value is text there, the attribute's type says what.

Source: Microsoft Learn, "condition element" (power-apps/developer/data-platform/fetchxml/reference/condition).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from satchel.access.dynamics.fetchxml_tree import refused
from satchel.model.metadata import AttributeType

GUID = re.compile(r"\{?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})\}?", re.ASCII)
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,28})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,7})?)?) ?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,7})?)?")

TEXTS = {AttributeType.STRING, AttributeType.MEMO, AttributeType.TEXT}
_INTEGERS = {AttributeType.INTEGER, AttributeType.BIGINT, AttributeType.CHOICE}
_NUMBERS = {AttributeType.DECIMAL, AttributeType.MONEY, AttributeType.DOUBLE}

NOTE_UTC = "A day begins at midnight UTC here; in Dataverse it begins at midnight in each user's time zone."
NOTE_ZONE = "A time without a time zone is taken as UTC."
NOTE_LOOKS = (
    "The types of some columns are not known: their values were taken as numbers, dates, ids or texts by their looks."
)

Notes = Callable[[str], None]


def quoted(text: str) -> str:
    """A text literal; quotes within are doubled."""
    return "'" + text.replace("'", "''") + "'"


def literal(value: str, kind: AttributeType | None, line: int, note: Notes) -> str:
    """A value as its attribute's type wants it; without a type, by its looks."""
    if kind in TEXTS:
        return quoted(value)
    trimmed = value.strip()
    if kind is None:
        note(NOTE_LOOKS)
        return _by_looks(value, trimmed, line, note)
    if kind in _INTEGERS:
        return _matching(_INTEGER, trimmed, "a whole number", line)
    if kind in _NUMBERS:
        return _matching(_NUMBER, trimmed, "a number", line)
    if kind is AttributeType.BOOLEAN:
        if trimmed.lower() not in _BOOLEANS:
            raise refused(line, f"{_shown(value)} is neither true (1) nor false (0).")
        return _BOOLEANS[trimmed.lower()]
    if kind is AttributeType.GUID:
        return guid(trimmed, line)
    if kind is AttributeType.DATE:
        return day(trimmed, line).isoformat()
    if kind is AttributeType.DATETIME:
        return _moment(trimmed, line, note)
    if kind is AttributeType.TIME:
        return _matching(_TIME, trimmed, "a time of day", line)
    raise refused(
        line,
        f"a column of the kind {kind.value!r} cannot be compared with a value.",
        "Only null and not-null can be asked of it; take the condition out or put it on another column.",
    )


_BOOLEANS = {"1": "true", "true": "true", "0": "false", "false": "false"}


def guid(value: str, line: int) -> str:
    """An id, bare and in lower case."""
    match = GUID.fullmatch(value.strip())
    if match is None:
        raise refused(line, f"{_shown(value)} is not an id.")
    return match[1].lower()


def day(value: str, line: int) -> date:
    """The day of a date or of a date and time."""
    text = value.strip()
    if _DAY.fullmatch(text) or _MOMENT.fullmatch(text):
        try:
            return date.fromisoformat(text[:10])
        except ValueError:
            pass
    raise refused(line, f"{_shown(value)} is not a date such as 2026-11-23.")


def midnight(at: date, kind: AttributeType | None) -> str:
    """The first moment of a day, as the attribute's type compares it."""
    return f"{at.isoformat()}T00:00:00Z" if kind is AttributeType.DATETIME else at.isoformat()


def next_day(at: date, line: int) -> date:
    """The day after."""
    try:
        return at + timedelta(days=1)
    except OverflowError as error:
        raise refused(line, f"{at.isoformat()} is the last day there is.") from error


def _moment(value: str, line: int, note: Notes) -> str:
    if _DAY.fullmatch(value):
        note(NOTE_UTC)
        return midnight(day(value, line), AttributeType.DATETIME)
    match = _MOMENT.fullmatch(value)
    try:
        if match is None:
            raise ValueError
        if match[3] is None:
            note(NOTE_ZONE)
        # Python reads at most six digits of a second's fraction.
        time = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", match[2])
        moment = datetime.fromisoformat(f"{match[1]}T{time}{match[3] or 'Z'}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refused(line, f"{_shown(value)} is not a date and time such as 2026-11-23T10:00:00Z.") from error
    return moment.replace(tzinfo=None).isoformat() + "Z"


def _by_looks(value: str, trimmed: str, line: int, note: Notes) -> str:
    if match := GUID.fullmatch(trimmed):
        return match[1].lower()
    if _NUMBER.fullmatch(trimmed):
        return trimmed
    if _DAY.fullmatch(trimmed):
        return day(trimmed, line).isoformat()
    if _MOMENT.fullmatch(trimmed):
        return _moment(trimmed, line, note)
    return trimmed if trimmed in {"true", "false"} else quoted(value)


def _matching(pattern: re.Pattern[str], value: str, what: str, line: int) -> str:
    if pattern.fullmatch(value) is None:
        raise refused(line, f"{_shown(value)} is not {what}.")
    return value


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
