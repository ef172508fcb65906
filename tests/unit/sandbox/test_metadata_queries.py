"""`$metadata` and `EntityDefinitions`: valid, complete, and queried as documented."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from satchel.sandbox.schema.organization import BY_NAME, ENTITIES
from tests.unit.sandbox.service import Service

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"


async def _document(service: Service, query: str = "") -> ElementTree.Element:
    return ElementTree.fromstring((await service.get(f"$metadata{query}")).content)  # noqa: S314 - our own document


async def _listed(service: Service, path: str) -> list[dict[str, Any]]:
    answer = await service.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["value"]
    return found


async def test_every_navigation_leads_to_a_type_and_back_to_its_property(service: Service) -> None:
    document = await _document(service)
    types = {one.get("Name"): one for one in document.iter(f"{EDM}EntityType")}
    assert len(types) == len(ENTITIES) + 2
    for name, entity_type in types.items():
        properties = {one.get("Name") for one in entity_type.iter(f"{EDM}Property")}
        for navigation in entity_type.iter(f"{EDM}NavigationProperty"):
            assert (navigation.get("Type") or "").removeprefix("mscrm.") in types
            constraint = navigation.find(f"{EDM}ReferentialConstraint")
            assert constraint is not None
            assert constraint.get("Property") in properties, f"{name}.{navigation.get('Name')}"


async def test_rows_have_the_properties_of_their_type(service: Service) -> None:
    document = await _document(service)
    for entity_type in document.iter(f"{EDM}EntityType"):
        entity = BY_NAME.get(entity_type.get("Name") or "")
        if entity is None:
            continue
        declared = {one.get("Name") for one in entity_type.iter(f"{EDM}Property")}
        declared |= {"ownerid"} if entity.name in {"systemuser", "team"} else set()
        row = (await service.get(f"{entity.set_name}?$top=1")).json()["value"][0]
        assert {name for name in row if "@" not in name} == declared


async def test_sets_that_track_changes_are_annotated_on_request(service: Service) -> None:
    document = await _document(service, "?annotations=true")
    sets = [one for one in document.iter(f"{EDM}EntitySet") if one.find(f"{EDM}Annotation") is not None]
    assert {one.get("Name") for one in sets} == {entity.set_name for entity in ENTITIES if entity.tracks_changes}
    assert not list((await _document(service)).iter(f"{EDM}Annotation"))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ChangeTrackingEnabled eq false", {"privilege", "roleprivileges", "principalobjectaccess"}),
        ("LogicalName eq 'account' or LogicalName eq 'task'", {"account", "task"}),
        ("LogicalName in ('account','task') and not (IsActivity eq true)", {"account"}),
        ("IsActivity eq true and (LogicalName eq 'account' or LogicalName eq 'task')", {"task"}),
        ("OwnershipType eq Microsoft.Dynamics.CRM.OwnershipTypes'UserOwned' and LogicalName ne 'task'",
         {"account", "contact", "incident"}),
        ("CanChangeTrackingBeEnabled/Value eq false", set()),
    ],
)  # fmt: skip
async def test_definitions_are_filtered(service: Service, query: str, expected: set[str]) -> None:
    found = await _listed(service, f"EntityDefinitions?$select=LogicalName&$filter={query}")
    assert {one["LogicalName"] for one in found} == expected


@pytest.mark.parametrize(
    ("entity", "attribute", "cast", "details"),
    [
        ("account", "creditlimit", "Money", {"Precision": 2, "MinValue": 0}),
        ("account", "name", "String", {"MaxLength": 160}),
        ("task", "description", "Memo", {"MaxLength": 2000}),
        ("contact", "birthdate", "DateTime", {"Format": "DateOnly", "DateTimeBehavior": {"Value": "DateOnly"}}),
        ("task", "regardingobjectid", "Lookup", {"Targets": ["account", "contact", "incident"]}),
        ("product", "stockweight", "Decimal", {"Precision": 3}),
        ("task", "percentcomplete", "Integer", {"MinValue": 0, "MaxValue": 100}),
    ],
)
async def test_cast_brings_the_details_of_a_kind(
    service: Service, entity: str, attribute: str, cast: str, details: dict[str, object]
) -> None:
    path = f"EntityDefinitions(LogicalName='{entity}')/Attributes/Microsoft.Dynamics.CRM.{cast}AttributeMetadata"
    found = {one["LogicalName"]: one for one in await _listed(service, path)}
    assert details.items() <= found[attribute].items()


async def test_choices_come_with_their_options(service: Service) -> None:
    path = "EntityDefinitions(LogicalName='incident')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata"
    found = await _listed(service, f"{path}?$select=LogicalName&$expand=OptionSet")
    options = {one["LogicalName"]: one["OptionSet"]["Options"] for one in found}
    assert [option["Value"] for option in options["prioritycode"]] == [1, 2, 3]
    assert options["prioritycode"][0]["Label"]["UserLocalizedLabel"]["Label"] == "High"


async def test_attributes_are_expanded_selected_and_filtered(service: Service) -> None:
    option = "Attributes($select=LogicalName;$filter=IsPrimaryId eq true)"
    answer = await service.get(f"EntityDefinitions(LogicalName='contact')?$select=LogicalName&$expand={option}")
    assert [one["LogicalName"] for one in answer.json()["Attributes"]] == ["contactid"]
    refused = await service.get("EntityDefinitions(LogicalName='contact')?$expand=Attributes($top=1)")
    assert refused.status_code == 400
