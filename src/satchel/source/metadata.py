"""Declarations (CSDL) become the metadata that the other rooms know: entities and attributes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.csdl import CORE, Csdl, EntitySet, Navigation, Property

MEMO_LENGTH = 4000
"""Text that may be longer than this is a memo."""

MODIFIED_NAMES = (
    "modifiedon",
    "modifiedat",
    "modified",
    "modifieddate",
    "modifieddatetime",
    "lastmodified",
    "lastmodifiedat",
    "lastmodifieddate",
    "lastmodifieddatetime",
    "lastmodifiedon",
    "systemmodifiedat",
    "systemmodstamp",
    "changedat",
    "changedon",
    "lastchangedatetime",
    "lastchangedat",
    "updatedat",
    "updatedon",
    "lastupdated",
)
"""Names, in lower case and without underscores, of a time that rises with every change; the first that fits counts."""

_LABEL = "com.sap.vocabularies.Common.v1.Label"
_TYPES = {
    "Edm.String": AttributeType.STRING,
    "Edm.Byte": AttributeType.INTEGER,
    "Edm.SByte": AttributeType.INTEGER,
    "Edm.Int16": AttributeType.INTEGER,
    "Edm.Int32": AttributeType.INTEGER,
    "Edm.Int64": AttributeType.BIGINT,
    "Edm.Decimal": AttributeType.DECIMAL,
    "Edm.Double": AttributeType.DOUBLE,
    "Edm.Single": AttributeType.DOUBLE,
    "Edm.Boolean": AttributeType.BOOLEAN,
    "Edm.DateTimeOffset": AttributeType.DATETIME,
    "Edm.Date": AttributeType.DATE,
    "Edm.TimeOfDay": AttributeType.TIME,
    "Edm.Guid": AttributeType.GUID,
    "Edm.Binary": AttributeType.BINARY,
}
_WITH_PRECISION = {AttributeType.DECIMAL, AttributeType.DATETIME, AttributeType.TIME}
_STREAM = "Edm.Stream"


class Shape(msgspec.Struct, frozen=True):
    """An entity set's type with all it inherits."""

    entity_set: EntitySet
    key: tuple[str, ...]
    properties: tuple[tuple[str, Property], ...]
    """(declaring type, property), inherited ones first."""
    navigations: tuple[Navigation, ...]

    @property
    def lookups(self) -> Mapping[str, list[Navigation]]:
        """Single-valued navigations by the property that holds the target's key."""
        found: dict[str, list[Navigation]] = defaultdict(list)
        for navigation in self.navigations:
            if not navigation.is_collection and len(navigation.constraints) == 1:
                found[navigation.constraints[0][0]].append(navigation)
        return found


def shapes_of(csdl: Csdl) -> Iterable[Shape]:
    """All entity sets whose rows have a key."""
    for entity_set in csdl.sets.values():
        lineage = list(csdl.lineage(entity_set.type))
        key = next((tuple(declared.key) for declared in lineage if declared.key), ())
        bases = list(reversed(lineage))
        properties = {p.name: (declared.name, p) for declared in bases for p in declared.properties}
        if key and all(name in properties for name in key):
            navigations = tuple(n for declared in bases for n in declared.navigations)
            yield Shape(entity_set, key, tuple(properties.values()), navigations)


def entities_of(csdl: Csdl) -> tuple[Entity, ...]:
    """The entities of any OData v4 service; an entity bears the name of its entity set."""
    return tuple(_entity(csdl, shape) for shape in shapes_of(csdl))


def attribute_of(csdl: Csdl, declaring: str, declared: Property) -> Attribute | None:
    """The attribute a property makes; None: a stream, which is no value of a row."""
    if declared.type == _STREAM:
        return None
    declared = _underlying(csdl, declared)
    kind = AttributeType.TEXT if declared.is_collection else _TYPES.get(declared.type, AttributeType.TEXT)
    if kind is AttributeType.STRING and (declared.max_length or 0) > MEMO_LENGTH:
        kind = AttributeType.MEMO
    target = f"{declaring}/{declared.name}"
    is_computed = csdl.annotation(target, f"{CORE}.Computed") == "true"
    is_immutable = csdl.annotation(target, f"{CORE}.Immutable") == "true"
    is_given = is_computed or csdl.annotation(target, f"{CORE}.ComputedDefaultValue") == "true"
    is_known = kind is not AttributeType.TEXT
    return Attribute(
        name=declared.name,
        wire_name=declared.name,
        type=kind,
        precision=declared.precision if kind in _WITH_PRECISION else None,
        scale=declared.scale if kind is AttributeType.DECIMAL else None,
        max_length=declared.max_length,
        is_required=not declared.is_nullable and not is_given,
        is_creatable=is_known and not is_computed,
        is_updatable=is_known and not is_computed and not is_immutable,
        label=csdl.annotation(target, _LABEL) or "",
    )


def modified_attribute_of(attributes: Iterable[Attribute]) -> str | None:
    """The attribute that rises with every change, judged by its name and type."""
    by_plain_name = {a.name.lower().replace("_", ""): a.name for a in attributes if a.type is AttributeType.DATETIME}
    return next((by_plain_name[name] for name in MODIFIED_NAMES if name in by_plain_name), None)


def _entity(csdl: Csdl, shape: Shape) -> Entity:
    entity_set, lookups = shape.entity_set, shape.lookups
    found = [attribute_of(csdl, declaring, declared) for declaring, declared in shape.properties]
    attributes = [
        msgspec.structs.replace(
            attribute,
            targets=_target_sets(csdl, entity_set, lookups.get(attribute.name, [])),
            is_updatable=attribute.is_updatable and attribute.name not in shape.key,
        )
        for attribute in found
        if attribute is not None
    ]
    return Entity(
        name=entity_set.name,
        set_name=entity_set.name,
        key=shape.key,
        attributes=tuple(attributes),
        modified_attribute=modified_attribute_of(attributes),
        tracks_changes=entity_set.name in csdl.tracked_sets,
        label=csdl.annotation(entity_set.type, _LABEL) or "",
    )


def _target_sets(csdl: Csdl, entity_set: EntitySet, navigations: Iterable[Navigation]) -> tuple[str, ...]:
    """The entity sets a lookup leads to: by the set's bindings, else the sets of the navigation's type."""
    targets: dict[str, None] = {}
    for navigation in navigations:
        bound = entity_set.bindings.get(navigation.name)
        if bound is not None:
            targets[bound.rpartition("/")[2]] = None
            continue
        for name in csdl.types_with_rows(navigation.target):
            targets |= dict.fromkeys(csdl.sets_by_type[name])
    return tuple(name for name in targets if name in csdl.sets)


def _underlying(csdl: Csdl, declared: Property) -> Property:
    """A type definition stands for its underlying type; facets of the property itself count first."""
    definition = csdl.definitions.get(declared.type)
    if definition is None:
        return declared
    return msgspec.structs.replace(
        declared,
        type=definition.type,
        max_length=declared.max_length or definition.max_length,
        precision=declared.precision if declared.precision is not None else definition.precision,
        scale=declared.scale if declared.scale is not None else definition.scale,
    )
