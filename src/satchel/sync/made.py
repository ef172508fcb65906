"""Buckets that were made lately: whether one is a user's follows from its key, without a look at the database."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from satchel.buckets.decisions import holds
from satchel.buckets.families import BucketKey
from satchel.model.condition import Condition
from satchel.model.ids import BucketId
from satchel.model.scope import Family, Scope
from satchel.model.user import User


class MadeBuckets:
    """Keys of new buckets, and the conditions of the scope in force."""

    def __init__(self) -> None:
        """Know none yet."""
        self._keys: dict[BucketId, BucketKey | None] = {}
        self._scope: Scope | None = None
        self._conditions: dict[str, list[tuple[Family, Condition]]] = {}

    def learn(self, scope: Scope, asked: Iterable[BucketId], found: Mapping[BucketId, BucketKey]) -> None:
        """Keys as they were read. One that was asked for and not found has gone: it is nobody's."""
        self._keys |= {bucket: found.get(bucket) for bucket in asked}
        if scope is not self._scope:
            self._scope, self._conditions = scope, {}
            for binding in scope.bindings:
                conditions = self._conditions.setdefault(binding.family.name, [])
                conditions.append((binding.family, binding.condition))

    def forget(self, buckets: Iterable[BucketId]) -> None:
        """These are asked for no more."""
        for bucket in buckets:
            self._keys.pop(bucket, None)

    def is_bound(self, bucket: BucketId, user: User, held: Container[str]) -> bool:
        """The user is bound to the bucket; `held`: ids of those the user is bound to besides, as text.

        One whose key is not known may be. Cost: some microseconds.
        """
        if bucket not in self._keys:
            return True
        found = self._keys[bucket]
        if found is None or not user.is_enabled:
            return False
        conditions = self._conditions.get(found.family, ())
        return any(holds(condition, family, found.key, user, held) for family, condition in conditions)
