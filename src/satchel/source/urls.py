"""URLs of queries: literals, key comparisons, `$select`. Pure.

Source: OData Version 4.01 Part 2: URL Conventions, sections 5.1.1 (filter expressions, literals), 5.1.3 (select).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

from satchel.model.ids import Key
from satchel.model.metadata import Attribute, AttributeType, Entity

MAX_URL_CHARACTERS = 7_500
"""Common servers and proxies refuse request lines over 8 KB."""
MAX_SELECT_CHARACTERS = 4_000

_QUOTED = {AttributeType.STRING, AttributeType.MEMO, AttributeType.CHOICES, AttributeType.TEXT}
_SAFE = "$(),'/@:;*!~"


def literal(attribute: Attribute, value: str) -> str:
    """A value's textual form as it stands in a filter."""
    if attribute.type in _QUOTED:
        return "'" + value.replace("'", "''") + "'"
    return value


def equals(attributes: Sequence[Attribute], values: Sequence[str]) -> str:
    """All attributes have these values."""
    pairs = zip(attributes, values, strict=True)
    return " and ".join(f"{a.wire_name} eq {literal(a, value)}" for a, value in pairs)


def comes_after(attributes: Sequence[Attribute], values: Sequence[str]) -> str:
    """A row stands behind these values in the order of the attributes: `a gt 1 or (a eq 1 and b gt 2)`."""
    alternatives = []
    for place, attribute in enumerate(attributes):
        last = f"{attribute.wire_name} gt {literal(attribute, values[place])}"
        alternatives.append(f"({equals(attributes[:place], values[:place])} and {last})" if place else last)
    return " or ".join(alternatives)


def selected(entity: Entity, also: Iterable[Attribute] = ()) -> str:
    """`$select` for the entity's attributes and some more; annotations come by themselves.

    Empty: the list would be too long; then everything comes and staging takes what it knows.
    """
    names = dict.fromkeys(a.wire_name for a in (*entity.attributes, *also) if "@" not in a.wire_name)
    text = ",".join(names)
    return text if len(text) <= MAX_SELECT_CHARACTERS else ""


def key_attributes(entity: Entity) -> tuple[Attribute, ...]:
    """The attributes of the entity's key, in order."""
    return tuple(entity.attribute_by_name[name] for name in entity.key)


def query(set_name: str, options: Mapping[str, str]) -> str:
    """The URL of an entity set with its system query options; empty ones are left out."""
    text = "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in options.items() if value)
    return f"{quote(set_name)}?{text}" if text else quote(set_name)


def key_queries(entity: Entity, keys: Iterable[Key]) -> Iterator[str]:
    """URLs that together ask for the rows with these keys, each short enough."""
    attributes = key_attributes(entity)
    select = selected(entity)
    room = MAX_URL_CHARACTERS - len(query(entity.set_name, {"$select": select, "$filter": "-"}))
    parts: list[str] = []
    for key in keys:
        part = f"({equals(attributes, key)})"
        if parts and len(quote(" or ".join([*parts, part]), safe=_SAFE)) > room:
            yield query(entity.set_name, {"$select": select, "$filter": " or ".join(parts)})
            parts = []
        parts.append(part)
    if parts:
        yield query(entity.set_name, {"$select": select, "$filter": " or ".join(parts)})
