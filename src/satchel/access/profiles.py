"""Offline profiles as files: which entities, attributes and rows go offline (TOML)."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from satchel.errors import ProfileInvalid
from satchel.model.conflict import Policy
from satchel.model.scope import Principals

MAX_PROFILE_BYTES = 1024 * 1024
MAX_NAME = 200
_HINT = (
    "A profile has: name, description, assigned, hierarchy, hierarchy_depth, principals, entity. An entity has: name, "
    "columns, rows (all, own, team, unit, custom, related), filter, related, combine (or, and), owner, unit, "
    "conflicts, is_read_only, sync_interval_minutes."
)


class RowScope(StrEnum):
    """Which rows of an entity a user takes offline."""

    ALL = "all"
    OWN = "own"  # owned by the user
    TEAM = "team"  # owned by one of the user's teams
    UNIT = "unit"  # owned by the user's business unit
    CUSTOM = "custom"  # for which the filter holds
    RELATED = "related"  # at the end of one of the paths


class Combine(StrEnum):
    """How rows of their own and related rows come together."""

    OR = "or"
    AND = "and"


class Hierarchy(StrEnum):
    """Which hierarchy lets users see what those below them own (Dataverse hierarchy security)."""

    NONE = "none"
    MANAGER = "manager"
    POSITION = "position"


class RelatedRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows go offline that a path ties to rows of another entity that go offline."""

    path: str
    is_direct: bool = False
    """Only to rows there that go offline for themselves, not as related ones. Paths to the same entity always are."""


class ProfileItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entity of a profile."""

    name: str
    columns: tuple[str, ...] | None = None
    """Attributes that go offline; None: all."""
    rows: tuple[RowScope, ...] | None = None
    """A row goes offline when one of these holds; not given: own, or custom or related where those are given."""
    filter: str | None = None
    """With `custom` among the rows one more way in; else it narrows the others."""
    related: tuple[str | RelatedRule, ...] = ()
    combine: Combine = Combine.OR
    """`or`: related rows besides the others; `and`: of the others only related ones."""
    owner: str = "ownerid"
    """Attribute that names the owner (user or team)."""
    unit: str = "owningbusinessunit"
    """Attribute that names the business unit."""
    conflicts: Policy = Policy.MERGE
    is_read_only: bool = False
    sync_interval_minutes: int | None = None

    @property
    def row_scopes(self) -> tuple[RowScope, ...]:
        """The ways in, but for related rows."""
        if self.rows is not None:
            return tuple(scope for scope in self.rows if scope is not RowScope.RELATED)
        if self.filter is not None:
            return (RowScope.CUSTOM,)
        return () if self.related else (RowScope.OWN,)

    @property
    def related_rules(self) -> tuple[RelatedRule, ...]:
        """The paths to other entities' rows."""
        return tuple(rule if isinstance(rule, RelatedRule) else RelatedRule(rule) for rule in self.related)


class Assigned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who takes part: whoever is named in one of these."""

    users: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    """Names of security roles."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator offers for taking offline."""

    name: str
    entity: tuple[ProfileItem, ...]
    description: str = ""
    assigned: Assigned | None = None
    """None: everyone takes part."""
    hierarchy: Hierarchy = Hierarchy.NONE
    """For Dataverse; other sources say it in `principals`."""
    hierarchy_depth: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    principals: Principals | None = None
    """Where a source that is not Dataverse keeps its users, teams, units and roles."""


def parse_profile(text: str) -> Profile:
    """Read a profile. Errors: ProfileInvalid with the place and what would be right."""
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ProfileInvalid(f"The profile is larger than {MAX_PROFILE_BYTES:,} bytes.")
    try:
        profile = msgspec.convert(_read(text), Profile)
    except msgspec.ValidationError as error:
        raise ProfileInvalid(f"The profile is not usable: {error}", hint=_HINT) from error
    _check_name(profile)
    if not profile.entity:
        raise ProfileInvalid("The profile offers no entity.", hint="Add at least one [[entity]] with a name.")
    names = [item.name for item in profile.entity]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ProfileInvalid(f"The profile names {', '.join(doubled)} more than once.")
    for item in profile.entity:
        _check_item(item)
    return profile


def _read(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, OverflowError) as error:
        raise ProfileInvalid(f"The profile is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ProfileInvalid("The profile is nested too deep.") from error


def _check_name(profile: Profile) -> None:
    if not profile.name.strip() or len(profile.name) > MAX_NAME or any(ord(each) < 32 for each in profile.name):
        raise ProfileInvalid(
            "The profile's name cannot be used.", hint=f"Use up to {MAX_NAME} characters, without control characters."
        )
    assigned = profile.assigned
    if assigned is not None and not (assigned.users or assigned.teams or assigned.roles):
        raise ProfileInvalid("[assigned] names nobody.", hint="Name users, teams or roles; leave it out for everyone.")


def _check_item(item: ProfileItem) -> None:
    named = item.rows or ()
    if item.columns is not None and not item.columns:
        raise ProfileInvalid(f"{item.name}: columns is empty.", hint="Name some; leave it out for all.")
    if item.filter is not None and not item.filter.strip():
        raise ProfileInvalid(f"{item.name}: the filter is empty.", hint="Leave it out.")
    if RowScope.CUSTOM in named and item.filter is None:
        raise ProfileInvalid(f'{item.name}: rows names "custom", and there is no filter.', hint='Add filter = "...".')
    if RowScope.RELATED in named and not item.related:
        raise ProfileInvalid(f'{item.name}: rows names "related", and there is no path.', hint='Add related = ["..."].')
    if item.combine is Combine.AND and not item.related:
        raise ProfileInvalid(f'{item.name}: combine = "and" needs related paths.', hint='Add related = ["..."].')
    if item.combine is Combine.AND and not item.row_scopes:
        raise ProfileInvalid(
            f'{item.name}: combine = "and" needs rows of their own.', hint='Add rows = ["all"] or a filter.'
        )
    if item.filter is not None and not item.row_scopes:
        raise ProfileInvalid(
            f"{item.name}: the filter has nothing to narrow.", hint='Add "custom" to rows, or leave the filter out.'
        )
    if not item.row_scopes and not item.related:
        raise ProfileInvalid(f"{item.name}: no row would go offline.", hint='Say rows = ["own"], for instance.')
    if item.sync_interval_minutes is not None and not 0 < item.sync_interval_minutes <= 1440:
        raise ProfileInvalid(f"{item.name}: sync_interval_minutes is between 1 and 1440.")
