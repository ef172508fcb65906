"""Values on their way into an edit: from a program's, and from the device's own columns, to the wire form."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from satchel.device.values import date_text, moment_text, time_text
from satchel.model.client_model import ClientAttribute, ClientEntity
from satchel.model.metadata import AttributeType

_WIDE = Context(prec=1000)
"""No number that a source may have is rounded by it."""
_NUMBERS = {AttributeType.DECIMAL, AttributeType.MONEY}
_WHOLE = {AttributeType.INTEGER, AttributeType.BIGINT, AttributeType.CHOICE}


def to_wire(attribute: ClientAttribute, value: object) -> Any:
    """A program's value in the wire form; what cannot be one stays as it is, for validation to name it."""
    if value is None:
        return None
    convert = _CONVERTERS.get(attribute.type)
    try:
        return convert(value) if convert else (str(value) if isinstance(value, UUID) else value)
    except (ValueError, ArithmeticError, TypeError):
        return value


def parse_text(attribute: ClientAttribute, text: str) -> Any:
    """A value typed at the command line; an empty one is none. What cannot be read stays text."""
    if text == "":
        return None
    try:
        if attribute.type is AttributeType.BOOLEAN:
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if attribute.type in _WHOLE:
            return int(text)
        if attribute.type is AttributeType.DOUBLE:
            return float(text)
    except (ValueError, KeyError):
        return text
    return to_wire(attribute, text)


def stored_row(entity: ClientEntity, values: Iterable[Any]) -> dict[str, Any]:
    """A row of the device's table, in the order of the entity's attributes, in the wire form."""
    pairs = zip(entity.attributes, values, strict=True)
    return {attribute.name: None if value is None else _stored(attribute, value) for attribute, value in pairs}


def _stored(attribute: ClientAttribute, value: Any) -> Any:
    if attribute.type is AttributeType.BOOLEAN:
        return bool(value)
    if attribute.type in _NUMBERS and not isinstance(value, str):
        # A number here is a double that keeps 15 digits, or whole.
        number = Decimal(repr(value))
        step = None if attribute.scale is None else Decimal(1).scaleb(-attribute.scale)
        return _plain(number if step is None else number.quantize(step, context=_WIDE))
    return value


def _plain(number: Decimal) -> str:
    return f"{number:f}"


def _decimal(value: object) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return value
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return value
    return _plain(number) if number.is_finite() else value


def _moment(value: object) -> Any:
    return moment_text(value) + "Z"


def _guid(value: object) -> Any:
    return str(value).lower() if isinstance(value, str | UUID) else value


def _choices(value: object) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(str(number) for number in sorted(value))
    return value


def _binary(value: object) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else value


_CONVERTERS: Mapping[AttributeType, Callable[[object], Any]] = {
    AttributeType.DECIMAL: _decimal,
    AttributeType.MONEY: _decimal,
    AttributeType.DATETIME: _moment,
    AttributeType.DATE: date_text,
    AttributeType.TIME: time_text,
    AttributeType.GUID: _guid,
    AttributeType.CHOICES: _choices,
    AttributeType.BINARY: _binary,
}
