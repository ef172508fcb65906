"""What a browser sends, as typed values: bounded, and nothing taken that a page did not ask for."""

from __future__ import annotations

import typing
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Meta

from satchel.console.desk import AnyRequest
from satchel.errors import RequestInvalid

FORM_KEY = "form_key"
MAX_FIELDS = 1_000
MAX_QUERY_CHARACTERS = 8_000
Name = Annotated[str, Meta(max_length=200)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_FORM = "application/x-www-form-urlencoded"


class Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of a form or of an address."""


F = TypeVar("F", bound=Form)


async def fields_of(request: AnyRequest) -> list[tuple[str, str]]:
    """The fields of a form that was sent. Errors: RequestInvalid."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RequestInvalid("This is no form of the console.")
    return _fields(await request.body())


async def read_form(request: AnyRequest, shape: type[F]) -> F:
    """The form that was sent. Errors: RequestInvalid."""
    return _typed([each for each in await fields_of(request) if each[0] != FORM_KEY], shape)


def read_query(request: AnyRequest, shape: type[F]) -> F:
    """What the address asks for. Errors: RequestInvalid."""
    query = bytes(request.scope.get("query_string", b""))
    if len(query) > MAX_QUERY_CHARACTERS:
        raise RequestInvalid("The address is too long.")
    return _typed([(name, value) for name, value in _fields(query) if value], shape)


def address(path: str, **fields: object) -> str:
    """An address with a query; what is empty is left out."""
    given = {name: str(value) for name, value in fields.items() if value not in (None, "", 0)}
    return f"{path}?{urlencode(given)}" if given else path


def _fields(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, encoding="utf-8", errors="strict"
        )
    except ValueError as error:  # UnicodeError is one
        raise RequestInvalid("The form cannot be read.") from error


def _typed(fields: list[tuple[str, str]], shape: type[F]) -> F:
    kinds = {field.name: field.type for field in msgspec.structs.fields(shape)}
    values: dict[str, object] = {}
    for name, value in fields:
        if "\x00" in value:
            raise RequestInvalid("A field holds a character that no text has.")
        if _is_several(kinds.get(name)):
            values.setdefault(name, []).append(value)  # type: ignore[attr-defined]
        elif name in values:
            raise RequestInvalid(f"The field {name!r} came twice.")
        else:
            values[name] = value
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$.")
        where = f"{path.rstrip('`')}: " if path else ""
        raise RequestInvalid(f"{where}{problem[0].lower()}{problem[1:]}."[:300]) from error


def _is_several(kind: object) -> bool:
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    return typing.get_origin(kind) is tuple
