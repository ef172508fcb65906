"""What a user may have: the buckets the scope binds them to, and the client model with the columns they may read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import msgspec

from satchel.buckets.bound import bound_buckets
from satchel.buckets.families import family_ids
from satchel.database.pool import Connection
from satchel.model.client_model import ClientEntity, ClientModel
from satchel.model.ids import BucketId
from satchel.model.scope import Scope
from satchel.model.user import User
from satchel.staging.head import Head
from satchel.staging.principals import read_user

_USERS_KEPT = 4096


class UserScope(msgspec.Struct, frozen=True):
    """What a user may have, as of one snapshot."""

    entity_by_bucket: Mapping[BucketId, str]
    client_model: ClientModel

    def of_entity(self, entity: str) -> set[BucketId]:
        """The user's buckets of one entity."""
        return {bucket for bucket, name in self.entity_by_bucket.items() if name == entity}


class Users:
    """Users as they were last read: one who is asked for again costs no query until principals change."""

    def __init__(self) -> None:
        """Know nobody yet."""
        self._known: dict[tuple[str, int, str], User | None] = {}

    async def find(self, connection: Connection, head: Head, scope: Scope, user_id: str) -> User | None:
        """The user, as of this head."""
        key = (head.epoch, head.binding, user_id)
        if key not in self._known:
            while len(self._known) >= _USERS_KEPT:
                del self._known[next(iter(self._known))]
            self._known[key] = await read_user(connection, scope, user_id)
        return self._known[key]


async def user_scope(connection: Connection, scope: Scope, user: User | None) -> UserScope:
    """What the user may have. One who is disabled at the source has no row, one who is gone not even the tables."""
    if user is None:
        return UserScope({}, ClientModel())
    if not user.is_enabled:
        return UserScope({}, user_model(scope, user))
    buckets = await bound_buckets(connection, scope, await family_ids(connection), user)
    return UserScope({bucket: family.entity for bucket, family in buckets.items()}, user_model(scope, user))


def user_model(scope: Scope, user: User) -> ClientModel:
    """The entities of the user's profiles, with the columns that these offer and the user may read."""
    offered: dict[str, set[str]] = {}
    for profile in user.profiles:
        for entity, attributes in scope.offered.get(profile, {}).items():
            offered.setdefault(entity, set()).update(attributes)
    for entity, attributes in scope.secured.items():
        hidden = {name for name in attributes if (entity, name) not in user.readable}
        if entity in offered:
            offered[entity] -= hidden - set(scope.entity_by_name[entity].key)
    writable = frozenset(entity for profile in user.profiles for entity in scope.writable.get(profile, ()))
    columns = tuple((entity, tuple(sorted(names))) for entity, names in sorted(offered.items()))
    return _model(scope.client_model, columns, writable)


@lru_cache(maxsize=256)
def _model(
    whole: ClientModel, offered: tuple[tuple[str, tuple[str, ...]], ...], writable: frozenset[str]
) -> ClientModel:
    names = {entity: frozenset(attributes) for entity, attributes in offered}
    chosen = [entity for entity in whole.entities if entity.name in names]
    return ClientModel(
        tuple(_only(entity, names[entity.name], is_read_only=entity.name not in writable) for entity in chosen)
    )


def _only(entity: ClientEntity, names: frozenset[str], *, is_read_only: bool) -> ClientEntity:
    attributes = tuple(attribute for attribute in entity.attributes if attribute.name in names)
    name_attribute = entity.name_attribute if entity.name_attribute in names else None
    return msgspec.structs.replace(
        entity, attributes=attributes, name_attribute=name_attribute, is_read_only=is_read_only
    )
