"""Relationships of Dataverse as `related` paths: from the rows that are brought in to the rows that bring them in.

Source: Microsoft Learn, "MobileOfflineProfileItemAssociation table/entity reference" and "Query table definitions using
the Web API" (`RelationshipDefinitions`: OneToManyRelationshipMetadata, ManyToManyRelationshipMetadata).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from satchel.access.dynamics.fetchxml_links import LookupTarget, lookup_step, targets

Row = Mapping[str, object]
"""A row as the Web API gives it."""

NAME = re.compile(r"[a-z_][a-z0-9_]{0,127}")
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def text_of(row: Row, *names: str) -> str:
    """The first of the columns that holds text; none: empty."""
    found = (value for name in names if isinstance(value := row.get(name), str) and value.strip())
    return next(found, "")


def id_of(row: Row, *names: str) -> str:
    """The first of the columns that holds an id, by its own name or by that of a lookup (`_name_value`)."""
    for name in names:
        value = text_of(row, f"_{name}_value", name).strip("{} ").lower()
        if _ID.fullmatch(value):
            return value
    return ""


def entity_of(row: Row, name: str) -> str:
    """The logical name of an entity or a column; none or no name: empty."""
    value = text_of(row, name).lower()
    return value if NAME.fullmatch(value) else ""


class Relationships:
    """The relationships of an organization, found by what an association says of its own."""

    def __init__(self, rows: Iterable[Row], lookup_target: LookupTarget) -> None:
        """Sort the rows of `RelationshipDefinitions` by id and by schema name."""
        self._by_name: dict[str, Row] = {}
        self._lookup_target = lookup_target
        for row in rows:
            self._by_name[text_of(row, "MetadataId").strip("{} ").lower()] = row
            self._by_name[text_of(row, "SchemaName").lower()] = row
        self._by_name.pop("", None)

    def of(self, association: Row) -> Row | None:
        """The relationship of an association: by `relationshipid`, else by the schema name it is called by."""
        keys = (text_of(association, name) for name in ("relationshipid", "relationshipdisplayname", "name"))
        return next((self._by_name[key] for k in keys if (key := k.strip("{} ").lower()) in self._by_name), None)

    def path(self, relationship: Row, parent: str) -> tuple[str, str] | None:
        """The entity whose rows a parent's rows bring in, and the path from it back to the parent.

        None: the relationship does not touch the parent, or leads from it to itself.
        """
        if text_of(relationship, "IntersectEntityName"):
            return self._many_to_many(relationship, parent)
        one, many = entity_of(relationship, "ReferencedEntity"), entity_of(relationship, "ReferencingEntity")
        lookup = entity_of(relationship, "ReferencingAttribute")
        if not (one and many and lookup) or one == many:
            return None
        if parent == one:
            return many, lookup_step(lookup, one, targets(self._lookup_target, many, lookup))
        return (one, f"{many}.{lookup}") if parent == many else None

    def _many_to_many(self, relationship: Row, parent: str) -> tuple[str, str] | None:
        middle = entity_of(relationship, "IntersectEntityName")
        sides = [
            (entity_of(relationship, f"Entity{n}LogicalName"), entity_of(relationship, f"Entity{n}IntersectAttribute"))
            for n in (1, 2)
        ]
        entities = [entity for entity, _ in sides]
        if not middle or not all(all(side) for side in sides) or parent not in entities or entities[0] == entities[1]:
            return None
        (_, of_parent), (child, of_child) = sides if entities[0] == parent else reversed(sides)
        return child, f"{middle}.{of_child}/{of_parent}"
