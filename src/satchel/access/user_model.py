"""The client model of one user: the entities of their profiles, with the columns these offer and the user may read."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.metadata import Right
from satchel.model.scope import Scope
from satchel.model.user import Grants, User


def user_model(scope: Scope, user: User) -> ClientModel:
    """The entities of the user's profiles, with the columns that these offer and the user may read; what the user may
    not change is marked so."""
    offered: dict[str, set[str]] = {}
    for profile in user.profiles:
        for entity, attributes in scope.offered.get(profile, {}).items():
            offered.setdefault(entity, set()).update(attributes)
    fixed: set[tuple[str, str, bool]] = set()
    for entity, attributes in scope.secured.items():
        hidden = {name for name in attributes if (entity, name) not in user.readable}
        if entity in offered:
            offered[entity] -= hidden - set(scope.entity_by_name[entity].key)
        fixed |= {(entity, name, True) for name in attributes if (entity, name) not in user.creatable}
        fixed |= {(entity, name, False) for name in attributes if (entity, name) not in user.updatable}
    writable = {entity for profile in user.profiles for entity in scope.writable.get(profile, ())}
    columns = tuple((entity, tuple(sorted(names))) for entity, names in sorted(offered.items()))
    changeable = frozenset(entity for entity in writable if _may_change(user, entity))
    return _model(scope.client_model, columns, changeable, frozenset(fixed))


def _may_change(user: User, entity: str) -> bool:
    """Some role allows to create, change or delete a row of the entity."""
    rights = user.rights.get(entity, {})
    named = [rights[right] for right in (Right.CREATE, Right.WRITE, Right.DELETE) if right in rights]
    return not named or any(grants != Grants() for grants in named)


@lru_cache(maxsize=256)
def _model(
    whole: ClientModel,
    offered: tuple[tuple[str, tuple[str, ...]], ...],
    changeable: frozenset[str],
    fixed: frozenset[tuple[str, str, bool]],
) -> ClientModel:
    names = {entity: frozenset(attributes) for entity, attributes in offered}
    chosen = [entity for entity in whole.entities if entity.name in names]
    return ClientModel(
        tuple(_only(entity, names[entity.name], fixed, is_read_only=entity.name not in changeable) for entity in chosen)
    )


def _only(
    entity: ClientEntity, names: frozenset[str], fixed: frozenset[tuple[str, str, bool]], *, is_read_only: bool
) -> ClientEntity:
    """`fixed`: (entity, attribute, whether in a new row) that the user may not set."""
    attributes = tuple(
        msgspec.structs.replace(
            attribute,
            is_creatable=attribute.is_creatable and (entity.name, attribute.name, True) not in fixed,
            is_updatable=attribute.is_updatable and (entity.name, attribute.name, False) not in fixed,
        )
        for attribute in entity.attributes
        if attribute.name in names
    )
    name_attribute = entity.name_attribute if entity.name_attribute in names else None
    return msgspec.structs.replace(
        entity, attributes=attributes, name_attribute=name_attribute, is_read_only=is_read_only
    )
