"""Mobile offline profiles, and the saved queries (views) that their custom filters are.

Source: powerapps-docs, developer/data-platform/reference/entities/mobileofflineprofile.md and its neighbours.
"""

from __future__ import annotations

from satchel.sandbox.schema.columns import boolean, guid, integer, key, lookup, memo, text, version
from satchel.sandbox.schema.kinds import Column, Entity


def _table(name: str, schema_name: str, label: str, code: int, *columns: Column, plural: str = "") -> Entity:
    return Entity(
        name=name,
        set_name=plural or f"{name}s",
        schema_name=schema_name,
        label=label,
        plural=f"{label}s",
        name_column="name",
        ownership="OrganizationOwned",
        type_code=code,
        columns=(key(f"{name}id", label), text("name", "Name", 200), *columns, version()),
    )


OFFLINE_PROFILE = _table(
    "mobileofflineprofile", "MobileOfflineProfile", "Mobile Offline Profile", 9866,
    memo("description", "Description"), integer("componentstate", "Component State"),
)  # fmt: skip
OFFLINE_PROFILE_ITEM = _table(
    "mobileofflineprofileitem", "MobileOfflineProfileItem", "Mobile Offline Profile Item", 9867,
    lookup("regardingobjectid", "Profile", "mobileofflineprofile"),
    text("selectedentitytypecode", "Entity", 100),
    integer("recorddistributioncriteria", "Data Download Filter", 0, 3),
    boolean("recordsownedbyme", "User's rows"),
    boolean("recordsownedbymyteam", "Team's rows"),
    boolean("recordsownedbymybusinessunit", "Business unit's rows"),
    boolean("getrelatedentityrecords", "Related rows"),
    memo("selectedcolumns", "Selected Columns", 100_000),
    integer("syncintervalinminutes", "Sync Interval", 5, 1440),
    lookup("profileitemrule", "Profile Item Rule", "savedquery"),
)  # fmt: skip
OFFLINE_PROFILE_ASSOCIATION = _table(
    "mobileofflineprofileitemassociation", "MobileOfflineProfileItemAssociation", "Profile Item Association", 9868,
    lookup("mobileofflineprofileitemid", "Item", "mobileofflineprofileitem"),
    guid("relationshipid", "Relationship"),
    text("relationshipdisplayname", "Relationship Name", 200),
)  # fmt: skip
OFFLINE_PROFILE_MEMBERSHIP = _table(
    "teammobileofflineprofilemembership", "TeamMobileOfflineProfileMembership", "Team Profile Membership", 9869,
    lookup("mobileofflineprofileid", "Profile", "mobileofflineprofile"), lookup("teamid", "Team", "team"),
    integer("statecode", "Status"),
)  # fmt: skip
SAVED_QUERY = _table(
    "savedquery", "SavedQuery", "View", 1039, memo("fetchxml", "FetchXML", 100_000),
    text("returnedtypecode", "Entity", 100), plural="savedqueries",
)  # fmt: skip
