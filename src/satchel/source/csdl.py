"""What an OData service declares in its `$metadata`, as plain values with aliases resolved.

Source: OData CSDL XML 4.01. Only what rows need: entity types, their properties and navigations, entity sets, type
definitions and annotations. Operations and complex types are passed over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

CORE = "Org.OData.Core.V1"
CHANGE_TRACKING = "Org.OData.Capabilities.V1.ChangeTracking"

_MAX_BASE_TYPES = 64


class Property(msgspec.Struct, frozen=True):
    """A structural property; `type` is qualified, `Edm.String`."""

    name: str
    type: str
    is_collection: bool = False
    is_nullable: bool = True
    max_length: int | None = None
    precision: int | None = None
    scale: int | None = None


class Navigation(msgspec.Struct):
    """A navigation property, with the properties that hold its target's key."""

    name: str
    target: str
    is_collection: bool
    constraints: list[tuple[str, str]] = []


class EntityType(msgspec.Struct):
    """An entity type as declared, without what it inherits."""

    name: str
    base: str | None = None
    key: list[str] = []
    properties: list[Property] = []
    navigations: list[Navigation] = []


class EntitySet(msgspec.Struct):
    """An entity set and where its navigations lead."""

    name: str
    type: str
    bindings: dict[str, str] = {}


class Csdl(msgspec.Struct, dict=True):
    """Everything a `$metadata` document declares that Satchel reads; all names are qualified, aliases resolved."""

    types: dict[str, EntityType] = {}
    sets: dict[str, EntitySet] = {}
    definitions: dict[str, Property] = {}
    """Type definitions by name: the property stands for the underlying type and its facets."""
    annotations: dict[tuple[str, str], str] = {}
    """(target, term) -> value; targets are `Type`, `Type/property`, `Container/Set`, terms fully qualified."""

    def lineage(self, name: str) -> Iterator[EntityType]:
        """A type and the types it inherits from, most derived first."""
        for _ in range(_MAX_BASE_TYPES):
            found = self.types.get(name)
            if found is None:
                return
            yield found
            name = found.base or ""

    def types_with_rows(self, name: str) -> Sequence[str]:
        """The type itself where it has an entity set, else all those that derive from it and have one."""
        return (name,) if name in self.sets_by_type else self._derived.get(name, ())

    @cached_property
    def sets_by_type(self) -> Mapping[str, Sequence[str]]:
        """Names of the entity sets of each type."""
        found: dict[str, list[str]] = defaultdict(list)
        for entity_set in self.sets.values():
            found[entity_set.type].append(entity_set.name)
        return found

    @cached_property
    def tracked_sets(self) -> frozenset[str]:
        """Names of the entity sets that say they hand out delta links."""
        told = self.annotations.items()
        return frozenset(t.rpartition("/")[2] for (t, term), said in told if term == CHANGE_TRACKING and said == "true")

    @cached_property
    def _derived(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for declared in self.types.values():
            if declared.name in self.sets_by_type:
                for ancestor in self.lineage(declared.base or ""):
                    found[ancestor.name].append(declared.name)
        return found

    def annotation(self, target: str, term: str) -> str | None:
        """The value of an annotation; `true` where it is only there."""
        return self.annotations.get((target, term))


def resolved(csdl: Csdl, aliases: Mapping[str, str]) -> Csdl:
    """The same declarations with every alias replaced by its namespace."""

    def whole(name: str) -> str:
        path, slash, rest = name.partition("/")
        qualifier, _, simple = path.rpartition(".")
        return f"{aliases.get(qualifier, qualifier)}.{simple}{slash}{rest}" if qualifier else name

    for entity_type in csdl.types.values():
        entity_type.base = whole(entity_type.base) if entity_type.base else None
        entity_type.properties = [msgspec.structs.replace(p, type=whole(p.type)) for p in entity_type.properties]
        for navigation in entity_type.navigations:
            navigation.target = whole(navigation.target)
    for entity_set in csdl.sets.values():
        entity_set.type = whole(entity_set.type)
    csdl.annotations = {
        (whole(target), whole(term.partition("#")[0])): value for (target, term), value in csdl.annotations.items()
    }
    return csdl
