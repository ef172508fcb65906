"""What a row may be given: checked on the device at once, and by the server again.

Values are in the wire form of their type (see `AttributeType`).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from satchel.model.client_model import ClientAttribute, ClientEntity
from satchel.model.edits import Action
from satchel.model.metadata import AttributeType

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,199})(\.[0-9]{1,200})?")
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?")
_HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")
_MEMO_CHARACTERS = 2_000_000


class Problem(msgspec.Struct, frozen=True):
    """Why a value, or a whole row, cannot be taken."""

    attribute: str
    """Empty: the row as a whole."""
    message: str


def problems(entity: ClientEntity, action: Action, values: Mapping[str, Any]) -> Iterator[Problem]:
    """What stands against a change of a row of this entity; nothing: it is well-formed."""
    if entity.is_read_only:
        yield Problem("", f"{entity.name} can only be read on this device")
        return
    attributes = {attribute.name: attribute for attribute in entity.attributes}
    if action is Action.DELETE:
        yield from (Problem(name, "a deletion sets nothing") for name in values)
        return
    if action is Action.UPDATE and not values:
        yield Problem("", "nothing is set")
    kinds = {a.type_attribute: a for a in entity.attributes if a.type_attribute}
    for name, value in values.items():
        attribute = attributes.get(name)
        if attribute is None:
            yield Problem(name, f"{entity.name} has no such attribute")
        elif name in kinds:
            yield from _target_problems(kinds[name], name, value, values)
        else:
            yield from _value_problems(entity, attribute, action, value)
    if action is Action.CREATE:
        for attribute in entity.attributes:
            if attribute.is_required and attribute.is_creatable and _is_missing(entity, attribute, values):
                yield Problem(attribute.name, "it is required")


def _is_missing(entity: ClientEntity, attribute: ClientAttribute, values: Mapping[str, Any]) -> bool:
    return attribute.name not in entity.key and attribute.name not in values


def _value_problems(entity: ClientEntity, attribute: ClientAttribute, action: Action, value: Any) -> Iterator[Problem]:
    name = attribute.name
    if name in entity.key:
        yield Problem(name, "a key cannot be changed")
    elif not (attribute.is_creatable if action is Action.CREATE else attribute.is_updatable):
        yield Problem(name, "it cannot be set" if action is Action.CREATE else "it cannot be changed")
    elif value in (None, "") and attribute.is_required:
        yield Problem(name, "it is required")
    elif value is not None and (found := misfit(attribute, value)):
        yield Problem(name, found)


def _target_problems(lookup: ClientAttribute, name: str, value: Any, values: Mapping[str, Any]) -> Iterator[Problem]:
    """The attribute that names a polymorphic lookup's target goes along with the lookup."""
    if lookup.name not in values:
        yield Problem(name, f"it is set together with {lookup.name}")
    elif (values[lookup.name] is None) != (value is None) or (value is not None and value not in lookup.targets):
        yield Problem(name, f"it is one of {', '.join(lookup.targets)}")


def misfit(attribute: ClientAttribute, value: Any) -> str | None:
    """Why a wire value does not fit the attribute; None: it fits."""
    return _CHECKS[attribute.type](attribute, value)


def _text(attribute: ClientAttribute, value: Any) -> str | None:
    if not isinstance(value, str):
        return "it takes text"
    if "\0" in value:
        return "it has a character that cannot be stored (NUL)"
    if _HALF_OF_A_PAIR.search(value):
        return "it has half of a surrogate pair, which is no character"
    limit = attribute.max_length or _MEMO_CHARACTERS
    return f"it takes at most {limit:,} characters" if len(value) > limit else None


def _whole(bits: int) -> Callable[[ClientAttribute, Any], str | None]:
    def check(attribute: ClientAttribute, value: Any) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return "it takes a whole number"
        if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            return f"it takes {bits} bits"
        return _range(attribute, Decimal(value))

    return check


