"""The buckets a user is bound to: the keys of the profile's bindings, filled in with who the user is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from satchel.buckets.families import bound_buckets
from satchel.database.pool import Connection
from satchel.model.ids import BucketId
from satchel.model.scope import Binding, BoundBy, Family, Scope
from satchel.staging.principals import User, read_user


class UserBuckets(msgspec.Struct, frozen=True):
    """What a user may have, as of one snapshot."""

    entity_by_bucket: Mapping[BucketId, str]

    def of_entity(self, entity: str) -> set[BucketId]:
        """The user's buckets of one entity."""
        return {bucket for bucket, name in self.entity_by_bucket.items() if name == entity}


async def user_buckets(connection: Connection, scope: Scope, user_id: str) -> UserBuckets:
    """The user's buckets. A user who is gone or disabled at the source has none."""
    user = await read_user(connection, scope, user_id)
    if user is None or not user.is_enabled:
        return UserBuckets({})
    keys: dict[Family, dict[str, None]] = {}
    for binding in scope.bindings:
        keys.setdefault(binding.family, {}).update(dict.fromkeys(_keys(binding, user)))
    found = await bound_buckets(connection, [(family, list(values)) for family, values in keys.items()])
    return UserBuckets({bucket: entity for entity, bucket in found})


def _keys(binding: Binding, user: User) -> Sequence[str]:
    match binding.by:
        case BoundBy.EVERYONE:
            return [""]
        case BoundBy.USER:
            return [user.id]
        case BoundBy.TEAMS:
            return user.teams
        case BoundBy.UNIT:
            return [user.unit] if user.unit else []
