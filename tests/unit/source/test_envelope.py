"""A page taken apart: rows as they came, removed rows as keys."""

from __future__ import annotations

import json

import pytest

from satchel.errors import RequestRefused
from satchel.model.metadata import Attribute, AttributeType, Entity
from satchel.source.envelope import key_of_id, keys_of, open_envelope

GUID = "2E451703-C686-E711-80E5-00155DB19E6D"


def entity(**key: AttributeType) -> Entity:
    attributes = tuple(Attribute(name=name, wire_name=name, type=kind) for name, kind in key.items())
    return Entity(name="thing", set_name="things", key=tuple(key), attributes=attributes)


ACCOUNT = entity(accountid=AttributeType.GUID)
ITEM = entity(parent_ID=AttributeType.GUID, line=AttributeType.INTEGER)
GENRE = entity(code=AttributeType.STRING)


def test_rows_stay_the_bytes_they_are() -> None:
    rows = b'[{"a": 1.50 , "accountid":"x"},{"big":12345678901234567890.123}]'
    envelope = open_envelope(b'{"value":' + rows + b"}", ACCOUNT)
    assert envelope.rows.replace(b" ", b"") == rows.replace(b" ", b"")
    assert b"12345678901234567890.123" in envelope.rows
    assert envelope.row_count == 2


def test_links_are_found() -> None:
    envelope = open_envelope(b'{"@odata.nextLink":"n","@odata.deltaLink":"d","value":[]}', ACCOUNT)
    assert (envelope.next_link, envelope.delta_link, envelope.rows) == ("n", "d", b"[]")


def test_removed_rows_of_dataverse_are_keys() -> None:
    body = {
        "value": [
            {"accountid": "a"},
            {"@odata.context": "https://h/$metadata#accounts/$deletedEntity", "id": GUID, "reason": "deleted"},
        ]
    }
    envelope = open_envelope(json.dumps(body).encode(), ACCOUNT)
    assert envelope.removed == ((GUID.lower(),),)
    assert envelope.row_count == 1


@pytest.mark.parametrize("reason", ["deleted", "changed"])
@pytest.mark.parametrize(
    "item",
    [
        {"accountid": GUID},
        {"@odata.id": f"https://h/accounts({GUID})"},
        {"@id": f"accounts({GUID})"},
        {"id": f"accounts({GUID})"},
    ],
    ids=["key", "odata.id", "id of 4.01", "bare id"],
)
def test_removed_rows_of_4_01_are_keys(reason: str, item: dict[str, str]) -> None:
    body = {"value": [{"@removed": {"reason": reason}, **item}]}
    assert open_envelope(json.dumps(body).encode(), ACCOUNT).removed == ((GUID.lower(),),)


def test_row_that_comes_again_behind_its_removal_counts() -> None:
    body = {"value": [{"@removed": {}, "code": "a"}, {"code": "a"}, {"@removed": {}, "code": "b"}]}
    envelope = open_envelope(json.dumps(body).encode(), GENRE)
    assert (envelope.row_count, envelope.removed) == (1, (("b",),))


def test_mark_within_a_value_is_no_removal() -> None:
    body = {"value": [{"code": "@removed", "name": "deletedEntity"}]}
    envelope = open_envelope(json.dumps(body).encode(), GENRE)
    assert (envelope.row_count, envelope.removed) == (1, ())


def test_links_between_rows_are_passed_over() -> None:
    body = {"value": [{"@odata.context": "$metadata#things/$deletedLink", "source": "a"}]}
    envelope = open_envelope(json.dumps(body).encode(), GENRE)
    assert (envelope.row_count, envelope.removed) == (0, ())


@pytest.mark.parametrize(
    ("text", "thing", "key"),
    [
        (GUID, ACCOUNT, (GUID.lower(),)),
        (f"https://h/api/accounts({GUID})", ACCOUNT, (GUID.lower(),)),
        (f"accounts(accountid={GUID})", ACCOUNT, (GUID.lower(),)),
        (f"items(line=7,parent_ID={GUID})", ITEM, (GUID.lower(), "7")),
        (f"items(parent_ID={GUID}, line=7)", ITEM, (GUID.lower(), "7")),
        ("genres('O''Neil, (a=b)')", GENRE, ("O'Neil, (a=b)",)),
        ("genres('a%20b%2Fc')", GENRE, ("a b/c",)),
        ("genres(code='')", GENRE, ("",)),
    ],
)
def test_entity_id_becomes_a_key(text: str, thing: Entity, key: tuple[str, ...]) -> None:
    assert key_of_id(text, thing) == key


@pytest.mark.parametrize("text", ["items(7)", f"items(parent_ID={GUID})", "items(a=1,b=2)"])
def test_entity_id_without_the_key_is_refused(text: str) -> None:
    with pytest.raises(RequestRefused):
        key_of_id(text, ITEM)


def test_keys_have_their_textual_form() -> None:
    rows = json.dumps([{"line": 3, "parent_ID": GUID, "more": {}}, {"parent_ID": GUID, "line": "4"}]).encode()
    assert keys_of(rows, ITEM) == [(GUID.lower(), "3"), (GUID.lower(), "4")]


@pytest.mark.parametrize("rows", [b"[{}]", b'[{"accountid":null}]'])
def test_row_without_key_is_refused(rows: bytes) -> None:
    with pytest.raises(RequestRefused):
        keys_of(rows, ACCOUNT)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"value":{}}', b'{"value":[{]}'])
def test_what_is_no_collection_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        open_envelope(body, ACCOUNT)
