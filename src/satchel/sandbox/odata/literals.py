"""Literals of `$filter`: what stands in the text as the value an attribute is compared with.

Each function takes the kind of a token and its text. Errors: ValueError, KeyError, OverflowError.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from satchel.sandbox.schema.kinds import CHOICES, Column, Kind

_MAX_INTEGER = 2**63 - 1


def value_of(column: Column, kind: str, text: str) -> Any:
    """The value as it is stored. Errors: ValueError, KeyError, OverflowError."""
    return _VALUE[column.kind](kind, text)


def unquoted(text: str) -> str:
    """A text without its quotes."""
    return text[1:-1].replace("''", "'")


def _text(kind: str, text: str) -> str:
    if kind != "text":
        raise ValueError
    return unquoted(text)


def _guid(kind: str, text: str) -> str:
    value = unquoted(text) if kind == "text" else text
    if kind not in {"guid", "text"}:
        raise ValueError
    return value.lower()


def _integer(kind: str, text: str) -> int:
    if kind != "number":
        raise ValueError
    return _fitting(int(text))


def _money(kind: str, text: str) -> int:
    if kind != "number":
        raise ValueError
    return _fitting(round(Decimal(text) * 100))


def _decimal(kind: str, text: str) -> float:
    if kind != "number":
        raise ValueError
    return float(text)


def _boolean(kind: str, text: str) -> int:
    return {"true": 1, "false": 0}[text]


def _moment(kind: str, text: str) -> str:
    """To the second, as times are kept."""
    moment = datetime.fromisoformat(_dated(kind, text))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _date(kind: str, text: str) -> str:
    return datetime.fromisoformat(_dated(kind, text)).date().isoformat()


def _dated(kind: str, text: str) -> str:
    if kind not in {"moment", "text"}:
        raise ValueError
    return unquoted(text) if kind == "text" else text


def _fitting(number: int) -> int:
    if abs(number) > _MAX_INTEGER:
        raise ValueError
    return number


_VALUE: dict[Kind, Callable[[str, str], Any]] = {
    Kind.GUID: _guid, Kind.LOOKUP: _guid, Kind.CUSTOMER: _guid, Kind.OWNER: _guid, Kind.STRING: _text, Kind.MEMO: _text,
    Kind.MULTISELECT: _text, Kind.INTEGER: _integer, Kind.BIGINT: _integer, Kind.DECIMAL: _decimal,
    Kind.DOUBLE: _decimal, Kind.MONEY: _money, Kind.BOOLEAN: _boolean, Kind.DATETIME: _moment, Kind.DATE: _date,
    **dict.fromkeys(CHOICES, _integer),
}  # fmt: skip
