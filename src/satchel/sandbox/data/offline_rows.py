"""One mobile offline profile, as an administrator of Dynamics 365 would have made it."""

from __future__ import annotations

import json
import random

from satchel.sandbox.data.directory_rows import Directory, new_guid
from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.schema.offline import (
    OFFLINE_PROFILE,
    OFFLINE_PROFILE_ASSOCIATION,
    OFFLINE_PROFILE_ITEM,
    OFFLINE_PROFILE_MEMBERSHIP,
    SAVED_QUERY,
)

RELATED_ONLY, ALL, OTHER, CUSTOM = range(4)
FETCH = """<fetch><entity name="incident"><attribute name="title"/><filter type="and">
<condition attribute="statecode" operator="eq" value="0"/>
<filter type="or"><condition attribute="ownerid" operator="eq-useroruserteams"/>
<condition attribute="createdon" operator="last-x-days" value="90"/></filter></filter></entity></fetch>"""


def make_offline_profile(store: Store, chance: random.Random, directory: Directory) -> None:
    """Accounts by unit, their contacts, open cases by a view, the catalog."""
    profile, view = new_guid(chance), new_guid(chance)
    store.load(SAVED_QUERY, [
        {"savedqueryid": view, "name": "Open cases", "fetchxml": FETCH, "returnedtypecode": "incident"}
    ])  # fmt: skip
    store.load(OFFLINE_PROFILE, [
        {"mobileofflineprofileid": profile, "name": "Field Service Mobile - Offline", "componentstate": 0,
         "description": "For technicians"}
    ])  # fmt: skip

    def item(entity: str, criteria: int, columns: list[str], **more: object) -> Row:
        return {
            "mobileofflineprofileitemid": new_guid(chance), "name": entity, "regardingobjectid": profile,
            "selectedentitytypecode": entity, "recorddistributioncriteria": criteria, "recordsownedbyme": 0,
            "recordsownedbymyteam": 0, "recordsownedbymybusinessunit": 0, "getrelatedentityrecords": 1,
            "selectedcolumns": json.dumps({"Columns": columns}), "syncintervalinminutes": 10, "profileitemrule": None,
            **more,
        }  # fmt: skip

    account = item("account", OTHER, ["name", "telephone1"], recordsownedbymybusinessunit=1)
    items = [
        account,
        item("contact", RELATED_ONLY, ["fullname", "parentcustomerid"]),
        item("incident", CUSTOM, ["title", "customerid"], profileitemrule=view),
        item("product", ALL, ["name", "productnumber"]),
    ]
    store.load(OFFLINE_PROFILE_ITEM, items)
    store.load(OFFLINE_PROFILE_ASSOCIATION, [
        {"mobileofflineprofileitemassociationid": new_guid(chance), "name": "contacts",
         "mobileofflineprofileitemid": account["mobileofflineprofileitemid"], "relationshipid": None,
         "relationshipdisplayname": "contact_parentcustomerid_account"}
    ])  # fmt: skip
    store.load(OFFLINE_PROFILE_MEMBERSHIP, [
        {"teammobileofflineprofilemembershipid": new_guid(chance), "name": "team", "mobileofflineprofileid": profile,
         "teamid": directory.teams[0].id, "statecode": 0}
    ])  # fmt: skip
