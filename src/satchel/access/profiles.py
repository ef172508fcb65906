"""Offline profiles as files: which entities, attributes and rows go offline (TOML)."""

from __future__ import annotations

import tomllib
from enum import StrEnum

import msgspec

from satchel.errors import ProfileInvalid

MAX_PROFILE_BYTES = 1024 * 1024


class RowScope(StrEnum):
    """Which rows of an entity a user takes offline."""

    ALL = "all"
    OWN = "own"  # owned by the user
    TEAM = "team"  # owned by one of the user's teams
    UNIT = "unit"  # owned by the user's business unit


class ProfileItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entity of a profile."""

    name: str
    columns: tuple[str, ...] = ()
    """Attributes that go offline; empty: all."""
    rows: tuple[RowScope, ...] = (RowScope.OWN,)
    """A row goes offline when one of these holds."""
    owner: str = "ownerid"
    """Attribute that names the owner (user or team)."""
    unit: str = "owningbusinessunit"
    """Attribute that names the business unit."""


class PrincipalSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a source that is not Dataverse keeps its users and teams."""

    user: str
    user_name: str | None = None
    user_unit: str | None = None
    user_disabled: str | None = None
    membership: str | None = None
    membership_user: str | None = None
    membership_team: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an administrator offers for taking offline."""

    name: str
    entity: tuple[ProfileItem, ...]
    principals: PrincipalSource | None = None


def parse_profile(text: str) -> Profile:
    """Read a profile. Errors: ProfileInvalid with the place and what would be right."""
    if len(text.encode()) > MAX_PROFILE_BYTES:
        raise ProfileInvalid(f"The profile is larger than {MAX_PROFILE_BYTES:,} bytes.")
    try:
        profile = msgspec.convert(tomllib.loads(text), Profile)
    except tomllib.TOMLDecodeError as error:
        raise ProfileInvalid(f"The profile is not valid TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ProfileInvalid(
            f"The profile is not usable: {error}",
            hint="An entity has: name, columns, rows (all, own, team, unit), owner, unit.",
        ) from error
    names = [item.name for item in profile.entity]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ProfileInvalid(f"The profile names {', '.join(doubled)} more than once.")
    if not names:
        raise ProfileInvalid("The profile offers no entity.", hint="Add at least one [[entity]] with a name.")
    return profile


DATAVERSE_PRINCIPALS = PrincipalSource(
    user="systemuser",
    user_name="fullname",
    user_unit="businessunitid",
    user_disabled="isdisabled",
    membership="teammembership",
    membership_user="systemuserid",
    membership_team="teamid",
)
