"""A row's key as text, one part a key attribute, and as the values it stands for. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from satchel.model.client_model import ClientAttribute, ClientEntity
from satchel.model.metadata import Attribute, AttributeType
from satchel.model.validation import Problem, misfit

MAX_KEY_CHARACTERS = 600
"""Of a row that is edited: its key as one JSON array."""
_WHOLE = {AttributeType.INTEGER, AttributeType.BIGINT, AttributeType.CHOICE}
_CANONICAL = re.compile(r"-?(0|[1-9][0-9]{0,30})", re.ASCII)


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
