"""A compiled offline profile: what is staged, how it is partitioned, and which parts a user is bound to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property

import msgspec

from satchel.model.client_model import ClientModel
from satchel.model.metadata import Entity


class BoundBy(StrEnum):
    """Which bucket keys of a family a user is bound to."""

    EVERYONE = "everyone"  # the family's one bucket
    USER = "user"  # the user's own id
    TEAMS = "teams"  # the ids of the user's teams
    UNIT = "unit"  # the id of the user's business unit


class Family(msgspec.Struct, frozen=True):
    """One way to partition an entity's rows. A bucket is one value of the key."""

    entity: str
    key_attribute: str | None = None
    """Rows with the same value share a bucket, rows without one are in none; None: one bucket holds all rows."""

    @property
    def name(self) -> str:
        """Stands for the whole definition: a family with another definition has another name."""
        return f"by {self.key_attribute}" if self.key_attribute else "all"


class Binding(msgspec.Struct, frozen=True):
    """Users are bound to buckets of this family by these keys."""

    family: Family
    by: BoundBy


class Principals(msgspec.Struct, frozen=True):
    """Where users, teams and business units stand among the organization's entities."""

    user_entity: str
    user_name_attribute: str | None = None
    user_unit_attribute: str | None = None
    user_disabled_attribute: str | None = None
    membership_entity: str | None = None
    membership_user_attribute: str | None = None
    membership_team_attribute: str | None = None

    @property
    def entities(self) -> frozenset[str]:
        """Entities whose changes may change users' buckets."""
        return frozenset({self.user_entity} | ({self.membership_entity} if self.membership_entity else set()))


class Scope(msgspec.Struct, frozen=True, dict=True):
    """What an organization's profile comes to."""

    entities: tuple[Entity, ...] = ()
    """What is staged, each with the attributes to pull."""
    bindings: tuple[Binding, ...] = ()
    principals: Principals | None = None
    client_model: ClientModel = ClientModel()

    @cached_property
    def entity_by_name(self) -> Mapping[str, Entity]:
        """The staged entities by name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The families in use, each once."""
        return tuple(dict.fromkeys(binding.family for binding in self.bindings))