def _decimal(attribute: ClientAttribute, value: Any) -> str | None:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        return "it takes a decimal number"
    number = Decimal(value)
    digits = len(value.partition(".")[2].rstrip("0"))
    if attribute.scale is not None and digits > attribute.scale:
        return f"it takes at most {attribute.scale} digits after the point"
    whole = len(value.partition(".")[0].lstrip("-0"))
    if attribute.precision is not None and whole + digits > attribute.precision:
        return f"it takes at most {attribute.precision} digits"
    return _range(attribute, number)


def _double(attribute: ClientAttribute, value: Any) -> str | None:
    try:
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number beyond any double
        is_number = False
    if not is_number:
        return "it takes a number"
    return _range(attribute, Decimal(repr(value)))


def _range(attribute: ClientAttribute, number: Decimal) -> str | None:
    for limit, is_outside in ((attribute.minimum, number.__lt__), (attribute.maximum, number.__gt__)):
        try:
            if limit is not None and is_outside(Decimal(limit)):
                return f"it takes {attribute.minimum or '...'} to {attribute.maximum or '...'}"
        except InvalidOperation:
            continue  # a limit that is no number limits nothing
    return None


def _boolean(attribute: ClientAttribute, value: Any) -> str | None:
    return None if isinstance(value, bool) else "it takes true or false"


def _moment(attribute: ClientAttribute, value: Any) -> str | None:
    is_moment = isinstance(value, str) and _MOMENT.fullmatch(value) and _parses(datetime.fromisoformat, value[:19])
    return None if is_moment else "it takes a moment in UTC, such as 2026-11-23T15:35:08Z"


def _date(attribute: ClientAttribute, value: Any) -> str | None:
    is_date = isinstance(value, str) and _DATE.fullmatch(value) and _parses(date.fromisoformat, value)
    return None if is_date else "it takes a date, such as 2026-11-23"


def _time(attribute: ClientAttribute, value: Any) -> str | None:
    is_time = isinstance(value, str) and _TIME.fullmatch(value) and _parses(time.fromisoformat, value[:8])
    return None if is_time else "it takes a time of day, such as 15:35:08"


def _guid(attribute: ClientAttribute, value: Any) -> str | None:
    is_guid = isinstance(value, str) and _GUID.fullmatch(value)
    return None if is_guid else "it takes a GUID in lower case"


def _choice(attribute: ClientAttribute, value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "it takes the number of a choice"
    known = {option.value: option.label for option in attribute.options}
    if known and value not in known:
        return f"it takes {', '.join(f'{number} ({label})' for number, label in list(known.items())[:20])}"
    return None


def _choices(attribute: ClientAttribute, value: Any) -> str | None:
    parts = value.split(",") if isinstance(value, str) and value else []
    if not parts or not all(re.fullmatch(r"-?[0-9]{1,12}", part) for part in parts):
        return "it takes numbers of choices, separated by commas"
    if len(set(parts)) < len(parts):
        return "it takes each choice once"
    found = (_choice(attribute, int(part)) for part in parts)
    return next((each for each in found if each), None)


def _binary(attribute: ClientAttribute, value: Any) -> str | None:
    try:
        is_binary = isinstance(value, str) and base64.b64decode(value, validate=True) is not None
    except (binascii.Error, ValueError):
        is_binary = False
    return None if is_binary else "it takes base64"


def _unknown(attribute: ClientAttribute, value: Any) -> str | None:
    return "values of this type can only be read"


def _parses(parse: Callable[[str], Any], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


_CHECKS: Mapping[AttributeType, Callable[[ClientAttribute, Any], str | None]] = {
    AttributeType.STRING: _text,
    AttributeType.MEMO: _text,
    AttributeType.INTEGER: _whole(32),
    AttributeType.BIGINT: _whole(64),
    AttributeType.DECIMAL: _decimal,
    AttributeType.MONEY: _decimal,
    AttributeType.DOUBLE: _double,
    AttributeType.BOOLEAN: _boolean,
    AttributeType.DATETIME: _moment,
    AttributeType.DATE: _date,
    AttributeType.TIME: _time,
    AttributeType.GUID: _guid,
    AttributeType.CHOICE: _choice,
    AttributeType.CHOICES: _choices,
    AttributeType.BINARY: _binary,
    AttributeType.TEXT: _unknown,
}
