"""Compile profiles: metadata and profiles in, scope out. Pure; everything that is wrong with a profile shows here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from satchel.access.dataverse import DATAVERSE_PRINCIPALS, dataverse_principals
from satchel.access.filters.paths import find_attribute, find_entity, find_path
from satchel.access.filters.typing import compile_filter
from satchel.access.parts import Ownership, bind, value_part
from satchel.access.profiles import Combine, Hierarchy, Profile, ProfileItem, RelatedRule, RowScope
from satchel.errors import ProfileInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.condition import (
    ALWAYS,
    Assigned,
    Comparison,
    Condition,
    Granted,
    Operator,
    PartUser,
    Place,
    Step,
    UserComparison,
    either,
    every,
    leaves,
)
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata, Right
from satchel.model.metadata import Ownership as OwnershipType
from satchel.model.scope import (
    Binding,
    Part,
    PartKind,
    Principals,
    ProfileAssignment,
    RowOwner,
    Scope,
    Shares,
    reached_attributes,
)

DATAVERSE = "dataverse"


def entity_names(profiles: Sequence[Profile], source_kind: str) -> frozenset[str]:
    """The entities whose metadata profiles need in detail."""
    names = {item.name for profile in profiles for item in profile.entity}
    stated = [profile.principals for profile in profiles if profile.principals]
    principals = stated[0] if stated else DATAVERSE_PRINCIPALS if source_kind == DATAVERSE else None
    return frozenset(names | (principals.entities if principals else set()))


def compile_profiles(profiles: Sequence[Profile], metadata: Metadata, source_kind: str) -> Scope:
    """What the profiles come to. Errors: ProfileInvalid, naming the place and the nearest there is."""
    return _Compiler(profiles, metadata, source_kind).scope()


class _Compiler:
    def __init__(self, profiles: Sequence[Profile], metadata: Metadata, source_kind: str) -> None:
        names = [profile.name for profile in profiles]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ProfileInvalid(f"There are two profiles named {', '.join(doubled)}.")
        self._profiles = profiles
        self._metadata = metadata
        self._is_dataverse = source_kind == DATAVERSE
        self._principals = self._find_principals()
        self._items: dict[str, list[tuple[Profile, ProfileItem]]] = {}
        for profile in profiles:
            for item in profile.entity:
                find_entity(metadata, item.name)
                self._items.setdefault(item.name, []).append((profile, item))
        self._check_alike()
        self._check_assigned()

    def scope(self) -> Scope:
        bindings = tuple(self._bindings())
        client_model = ClientModel(tuple(self._client_entities()))
        offered = {
            profile.name: {item.name: tuple(self._offered(item)) for item in profile.entity}
            for profile in self._profiles
        }
        secured = {
            name: tuple(a.name for a in self._metadata.entity_by_name[name].attributes if a.is_secured)
            for name in self._items
        }
        parameters = sorted(_user_attributes(bindings))
        return Scope(
            entities=tuple(self._staged(bindings, client_model, parameters)),
            bindings=bindings,
            principals=self._principals,
            assignments=tuple(_assignment(profile) for profile in self._profiles),
            offered=offered,
            writable={
                profile.name: tuple(item.name for item in profile.entity if not item.is_read_only)
                for profile in self._profiles
            },
            secured={name: attributes for name, attributes in secured.items() if attributes},
            pull_minutes=self._pull_minutes(),
            privileges=self._privileges(),
            rights=self._rights(),
            owners=self._owners(),
            user_attributes=tuple(parameters),
            client_model=client_model,
        )

    # Rows

    def _bindings(self) -> Iterator[Binding]:
        """Rows of their own first, then related ones, each behind those it is related to."""
        direct: dict[str, tuple[str, ...]] = {}
        complete: dict[str, tuple[str, ...]] = {}
        for entity in self._items:
            binding = bind(self._ownership(entity), every(self._granted(entity), self._direct(entity)))
            direct[entity] = (binding.family.name,) if binding else ()
            if binding:
                yield binding
        for entity in self._sorted():
            names = [*direct[entity]]
            for path, is_direct, rest in self._related(entity):
                end = path[-1].entity
                sources = direct[end] if is_direct else complete[end]
                if not sources:
                    raise ProfileInvalid(
                        f"{entity}: the related path to {end} brings in nothing, for no {end} goes offline for itself.",
                        hint=f'Give {end} rows of its own, such as rows = ["own"].',
                    )
                condition = every(self._granted(entity), rest)
                binding = bind(self._ownership(entity), condition, path=path, sources=sources)
                if binding:
                    names.append(binding.family.name)
                    yield binding
            complete[entity] = tuple(dict.fromkeys(names))

    def _direct(self, entity: str) -> Condition:
        """Rows of their own: those that need no related row."""
        ways = [
            every(Assigned(profile.name) if _is_limited(profile) else ALWAYS, self._own(item))
            for profile, item in self._items[entity]
            if item.combine is Combine.OR
        ]
        return either(*ways)

    def _related(self, entity: str) -> list[tuple[tuple[Step, ...], bool, Condition]]:
        """The paths to related rows, each with what else must hold for a row."""
        found: dict[tuple[tuple[Step, ...], bool], list[Condition]] = {}
        for profile, item in self._items[entity]:
            for rule in item.related_rules:
                path, is_direct = self._path(item, rule)
                assigned = Assigned(profile.name) if _is_limited(profile) else ALWAYS
                own = self._own(item) if item.combine is Combine.AND else ALWAYS
                found.setdefault((path, is_direct), []).append(every(assigned, own))
        return [(path, is_direct, either(*conditions)) for (path, is_direct), conditions in found.items()]

    def _path(self, item: ProfileItem, rule: RelatedRule) -> tuple[tuple[Step, ...], bool]:
        entity = find_entity(self._metadata, item.name)
        try:
            path = find_path(self._metadata, entity, rule.path.split("/"))
        except ProfileInvalid as error:
            raise ProfileInvalid(
                f"{item.name}: related path {rule.path!r}: {error.message}", hint=error.hint
            ) from error
        end = path[-1].entity
        if end not in self._items:
            raise ProfileInvalid(
                f"{item.name}: the path {rule.path!r} leads to {end}, which no profile offers.",
                hint=f"Add an [[entity]] with name = {end!r}.",
            )
        return path, rule.is_direct or end == item.name

    def _sorted(self) -> list[str]:
        """The entities in an order in which each stands behind those it is related to. Errors: ProfileInvalid."""
        done: dict[str, None] = {}

        def visit(entity: str, trail: tuple[str, ...]) -> None:
            if entity in done:
                return
            if entity in trail:
                around = " -> ".join((*trail[trail.index(entity) :], entity))
                raise ProfileInvalid(
                    f"Related rows go in a circle: {around}.",
                    hint='Make one of them direct: related = [{path = "...", is_direct = true}].',
                )
            for path, is_direct, _ in self._related(entity):
                if not is_direct:
                    visit(path[-1].entity, (*trail, entity))
            done[entity] = None

        for entity in self._items:
            visit(entity, ())
        return list(done)

    def _own(self, item: ProfileItem) -> Condition:
        """The rows an item selects, but for related ones."""
        entity = find_entity(self._metadata, item.name)
        words = [self._by_word(entity, item, word) for word in item.row_scopes if word is not RowScope.CUSTOM]
        if item.filter is None:
            return either(*words)
        condition = self._filter(entity, item)
        if RowScope.CUSTOM in item.row_scopes:
            return either(*words, condition)
        return every(either(*words), condition)

    def _filter(self, entity: Entity, item: ProfileItem) -> Condition:
        assert item.filter is not None  # noqa: S101 - asked for only where there is one
        user = self._metadata.entity_by_name.get(self._principals.user) if self._principals else None
        try:
            return compile_filter(
                item.filter,
                self._metadata,
                entity,
                user=user,
                ignores_case=self._is_dataverse,
                missing=self._missing(),
            )
        except ProfileInvalid as error:
            raise ProfileInvalid(f"{item.name}: {error.message}", hint=error.hint) from error

    def _missing(self) -> frozenset[str]:
        """Parameters of users of which nothing is known here."""
        known = self._principals
        has = {
            "unit": known and known.user_unit,
            "units": known and known.user_unit and known.unit_parent,
            "teams": known and known.membership,
            "reports": known and (known.user_manager or known.user_position),
        }
        return frozenset(name for name, found in has.items() if not found)

    def _by_word(self, entity: Entity, item: ProfileItem, word: RowScope) -> Condition:
        if word is RowScope.ALL:
            return ALWAYS
        attribute, setting = (item.unit, "unit") if word is RowScope.UNIT else (item.owner, "owner")
        if attribute not in entity.attribute_by_name:
            raise ProfileInvalid(
                f"The entity {entity.name!r} has no attribute {attribute!r}, so its rows belong to no one: "
                f'rows = ["{word}"] cannot be used.',
                hint=f'Use rows = ["all"], or say which attribute it is: {setting} = "..."',
            )
        parameter = {RowScope.OWN: "id", RowScope.TEAM: "teams", RowScope.UNIT: "unit"}[word]
        operator = Operator.IN if word is RowScope.TEAM else Operator.EQ
        return UserComparison(Place(attribute), operator, parameter)

    # Security

    def _find_principals(self) -> Principals | None:
        stated = [profile.principals for profile in self._profiles if profile.principals]
        if any(principals != stated[0] for principals in stated):
            raise ProfileInvalid("The profiles say different things of principals.", hint="Say it in one of them.")
        if not stated and not self._is_dataverse:
            return None
        principals = stated[0] if stated else dataverse_principals(self._metadata, *self._hierarchy())
        for entity, attributes in _principal_attributes(principals).items():
            found = find_entity(self._metadata, entity)
            for attribute in attributes:
                find_attribute(found, attribute)
        self._check_kinds(principals)
        if len(find_entity(self._metadata, principals.user).key) != 1:
            raise ProfileInvalid(f"The user entity {principals.user!r} has a composite key.")
        return principals

    def _check_kinds(self, principals: Principals) -> None:
        """What is computed with must be a number, what is asked for a truth. Errors: ProfileInvalid."""
        roles, shares, columns = principals.roles, principals.shares, principals.columns
        whole = {AttributeType.INTEGER, AttributeType.CHOICE, AttributeType.BIGINT}
        wanted: list[tuple[str, str | None, set[AttributeType]]] = [
            (principals.user, principals.user_disabled, {AttributeType.BOOLEAN})
        ]
        if roles:
            wanted += [(roles.entity, roles.inherits, whole), (roles.privileges.entity, roles.depth, whole)]
        if shares:
            wanted += [(shares.entity, name, whole) for name in (shares.rights, shares.inherited_rights)]
        if columns:
            flags = (columns.can_read, columns.can_create, columns.can_update)
            wanted += [(columns.permissions, name, whole) for name in flags]
        for entity, name, kinds in wanted:
            kind = find_attribute(find_entity(self._metadata, entity), name).type if name else None
            if kind is not None and kind not in kinds:
                raise ProfileInvalid(f"[principals] {entity}.{name} is {kind}, not {' or '.join(sorted(kinds))}.")

    def _check_alike(self) -> None:
        """What belongs to an entity as a whole is said alike by all profiles. Errors: ProfileInvalid."""
        for name, items in self._items.items():
            for word in ("owner", "unit", "conflicts"):
                if len({getattr(item, word) for _, item in items}) > 1:
                    raise ProfileInvalid(f"{name}: the profiles say different things of {word}.", hint="Say it alike.")

    def _check_assigned(self) -> None:
        """Nobody can be meant by roles or teams of which nothing is known. Errors: ProfileInvalid."""
        known = self._principals
        for profile in self._profiles:
            assigned = profile.assigned
            if assigned and assigned.roles and not (known and known.roles):
                raise ProfileInvalid(f"{profile.name}: assigned to roles, and nothing is known of roles.")
            if assigned and assigned.teams and not (known and known.membership):
                raise ProfileInvalid(f"{profile.name}: assigned to teams, and nothing is known of teams.")

    def _hierarchy(self) -> tuple[Hierarchy, int]:
        stated = {(p.hierarchy, p.hierarchy_depth) for p in self._profiles if p.hierarchy is not Hierarchy.NONE}
        if len(stated) > 1:
            raise ProfileInvalid("The profiles say different things of the hierarchy.", hint="Say it alike in all.")
        return next(iter(stated), (Hierarchy.NONE, 1))

    def _privileges(self) -> dict[str, str]:
        """The privilege to read each entity that security decides on."""
        roles = self._principals.roles if self._principals else None
        if roles is None:
            return {}
        if roles.privilege_entity is None:
            return {name: name for name in self._items}
        found: dict[str, str] = {}
        for name in self._items:
            entity = self._metadata.entity_by_name[name]
            if entity.read_privilege:
                found[name] = entity.read_privilege
            elif entity.ownership is not OwnershipType.NONE:
                raise ProfileInvalid(
                    f"The source does not tell which privilege {name} needs, so nobody may take it offline.",
                    hint="The application user needs to read EntityDefinitions with their privileges.",
                )
        return found

    def _rights(self) -> dict[str, Mapping[Right, str]]:
        """The privileges to change what is offered, and to refer to what its lookups may point to."""
        if not self._privileges() or self._principals is None or self._principals.roles is None:
            return {}
        if self._principals.roles.privilege_entity is None:
            return {}  # such a source's privileges are for reading
        known = self._metadata.entity_by_name
        targets = {t for name in self._items for a in known[name].attributes for t in a.targets if t in known}
        found: dict[str, Mapping[Right, str]] = {
            name: {right: p for right, p in known[name].privileges.items() if right is Right.APPEND_TO}
            for name in sorted(targets - self._items.keys())
        }
        return {n: rights for n, rights in found.items() if rights} | {
            name: dict(known[name].privileges) for name in self._items if known[name].privileges
        }

    def _owners(self) -> dict[str, RowOwner]:
        """Whose rows are, where security asks for it."""
        found = {}
        for name in self._items:
            ownership = self._ownership(name)
            if ownership.owner or ownership.unit:
                found[name] = RowOwner(
                    ownership.owner.place.attribute if ownership.owner and ownership.owner.place else None,
                    ownership.unit.place.attribute if ownership.unit and ownership.unit.place else None,
                )
        return found

    def _pull_minutes(self) -> dict[str, int]:
        """The shortest interval of those that profiles state."""
        stated = {
            name: [item.sync_interval_minutes for _, item in items if item.sync_interval_minutes]
            for name, items in self._items.items()
        }
        return {name: min(minutes) for name, minutes in stated.items() if minutes}

    def _granted(self, name: str) -> Condition:
        return Granted() if name in self._privileges() else ALWAYS

    def _ownership(self, name: str) -> Ownership:
        principals = self._principals
        if principals is None or principals.roles is None or name not in self._privileges():
            return Ownership(name)
        entity = self._metadata.entity_by_name[name]
        item = self._items[name][0][1]
        shares = principals.shares
        # Only Dataverse says to whom an entity's rows belong; elsewhere it shows by the attribute.
        is_owned = item.owner in entity.attribute_by_name
        if self._is_dataverse:
            is_owned = is_owned and entity.ownership is OwnershipType.USER
        is_in_unit = is_owned or entity.ownership is OwnershipType.BUSINESS
        units = (item.unit, principals.user_unit) if is_in_unit else ()
        unit = next((name for name in units if name in entity.attribute_by_name), None)
        return Ownership(
            name,
            value_part(item.owner) if is_owned else None,
            value_part(unit) if unit and principals.unit else None,
            _shares_part(shares) if shares and is_owned else None,
        )

    # Columns

    def _offered(self, item: ProfileItem) -> list[str]:
        """The attributes a device gets: the key, the chosen ones, and what tells a polymorphic lookup's target."""
        entity = find_entity(self._metadata, item.name)
        chosen = [find_attribute(entity, name) for name in item.columns or ()] or list(entity.attributes)
        names = {a.name for a in chosen} | {a.type_attribute for a in chosen if a.type_attribute} | set(entity.key)
        return [a.name for a in entity.attributes if a.name in names]

    def _client_entities(self) -> Iterator[ClientEntity]:
        for name, items in self._items.items():
            entity = self._metadata.entity_by_name[name]
            offered = {attribute for _, item in items for attribute in self._offered(item)}
            yield ClientEntity(
                name=entity.name,
                key=entity.key,
                attributes=tuple(_client_attribute(a) for a in entity.attributes if a.name in offered),
                name_attribute=entity.name_attribute if entity.name_attribute in offered else None,
                label=entity.label,
                conflicts=items[0][1].conflicts.value,
                is_read_only=all(item.is_read_only for _, item in items),
            )

    def _staged(
        self, bindings: Sequence[Binding], client_model: ClientModel, parameters: Sequence[str]
    ) -> Iterator[Entity]:
        """What is pulled: what devices get, what keys are made of, and what users are known by."""
        pulled: dict[str, set[str]] = {
            entity.name: {attribute.name for attribute in entity.attributes} for entity in client_model.entities
        }
        if self._principals:
            for name, attributes in _principal_attributes(self._principals).items():
                pulled.setdefault(name, set()).update(attributes)
            pulled[self._principals.user].update(parameters)
        for name, row in self._owners().items():
            pulled[name].update(attribute for attribute in (row.owner, row.unit) if attribute)
        for binding in bindings:
            for name, attribute in reached_attributes(binding.family):
                pulled.setdefault(name, set()).update({attribute} if attribute else ())
        for name, names in sorted(pulled.items()):
            yield self._metadata.entity_by_name[name].only(frozenset(names))


