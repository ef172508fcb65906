"""Business units, users, teams, roles: who there is in the sample organization, and who may do what."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.data.words import DISTRICTS, FIRST_NAMES, LAST_NAMES, PLACES, REGIONS
from satchel.sandbox.schema.directory import (
    BUSINESS_UNIT,
    PRIVILEGE,
    RIGHTS,
    ROLE,
    ROLE_PRIVILEGES,
    SYSTEM_USER,
    SYSTEM_USER_ROLES,
    TEAM,
    TEAM_MEMBERSHIP,
    TEAM_ROLES,
)
from satchel.sandbox.schema.organization import ENTITIES

FOUNDED = "2023-01-02T08:00:00Z"
BASIC, LOCAL, DEEP, GLOBAL = 1, 2, 4, 8
ACT_ON_BEHALF = "prvActOnBehalfOfAnotherUser"
_FIRST_FIELD_USER = 2
_FIELD_USERS = 3
_MANY_ROWS = 20_000


class Owner(msgspec.Struct, frozen=True):
    """A user or a team that rows may belong to, with what follows from it."""

    id: str
    type: str
    unit: str

    def columns(self) -> Row:
        """The ownership columns of a row."""
        is_user = self.type == "systemuser"
        return {
            "ownerid": self.id,
            "ownerid_type": self.type,
            "owninguser": self.id if is_user else None,
            "owningteam": None if is_user else self.id,
            "owningbusinessunit": self.unit,
        }


class Directory(msgspec.Struct):
    """What the business rows need to know of the directory."""

    application: str
    units: list[str]
    users: list[Owner]
    teams: list[Owner]
    field_users: list[str]


def new_guid(chance: random.Random) -> str:
    """The next identifier of a seeded sequence, in the form of version 4."""
    digits = f"{chance.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def make_directory(store: Store, chance: random.Random, rows: int) -> Directory:
    """Fill the directory's tables, in keeping with how many business rows there will be."""
    units = _units(chance, rows)
    users = _users(chance, [u["businessunitid"] for u in units], max(24, min(500, rows // 400)))
    teams = _teams(chance, units)
    members = list(_members(chance, users, teams))
    trail = {"createdon": FOUNDED, "modifiedon": FOUNDED, "createdby": users[0]["systemuserid"]}
    trail["modifiedby"] = trail["createdby"]
    for entity, made in ((BUSINESS_UNIT, units), (SYSTEM_USER, users), (TEAM, teams), (TEAM_MEMBERSHIP, members)):
        store.load(entity, [{**row, **trail} for row in made])
    _security(store, chance, units[0]["businessunitid"], users, teams, trail)
    fields = users[_FIRST_FIELD_USER : _FIRST_FIELD_USER + _FIELD_USERS]
    return Directory(
        application=users[0]["systemuserid"],
        units=[u["businessunitid"] for u in units],
        users=[Owner(u["systemuserid"], "systemuser", u["businessunitid"]) for u in users[1:] if not u["isdisabled"]],
        teams=[Owner(t["teamid"], "team", t["businessunitid"]) for t in teams if t["teamtype"] == 0],
        field_users=[u["systemuserid"] for u in fields],
    )


def _units(chance: random.Random, rows: int) -> list[Row]:
    root = _unit(chance, "Contoso", None)
    regions = [_unit(chance, f"Contoso {name}", root) for name in REGIONS]
    districts = [_unit(chance, f"{region['name']} {d}", region) for region in regions for d in DISTRICTS]
    return [root, *regions, *(districts if rows >= _MANY_ROWS else [])]


def _unit(chance: random.Random, name: str, parent: Row | None) -> Row:
    city, country, *_ = PLACES[int(chance.random() * len(PLACES))]
    return {
        "businessunitid": new_guid(chance),
        "name": name,
        "divisionname": name.rpartition(" ")[2],
        "emailaddress": name.lower().replace(" ", ".") + "@contoso.example",
        "address1_city": city,
        "address1_country": country,
        "isdisabled": 0,
        "parentbusinessunitid": parent["businessunitid"] if parent else None,
    }


def _users(chance: random.Random, units: list[str], count: int) -> list[Row]:
    application = _user(chance, 0, units[0], None)
    application |= {"fullname": "# Satchel", "firstname": "#", "lastname": "Satchel", "accessmode": 4}
    application |= {"applicationid": new_guid(chance), "domainname": "satchel@contoso.example", "title": None}
    administrator = _user(chance, 1, units[0], None) | {"title": "Administrator"}
    users = [application, administrator]
    inner = units[1:]
    for place in range(2, count):
        user = _user(chance, place, inner[(place - 2) // 2 % len(inner)], administrator["systemuserid"])
        user["isdisabled"] = int(place % 11 == 10)
        users.append(user)
    return users


def _user(chance: random.Random, place: int, unit: str, manager: str | None) -> Row:
    first, last = chance.choice(FIRST_NAMES), chance.choice(LAST_NAMES)
    address = f"{first}.{last}{place}@contoso.example".lower().replace(" ", "").replace("'", "")
    key = new_guid(chance)
    return {
        "systemuserid": key,
        "ownerid": key,
        "fullname": f"{first} {last}",
        "firstname": first,
        "lastname": last,
        "domainname": address,
        "internalemailaddress": address,
        "azureactivedirectoryobjectid": new_guid(chance),
        "title": "Field Technician" if place % 3 else "Service Manager",
        "mobilephone": f"+49 151 {10_000_000 + place}",
        "accessmode": 0,
        "isdisabled": 0,
        "businessunitid": unit,
        "parentsystemuserid": manager,
    }


def _teams(chance: random.Random, units: list[Row]) -> list[Row]:
    teams = []
    for unit in units:
        names = [(unit["name"], 0, 1)]
        if unit["parentbusinessunitid"]:
            names += [(f"{unit['name']} Service", 0, 0), (f"{unit['name']} Sales", 0, 0)]
            names.append((f"{unit['name']} Guests", 1, 0))
        for name, kind, is_default in names:
            key = new_guid(chance)
            team = {"teamid": key, "ownerid": key, "name": name, "teamtype": kind, "isdefault": is_default}
            teams.append({**team, "businessunitid": unit["businessunitid"]})
    return teams


def _members(chance: random.Random, users: list[Row], teams: list[Row]) -> Iterable[Row]:
    """Everybody in the unit's own team and in one or two more of it; every third in a team of another unit."""
    for place, user in enumerate(users[1:]):
        here = [t for t in teams if t["businessunitid"] == user["businessunitid"]]
        elsewhere = [t for t in teams if t not in here and not t["isdefault"]]
        chosen = [here[0], *chance.sample(here[1:], min(len(here) - 1, 1 + place % 2))]
        if place % 3 == 0:
            chosen.append(chance.choice(elsewhere))
        for team in chosen:
            yield {
                "teammembershipid": new_guid(chance),
                "systemuserid": user["systemuserid"],
                "teamid": team["teamid"],
            }


def _security(store: Store, chance: random.Random, root: str, users: list[Row], teams: list[Row], trail: Row) -> None:
    privileges = [_privilege(chance, name, right) for name, right in _privilege_names()]
    store.load(PRIVILEGE, privileges)
    by_name = {row["name"]: row["privilegeid"] for row in privileges}
    roles = {name: new_guid(chance) for name in ("System Administrator", "Service Manager", "Field Technician")}
    units = {owner["businessunitid"] for owner in (*users, *teams)} - {root}
    copies = {(name, unit): new_guid(chance) for unit in sorted(units) for name in roles}
    copies |= {(name, root): key for name, key in roles.items()}
    made = [
        {"roleid": key, "name": name, "businessunitid": unit, "isinherited": 1,
         "parentrootroleid": roles[name] if unit != root else None}
        for (name, unit), key in copies.items()
    ]  # fmt: skip
    store.load(ROLE, [{**row, **trail} for row in made])
    grants = []
    for role, key in roles.items():
        depths = {name: _depth(role, name) for name in by_name}
        grants += [
            {"roleprivilegeid": new_guid(chance), "roleid": key, "privilegeid": by_name[name], "privilegedepthmask": d}
            for name, d in depths.items()
            if d
        ]
    store.load(ROLE_PRIVILEGES, grants)
    held = []
    for place, user in enumerate(users):
        role = "System Administrator" if place < _FIRST_FIELD_USER else user["title"]
        held.append({"systemuserid": user["systemuserid"], "roleid": copies[role, user["businessunitid"]]})
    store.load(SYSTEM_USER_ROLES, [{"systemuserroleid": new_guid(chance), **row} for row in held])
    theirs = [
        {"teamid": team["teamid"], "roleid": copies["Field Technician", team["businessunitid"]]}
        for team in teams
        if team["teamtype"] == 0
    ]
    store.load(TEAM_ROLES, [{"teamroleid": new_guid(chance), **row} for row in theirs])


def _privilege_names() -> Iterable[tuple[str, int]]:
    for entity in ENTITIES:
        if entity.ownership == "None":
            continue
        schema = "Activity" if entity.name == "task" else entity.schema_name
        schema = "User" if entity.name == "systemuser" else schema
        yield from ((f"prv{right}{schema}", mask) for right, mask in RIGHTS.items())
    yield ACT_ON_BEHALF, 0


def _privilege(chance: random.Random, name: str, right: int) -> Row:
    row: Row = {"privilegeid": new_guid(chance), "name": name, "accessright": right}
    return row | {"canbebasic": 1, "canbelocal": 1, "canbedeep": 1, "canbeglobal": 1}


def _depth(role: str, privilege: str) -> int:
    if role == "System Administrator":
        return GLOBAL
    is_business = privilege.endswith(("Account", "Contact", "Incident", "Activity"))
    if not is_business:
        return GLOBAL if privilege.startswith("prvRead") else 0
    if role == "Service Manager":
        return DEEP
    return BASIC if privilege.startswith(("prvDelete", "prvShare", "prvAssign")) else LOCAL
