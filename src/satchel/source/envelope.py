"""A page as the source sends it: rows stay the bytes they are, removed rows become keys.

Source: OData JSON Format Version 4.01, sections 12 (collections), 15 (delta payload, `$deletedEntity` of 4.0 and
`@removed` of 4.01); powerapps-docs use-change-tracking-synchronize-data-external-systems.md (bare guid as id).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from satchel.errors import RequestRefused
from satchel.model.ids import Key
from satchel.model.keys import key_text
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.urls import key_attributes

_DELETED_MARKS = (b"deletedEntity", b"@removed", b"eletedLink", b"/$link")
_ABSENT = msgspec.Raw()
_KEY_PART = re.compile(r"\s*(?:(\w+)\s*=\s*)?('(?:[^']|'')*'|[^,]*)\s*(?:,|$)")


class Envelope(msgspec.Struct, frozen=True):
    """A page taken apart: `rows` is a JSON array."""

    rows: bytes
    row_count: int
    last_row: msgspec.Raw | None
    removed: tuple[Key, ...]
    context: str
    next_link: str | None
    delta_link: str | None


class _Envelope(msgspec.Struct):
    value: list[msgspec.Raw]
    context: str = msgspec.field(default="", name="@odata.context")
    next_link: str | None = msgspec.field(default=None, name="@odata.nextLink")
    delta_link: str | None = msgspec.field(default=None, name="@odata.deltaLink")


class _Item(msgspec.Struct):
    context: str = msgspec.field(default="", name="@odata.context")
    removed: msgspec.Raw = msgspec.field(default=_ABSENT, name="@removed")
    entity_id: str | None = msgspec.field(default=None, name="@odata.id")
    entity_id_of_4_01: str | None = msgspec.field(default=None, name="@id")
    id: msgspec.Raw = _ABSENT


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_item = msgspec.json.Decoder(_Item).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


def open_envelope(body: bytes, entity: Entity) -> Envelope:
    """Take a page apart. Cost: rows are found, not decoded, unless the page may tell of removed ones.

    Errors: RequestRefused where the body is no OData collection.
    """
    removed: tuple[Key, ...] = ()
    try:
        envelope = _decode_envelope(body)
        rows = envelope.value
        if any(mark in body for mark in _DELETED_MARKS):
            rows, removed = _sorted_out(rows, entity)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestRefused(f"The source's answer for {entity.name} is no OData collection.") from error
    return Envelope(
        rows=b"[" + b",".join(rows) + b"]",
        row_count=len(rows),
        last_row=rows[-1] if rows else None,
        removed=removed,
        context=envelope.context,
        next_link=envelope.next_link,
        delta_link=envelope.delta_link,
    )


def keys_of(rows: bytes, entity: Entity) -> list[Key]:
    """The keys of a JSON array of rows. Errors: RequestRefused where a row lacks its key."""
    attributes = key_attributes(entity)
    if all(attribute.type is AttributeType.GUID for attribute in attributes):
        try:
            found = _text_picker(tuple(a.wire_name for a in attributes))(rows)
        except msgspec.MsgspecError as error:
            raise RequestRefused("A row of the source lacks its key.") from error
        return [tuple(map(str.lower, msgspec.structs.astuple(row))) for row in found]
    return [values_of(row, attributes) for row in _decode_raws(rows)]


def values_of(row: msgspec.Raw, attributes: tuple[Attribute, ...]) -> tuple[str, ...]:
    """The textual form of some of a row's values. Errors: RequestRefused where one is absent or null."""
    try:
        picked = _picker(tuple(a.wire_name for a in attributes))(row)
    except msgspec.MsgspecError as error:
        raise RequestRefused("A row of the source lacks its key.") from error
    raws = msgspec.structs.astuple(picked)
    return tuple(_text(attribute, bytes(raw)) for attribute, raw in zip(attributes, raws, strict=True))


def key_of_id(text: str, entity: Entity) -> Key:
    """The key in an entity id: a URL with a key predicate, named or not, or the bare key.

    Errors: RequestRefused where it names no key of this entity.
    """
    attributes = key_attributes(entity)
    predicate = _predicate(unquote(text))
    if predicate is None:
        parts = [("", bare)] if (bare := text.rpartition("/")[2]) else []
    else:
        parts = [(m[1] or "", m[2]) for m in _KEY_PART.finditer(predicate) if m[0]]
    named = dict(parts)
    values = [named.get(a.wire_name) for a in attributes] if "" not in named else [value for _, value in parts]
    if len(values) != len(attributes) or None in values:
        raise RequestRefused(f"The source names a removed row of {entity.name} by something that is not its key.")
    return tuple(_plain(attribute, value or "") for attribute, value in zip(attributes, values, strict=True))


def _sorted_out(items: Sequence[msgspec.Raw], entity: Entity) -> tuple[list[msgspec.Raw], tuple[Key, ...]]:
    """Rows and removed keys; of a row that comes again behind its removal only the row counts."""
    rows: list[msgspec.Raw] = []
    removed: dict[Key, None] = {}
    for raw in items:
        item = _decode_item(raw)
        fragment = item.context.rpartition("/")[2]
        if bytes(item.removed) or fragment == "$deletedEntity":
            removed[_removed_key(item, raw, entity)] = None
        elif fragment not in {"$link", "$deletedLink"}:
            rows.append(raw)
            if removed:
                removed.pop(values_of(raw, key_attributes(entity)), None)
    return rows, tuple(removed)


def _removed_key(item: _Item, raw: msgspec.Raw, entity: Entity) -> Key:
    entity_id = item.entity_id or item.entity_id_of_4_01
    if entity_id is not None:
        return key_of_id(entity_id, entity)
    if bytes(item.removed):
        with suppress(RequestRefused):  # without key properties `id` is the entity id
            return values_of(raw, key_attributes(entity))
    return key_of_id(_bare(bytes(item.id)), entity)


def _predicate(text: str) -> str | None:
    """What stands in the last parentheses that are not within quotes."""
    start, is_quoted = None, False
    for place, character in enumerate(text):
        if character == "'":
            is_quoted = not is_quoted
        elif character == "(" and not is_quoted:
            start = place + 1
    return text[start:-1] if start is not None and text.endswith(")") else None


@lru_cache(maxsize=1024)
def _picker(wire_names: tuple[str, ...]) -> Any:
    """A decoder that looks at these properties only."""
    fields = [(f"v{i}", msgspec.Raw) for i in range(len(wire_names))]
    names = {f"v{i}": name for i, name in enumerate(wire_names)}
    return msgspec.json.Decoder(msgspec.defstruct("Picked", fields, rename=names)).decode


@lru_cache(maxsize=1024)
def _text_picker(wire_names: tuple[str, ...]) -> Any:
    """The same for a whole array, where all these properties are text."""
    fields = [(f"v{i}", str) for i in range(len(wire_names))]
    names = {f"v{i}": name for i, name in enumerate(wire_names)}
    return msgspec.json.Decoder(list[msgspec.defstruct("Keys", fields, rename=names)]).decode  # type: ignore[misc]


def _text(attribute: Attribute, raw: bytes) -> str:
    if raw == b"null":
        raise RequestRefused(f"A row of the source has no {attribute.name}.")
    return key_text(attribute, _bare(raw))


def _bare(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)) if raw[:1] == b'"' else raw.decode()


def _plain(attribute: Attribute, value: str) -> str:
    if value[:1] == "'" and value[-1:] == "'":
        value = value[1:-1].replace("''", "'")
    return key_text(attribute, value)
