"""Lines become rows together with their cursor, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satchel.device.apply import Applier
from satchel.device.store import Store
from satchel.errors import ProtocolBroken
from satchel.model.client_model import ClientAttribute, ClientModel
from satchel.model.metadata import AttributeType
from tests.unit.device import lines as l


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "device.sqlite", None)
    yield opened
    opened.close()


def apply(store: Store, *lines: dict[str, Any]) -> Applier:
    with Applier(store) as applier:
        for line in l.decoded(lines):
            if applier.take(line):
                break
    return applier


def contacts(store: Store) -> dict[str, str]:
    return dict(store.connection.execute("select contactid, fullname from contact").fetchall())


def test_rows_count_together_with_their_cursor(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.cursor("c1"), l.put(l.contact("b")))

    assert contacts(store) == {"a": "Ann"}
    assert store.get("cursor") == "c1"
    assert store.get("checkpoint") is None


def test_the_end_keeps_checkpoint_and_cursor(store: Store) -> None:
    applied = apply(store, l.begin(), l.model(), l.put(l.contact("a"), l.contact("b")), l.end("c2", 7)).counted()

    assert (store.get("cursor"), store.get("checkpoint")) == ("c2", "7")
    assert applied.rows_by_entity == {"contact": 2}


def test_a_first_load_leaves_no_log_behind(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "device.sqlite-wal"
    apply(store, l.begin(), l.model(), l.put(*(l.contact(f"{n}") for n in range(500))), l.end("c1"))
    assert log.stat().st_size == 0

    apply(store, l.begin(), l.put(l.contact("a")), l.end("c2"))

    assert log.stat().st_size > 0  # a change later does not wait for the file


def test_a_first_load_counts_while_another_reads_from_the_log(store: Store, tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "device.sqlite"))
    other.execute("begin; select count(*) from _satchel_state").fetchall()

    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))

    assert contacts(store) == {"a": "Ann"}
    other.close(force=True)


def test_put_replaces_and_remove_takes_away(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a"), l.contact("b")), l.end("c1"))

    applied = apply(store, l.begin(), l.put(l.contact("a", "Bea")), l.remove("b", "never here"), l.end("c2")).counted()

    assert contacts(store) == {"a": "Bea"}
    assert applied.rows_removed == 1


def test_a_composite_key_is_removed_by_all_its_parts(store: Store) -> None:
    rows = [["p1", 1, "2.00"], ["p1", 2, "3.00"], ["p2", 1, "4.00"]]
    priced = {"put": "price", "columns": ["product", "list", "amount"], "rows": rows}
    apply(store, l.begin(), l.model(), priced, l.end("c1"))

    apply(store, l.begin(), {"remove": "price", "keys": [["p1", 2]]}, l.end("c2"))

    assert store.connection.execute("select product, list from price order by 1, 2").fetchall() == [
        ("p1", 1),
        ("p2", 1),
    ]


def test_wipe_drops_the_rows_of_an_entity(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))

    apply(store, l.begin(), {"wipe": ["contact"]}, l.put(l.contact("z")), l.end("c2"))

    assert contacts(store) == {"z": "Ann"}


def test_a_reset_sweeps_what_did_not_come_again_even_when_it_was_interrupted(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a"), l.contact("b"), l.contact("c")), l.end("c1"))

    apply(store, l.begin(reset=True), l.put(l.contact("a", "new")), l.cursor("r1"), l.put(l.contact("lost")))
    assert set(contacts(store)) == {"a", "b", "c"}
    apply(store, l.begin(), l.put(l.contact("d")), l.end("r2"))

    assert contacts(store) == {"a": "new", "d": "Ann"}
    apply(store, l.begin(), l.put(l.contact("e")), l.end("r3"))
    assert set(contacts(store)) == {"a", "d", "e"}


def test_a_reset_that_begins_over_forgets_what_the_first_one_put(store: Store) -> None:
    apply(store, l.begin(reset=True), l.model(), l.put(l.contact("deleted since")), l.cursor("r1"))

    apply(store, l.begin(reset=True), l.put(l.contact("a")), l.end("r2"))

    assert set(contacts(store)) == {"a"}


def test_a_new_model_changes_tables_in_place(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))
    kept = tuple(a for a in l.CONTACT.attributes if a.name != "parentcustomerid")
    changed = msgspec.structs.replace(
        l.CONTACT, attributes=(*kept, ClientAttribute(name="jobtitle", type=AttributeType.STRING))
    )

    apply(store, l.begin(), l.model(ClientModel((changed,))), l.end("c2"))

    columns = [row[1] for row in store.connection.execute("pragma table_info(contact)")]
    assert "jobtitle" in columns
    assert "parentcustomerid" not in columns
    assert contacts(store) == {"a": "Ann"}
    assert not store.connection.execute("select 1 from sqlite_master where name = 'price'").fetchall()


def test_a_changed_type_rebuilds_the_table_empty(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))
    attributes = tuple(
        msgspec.structs.replace(a, type=AttributeType.INTEGER) if a.name == "fullname" else a
        for a in l.CONTACT.attributes
    )

    changed = msgspec.structs.replace(l.CONTACT, attributes=attributes)
    apply(store, l.begin(), l.model(ClientModel((changed,))), l.end("c2"))

    assert contacts(store) == {}


def test_rows_of_an_unknown_entity_are_refused_and_nothing_is_kept(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))

    with pytest.raises(ProtocolBroken):
        apply(store, l.begin(), l.put(l.contact("b")), {"put": "ghost", "columns": ["x"], "rows": [[1]]}, l.end("c2"))

    assert contacts(store) == {"a": "Ann"}
    assert store.get("cursor") == "c1"


def test_lookups_are_indexed(store: Store) -> None:
    apply(store, l.begin(), l.model(), l.end("c1"))

    plan = store.connection.execute("explain query plan select * from contact where parentcustomerid = 'x'").fetchall()
    assert "USING INDEX" in str(plan)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcdef"), st.integers(0, 99)),
        st.tuples(st.just("remove"), st.sampled_from("abcdef"), st.just(0)),
        st.tuples(st.just("cursor"), st.just(""), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(operations=OPERATIONS, cuts=st.lists(st.integers(0, 25), max_size=4))
def test_any_interruptions_give_the_same_tables(operations: list[tuple[str, str, int]], cuts: list[int]) -> None:
    """The server sends again what stood behind the last cursor; in the end the tables are those of one piece."""
    stream: list[dict[str, Any]] = []
    for number, (kind, key, value) in enumerate(operations):
        stream.append(
            {"put": l.put(l.contact(key, f"n{value}")), "remove": l.remove(key), "cursor": l.cursor(str(number))}[kind]
        )
    stream.append(l.end("end"))
    whole, pieces = Store(Path(":memory:"), None), Store(Path(":memory:"), None)
    for store in (whole, pieces):
        apply(store, l.begin(), l.model(), l.cursor("start"))
    apply(whole, *stream)
    for cut in cuts:
        at = pieces.get("cursor")
        behind = next((n + 1 for n, line in enumerate(stream) if line.get("cursor") == at), 0)
        apply(pieces, *stream[behind : max(behind, cut)])
    at = pieces.get("cursor")
    behind = next((n + 1 for n, line in enumerate(stream) if line.get("cursor") == at), 0)
    if at != "end":
        apply(pieces, *stream[behind:])

    assert contacts(pieces) == contacts(whole)
    whole.close()
    pieces.close()


def test_a_crash_inside_a_transaction_leaves_rows_and_cursor_agreeing(tmp_path: Path) -> None:
    store = Store(tmp_path / "device.sqlite", None)
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))

    def fail() -> bool:
        raise RuntimeError("the process dies here")

    store.connection.set_commit_hook(fail)
    with pytest.raises(RuntimeError):
        apply(store, l.begin(), l.put(l.contact("b")), l.end("c2"))
    store.connection.set_commit_hook(None)
    store.close()

    again = Store(tmp_path / "device.sqlite", None)
    assert (contacts(again), again.get("cursor")) == ({"a": "Ann"}, "c1")
    again.close()


def test_readers_read_while_a_sync_writes(store: Store, tmp_path: Path) -> None:
    apply(store, l.begin(), l.model(), l.put(l.contact("a")), l.end("c1"))
    reader = Store(tmp_path / "device.sqlite", None, is_read_only=True)

    with store.transaction() as connection:
        connection.execute("delete from contact")
        assert contacts(reader) == {"a": "Ann"}

    assert contacts(reader) == {}
    with pytest.raises(apsw.ReadOnlyError):
        reader.connection.execute("delete from contact")
    reader.close()
