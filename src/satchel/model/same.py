"""Whether two wire values are the same value: `94.50` is `94.5`, a moment is a moment however it is written."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from satchel.model.metadata import AttributeType

_NUMBERS = {AttributeType.DECIMAL, AttributeType.MONEY, AttributeType.DOUBLE}


def same(kind: AttributeType, one: Any, other: Any) -> bool:
    """Compare two wire values of this type. Text is compared exactly; an empty one is as good as none."""
    return bool(_canonical(kind, one) == _canonical(kind, other))


def _canonical(kind: AttributeType, value: Any) -> Any:
    if value is None or value == "":
        return None  # Dataverse keeps empty text as none
    if kind in _NUMBERS:
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    if kind is AttributeType.DATETIME and isinstance(value, str):
        body = value.removesuffix("Z").removesuffix("+00:00")
        return body.rstrip("0").rstrip(".") if "." in body else body
    if kind is AttributeType.TIME and isinstance(value, str):
        return value.rstrip("0").rstrip(".") if "." in value else value
    if kind is AttributeType.GUID and isinstance(value, str):
        return value.lower()
    if kind is AttributeType.CHOICES and isinstance(value, str):
        return tuple(sorted(value.split(",")))
    return value
