"""Compiled offline profiles: what is staged, how it is partitioned, and which parts a user is bound to.

Each row of an entity stands in the bucket of its key: the values on which it depends who may see the row. A user is
bound to the buckets whose keys meet the family's condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import msgspec

from satchel.model.client_model import ClientModel
from satchel.model.condition import (
    Comparison,
    Condition,
    Exists,
    MomentComparison,
    Place,
    Step,
    UserComparison,
    leaves,
)
from satchel.model.metadata import Entity, Right, digest_of


class PartKind(StrEnum):
    """What a part of a bucket's key is."""

    VALUE = "value"  # a value of the row, as text
    FLAG = "flag"  # whether a condition holds: t or f
    VALUES = "values"  # the values of all rows along a path, sorted
    BUCKET = "bucket"  # the bucket of a related row: a row stands in one bucket for each


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """One part of a bucket's key."""

    kind: PartKind
    place: Place | None = None
    """VALUE: where it stands. VALUES: its place in the rows at the end of the path."""
    term: Condition | None = None
    """FLAG: the condition. VALUES: which rows of the path count."""
    path: tuple[Step, ...] = ()
    ignores_case: bool = False
    """VALUE, VALUES: kept in lower case."""


class Family(msgspec.Struct, frozen=True, omit_defaults=True, dict=True):
    """One way to partition an entity's rows."""

    entity: str
    parts: tuple[Part, ...] = ()
    where: Condition | None = None
    """Rows for which it does not hold are in no bucket: no user could be bound to it."""
    sources: tuple[str, ...] = ()
    """Names of the families whose buckets the part BUCKET (the last one) holds."""

    @cached_property
    def name(self) -> str:
        """Stands for the whole definition: a family with another definition has another name."""
        return digest_of(self)

    @property
    def related(self) -> Part | None:
        """The part that is a related row's bucket."""
        return self.parts[-1] if self.parts and self.parts[-1].kind is PartKind.BUCKET else None

    @cached_property
    def reaches(self) -> Mapping[tuple[Step, ...], frozenset[str]]:
        """Paths to rows on which a row's key depends, with the attributes that matter there."""
        found: dict[tuple[Step, ...], set[str]] = {}
        for part in self.parts:
            _note_part(found, part)
        if self.where is not None:
            _note(found, (), self.where)
        return {path: frozenset(names) for path, names in found.items()}


class Binding(msgspec.Struct, frozen=True):
    """A user is bound to the family's buckets whose keys meet the condition."""

    family: Family
    condition: Condition


class Membership(msgspec.Struct, frozen=True):
    """An entity that ties two others together: its attributes that name them."""

    entity: str
    left: str
    right: str


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """Where security roles stand."""

    entity: str
    name: str | None = None
    of_users: Membership
    """User and role."""
    of_teams: Membership | None = None
    """Team and role."""
    privileges: Membership
    """Role and privilege."""
    depth: str
    """Attribute of `privileges`: 1 basic, 2 local, 4 deep, 8 global (Dataverse `privilegedepthmask`)."""
    privilege_entity: str | None = None
    """None: `privileges` names the entity itself that may be read."""
    privilege_name: str | None = None
    root: str | None = None
    """Attribute of a role: the role it is a unit's copy of, whose privileges it has (Dataverse `parentrootroleid`)."""
    inherits: str | None = None
    """Attribute of a role: 1 where a team's members have its basic privileges for rows of their own."""
    unit: str | None = None
    """Attribute of a role: the business unit that its depths count from; None: the user's or the team's."""


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows are shared with users and teams (Dataverse `principalobjectaccess`)."""

    entity: str
    row: str
    principal: str
    rights: str | None = None
    """Bit 1 is the right to read; None: every share is."""
    inherited_rights: str | None = None
    """The same, from a share of a parent row."""


class ColumnSecurity(msgspec.Struct, frozen=True, kw_only=True):
    """Where it stands who may read secured columns (Dataverse field security profiles)."""

    permissions: str
    """Entity of one permission for one column."""
    profile: str
    entity: str
    attribute: str
    can_read: str
    """Attribute of a permission: more than 0 allows."""
    can_create: str | None = None
    """The same, for setting it in a new row; None: nobody may."""
    can_update: str | None = None
    """The same, for changing it."""
    of_users: Membership
    of_teams: Membership | None = None


class Principals(msgspec.Struct, frozen=True, kw_only=True):
    """Where users, teams, business units and roles stand among the organization's entities."""

    user: str
    user_name: str | None = None
    user_unit: str | None = None
    user_disabled: str | None = None
    user_identifiers: tuple[str, ...] = ()
    """Attributes by which those who sign in can be found."""
    user_manager: str | None = None
    """With it, users see what their reports see as owners (manager hierarchy), down to `hierarchy_depth`."""
    user_position: str | None = None
    position: str | None = None
    position_parent: str | None = None
    hierarchy_depth: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    unit: str | None = None
    unit_parent: str | None = None
    team: str | None = None
    team_unit: str | None = None
    membership: Membership | None = None
    """User and team."""
    roles: Roles | None = None
    shares: Shares | None = None
    columns: ColumnSecurity | None = None

    @property
    def entities(self) -> frozenset[str]:
        """Entities whose changes may change what users are bound to."""
        roles, columns = self.roles, self.columns
        links = [self.membership]
        names = [self.user, self.unit, self.team, self.position]
        if roles:
            links += [roles.of_users, roles.of_teams, roles.privileges]
            names += [roles.entity, roles.privilege_entity]
        if columns:
            links += [columns.of_users, columns.of_teams]
            names.append(columns.permissions)
        return frozenset([n for n in names if n] + [link.entity for link in links if link])


