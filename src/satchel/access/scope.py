"""Compile a profile: metadata and profile in, scope out. Pure; everything that is wrong with a profile shows here."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

from satchel.access.profiles import DATAVERSE_PRINCIPALS, PrincipalSource, Profile, ProfileItem, RowScope
from satchel.errors import ProfileInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import Attribute, Entity, Metadata
from satchel.model.scope import Binding, BoundBy, Family, Principals, Scope


def entity_names(profile: Profile, source_kind: str) -> frozenset[str]:
    """The entities whose metadata a profile needs."""
    principals = _principal_source(profile, source_kind)
    names = {item.name for item in profile.entity}
    if principals:
        names |= {principals.user} | ({principals.membership} if principals.membership else set())
    return frozenset(names)


def compile_profile(profile: Profile, metadata: Metadata, source_kind: str) -> Scope:
    """What the profile comes to. Errors: ProfileInvalid, naming what the metadata lacks and the nearest it has."""
    client_entities: list[ClientEntity] = []
    pulled: dict[str, set[str]] = {}
    bindings: list[Binding] = []
    for item in profile.entity:
        entity = _entity(metadata, item.name)
        offered = _offered(entity, item)
        client_entities.append(_client_entity(entity, offered))
        item_bindings = [_binding(entity, item, rows) for rows in item.rows]
        bindings += item_bindings
        keys = {b.family.key_attribute for b in item_bindings if b.family.key_attribute}
        pulled[entity.name] = set(offered) | keys
    principals = _principals(metadata, _principal_source(profile, source_kind), pulled)
    entities = tuple(_entity(metadata, name).only(frozenset(names)) for name, names in sorted(pulled.items()))
    return Scope(entities, tuple(dict.fromkeys(bindings)), principals, ClientModel(tuple(client_entities)))


def _entity(metadata: Metadata, name: str) -> Entity:
    entity = metadata.entity_by_name.get(name)
    if entity is None:
        raise ProfileInvalid(f"The source has no entity {name!r}.", hint=_nearest(name, metadata.entity_by_name))
    return entity


def _attribute(entity: Entity, name: str) -> Attribute:
    attribute = entity.attribute_by_name.get(name)
    if attribute is None:
        raise ProfileInvalid(
            f"The entity {entity.name!r} has no attribute {name!r}.", hint=_nearest(name, entity.attribute_by_name)
        )
    return attribute


def _offered(entity: Entity, item: ProfileItem) -> list[str]:
    """The attributes a device gets: the key, the chosen ones, and what tells a polymorphic lookup's target."""
    chosen = [_attribute(entity, name) for name in item.columns] or list(entity.attributes)
    names = {a.name for a in chosen} | {a.type_attribute for a in chosen if a.type_attribute} | set(entity.key)
    return [a.name for a in entity.attributes if a.name in names]


def _binding(entity: Entity, item: ProfileItem, rows: RowScope) -> Binding:
    if rows is RowScope.ALL:
        return Binding(Family(entity.name), BoundBy.EVERYONE)
    attribute, setting = (item.unit, "unit") if rows is RowScope.UNIT else (item.owner, "owner")
    if attribute not in entity.attribute_by_name:
        raise ProfileInvalid(
            f"The entity {entity.name!r} has no attribute {attribute!r}, so its rows belong to no one: "
            f'rows = ["{rows}"] cannot be used.',
            hint=f'Use rows = ["all"], or say which attribute it is: {setting} = "..."',
        )
    by = {RowScope.OWN: BoundBy.USER, RowScope.TEAM: BoundBy.TEAMS, RowScope.UNIT: BoundBy.UNIT}[rows]
    return Binding(Family(entity.name, attribute), by)


def _principal_source(profile: Profile, source_kind: str) -> PrincipalSource | None:
    return profile.principals or (DATAVERSE_PRINCIPALS if source_kind == "dataverse" else None)


def _principals(metadata: Metadata, source: PrincipalSource | None, pulled: dict[str, set[str]]) -> Principals | None:
    """The principals' entities are pulled as well, with the attributes that scopes need."""
    if source is None:
        return None
    user = _entity(metadata, source.user)
    if len(user.key) != 1:
        raise ProfileInvalid(f"The user entity {user.name!r} has a composite key.")
    of_user = [n for n in (source.user_name, source.user_unit, source.user_disabled) if n]
    pulled.setdefault(user.name, set()).update(_attribute(user, name).name for name in of_user)
    if source.membership:
        membership = _entity(metadata, source.membership)
        of_membership = [n for n in (source.membership_user, source.membership_team) if n]
        pulled.setdefault(membership.name, set()).update(_attribute(membership, n).name for n in of_membership)
    return Principals(
        source.user,
        source.user_name,
        source.user_unit,
        source.user_disabled,
        source.membership,
        source.membership_user,
        source.membership_team,
    )


def _client_entity(entity: Entity, offered: list[str]) -> ClientEntity:
    attributes = tuple(_client_attribute(entity.attribute_by_name[name]) for name in offered)
    name_attribute = entity.name_attribute if entity.name_attribute in offered else None
    return ClientEntity(
        name=entity.name, key=entity.key, attributes=attributes, name_attribute=name_attribute, label=entity.label
    )


def _client_attribute(attribute: Attribute) -> ClientAttribute:
    fields = msgspec.structs.asdict(attribute)
    del fields["wire_name"]
    return ClientAttribute(**fields)


def _nearest(name: str, names: Iterable[str]) -> str:
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return "It has: " + ", ".join(known[:12]) + (", ..." if len(known) > 12 else "") + "."
