"""Shares of rows, column security, and a many-to-many tie between business rows.

Source: powerapps-docs, developer/data-platform/reference/entities/principalobjectaccess.md, fieldsecurityprofile.md,
fieldpermission.md, systemuserprofiles.md, teamprofiles.md.
"""

from __future__ import annotations

from satchel.sandbox.schema.columns import guid, integer, key, lookup, text, trail, version
from satchel.sandbox.schema.directory import intersection
from satchel.sandbox.schema.kinds import Entity

PRINCIPAL_OBJECT_ACCESS = Entity(
    name="principalobjectaccess",
    set_name="principalobjectaccessset",
    schema_name="PrincipalObjectAccess",
    label="Principal Object Access",
    plural="Principal Object Accesses",
    name_column=None,
    ownership="None",
    type_code=11,
    tracks_changes=False,
    columns=(
        key("principalobjectaccessid", "Principal Object Access"),
        guid("principalid", "Principal"),
        text("principaltypecode", "Principal Type", 64),
        guid("objectid", "Object"),
        text("objecttypecode", "Object Type", 64),
        integer("accessrightsmask", "Access Rights"),
        integer("inheritedaccessrightsmask", "Inherited Access Rights"),
        version(),
    ),
)
FIELD_SECURITY_PROFILE = Entity(
    name="fieldsecurityprofile",
    set_name="fieldsecurityprofiles",
    schema_name="FieldSecurityProfile",
    label="Field Security Profile",
    plural="Field Security Profiles",
    name_column="name",
    ownership="OrganizationOwned",
    type_code=1200,
    columns=(key("fieldsecurityprofileid", "Field Security Profile"), text("name", "Name", 100), *trail()),
)
FIELD_PERMISSION = Entity(
    name="fieldpermission",
    set_name="fieldpermissions",
    schema_name="FieldPermission",
    label="Field Permission",
    plural="Field Permissions",
    name_column=None,
    ownership="None",
    type_code=1201,
    columns=(
        key("fieldpermissionid", "Field Permission"),
        lookup("fieldsecurityprofileid", "Profile", "fieldsecurityprofile"),
        text("entityname", "Entity", 64),
        text("attributelogicalname", "Attribute", 64),
        integer("canread", "Can Read", 0, 4),
        integer("cancreate", "Can Create", 0, 4),
        integer("canupdate", "Can Update", 0, 4),
        version(),
    ),
)
SYSTEM_USER_PROFILES = intersection(
    "systemuserprofiles", "systemuserprofilescollection", "System User Profile", 1202,
    ("systemuserprofileid", ""), ("systemuserid", "User"), ("fieldsecurityprofileid", "Profile"),
)  # fmt: skip
TEAM_PROFILES = intersection(
    "teamprofiles", "teamprofilescollection", "Team Profile", 1203,
    ("teamprofileid", ""), ("teamid", "Team"), ("fieldsecurityprofileid", "Profile"),
)  # fmt: skip
INCIDENT_CONTACT = intersection(
    "new_incident_contact", "new_incident_contactset", "Incident Contact", 10101,
    ("new_incident_contactid", ""), ("incidentid", "Case"), ("contactid", "Contact"),
)  # fmt: skip