def _is_limited(profile: Profile) -> bool:
    return not _assignment(profile).is_for_everyone


def _assignment(profile: Profile) -> ProfileAssignment:
    assigned = profile.assigned
    if assigned is None:
        return ProfileAssignment(profile.name)
    return ProfileAssignment(profile.name, assigned.users, assigned.teams, assigned.roles)


def _shares_part(shares: Shares) -> Part:
    """The users and teams a row is shared with. The right to read is the lowest bit: odd masks have it."""
    rights = [name for name in (shares.rights, shares.inherited_rights) if name]
    term = either(*(Comparison(Place(name), Operator.HAS_BIT, ("1",)) for name in rights)) if rights else None
    path = (Step(shares.entity, shares.row, is_backward=True),)
    return Part(PartKind.VALUES, Place(shares.principal), term, path)


def _user_attributes(bindings: Iterable[Binding]) -> set[str]:
    """Attributes of the user's row that conditions name."""
    return {
        leaf.parameter.removeprefix("user.")
        for binding in bindings
        for leaf in leaves(binding.condition)
        if isinstance(leaf, PartUser) and leaf.parameter.startswith("user.")
    }


def _principal_attributes(principals: Principals) -> Mapping[str, set[str]]:
    """The attributes of each entity that say who may see what."""
    found: dict[str, set[str]] = {}

    def need(entity: str | None, *attributes: str | None) -> None:
        if entity:
            found.setdefault(entity, set()).update(name for name in attributes if name)

    need(
        principals.user,
        principals.user_name,
        principals.user_unit,
        principals.user_disabled,
        principals.user_manager,
        principals.user_position,
        *principals.user_identifiers,
    )
    need(principals.unit, principals.unit_parent)
    need(principals.team, principals.team_unit)
    need(principals.position, principals.position_parent)
    roles, shares, columns = principals.roles, principals.shares, principals.columns
    links = [principals.membership]
    if roles:
        need(roles.entity, roles.name, roles.inherits, roles.unit, roles.root)
        need(roles.privileges.entity, roles.depth)
        need(roles.privilege_entity, roles.privilege_name)
        links += [roles.of_users, roles.of_teams, roles.privileges]
    if shares:
        need(shares.entity, shares.row, shares.principal, shares.rights, shares.inherited_rights)
    if columns:
        need(columns.permissions, columns.profile, columns.entity, columns.attribute)
        need(columns.permissions, columns.can_read, columns.can_create, columns.can_update)
        links += [columns.of_users, columns.of_teams]
    for link in links:
        if link:
            need(link.entity, link.left, link.right)
    return found


def _client_attribute(attribute: Attribute) -> ClientAttribute:
    return ClientAttribute(
        name=attribute.name,
        type=attribute.type,
        precision=attribute.precision,
        scale=attribute.scale,
        max_length=attribute.max_length,
        minimum=attribute.minimum,
        maximum=attribute.maximum,
        targets=attribute.targets,
        type_attribute=attribute.type_attribute,
        is_required=attribute.is_required,
        is_creatable=attribute.is_creatable,
        is_updatable=attribute.is_updatable,
        options=attribute.options,
        label=attribute.label,
    )
