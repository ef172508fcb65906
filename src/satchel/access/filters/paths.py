"""Paths along lookups, as profiles write them, resolved against the metadata.

A path is names joined by `/`. A name is a lookup of the entity the path has come to (`parentcustomerid`; with several
targets `parentcustomerid_account`), or `entity.lookup`: the rows of that entity whose lookup points to where the path
has come. Many-to-many goes through the intersection entity: `teammembership.systemuserid/teamid`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from satchel.errors import ProfileInvalid
from satchel.model.condition import Step
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata

MAX_STEPS = 3


def find_entity(metadata: Metadata, name: str) -> Entity:
    """The entity of that name. Errors: ProfileInvalid with the nearest names."""
    entity = metadata.entity_by_name.get(name)
    if entity is None:
        raise ProfileInvalid(f"The source has no entity {name!r}.", hint=nearest(name, metadata.entity_by_name))
    return entity


def find_attribute(entity: Entity, name: str) -> Attribute:
    """The attribute of that name. Errors: ProfileInvalid with the nearest names."""
    attribute = entity.attribute_by_name.get(name)
    if attribute is None:
        raise ProfileInvalid(
            f"The entity {entity.name!r} has no attribute {name!r}.", hint=nearest(name, entity.attribute_by_name)
        )
    return attribute


def find_path(metadata: Metadata, start: Entity, names: Sequence[str]) -> tuple[Step, ...]:
    """The steps of a path. Errors: ProfileInvalid (unknown, no lookup, too long)."""
    steps: list[Step] = []
    entity = start
    for name in names:
        steps.append(_step(metadata, entity, name))
        entity = find_entity(metadata, steps[-1].entity)
    check_length(steps)
    return tuple(steps)


def check_length(steps: Sequence[Step]) -> None:
    """A path has at most three steps. Errors: ProfileInvalid."""
    if len(steps) > MAX_STEPS:
        raise ProfileInvalid(
            f"A path has {len(steps)} steps; at most {MAX_STEPS} are allowed.",
            hint="Offer an entity on the way with rows of its own, and relate to that one.",
        )


def nearest(name: str, names: Iterable[str]) -> str:
    """What a person may have meant."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return "It has: " + ", ".join(known[:12]) + (", ..." if len(known) > 12 else "") + "."


def _step(metadata: Metadata, entity: Entity, name: str) -> Step:
    if "." in name:
        return _backward(metadata, entity, name)
    attribute = entity.attribute_by_name.get(name)
    if attribute is not None:
        return _forward(metadata, entity, attribute, _only_target(metadata, attribute))
    for candidate in entity.attributes:  # lookup_target
        if name.startswith(candidate.name + "_"):
            target = name.removeprefix(candidate.name + "_")
            if target in candidate.targets or (not candidate.targets and target in metadata.entity_by_name):
                return _forward(metadata, entity, candidate, target)
    find_attribute(entity, name)
    raise AssertionError


def _forward(metadata: Metadata, entity: Entity, attribute: Attribute, target: str | None) -> Step:
    if target is None:
        several = [f"{attribute.name}_{name}" for name in attribute.targets]
        raise ProfileInvalid(
            f"{entity.name}.{attribute.name} does not lead to one entity.",
            hint=f"Write {' or '.join(several)}." if several else "A path goes along lookups only.",
        )
    reached = find_entity(metadata, target)
    _check_types(entity, attribute, reached, attribute)
    return Step(target, attribute.name)


def _backward(metadata: Metadata, entity: Entity, name: str) -> Step:
    other_name, _, lookup = name.partition(".")
    other = find_entity(metadata, other_name)
    attribute = find_attribute(other, lookup)
    if attribute.targets and entity.name not in attribute.targets:
        raise ProfileInvalid(
            f"{other.name}.{attribute.name} does not point to {entity.name}.",
            hint=f"It points to {', '.join(attribute.targets)}.",
        )
    _check_types(other, attribute, entity, attribute)
    return Step(other.name, attribute.name, is_backward=True)


def _check_types(owner: Entity, lookup: Attribute, target: Entity, attribute: Attribute) -> None:
    if len(target.key) != 1 or target.attribute_by_name[target.key[0]].type is not attribute.type:
        raise ProfileInvalid(
            f"{owner.name}.{lookup.name} is not the key of {target.name}.", hint="A path goes along lookups only."
        )


def _only_target(metadata: Metadata, attribute: Attribute) -> str | None:
    """An intersection entity names no targets: there the attribute has the name of the key it holds."""
    if len(attribute.targets) == 1:
        return attribute.targets[0]
    if attribute.targets or attribute.type is not AttributeType.GUID:
        return None
    owners = [e.name for e in metadata.entities if e.key == (attribute.name,)]
    return owners[0] if len(owners) == 1 else None
