"""Business units, users, teams, roles and what ties them together."""

from __future__ import annotations

import msgspec

from satchel.sandbox.schema.columns import (
    boolean,
    choice,
    guid,
    integer,
    key,
    lookup,
    memo,
    text,
    trail,
    version,
)
from satchel.sandbox.schema.kinds import Entity

RIGHTS = {
    "Read": 1, "Write": 2, "Append": 4, "AppendTo": 16, "Create": 32, "Delete": 65536, "Share": 262144,
    "Assign": 524288,
}  # fmt: skip
"""What a privilege lets do, with the bit it has in access masks."""
_OWNER = msgspec.structs.replace(guid("ownerid", "Owner"), is_writable=False)
"""What a user or a team is as a principal: its own key under another name."""

BUSINESS_UNIT = Entity(
    name="businessunit",
    set_name="businessunits",
    schema_name="BusinessUnit",
    label="Business Unit",
    plural="Business Units",
    name_column="name",
    ownership="BusinessOwned",
    type_code=10,
    columns=(
        key("businessunitid", "Business Unit"),
        text("name", "Name", 160, required=True),
        text("divisionname", "Division", 100),
        text("emailaddress", "Email", 100, format="Email"),
        text("address1_city", "Address 1: City", 80),
        text("address1_country", "Address 1: Country/Region", 80),
        boolean("isdisabled", "Is Disabled"),
        lookup("parentbusinessunitid", "Parent Business", "businessunit"),
        *trail(),
    ),
)

SYSTEM_USER = Entity(
    name="systemuser",
    set_name="systemusers",
    schema_name="SystemUser",
    label="User",
    plural="Users",
    name_column="fullname",
    ownership="BusinessOwned",
    type_code=8,
    columns=(
        key("systemuserid", "User"),
        text("fullname", "Full Name", 200),
        text("firstname", "First Name", 64),
        text("lastname", "Last Name", 64, required=True),
        text("domainname", "User Name", 1024),
        text("internalemailaddress", "Primary Email", 100, format="Email"),
        guid("azureactivedirectoryobjectid", "Azure AD Object ID"),
        guid("applicationid", "Application ID"),
        text("title", "Title", 128),
        text("mobilephone", "Mobile Phone", 64, format="Phone"),
        choice("accessmode", "Access Mode", "Read-Write", "Administrative", "Read", "Support User",
               "Non-interactive", "Delegated Admin", first=0),
        boolean("isdisabled", "Status", "Enabled", "Disabled"),
        lookup("businessunitid", "Business Unit", "businessunit"),
        lookup("parentsystemuserid", "Manager", "systemuser"),
        _OWNER,
        *trail(),
    ),
)  # fmt: skip

TEAM = Entity(
    name="team",
    set_name="teams",
    schema_name="Team",
    label="Team",
    plural="Teams",
    name_column="name",
    ownership="BusinessOwned",
    type_code=9,
    columns=(
        key("teamid", "Team"),
        text("name", "Team Name", 160, required=True),
        memo("description", "Description"),
        text("emailaddress", "Email", 100, format="Email"),
        choice("teamtype", "Team Type", "Owner", "Access", "Security Group", "Office Group", first=0),
        boolean("isdefault", "Is Default"),
        lookup("businessunitid", "Business Unit", "businessunit"),
        lookup("administratorid", "Administrator", "systemuser"),
        _OWNER,
        *trail(),
    ),
)

ROLE = Entity(
    name="role",
    set_name="roles",
    schema_name="Role",
    label="Security Role",
    plural="Security Roles",
    name_column="name",
    ownership="BusinessOwned",
    type_code=1036,
    columns=(
        key("roleid", "Role"),
        text("name", "Name", 100, required=True),
        integer("isinherited", "Member's privilege inheritance", 0, 1),
        lookup("parentrootroleid", "Parent Root Role", "role"),
        lookup("businessunitid", "Business Unit", "businessunit"),
        *trail(),
    ),
)

PRIVILEGE = Entity(
    name="privilege",
    set_name="privileges",
    schema_name="Privilege",
    label="Privilege",
    plural="Privileges",
    name_column="name",
    ownership="None",
    type_code=1023,
    tracks_changes=False,
    is_read_only=True,
    columns=(
        key("privilegeid", "Privilege"),
        text("name", "Name", 100),
        integer("accessright", "Access Right"),
        boolean("canbebasic", "Can be Basic"),
        boolean("canbelocal", "Can be Local"),
        boolean("canbedeep", "Can be Deep"),
        boolean("canbeglobal", "Can be Global"),
        version(),
    ),
)

ROLE_PRIVILEGES = Entity(
    name="roleprivileges",
    set_name="roleprivilegescollection",
    schema_name="RolePrivileges",
    label="Role Privilege",
    plural="Role Privileges",
    name_column=None,
    ownership="None",
    type_code=12,
    tracks_changes=False,
    columns=(
        key("roleprivilegeid", "Role Privilege"),
        guid("roleid", "Role"),
        guid("privilegeid", "Privilege"),
        integer("privilegedepthmask", "Privilege Depth"),
        version(),
    ),
)


def intersection(name: str, set_name: str, label: str, code: int, *guids: tuple[str, str]) -> Entity:
    """An entity that ties rows together: its key, then the keys of what it ties."""
    return Entity(
        name=name,
        set_name=set_name,
        schema_name=label.replace(" ", ""),
        label=label,
        plural=f"{label}s",
        name_column=None,
        ownership="None",
        type_code=code,
        columns=(key(guids[0][0], label), *(guid(*each) for each in guids[1:]), version()),
    )


TEAM_MEMBERSHIP = intersection(
    "teammembership",
    "teammemberships",
    "Team Membership",
    23,
    ("teammembershipid", ""),
    ("systemuserid", "User"),
    ("teamid", "Team"),
)
SYSTEM_USER_ROLES = intersection(
    "systemuserroles",
    "systemuserrolescollection",
    "System User Role",
    15,
    ("systemuserroleid", ""),
    ("systemuserid", "User"),
    ("roleid", "Role"),
)
TEAM_ROLES = intersection(
    "teamroles", "teamrolescollection", "Team Role", 40, ("teamroleid", ""), ("teamid", "Team"), ("roleid", "Role")
)


def privilege_name(entity: Entity, right: str) -> str:
    """The privilege for a right on an entity: `prvReadAccount`; activities share theirs."""
    names = {"task": "Activity", "systemuser": "User"}
    return f"prv{right}{names.get(entity.name, entity.schema_name)}"
