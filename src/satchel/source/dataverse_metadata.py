"""Dataverse's declarations become entities: logical names, lookups without their wire form, polymorphic lookups.

Source: powerapps-docs, developer/data-platform/webapi/web-api-properties.md (lookup properties),
web-api-navigation-properties.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from satchel.model.metadata import Attribute, AttributeType, Entity, Reference
from satchel.source.csdl import Csdl, Navigation
from satchel.source.definitions import EntityDefinition
from satchel.source.metadata import Shape, attribute_of, modified_attribute_of, shapes_of

LOOKUP_TYPE_ANNOTATION = "Microsoft.Dynamics.CRM.lookuplogicalname"

_LOOKUP = re.compile(r"^_(.+)_value$")
_PRINCIPAL = ".principal"
_OWNERS = ("systemuser", "team")
"""What a principal is, where the metadata does not say which types derive from it."""
_TYPE_SUFFIX = "type"
_TYPE_LENGTH = 64


def dataverse_entities(csdl: Csdl, definitions: Mapping[str, EntityDefinition]) -> tuple[Entity, ...]:
    """The organization's entities by logical name, without details of attributes."""
    by_set = {d.entity_set_name: d for d in definitions.values() if d.entity_set_name}
    found = [(shape, by_set.get(shape.entity_set.name)) for shape in shapes_of(csdl)]
    return tuple(_entity(csdl, shape, definition) for shape, definition in found if definition is not None)


def _entity(csdl: Csdl, shape: Shape, definition: EntityDefinition) -> Entity:
    attributes = _attributes(csdl, shape)
    names = {attribute.name for attribute in attributes}
    primary = definition.primary_id_attribute
    return Entity(
        name=definition.logical_name,
        set_name=shape.entity_set.name,
        key=(primary,) if primary in names else shape.key,
        attributes=attributes,
        ownership=definition.ownership,
        read_privilege=definition.read_privilege,
        privileges=definition.change_privileges,
        name_attribute=definition.primary_name_attribute if definition.primary_name_attribute in names else None,
        modified_attribute=modified_attribute_of(attributes),
        tracks_changes=bool(definition.change_tracking_enabled),
        label=definition.label,
    )


def _attributes(csdl: Csdl, shape: Shape) -> tuple[Attribute, ...]:
    plain: list[Attribute] = []
    for declaring, declared in shape.properties:
        attribute = attribute_of(csdl, declaring, declared)
        if attribute is not None:
            plain.append(attribute)
    taken = {attribute.name for attribute in plain}
    lookups = shape.lookups
    made: dict[str, Attribute] = {}
    for attribute in plain:
        for part in _lookup(csdl, attribute, lookups.get(attribute.name, ()), taken):
            made[part.name] = part
    return tuple(made.values())


def _lookup(
    csdl: Csdl, attribute: Attribute, navigations: Sequence[Navigation], taken: set[str]
) -> Iterable[Attribute]:
    """The attribute under its logical name; a polymorphic lookup is followed by the one that names its target."""
    match = _LOOKUP.match(attribute.name)
    if match is None or match[1] in taken:
        return [attribute]
    name = match[1]
    targets = _targets(csdl, navigations)
    attribute = msgspec.structs.replace(
        attribute, name=name, targets=targets, references=_references(csdl, navigations)
    )
    if len(targets) < 2:
        return [attribute]
    kind = Attribute(
        name=name + _TYPE_SUFFIX,
        wire_name=f"{attribute.wire_name}@{LOOKUP_TYPE_ANNOTATION}",
        type=AttributeType.STRING,
        max_length=_TYPE_LENGTH,
        is_creatable=False,
        is_updatable=False,
    )
    return [msgspec.structs.replace(attribute, type_attribute=kind.name), kind]


def _references(csdl: Csdl, navigations: Sequence[Navigation]) -> tuple[Reference, ...]:
    """How a lookup is written: by the navigation property of the target."""
    found: dict[str, Reference] = {}
    for navigation in navigations:
        types = csdl.types_with_rows(navigation.target)
        names = {name.rpartition(".")[2]: csdl.sets_by_type[name][0] for name in types}
        if not names and navigation.target.endswith(_PRINCIPAL):
            names = {name: f"{name}s" for name in _OWNERS}
        for name, set_name in names.items():
            found.setdefault(name, Reference(name, set_name, navigation.name))
    return tuple(found.values())


def _targets(csdl: Csdl, navigations: Sequence[Navigation]) -> tuple[str, ...]:
    """Logical names of the entities that the navigations lead to."""
    types = dict.fromkeys(name for n in navigations for name in csdl.types_with_rows(n.target))
    names = tuple(name.rpartition(".")[2] for name in types)
    if not names and any(n.target.endswith(_PRINCIPAL) for n in navigations):
        return _OWNERS
    return names
