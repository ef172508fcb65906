"""Values as a program wants them: exact decimals, dates and times, booleans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from satchel.model.client_model import ClientAttribute
from satchel.model.metadata import AttributeType

Convert = Callable[[Any], Any]


def from_column(attribute: ClientAttribute) -> Convert:
    """How a column's value becomes a Python value; NULL stays None."""
    match attribute.type:
        case AttributeType.DECIMAL | AttributeType.MONEY:
            return _decimal(attribute.scale)
        case AttributeType.DATETIME:
            return _moment
        case AttributeType.DATE:
            return date.fromisoformat
        case AttributeType.TIME:
            return time.fromisoformat
        case AttributeType.BOOLEAN:
            return bool
    return _same


def to_column(attribute: ClientAttribute, value: object) -> Any:
    """How a Python value is bound; ValueError where it does not fit the attribute."""
    match value:
        case None | str() | int() | float():
            return value
        case Decimal():
            return float(value)
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{attribute.name} takes a datetime with a time zone")
            return value.astimezone(tz=UTC).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
    raise ValueError(f"{attribute.name} takes no {type(value).__name__}")


def _decimal(scale: int | None) -> Convert:
    def convert(value: Any) -> Decimal:
        # A NUMERIC column holds a double that keeps 15 digits: repr() gives them, the scale the zeros behind.
        number = Decimal(value) if isinstance(value, str) else Decimal(repr(value))
        return number if scale is None else number.quantize(Decimal(1).scaleb(-scale))

    return convert


def _moment(value: str) -> datetime | str:
    """A datetime; finer than a microsecond it stays text, which keeps it exact."""
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return value


def _same(value: Any) -> Any:
    return value
