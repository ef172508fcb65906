"""A user of the source, with everything on which it depends what they take offline."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from satchel.model.metadata import Right


class Grants(msgspec.Struct, frozen=True):
    """Which rows of an entity a user's security roles let them read."""

    everything: bool = False
    owners: tuple[str, ...] = ()
    """Rows of these users and teams."""
    units: tuple[str, ...] = ()
    """Rows of these business units."""
    shared_to: tuple[str, ...] = ()
    """Rows shared with these users and teams."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, as of one state of the staging database."""

    id: str
    name: str = ""
    is_enabled: bool = True
    unit: str | None = None
    units: tuple[str, ...] = ()
    """The unit and all below it."""
    teams: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    """Users below in the hierarchy."""
    roles: tuple[str, ...] = ()
    """Names of the security roles, those of teams included."""
    attributes: Mapping[str, str | None] = {}
    grants: Mapping[str, Grants] = {}
    """By entity; an entity that is not here may be read as a whole."""
    profiles: frozenset[str] = frozenset()
    """Names of the offline profiles the user takes part in."""
    readable: frozenset[tuple[str, str]] = frozenset()
    """Secured attributes (entity, attribute) the user may read."""
    creatable: frozenset[tuple[str, str]] = frozenset()
    """The same, to set in a new row."""
    updatable: frozenset[tuple[str, str]] = frozenset()
    """The same, to change."""
    rights: Mapping[str, Mapping[Right, Grants]] = {}
    """Which rows the user may change, by entity and right; what is not here needs no privilege."""

    def values(self, parameter: str) -> tuple[str, ...]:
        """The values behind `@me` and `@my...`."""
        match parameter:
            case "id":
                return (self.id,)
            case "unit":
                return (self.unit,) if self.unit else ()
            case "units":
                return self.units
            case "teams":
                return self.teams
            case "reports":
                return self.reports
        value = self.attributes.get(parameter.removeprefix("user."))
        return () if value is None else (value,)
