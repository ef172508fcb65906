"""Values as a program wants them: exact decimals, dates and times, booleans. Both ways: read, and compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

from satchel.model.client_model import ClientAttribute
from satchel.model.metadata import AttributeType

Convert = Callable[[Any], Any]
_EXACT = Context(prec=100)
_MICROSECOND_DIGITS = 6
_WHOLE = {AttributeType.INTEGER, AttributeType.BIGINT, AttributeType.CHOICE}
_NUMBERS = {AttributeType.DECIMAL, AttributeType.MONEY, AttributeType.DOUBLE}


def from_column(attribute: ClientAttribute) -> Convert:
    """How a column's value becomes a Python value; NULL stays None."""
    match attribute.type:
        case AttributeType.DECIMAL | AttributeType.MONEY:
            return _decimal(attribute.scale)
        case AttributeType.DATETIME:
            return _if_exact(datetime.fromisoformat)
        case AttributeType.DATE:
            return _if_exact(date.fromisoformat)
        case AttributeType.TIME:
            return _if_exact(time.fromisoformat)
        case AttributeType.BOOLEAN:
            return bool
    return _same


def to_column(attribute: ClientAttribute, value: object) -> Any:
    """How a Python value is bound to be compared with the attribute; ValueError where it does not fit.

    A moment is bound without its Z, as `comparable` has it.
    """
    kind = attribute.type
    if value is None:
        return None
    if kind is AttributeType.BOOLEAN:
        return _boolean(value)
    if kind in _WHOLE or kind in _NUMBERS:
        return _number(kind, value)
    if kind is AttributeType.DATETIME:
        return moment_text(value)
    if kind is AttributeType.DATE:
        return date_text(value)
    if kind is AttributeType.TIME:
        return time_text(value)
    return _text(value).lower() if kind is AttributeType.GUID else _text(value)


def bindable(value: object) -> Any:
    """A parameter of plain SQL as SQLite takes it."""
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return moment_text(value) + "Z"
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
    return value


def _decimal(scale: int | None) -> Convert:
    def convert(value: Any) -> Decimal:
        # A number here is a double that keeps 15 digits, or whole: repr() gives them, the scale the zeros behind.
        number = Decimal(value) if isinstance(value, str) else Decimal(repr(value))
        return number if scale is None else number.quantize(Decimal(1).scaleb(-scale), context=_EXACT)

    return convert


def _if_exact(parse: Convert) -> Convert:
    """What Python cannot hold - finer than a microsecond, before year 1 - stays text, which keeps it exact."""

    def convert(text: str) -> Any:
        fraction = text.partition(".")[2].rstrip("Z")
        try:
            return text if len(fraction) > _MICROSECOND_DIGITS else parse(text)
        except ValueError:
            return text

    return convert


def _same(value: Any) -> Any:
    return value


def _boolean(value: object) -> int:
    if not isinstance(value, int) or value not in {0, 1}:
        raise ValueError("it takes True or False")
    return int(value)


def _number(kind: AttributeType, value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError("it takes a number")
    number = Decimal(str(value))
    if number == number.to_integral_value() and abs(number) < 2**63:
        return int(number)
    if kind in _WHOLE and isinstance(value, str):
        raise ValueError("it takes a whole number")
    return float(number)


def moment_text(value: object) -> str:
    """A moment in UTC, without its Z, as the wire has it otherwise. Errors: ValueError (no time zone)."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError("it takes a moment with a time zone, such as datetime.now(UTC)")
    return _trimmed(moment.astimezone(UTC).replace(tzinfo=None).isoformat())


def time_text(value: object) -> str:
    """A time of day as the wire has it. Errors: ValueError."""
    return _trimmed((value if isinstance(value, time) else time.fromisoformat(_text(value))).isoformat())


def date_text(value: object) -> str:
    """A date as the wire has it. Errors: ValueError."""
    if isinstance(value, datetime):
        raise ValueError("it takes a date without a time")
    return (value if isinstance(value, date) else date.fromisoformat(_text(value))).isoformat()


def _trimmed(text: str) -> str:
    """As the wire has it: no zeros at the end of a fraction of a second."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: object) -> str:
    if not isinstance(value, str | UUID):
        raise ValueError(f"it takes text, not {type(value).__name__}")
    return str(value)
