"""A row's key as text, one part a key attribute, and as the values it stands for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from satchel.model.client_model import ClientAttribute, ClientEntity
from satchel.model.ids import Key
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.model.validation import Problem, misfit

MAX_KEY_CHARACTERS = 600
"""Of a row that is edited: its key as one JSON array."""
_WHOLE = {AttributeType.INTEGER, AttributeType.BIGINT, AttributeType.CHOICE}
_CANONICAL = re.compile(r"-?(0|[1-9][0-9]{0,30})", re.ASCII)

_EXPONENT_FROM = 15
"""Doubles of this many digits before the point have an exponent, as PostgreSQL writes them."""


def key_text(attribute: Attribute, text: str) -> str:
    """A part as PostgreSQL writes it too: a source may write one and the same value in several ways, also in one key.

    What is no value of the type stays as it is.
    """
    with suppress(ValueError, InvalidOperation, OverflowError):
        match attribute.type:
            case AttributeType.GUID:
                return text.lower()
            case AttributeType.DATETIME if not attribute.is_fine:
                moment = datetime.fromisoformat(text)
                moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
                return _short(moment.isoformat()) + "Z"
            case AttributeType.TIME if not attribute.is_fine:
                return _short(text if text.count(":") > 1 else f"{text}:00")
            case AttributeType.DECIMAL | AttributeType.MONEY:
                return _plain(Decimal(text))
            case AttributeType.DOUBLE:
                return _double(float(text))
            case _:
                return text
    return text


def _short(text: str) -> str:
    """Without zeros at the end of a fraction of a second."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _plain(number: Decimal) -> str:
    text = format(number, "f")
    return (text.rstrip("0").rstrip(".") if "." in text else text) if number else "0"


def _double(value: float) -> str:
    """The shortest digits that mean this value."""
    number = Decimal(repr(value))
    if not number.is_finite() or not number:
        return repr(value).removesuffix(".0")
    exponent = number.adjusted()
    if -5 < exponent < _EXPONENT_FROM:
        return _plain(number)
    digits = _plain(number.scaleb(-exponent))
    return f"{digits}e{exponent:+03d}"


def row_key(entity: Entity, key: Key) -> Key:
    """The same key with each part as `key_text` has it."""
    return tuple(key_text(entity.attribute_by_name[name], part) for name, part in zip(entity.key, key, strict=True))


def key_part(attribute: Attribute | ClientAttribute, text: str) -> Any:
    """The wire value of a part. What is not written as the value is (`01`) stays text, which does not fit."""
    return int(text) if attribute.type in _WHOLE and _CANONICAL.fullmatch(text) else text


def key_values(entity: ClientEntity, key: Sequence[str]) -> dict[str, Any]:
    """The key's attributes with their wire values."""
    attributes = {a.name: a for a in entity.attributes}
    return {name: key_part(attributes[name], part) for name, part in zip(entity.key, key, strict=True)}


def key_problem(entity: ClientEntity, key: Sequence[str]) -> Problem | None:
    """Why this can be no key of the entity; None: it can."""
    if len(key) != len(entity.key):
        return Problem("", f"the key is {', '.join(entity.key)}")
    if len(msgspec.json.encode(key).decode()) > MAX_KEY_CHARACTERS:
        return Problem("", f"keys of edited rows have at most {MAX_KEY_CHARACTERS} characters")
    attributes = {a.name: a for a in entity.attributes}
    for name, value in key_values(entity, key).items():
        problem = misfit(attributes[name], value)
        if problem:
            return Problem(name, problem)
    return None
