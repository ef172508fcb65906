"""A write as an HTTP request. Pure.

Source: OData Version 4.01 Part 1: Protocol, sections 8.2.4, 8.2.5 (If-Match, If-None-Match), 11.4 (data modification);
powerapps-docs, webapi/create-entity-web-api.md, associate-disassociate-entities-using-web-api.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from satchel.model.edits import Action
from satchel.model.keys import key_part
from satchel.model.metadata import Attribute, AttributeType
from satchel.model.writes import Write
from satchel.source.urls import key_attributes, literal, selected

_EXACT = {AttributeType.DECIMAL, AttributeType.MONEY}
_SAFE = "(),'=:;@$!*~-"


class WriteRequest(msgspec.Struct, frozen=True):
    """What is sent for one write, below the service root."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None


def request_of(write: Write, *, creates_by_key: bool) -> WriteRequest:
    """The request. `creates_by_key`: a row is created by PATCH under its key, which Dataverse guards with
    `If-None-Match: *`; else by POST with the key in the body, which never changes a row that is there."""
    headers = {"prefer": ",".join(_preferences(write))}
    select = f"?$select={quote(selected(write.entity), safe=',$')}" if selected(write.entity) else ""
    match write.action:
        case Action.CREATE if creates_by_key:
            headers |= {"if-none-match": "*"}
            return WriteRequest("PATCH", row_path(write) + select, headers, _body(write))
        case Action.CREATE:
            return WriteRequest("POST", quote(write.entity.set_name), headers, _body(write, has_key=True))
        case Action.UPDATE:
            headers |= {"if-match": write.etag or "*"}
            return WriteRequest("PATCH", row_path(write) + select, headers, _body(write))
    return WriteRequest("DELETE", row_path(write), {"if-match": write.etag or "*"}, None)


def row_path(write: Write) -> str:
    """The row's URL below the service root."""
    attributes = key_attributes(write.entity)
    literals = [literal(a, part) for a, part in zip(attributes, write.key, strict=True)]
    if len(literals) == 1:
        text = literals[0]
    else:
        text = ",".join(f"{a.wire_name}={each}" for a, each in zip(attributes, literals, strict=True))
    return f"{quote(write.entity.set_name)}({quote(text, safe=_SAFE)})"


def _preferences(write: Write) -> list[str]:
    annotations = dict.fromkeys(a.wire_name.partition("@")[2] for a in write.entity.attributes if "@" in a.wire_name)
    wanted = [f'odata.include-annotations="{",".join(annotations)}"'] if annotations else []
    return ["return=representation", *wanted]


def _body(write: Write, *, has_key: bool = False) -> bytes:
    body: dict[str, Any] = {}
    attributes = write.entity.attribute_by_name
    if has_key:
        for attribute, part in zip(key_attributes(write.entity), write.key, strict=True):
            is_exact = attribute.type in _EXACT
            body[attribute.wire_name] = msgspec.Raw(part.encode()) if is_exact else key_part(attribute, part)
    kinds = {a.type_attribute for a in write.entity.attributes if a.type_attribute}
    for name, value in write.values.items():
        attribute = attributes[name]
        if name in kinds:
            continue  # the navigation property says it
        if attribute.references:
            body |= _reference(attribute, value, write.values)
        elif value is not None and attribute.type in _EXACT:
            body[attribute.wire_name] = msgspec.Raw(value.encode())  # its digits, as they are
        else:
            body[attribute.wire_name] = value
    return msgspec.json.encode(body)


def _reference(attribute: Attribute, value: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    if value is None:
        return {attribute.references[0].navigation: None}
    target = values.get(attribute.type_attribute or "")
    found = [reference for reference in attribute.references if target in {None, reference.entity}]
    reference = found[0] if found else attribute.references[0]
    return {f"{reference.navigation}@odata.bind": f"/{reference.set_name}({value})"}
