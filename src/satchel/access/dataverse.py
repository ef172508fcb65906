"""Where Dataverse keeps users, teams, business units, roles, shares and column security.

Source: powerapps-docs, developer/data-platform/security-concepts.md, security-sharing-assigning.md,
column-level-security.md, and the reference pages of these tables.
"""

from __future__ import annotations

import msgspec

from satchel.access.profiles import Hierarchy
from satchel.model.metadata import Metadata
from satchel.model.scope import ColumnSecurity, Membership, Principals, Roles, Shares

DATAVERSE_PRINCIPALS = Principals(
    user="systemuser",
    user_name="fullname",
    user_unit="businessunitid",
    user_disabled="isdisabled",
    user_identifiers=("azureactivedirectoryobjectid", "internalemailaddress", "domainname"),
    unit="businessunit",
    unit_parent="parentbusinessunitid",
    team="team",
    team_unit="businessunitid",
    membership=Membership("teammembership", "systemuserid", "teamid"),
    roles=Roles(
        entity="role",
        name="name",
        of_users=Membership("systemuserroles", "systemuserid", "roleid"),
        of_teams=Membership("teamroles", "teamid", "roleid"),
        privileges=Membership("roleprivileges", "roleid", "privilegeid"),
        depth="privilegedepthmask",
        privilege_entity="privilege",
        privilege_name="name",
        unit="businessunitid",
        root="parentrootroleid",
        inherits="isinherited",
    ),
    shares=Shares(
        entity="principalobjectaccess",
        row="objectid",
        principal="principalid",
        rights="accessrightsmask",
        inherited_rights="inheritedaccessrightsmask",
    ),
    columns=ColumnSecurity(
        permissions="fieldpermission",
        profile="fieldsecurityprofileid",
        entity="entityname",
        attribute="attributelogicalname",
        can_read="canread",
        can_create="cancreate",
        can_update="canupdate",
        of_users=Membership("systemuserprofiles", "systemuserid", "fieldsecurityprofileid"),
        of_teams=Membership("teamprofiles", "teamid", "fieldsecurityprofileid"),
    ),
)
MANAGER_HIERARCHY = {"user_manager": "parentsystemuserid"}
POSITION_HIERARCHY = {"user_position": "positionid", "position": "position", "position_parent": "parentpositionid"}


def dataverse_principals(metadata: Metadata, hierarchy: Hierarchy, depth: int) -> Principals:
    """The principals, without tables that the service does not show."""
    known = metadata.entity_by_name
    principals = DATAVERSE_PRINCIPALS
    if principals.shares and principals.shares.entity not in known:
        principals = msgspec.structs.replace(principals, shares=None)
    principals = _without_missing(principals, metadata)
    columns = principals.columns
    if columns and not {columns.permissions, columns.of_users.entity} <= known.keys():
        principals = msgspec.structs.replace(principals, columns=None)
    match hierarchy:
        case Hierarchy.MANAGER:
            return msgspec.structs.replace(principals, hierarchy_depth=depth, **MANAGER_HIERARCHY)
        case Hierarchy.POSITION:
            return msgspec.structs.replace(principals, hierarchy_depth=depth, **POSITION_HIERARCHY)
    return principals


def _without_missing(principals: Principals, metadata: Metadata) -> Principals:
    """Without columns that only some services have."""
    roles, shares, columns = principals.roles, principals.shares, principals.columns
    known = tuple(each for each in principals.user_identifiers if _has(metadata, principals.user, each))
    principals = msgspec.structs.replace(principals, user_identifiers=known)
    for word in ("can_create", "can_update"):
        if columns and not _has(metadata, columns.permissions, getattr(columns, word)):
            columns = msgspec.structs.replace(columns, **{word: None})
    if roles and not _has(metadata, roles.entity, roles.root):
        roles = msgspec.structs.replace(roles, root=None)
    if shares and not _has(metadata, shares.entity, shares.inherited_rights):
        shares = msgspec.structs.replace(shares, inherited_rights=None)
    return msgspec.structs.replace(principals, roles=roles, shares=shares, columns=columns)


def _has(metadata: Metadata, entity: str, attribute: str | None) -> bool:
    known = metadata.entity_by_name.get(entity)
    return known is not None and attribute in known.attribute_by_name
