"""What a user may have: the buckets the scope binds them to, and the client model with the columns they may read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from satchel.access.user_model import user_model
from satchel.buckets.bound import bound_buckets
from satchel.buckets.families import family_ids
from satchel.database.pool import Connection
from satchel.model.client_model import ClientModel
from satchel.model.ids import BucketId
from satchel.model.scope import Scope
from satchel.model.user import User


class UserScope(msgspec.Struct, frozen=True):
    """What a user may have, as of one snapshot."""

    entity_by_bucket: Mapping[BucketId, str]
    client_model: ClientModel

    def of_entity(self, entity: str) -> set[BucketId]:
        """The user's buckets of one entity."""
        return {bucket for bucket, name in self.entity_by_bucket.items() if name == entity}


async def user_scope(connection: Connection, scope: Scope, user: User | None) -> UserScope:
    """What the user may have. One who is disabled at the source has no row, one who is gone not even the tables."""
    if user is None:
        return UserScope({}, ClientModel())
    if not user.is_enabled:
        return UserScope({}, user_model(scope, user))
    buckets = await bound_buckets(connection, scope, await family_ids(connection), user)
    return UserScope({bucket: family.entity for bucket, family in buckets.items()}, user_model(scope, user))
