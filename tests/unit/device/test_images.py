"""Images on a device: rows as `put` lines would have brought them, indexes made when they must be, kills included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from satchel.device.apply import Applier
from satchel.device.edits.editing import Changes
from satchel.device.store import Store
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientAttribute, ClientModel
from satchel.model.metadata import AttributeType
from satchel.protocol import codec
from satchel.protocol.images import create_table, make_image, pack_image, unpack_image
from satchel.protocol.messages import Line
from satchel.protocol.reader import read_lines
from tests.unit.device import lines as l

ONE, TWO, THREE = (f"0000000{n}-0000-4000-8000-00000000000{n}" for n in (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.db", None)
    yield opened
    opened.close()


def image(*rows: Sequence[Any]) -> bytes:
    return codec.image_line("contact", l.CONTACT_COLUMNS, len(rows), make_image(l.CONTACT, rows))


def wire(*parts: bytes | dict[str, Any]) -> list[Line]:
    made = [part if isinstance(part, bytes) else l.encoded([part]) for part in parts]
    return list(read_lines(made, ""))


def take(store: Store, *parts: bytes | dict[str, Any]) -> None:
    with Applier(store) as applier:
        for line in wire(*parts):
            applier.take(line)


def names(store: Store) -> dict[str, str]:
    return dict(store.connection.execute("select contactid, fullname from contact").fetchall())


def indexes(store: Store) -> set[str]:
    found = store.connection.execute("select name from sqlite_master where type = 'index' and tbl_name = 'contact'")
    return {str(name) for (name,) in found}


BEGIN = (l.begin(), l.model(), l.cursor("0"))


def test_rows_are_those_that_put_lines_bring(store: Store, tmp_path: Path) -> None:
    rows = [
        l.contact(ONE, "Zoë", "94.50", exact="123456789012345678.5", donotemail=True, parentcustomerid=TWO),
        l.contact(TWO, "", None, exact="0.10", birthdate="1999-01-31"),
    ]
    take(store, *BEGIN, image(*rows), l.cursor("1"), codec.loaded_line("contact"), l.end("2"))
    other = Store(tmp_path / "other.db", None)
    take(other, *BEGIN, l.put(*rows), l.end("2"))
    query = "select *, typeof(creditlimit), typeof(exact), typeof(donotemail) from contact order by contactid"
    assert store.connection.execute(query).fetchall() == other.connection.execute(query).fetchall()
    assert indexes(store) == indexes(other) == {"_satchel_contact", "_satchel_contact.parentcustomerid"}
    other.close()


def test_several_images_may_stand_before_one_cursor(store: Store) -> None:
    take(
        store, *BEGIN, image(l.contact(ONE)), image(l.contact(TWO)), l.cursor("1"), image(l.contact(THREE)), l.end("2")
    )
    assert names(store).keys() == {ONE, TWO, THREE}


def test_what_came_last_counts_also_without_a_key(store: Store) -> None:
    take(store, *BEGIN, image(l.contact(ONE, "old")), l.cursor("1"), image(l.contact(ONE, "new")), l.cursor("2"))
    take(store, l.begin(), l.put(l.contact(TWO)), l.cursor("3"))
    assert names(store) == {ONE: "new", TWO: "Ann"}
    take(store, l.begin(), image(l.contact(TWO, "again")), l.remove(ONE), l.end("4"))
    assert names(store) == {TWO: "again"}


def test_indexes_are_made_after_a_kill_in_the_middle(store: Store, tmp_path: Path) -> None:
    take(store, *BEGIN, image(l.contact(ONE)), l.cursor("1"), image(l.contact(TWO)))  # the last one has no cursor
    store.close()
    opened = Store(tmp_path / "device.db", None)
    assert names(opened).keys() == {ONE}
    assert not indexes(opened)
    take(opened, l.begin(), image(l.contact(TWO)), l.end("2"))
    assert names(opened).keys() == {ONE, TWO}
    assert len(indexes(opened)) == 2
    opened.close()


def test_a_pending_edit_stays_on_top_of_an_image(store: Store) -> None:
    attributes = tuple(msgspec.structs.replace(each, is_updatable=True) for each in l.CONTACT.attributes)
    model = ClientModel((msgspec.structs.replace(l.CONTACT, attributes=attributes),))
    take(store, l.begin(), l.model(model), image(l.contact(ONE, "theirs", "1.00")), l.cursor("1"))
    with store.transaction() as connection:
        changes = Changes(connection, store.model)
        changes.update("contact", ONE, {"fullname": "mine"})
        changes.keep()
    take(store, l.begin(), image(l.contact(ONE, "newer", "2.00"), l.contact(TWO)), l.end("2"))
    found = store.connection.execute("select fullname, creditlimit from contact where contactid = ?", (ONE,))
    assert found.fetchall() == [("mine", 2)]
    assert names(store)[TWO] == "Ann"


def test_a_reset_keeps_what_an_image_brought(store: Store) -> None:
    take(store, *BEGIN, l.put(l.contact(ONE), l.contact(TWO)), l.end("1"))
    take(store, l.begin(reset=True), image(l.contact(ONE, "again"), l.contact(THREE)), l.end("2"))
    assert names(store) == {ONE: "again", THREE: "Ann"}


@pytest.mark.parametrize("content", [b"no database at all", b"", make_image(l.PRICE, [["p", 1, "2.00"]])])
def test_what_is_no_image_is_refused_and_nothing_is_kept(store: Store, content: bytes) -> None:
    head = {"image": "contact", "columns": l.CONTACT_COLUMNS, "count": 1, "size": len(content)}
    take(store, *BEGIN)
    with pytest.raises(ProtocolBroken):
        take(store, l.begin(), json.dumps(head).encode() + b"\n" + content, l.cursor("1"))
    take(store, l.begin(), image(l.contact(ONE)), l.end("2"))
    assert names(store).keys() == {ONE}


HOSTILE = {
    "view": "create table rows as select * from given; create view image as select * from rows",
    "trigger": "create table image as select * from given; create trigger t after insert on image begin select 1; end",
    "virtual": f"create virtual table image using fts5({', '.join(l.CONTACT_COLUMNS)})",
    "computed": "create table image (" + ", ".join(l.CONTACT_COLUMNS).replace("exact", "exact as (abs(-1))") + ")",
    "another order": "create table image (" + ", ".join(reversed(l.CONTACT_COLUMNS)) + ")",
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_an_image_is_one_plain_table(store: Store, kind: str) -> None:
    hostile = apsw.Connection(":memory:")
    hostile.execute(create_table(l.CONTACT, "given").replace("create table", "create temp table"))
    hostile.execute(HOSTILE[kind])
    content = hostile.serialize("main")
    take(store, *BEGIN)
    with pytest.raises(ProtocolBroken):
        take(store, l.begin(), codec.image_line("contact", l.CONTACT_COLUMNS, 1, content), l.cursor("1"))
    take(store, l.begin(), image(l.contact(ONE)), l.end("2"))
    assert names(store).keys() == {ONE}


def test_an_image_fills_a_table_that_grew_before_its_first_load(store: Store) -> None:
    nickname = ClientAttribute(name="nickname", type=AttributeType.STRING)
    first, *others = l.CONTACT.attributes
    grown = msgspec.structs.replace(l.CONTACT, attributes=(first, nickname, *others))
    row = l.contact(ONE)
    made = make_image(grown, [[row[0], "Annie", *row[1:]]])
    columns = [attribute.name for attribute in grown.attributes]
    take(store, *BEGIN)
    take(store, l.begin(), l.model(ClientModel((grown, l.PRICE))), l.cursor("1"))
    take(store, l.begin(), codec.image_line("contact", columns, 1, made), l.end("2"))
    query = "select contactid, nickname, fullname, creditlimit, modifiedon from contact"
    assert store.connection.execute(query).fetchall() == [(ONE, "Annie", "Ann", 94.5, "2026-11-23T15:35:08Z")]


def test_rows_come_again_where_a_device_makes_their_table_anew(store: Store) -> None:
    """A decimal that gets wide is kept in a column of another type."""
    wider = [
        msgspec.structs.replace(each, precision=20) if each.name == "creditlimit" else each
        for each in l.CONTACT.attributes
    ]
    wide = msgspec.structs.replace(l.CONTACT, attributes=tuple(wider))
    take(store, *BEGIN, l.put(l.contact(ONE)), l.end("1"))
    take(store, l.begin(), l.model(ClientModel((wide, l.PRICE))), l.cursor("2"))
    assert not names(store)
    assert wide.digest != l.CONTACT.digest


def test_packed_images_come_out_as_they_were() -> None:
    text = f"a{ONE}b\xf5{TWO}".encode("latin-1")
    for content in (text, b"", b"\xf5\xf6" + text, bytes(range(256)) * 3, make_image(l.CONTACT, [l.contact(ONE)])):
        assert unpack_image(pack_image(content)) == content
    assert pack_image(text).guids == 2
