"""A mobile offline profile of Dynamics 365 becomes a profile file; what it loses on the way is noted."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from satchel.access.dynamics.profile import NOBODY, import_profile
from satchel.access.dynamics.relations import Row
from satchel.errors import ProfileInvalid
from satchel.model.metadata import AttributeType


def guid(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


PROFILE: dict[str, object] = {
    "mobileofflineprofileid": guid(1),
    "name": 'Field "service"',
    "description": "For technicians\nof the north",
    "componentstate": 0,
}
LOOKUPS = {
    ("contact", "parentcustomerid"): ("account", "contact"),
    ("incident", "customerid"): ("account", "contact"),
    ("incident", "primarycontactid"): ("contact",),
    ("incident", "new_assetid"): ("new_asset",),
}
TYPES = {"statecode": AttributeType.CHOICE, "title": AttributeType.STRING}
RELATIONSHIPS: list[Row] = [
    {
        "MetadataId": guid(50),
        "SchemaName": "contact_customer_accounts",
        "ReferencedEntity": "account",
        "ReferencingEntity": "contact",
        "ReferencingAttribute": "parentcustomerid",
    },
    {
        "MetadataId": guid(51),
        "SchemaName": "new_incident_asset",
        "ReferencedEntity": "new_asset",
        "ReferencingEntity": "incident",
        "ReferencingAttribute": "new_assetid",
    },
    {
        "MetadataId": guid(52),
        "SchemaName": "new_incident_contact",
        "IntersectEntityName": "new_incident_contact",
        "Entity1LogicalName": "incident",
        "Entity1IntersectAttribute": "incidentid",
        "Entity2LogicalName": "contact",
        "Entity2IntersectAttribute": "contactid",
    },
    {
        "MetadataId": guid(53),
        "SchemaName": "Incident_Tasks",
        "ReferencedEntity": "incident",
        "ReferencingEntity": "task",
        "ReferencingAttribute": "regardingobjectid",
    },
    {
        "MetadataId": guid(54),
        "SchemaName": "account_parent_account",
        "ReferencedEntity": "account",
        "ReferencingEntity": "account",
        "ReferencingAttribute": "parentaccountid",
    },
]
VIEW = """<fetch version="1.0"><entity name="incident"><attribute name="title"/>
<filter type="and"><condition attribute="statecode" operator="eq" value="0"/>
<condition attribute="ownerid" operator="eq-useroruserteams"/></filter></entity></fetch>"""
VIEWS: list[Row] = [{"savedqueryid": guid(60), "name": "My cases", "fetchxml": VIEW}]


def item(number: int, entity: str, criteria: int, **more: object) -> dict[str, object]:
    return {
        "mobileofflineprofileitemid": guid(number),
        "_regardingobjectid_value": guid(1),
        "name": entity.title(),
        "selectedentitytypecode": entity,
        "recorddistributioncriteria": criteria,
        "getrelatedentityrecords": True,
        **more,
    }


def association(item_number: int, relationship: int, name: str = "a relationship") -> dict[str, object]:
    return {
        "_mobileofflineprofileitemid_value": guid(item_number),
        "relationshipid": guid(relationship).upper(),
        "relationshipdisplayname": name,
    }


def imported(
    items: list[Row], associations: list[Row] | None = None, filters: list[Row] | None = None, **more: Any
) -> tuple[dict[str, Any], str]:
    text, notes = import_profile(
        more.pop("profile", PROFILE),
        items,
        associations or [],
        filters or [],
        relationships=RELATIONSHIPS,
        views=VIEWS,
        lookup_target=lambda e, a: LOOKUPS.get((e, a)),
        type_of=lambda _e, a: TYPES.get(a),
        **more,
    )
    return tomllib.loads(text), "\n".join(notes)


def test_a_profile_of_four_entities() -> None:
    columns = json.dumps({"Columns": ["title", "StateCode", "modifiedon"]})
    items: list[Row] = [
        item(10, "account", 2, recordsownedbyme=True, recordsownedbymyteam=True, syncintervalinminutes=10),
        item(11, "contact", 0, syncintervalinminutes=60),
        item(12, "incident", 3, _profileitemrule_value=guid(60), selectedcolumns=columns),
        item(13, "new_asset", 0),
        item(14, "task", 1, _regardingobjectid_value=guid(2)),
    ]
    associations: list[Row] = [
        association(10, 50), association(12, 52), association(12, 51), association(12, 51), association(14, 50),
    ]  # fmt: skip
    members: list[Row] = [
        {"_mobileofflineprofileid_value": guid(1), "_systemuserid_value": guid(70).upper(), "statecode": 0},
        {"_mobileofflineprofileid_value": guid(1), "_systemuserid_value": guid(71), "statecode": 1},
        {"_mobileofflineprofileid_value": guid(2), "_systemuserid_value": guid(72)},
        {"_mobileofflineprofileid_value": guid(1), "_teamid_value": guid(73)},
    ]

    profile, notes = imported(items, associations, members=members)

    assert notes == ""
    assert profile == {
        "name": 'Field "service"',
        "assigned": {"users": [guid(70)], "teams": [guid(73)]},
        "entity": [
            {"name": "account", "rows": ["own", "team"], "sync_interval_minutes": 10},
            {
                "name": "contact",
                "rows": ["related"],
                "related": ["parentcustomerid_account", "new_incident_contact.contactid/incidentid"],
                "sync_interval_minutes": 60,
            },
            {
                "name": "incident",
                "columns": ["title", "statecode", "modifiedon"],
                "rows": ["custom"],
                "filter": "statecode eq 0 and (ownerid eq @me or ownerid in @my.teams)",
            },
            {"name": "new_asset", "rows": ["related"], "related": ["incident.new_assetid"]},
        ],
    }


def test_a_custom_filter_and_related_rows_are_joined_by_or() -> None:
    profile, _ = imported(
        [item(10, "new_asset", 1), item(12, "incident", 3, _profileitemrule_value=guid(60))], [association(10, 51)]
    )

    incident = profile["entity"][1]
    assert (incident["rows"], incident["combine"], incident["related"]) == (["custom"], "or", ["new_assetid"])


@pytest.mark.parametrize(
    ("more", "rows", "text", "noted"),
    [
        ({"profileitementityfilter": "<filter><condition attribute='statecode' operator='eq' value='1'/></filter>"},
         ["custom"], "statecode eq 1", ""),
        ({"profileitementityfilter": "<filter><condition attribute='createdon' operator='today'/></filter>"},
         ["related"], None, "'today' on 'createdon' cannot be carried over. Days by the calendar"),
        ({"profileitementityfilter": "<fetch><entity name='incident'/></fetch>"}, ["all"], None, "asks nothing"),
        ({}, ["custom"], "statecode eq 7", "made for a full sync"),
        ({"_profileitemrule_value": guid(99)}, ["custom"], "statecode eq 7", "was not read"),
        ({"mobileofflineprofileitemid": guid(77)}, ["related"], None, "was not found"),
    ],
)  # fmt: skip
def test_where_a_custom_filter_comes_from(
    more: dict[str, object], rows: list[str], text: str | None, noted: str
) -> None:
    made = VIEW.replace('value="0"', 'value="7"').replace(
        '<condition attribute="ownerid" operator="eq-useroruserteams"/>', ""
    )
    filters: list[Row] = [
        {"mobileofflineprofileitemid": guid(12), "type": 2, "fetchxml": made},
        {"mobileofflineprofileitemid": guid(12), "type": 0, "fetchxml": "<other/>"},
    ]

    profile, notes = imported([item(12, "incident", 3, **more)], filters=filters)

    assert profile["entity"][0]["rows"] == rows
    assert profile["entity"][0].get("filter") == text
    assert noted in notes


@pytest.mark.parametrize(
    ("items", "associations", "noted"),
    [
        ([item(10, "account", 2)], [], "neither own nor team's nor unit's"),
        ([item(10, "account", 0)], [], "no relationship leads to it"),
        ([item(10, "account", 9)], [], "download filter 9 is not known"),
        ([item(10, "account", 1, syncintervalinminutes=3)], [], "sync interval 3"),
        ([item(10, "account", 1, canbefollowed=True)], [], "follow rows"),
        ([item(10, "account", 1, selectedcolumns="{"), item(11, "contact", 1)], [], "could not be read"),
        (
            [item(10, "account", 1, selectedcolumns='{"Columns": ["a b"]}'), item(11, "contact", 1)],
            [],
            "no column is chosen",
        ),
        ([item(10, "account", 1, selectedcolumns='["name", 5]')], [], "left out"),
        ([item(10, "account", 1), item(11, "account", 1)], [], "second item"),
        ([item(10, "account", 1), item(11, "", 1)], [], "names no table"),
        ([item(10, "account", 1)], [association(10, 50)], "contact, which the profile does not have"),
        ([item(10, "account", 1)], [association(10, 54)], "to itself"),
        ([item(10, "account", 1)], [association(10, 59, "entityimage")], "'entityimage' is not among"),
        ([item(10, "account", 1)], [association(19, 50)], "belongs to an item that was not read"),
        ([item(10, "account", 1), item(11, "contact", 1)], [association(10, 50)], "bring nothing more"),
        ([item(10, "account", 1, getrelatedentityrecords=False), item(11, "contact", 0)], [association(10, 50)], "off"),
        (
            [item(10, "account", 1), item(11, "contact", 0)],
            [association(10, 50) | {"profileitemassociationentityfilter": "<filter/>"}],
            "filter of the relationship",
        ),
        ([item(10, "account", 1)], [], "assigned to nobody"),
    ],
)
def test_what_is_not_carried_over_is_noted(items: list[Row], associations: list[Row], noted: str) -> None:
    profile, notes = imported(items, associations)

    assert profile["entity"]
    assert noted in notes
    assert ("account" in {each["name"] for each in profile["entity"]}) or "left out" in notes


def test_texts_stay_in_their_quotes() -> None:
    hostile = '"\n[assigned]\nroles = ["x"]\n\\ \x00\x7f \ud800 é'
    profile, notes = imported(
        [item(10, "account", 1)], profile=PROFILE | {"name": hostile, "description": hostile, "componentstate": 1}
    )

    assert profile["name"] == hostile.replace("\ud800", "\ufffd")
    assert set(profile) == {"name", "assigned", "entity"}
    assert profile["assigned"] == {"roles": [NOBODY]}
    assert "not published" in notes


@pytest.mark.parametrize(
    ("profile", "items"), [({}, [item(10, "account", 1)]), (PROFILE, []), (PROFILE, [item(10, "a b", 1)])]
)
def test_a_profile_without_a_name_or_a_table_is_refused(profile: Row, items: list[Row]) -> None:
    with pytest.raises(ProfileInvalid):
        imported(items, profile=profile)