class ProfileAssignment(msgspec.Struct, frozen=True):
    """Who takes part in a profile; all empty: everyone."""

    profile: str
    users: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    @property
    def is_for_everyone(self) -> bool:
        """Nobody is named."""
        return not (self.users or self.teams or self.roles)


class RowOwner(msgspec.Struct, frozen=True):
    """Attributes of an entity that say whose its rows are."""

    owner: str | None = None
    unit: str | None = None


class Scope(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """What an organization's profiles come to."""

    entities: tuple[Entity, ...] = ()
    """What is staged, each with the attributes to pull."""
    bindings: tuple[Binding, ...] = ()
    """In an order in which a family stands behind those whose buckets it holds."""
    principals: Principals | None = None
    assignments: tuple[ProfileAssignment, ...] = ()
    offered: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    """For each profile, the attributes of each entity that devices get."""
    writable: Mapping[str, tuple[str, ...]] = {}
    """For each profile, the entities whose rows may be changed."""
    secured: Mapping[str, tuple[str, ...]] = {}
    """Attributes that only users with a permission for them get, by entity."""
    pull_minutes: Mapping[str, int] = {}
    """How often an entity is pulled, where a profile says so."""
    privileges: Mapping[str, str] = {}
    """The privilege to read, of each entity that security decides on."""
    rights: Mapping[str, Mapping[Right, str]] = {}
    """The privileges to change its rows, and to refer to them; a right that is not here needs none."""
    owners: Mapping[str, RowOwner] = {}
    """Whose rows are, for entities that somebody owns."""
    user_attributes: tuple[str, ...] = ()
    """Attributes of the user's row that conditions ask for."""
    client_model: ClientModel = ClientModel()
    """Everything that is offered to anyone."""

    @cached_property
    def entity_by_name(self) -> Mapping[str, Entity]:
        """The staged entities by name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """The families in use, each once, sources first."""
        return tuple(dict.fromkeys(binding.family for binding in self.bindings))

    @cached_property
    def watched(self) -> Mapping[str, tuple[str, ...]]:
        """Attributes whose changes may move other rows to other buckets, by entity."""
        found: dict[str, set[str]] = {}
        for family in self.families:
            for path, names in family.reaches.items():
                found.setdefault(path[-1].entity, set()).update(names)
        return {entity: tuple(sorted(names)) for entity, names in found.items()}

    def together_with(self, other: Scope) -> Scope:
        """A scope that stages what both need, and has the families of both; what users may have is this one's."""
        entities = {entity.name: entity for entity in self.entities}
        for entity in other.entities:
            known = entities.get(entity.name)
            if known is not None:
                added = tuple(a for a in known.attributes if a.name not in entity.attribute_by_name)
                entity = msgspec.structs.replace(entity, attributes=(*entity.attributes, *added))
            entities[entity.name] = entity
        known_families = set(self.families)
        added_bindings = tuple(b for b in other.bindings if b.family not in known_families)
        return msgspec.structs.replace(
            self,
            entities=tuple(entities.values()),
            bindings=(*self.bindings, *added_bindings),
            principals=other.principals or self.principals,
        )

    @cached_property
    def is_moving(self) -> bool:
        """Some rows go in or out as time passes."""
        return any(True for family in self.families for _ in moving_leaves(family))

    @cached_property
    def sources(self) -> frozenset[str]:
        """Names of the families whose buckets others hold."""
        return frozenset(name for family in self.families for name in family.sources)

    @cached_property
    def indexed(self) -> frozenset[tuple[str, str]]:
        """Attributes (entity, attribute) by which rows are looked up: lookups along paths, and moving times."""
        return frozenset(self._hops()) | frozenset(self._times())

    def _hops(self) -> Iterable[tuple[str, str]]:
        for family in self.families:
            for path in family.reaches:
                starts = (family.entity, *(step.entity for step in path))
                for start, step in zip(starts, path, strict=False):
                    yield (step.entity if step.is_backward else start), step.attribute

    def _times(self) -> Iterable[tuple[str, str]]:
        for family in self.families:
            for path, leaf in moving_leaves(family):
                full = path + leaf.place.path
                yield (full[-1].entity if full else family.entity), leaf.place.attribute


def reached_attributes(family: Family) -> Iterable[tuple[str, str | None]]:
    """Attributes (entity, attribute) that a family's keys are made of; None: the entity's key alone."""
    for part in family.parts:
        if part.place is not None and not part.path + part.place.path:
            yield family.entity, part.place.attribute
    terms = [term for term in (family.where, *(p.term for p in family.parts if not p.path)) if term is not None]
    for term in terms:
        for prefix, leaf in _placed((), term):
            if isinstance(leaf, Comparison | MomentComparison | UserComparison) and not prefix + leaf.place.path:
                yield family.entity, leaf.place.attribute
    for path, names in family.reaches.items():
        starts = (family.entity, *(step.entity for step in path))
        for start, step in zip(starts, path, strict=False):
            yield (step.entity if step.is_backward else start), step.attribute
            yield step.entity, None
        for name in names:
            yield path[-1].entity, name


def moving_leaves(family: Family) -> Iterable[tuple[tuple[Step, ...], MomentComparison]]:
    """The comparisons of a family that change as time passes, each with the path its place counts from."""
    terms = [part for part in family.parts if part.term is not None]
    found: dict[tuple[tuple[Step, ...], MomentComparison], None] = {}
    for path, term in [*((part.path, part.term) for part in terms), ((), family.where)]:
        if term is not None:
            found |= dict.fromkeys(_moving(path, term))
    return tuple(found)


def _moving(path: tuple[Step, ...], term: Condition) -> Iterable[tuple[tuple[Step, ...], MomentComparison]]:
    for prefix, leaf in _placed(path, term):
        if isinstance(leaf, MomentComparison):
            yield prefix, leaf


def _placed(path: tuple[Step, ...], term: Condition) -> Iterable[tuple[tuple[Step, ...], Condition]]:
    """The leaves of a term, each with the path from the family's row to where its places count from."""
    for leaf in leaves(term):
        yield path, leaf
        if isinstance(leaf, Exists):
            yield from _placed(path + leaf.path, leaf.term)


def _note_part(found: dict[tuple[Step, ...], set[str]], part: Part) -> None:
    if part.place is not None:
        _note_place(found, part.path, part.place)
    elif part.kind is PartKind.BUCKET:
        _note_path(found, part.path)
    if part.term is not None:
        _note(found, part.path, part.term)


def _note(found: dict[tuple[Step, ...], set[str]], path: tuple[Step, ...], term: Condition) -> None:
    _note_path(found, path)
    for prefix, leaf in _placed(path, term):
        if isinstance(leaf, Exists):
            _note_path(found, prefix + leaf.path)
        elif isinstance(leaf, Comparison | MomentComparison | UserComparison):
            _note_place(found, prefix, leaf.place)


def _note_place(found: dict[tuple[Step, ...], set[str]], path: tuple[Step, ...], place: Place) -> None:
    full = path + place.path
    _note_path(found, full)
    if full:
        found[full].add(place.attribute)


def _note_path(found: dict[tuple[Step, ...], set[str]], path: tuple[Step, ...]) -> None:
    """Every row along a path matters, by the lookups that the path takes into it and out of it."""
    for length, step in enumerate(path, 1):
        names = found.setdefault(path[:length], set())
        if step.is_backward:
            names.add(step.attribute)
        if length < len(path) and not path[length].is_backward:
            names.add(path[length].attribute)
