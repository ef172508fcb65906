"""The reference: what a user may have, by plain Python over the source's rows, one row at a time.

It knows nothing of how Satchel compiles profiles: profiles come here as Python conditions beside their text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = dict[str, Any]
Test = Callable[["Organization", str, Row], bool]
"""organization, user, row -> does the filter hold?"""
Follow = Callable[["Organization", Row], list[Row]]
"""organization, row -> the rows at the end of a path."""
READ = 1


@dataclass
class Related:
    """A path, as a profile writes it and as Python."""

    path: str
    end: str
    follow: Follow
    is_direct: bool = False


@dataclass
class Item:
    """One entity of a profile."""

    entity: str
    rows: list[str]
    columns: list[str] = field(default_factory=list)
    filter_text: str | None = None
    filter_test: Test | None = None
    related: list[Related] = field(default_factory=list)
    combine: str = "or"


@dataclass
class Profile:
    """A profile; `assigned` empty: everyone."""

    name: str
    items: list[Item]
    assigned: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Organization:
    """All rows of a source by entity and key, and the time."""

    now: datetime
    rows: dict[str, dict[Any, Row]]
    profiles: list[Profile] = field(default_factory=list)

    def of(self, entity: str) -> list[Row]:
        return list(self.rows[entity].values())

    def find(self, entity: str, key: Any) -> Row | None:
        return self.rows[entity].get(key)

    # Who a user is

    def teams(self, user: str) -> set[str]:
        return {m["team"] for m in self.of("membership") if m["user"] == user and m["team"]}

    def unit(self, user: str) -> str | None:
        row = self.find("user", user)
        return row["unit"] if row else None

    def units(self, top: str | None) -> set[str]:
        if top is None:
            return set()
        found = {top}
        while True:
            more = {u["id"] for u in self.of("unit") if u["parent"] in found} - found
            if not more:
                return found
            found |= more

    def reports(self, user: str) -> set[str]:
        found: set[str] = set()
        level = {user}
        for _ in range(2):
            level = {u["id"] for u in self.of("user") if u["manager"] in level}
            found |= level
        return found - {user}

    def roles(self, user: str) -> list[tuple[str, Row]]:
        """(who has it, role)."""
        held = [(user, r["role"]) for r in self.of("userrole") if r["user"] == user]
        held += [(r["team"], r["role"]) for r in self.of("teamrole") if r["team"] in self.teams(user)]
        return [(who, role) for who, key in held if (role := self.find("role", key)) is not None]

    def takes_part(self, user: str, profile: Profile) -> bool:
        assigned = profile.assigned
        if not any(assigned.values()):
            return True
        names = {role["name"] for _, role in self.roles(user)}
        return (
            user in assigned.get("users", [])
            or bool(self.teams(user) & set(assigned.get("teams", [])))
            or bool(names & set(assigned.get("roles", [])))
        )

    # Rows

    def may_read(self, user: str, entity: str, row: Row) -> bool:
        has_basic = False
        for who, role in self.roles(user):
            depth = max([p["depth"] for p in self.of("privilege") if (p["role"], p["entity"]) == (role["id"], entity)],
                        default=0)  # fmt: skip
            if depth >= 8:
                return True
            if depth == 0:
                continue
            has_basic = True
            if "owner" not in row:
                continue
            if row["owner"] == who or (role["inherits"] == 1 and row["owner"] == user):
                return True
            team = self.find("team", who)
            unit = self.unit(user) if who == user else team["unit"] if team else None
            if depth >= 2 and unit is not None and row["unit"] == unit:
                return True
            if depth >= 4 and row["unit"] is not None and row["unit"] in self.units(unit):
                return True
        if not has_basic or "owner" not in row:
            return False
        below = self.reports(user)
        if row["owner"] in below or any(row["owner"] in self.teams(each) for each in below):
            return True
        own = {user, *self.teams(user), *below} | {team for each in below for team in self.teams(each)}
        return any(s["row"] == row["id"] and s["principal"] in own and s["rights"] & READ for s in self.of("share"))

    def selects(self, user: str, item: Item, row: Row) -> bool:
        words = [word for word in item.rows if word not in {"custom", "related"}]
        passes = item.filter_test is not None and item.filter_test(self, user, row)
        by_word = any(
            word == "all"
            or (word == "own" and row["owner"] == user)
            or (word == "team" and row["owner"] in self.teams(user))
            or (word == "unit" and row["unit"] is not None and row["unit"] == self.unit(user))
            for word in words
        )
        if "custom" in item.rows:
            return passes or by_word
        return by_word and (item.filter_test is None or passes)

    def items(self, user: str, entity: str) -> list[Item]:
        return [i for p in self.profiles if self.takes_part(user, p) for i in p.items if i.entity == entity]

    def is_direct(self, user: str, entity: str, row: Row) -> bool:
        return self.may_read(user, entity, row) and any(
            item.combine == "or" and self.selects(user, item, row) for item in self.items(user, entity)
        )

    def is_visible(self, user: str, entity: str, row: Row) -> bool:
        if self.is_direct(user, entity, row):
            return True
        if not self.may_read(user, entity, row):
            return False
        return any(
            (item.combine == "or" or self.selects(user, item, row)) and self.is_related(user, entity, item, row)
            for item in self.items(user, entity)
        )

    def is_related(self, user: str, entity: str, item: Item, row: Row) -> bool:
        for related in item.related:
            for end in related.follow(self, row):
                if related.is_direct or related.end == entity:
                    if self.is_direct(user, related.end, end):
                        return True
                elif self.is_visible(user, related.end, end):
                    return True
        return False

    def visible(self, user: str) -> dict[str, dict[Any, Row]]:
        """By entity and key, what the user's device holds: rows with their columns."""
        row = self.find("user", user)
        is_enabled = row is not None and not row["disabled"]
        found: dict[str, dict[Any, Row]] = {}
        for entity, columns in self.columns(user).items():
            found[entity] = {
                key: {name: value for name, value in each.items() if name in columns}
                for key, each in self.rows[entity].items()
                if is_enabled and self.is_visible(user, entity, each)
            }
        return found

    def columns(self, user: str) -> dict[str, set[str]]:
        """By entity, the columns the user gets."""
        offered: dict[str, set[str]] = {}
        for profile in self.profiles:
            if self.takes_part(user, profile):
                for item in profile.items:
                    offered.setdefault(item.entity, set()).update(item.columns)
        profiles = {u["profile"] for u in self.of("userprofile") if u["user"] == user}
        profiles |= {t["profile"] for t in self.of("teamprofile") if t["team"] in self.teams(user)}
        for entity, columns in offered.items():
            may = {
                p["attribute"] for p in self.of("permission")
                if p["entity"] == entity and p["profile"] in profiles and p["can_read"] > 0
            }  # fmt: skip
            if "secret" not in may:
                columns.discard("secret")
        return offered
