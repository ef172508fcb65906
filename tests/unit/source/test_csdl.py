"""`$metadata` becomes entities and attributes."""

from __future__ import annotations

import pytest

from satchel.errors import SourceMisconfigured
from satchel.model.metadata import AttributeType, Entity, Ownership
from satchel.source.csdl import Csdl
from satchel.source.csdl_reader import CsdlReader
from satchel.source.dataverse_metadata import dataverse_entities
from satchel.source.definitions import EntityDefinition
from satchel.source.metadata import entities_of
from tests.unit.source.samples import BOOKSHOP, DATAVERSE


def read(text: str, chunk: int = 1 << 20) -> Csdl:
    reader = CsdlReader()
    content = text.encode()
    for start in range(0, len(content), chunk):
        reader.feed(content[start : start + chunk])
    return reader.close()


def entity(csdl: Csdl, name: str) -> Entity:
    return next(e for e in entities_of(csdl) if e.name == name)


def dataverse(name: str) -> Entity:
    definitions = {
        logical: EntityDefinition(
            logical_name=logical,
            entity_set_name=set_name,
            primary_id_attribute=key,
            primary_name_attribute="name",
            ownership_type=ownership,
            change_tracking_enabled=True,
        )
        for logical, set_name, key, ownership in [
            ("account", "accounts", "accountid", "UserOwned"),
            ("contact", "contacts", "contactid", "UserOwned"),
            ("systemuser", "systemusers", "systemuserid", "BusinessOwned"),
            ("task", "tasks", "activityid", "UserOwned"),
        ]
    }
    return next(e for e in dataverse_entities(read(DATAVERSE), definitions) if e.name == name)


def test_document_in_single_bytes_says_the_same_as_whole() -> None:
    assert read(DATAVERSE, chunk=1) == read(DATAVERSE)


def test_composite_key_keeps_its_order() -> None:
    assert entity(read(BOOKSHOP), "OrderItems").key == ("parent_ID", "line")


def test_property_behind_a_constraint_is_a_lookup() -> None:
    assert entity(read(BOOKSHOP), "OrderItems").attribute_by_name["parent_ID"].targets == ("Orders",)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ID", AttributeType.GUID),
        ("title", AttributeType.STRING),
        ("blurb", AttributeType.MEMO),
        ("price", AttributeType.DECIMAL),
        ("stock", AttributeType.INTEGER),
        ("sold", AttributeType.BIGINT),
        ("rating", AttributeType.DOUBLE),
        ("available", AttributeType.BOOLEAN),
        ("published", AttributeType.DATE),
        ("opens", AttributeType.TIME),
        ("modifiedAt", AttributeType.DATETIME),
        ("cover", AttributeType.BINARY),
        ("tags", AttributeType.TEXT),
        ("place", AttributeType.TEXT),
        ("size", AttributeType.TEXT),
        ("isbn", AttributeType.STRING),
    ],
)
def test_type_of_property(name: str, kind: AttributeType) -> None:
    assert entity(read(BOOKSHOP), "Books").attribute_by_name[name].type is kind


def test_stream_is_no_attribute() -> None:
    assert "film" not in entity(read(BOOKSHOP), "Books").attribute_by_name


def test_facets_are_kept() -> None:
    books = entity(read(BOOKSHOP), "Books").attribute_by_name
    assert (books["price"].precision, books["price"].scale) == (9, 2)
    assert books["isbn"].max_length == 13


def test_computed_property_cannot_be_written() -> None:
    modified = entity(read(BOOKSHOP), "Books").attribute_by_name["modifiedAt"]
    assert (modified.is_creatable, modified.is_updatable, modified.label) == (False, False, "Changed On")


def test_modified_attribute_is_known_by_its_name() -> None:
    assert entity(read(BOOKSHOP), "Books").modified_attribute == "modifiedAt"
    assert entity(read(BOOKSHOP), "OrderItems").modified_attribute is None


def test_annotated_set_tracks_changes() -> None:
    assert entity(read(BOOKSHOP), "Orders").tracks_changes
    assert not entity(read(BOOKSHOP), "Books").tracks_changes


def test_lookup_of_dataverse_bears_its_logical_name() -> None:
    contact = dataverse("account").attribute_by_name["primarycontactid"]
    assert (contact.wire_name, contact.type, contact.targets) == (
        "_primarycontactid_value",
        AttributeType.GUID,
        ("contact",),
    )
    assert contact.type_attribute is None


def test_polymorphic_lookup_is_followed_by_its_type() -> None:
    contact = dataverse("contact")
    parent = contact.attribute_by_name["parentcustomerid"]
    kind = contact.attribute_by_name["parentcustomeridtype"]
    assert parent.targets == ("account", "contact")
    assert parent.type_attribute == kind.name
    assert kind.wire_name == "_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"
    assert kind.type is AttributeType.STRING


def test_lookup_of_an_abstract_type_leads_to_all_derived_ones() -> None:
    assert dataverse("account").attribute_by_name["ownerid"].targets == ("systemuser", "team")
    assert dataverse("account").attribute_by_name["owneridtype"].wire_name.startswith("_ownerid_value@")


def test_derived_type_has_the_properties_of_its_base_and_its_own_key() -> None:
    task = dataverse("task")
    assert task.key == ("activityid",)
    assert {"subject", "modifiedon", "percentcomplete"} <= task.attribute_by_name.keys()
    assert dataverse("systemuser").key == ("systemuserid",)


def test_entity_of_dataverse_takes_over_its_definition() -> None:
    account = dataverse("account")
    assert (account.set_name, account.key, account.ownership) == ("accounts", ("accountid",), Ownership.USER)
    assert (account.name_attribute, account.modified_attribute, account.tracks_changes) == ("name", "modifiedon", True)


@pytest.mark.parametrize(
    "text",
    [
        "not xml at all",
        "<html><body>Sign in</body></html>",
        BOOKSHOP.replace("http://docs.oasis-open.org/odata/ns/edm", "http://schemas.microsoft.com/ado/2008/09/edm"),
        BOOKSHOP[: len(BOOKSHOP) // 2],
        '<!DOCTYPE x [<!ENTITY a "b">]>' + BOOKSHOP,
    ],
    ids=["text", "html", "odata v2", "cut off", "doctype"],
)
def test_what_is_no_csdl_is_refused(text: str) -> None:
    with pytest.raises(SourceMisconfigured):
        read(text)
