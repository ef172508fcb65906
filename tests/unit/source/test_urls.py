"""Queries as they go over the wire."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.urls import (
    MAX_URL_CHARACTERS,
    comes_after,
    equals,
    key_attributes,
    key_queries,
    query,
    selected,
)


def attribute(name: str, kind: AttributeType, wire_name: str = "") -> Attribute:
    return Attribute(name=name, wire_name=wire_name or name, type=kind)


ITEM = Entity(
    name="item",
    set_name="items",
    key=("parent", "line"),
    attributes=(
        attribute("parent", AttributeType.STRING),
        attribute("line", AttributeType.INTEGER),
        attribute("ownerid", AttributeType.GUID, "_ownerid_value"),
        attribute("owneridtype", AttributeType.STRING, "_ownerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"),
    ),
)


def test_quote_within_a_literal_is_doubled() -> None:
    assert equals(key_attributes(ITEM), ("O'Neil", "3")) == "parent eq 'O''Neil' and line eq 3"


def test_rows_behind_a_composite_key_are_asked_for_part_by_part() -> None:
    assert comes_after(key_attributes(ITEM), ("a", "3")) == "parent gt 'a' or (parent eq 'a' and line gt 3)"


def test_annotation_is_not_selected() -> None:
    assert selected(ITEM) == "parent,line,_ownerid_value"


def test_list_that_is_too_long_is_left_out() -> None:
    many = tuple(attribute(f"attribute_with_a_long_name_{i}", AttributeType.STRING) for i in range(400))
    assert selected(Entity(name="x", set_name="xs", key=(), attributes=many)) == ""


def test_special_characters_survive() -> None:
    url = query("Größen", {"$filter": "name eq 'a+b & c=d#e %'", "$top": ""})
    assert urlsplit(url).path == "Gr%C3%B6%C3%9Fen"
    assert parse_qs(urlsplit(url).query) == {"$filter": ["name eq 'a+b & c=d#e %'"]}


def test_many_keys_are_asked_for_in_short_urls() -> None:
    keys = [("parent " * 10, str(line)) for line in range(500)]
    urls = list(key_queries(ITEM, keys))
    assert max(map(len, urls)) <= MAX_URL_CHARACTERS
    assert sum(parse_qs(urlsplit(url).query)["$filter"][0].count(" and ") for url in urls) == 500
