"""SQL and the typed interface: exact values, right comparisons, and nothing but reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satchel.device import Device
from satchel.device.apply import Applier
from satchel.device.folder import Description, DeviceFolder
from satchel.device.store import Enrolment, Store
from satchel.errors import QueryInvalid
from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import AttributeType as T
from tests.unit.device import lines as l

ENROLMENT = Enrolment("https://localhost:1", "contoso", "d1", "u1", "Anna", "the token", None)


def offline_device(path: Path, *lines: dict[str, Any]) -> Device:
    """An enrolled device that holds what these lines bring, and has no network."""
    folder = DeviceFolder(path)
    folder.make()
    store = Store(folder.database, None)
    store.set("enrolment", msgspec.json.encode(ENROLMENT).decode())
    with Applier(store) as applier:
        for line in l.decoded(lines):
            applier.take(line)
    store.close()
    folder.write_description(Description(None, "none"))
    return Device.open(path)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    rows = [
        l.contact("a", "Ann", "94.50", exact="94.5000000000", modifiedon="2026-11-23T15:35:08Z"),
        l.contact("b", "Bea", "1000.10", exact="1000.1000000000", modifiedon="2026-11-23T15:35:08.862Z"),
        l.contact("c", "[/b]", None, exact="12345678901234567890.0123456789", modifiedon="2026-11-23T15:35:09Z"),
        l.contact("d", "Dan", "-3.00", exact="-7.2500000000", modifiedon=None, birthdate="1980-02-29"),
    ]
    with offline_device(tmp_path, l.begin(), l.model(), l.put(*rows), l.end("c1", 7)) as opened:
        yield opened


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["contactid"] for row in rows]


@pytest.mark.parametrize("column", ["creditlimit", "exact"])
def test_sql_compares_and_sorts_money_as_numbers_also_where_its_limits_are_wide(device: Device, column: str) -> None:
    found = device.sql(f"select contactid from contact where {column} between -5000 and 5000 order by {column}")

    assert names(found) == ["d", "a", "b"]
    assert names(device.sql(f"select contactid from contact where {column} = 94.5")) == ["a"]


@pytest.mark.parametrize(
    "query",
    [
        "delete from contact",
        "insert into contact (contactid) values ('z')",
        "create temp table x (y)",
        "begin",
        "attach database '/tmp/elsewhere.sqlite' as e",
        "pragma user_version = 9",
        "pragma hexrekey = ''",
        "vacuum",
        "analyze",
        "select 1; select 2",
        "select 1; delete from contact",
        "",
        "-- nothing",
        "selec 1",
        "select * from ghost",
        "select ?",
        "select value from _satchel_state",
        "select * from (select value as v from _SATCHEL_state)",
        "select count(*) from _satchel_state",
    ],
)
def test_whatever_does_not_read_the_data_is_refused_and_the_next_query_is_as_before(device: Device, query: str) -> None:
    with pytest.raises(QueryInvalid):
        device.sql(query)

    assert device.sql("select count(*) as n from contact") == [{"n": 4}]
    assert device.status().checkpoint == 7
    assert device._reader.connection.get_autocommit()


def test_two_columns_of_one_name_both_come_back(device: Device) -> None:
    query = "select a.contactid, b.contactid from contact a join contact b on a.contactid < b.contactid limit 1"
    assert device.sql(query) == [{"contactid": "a", "contactid_2": "b"}]


def test_sql_can_look_at_the_tables(device: Device) -> None:
    assert "fullname" in [row["name"] for row in device.sql("pragma table_info(contact)")]
    assert device.sql("select count(*) as n from pragma_table_info('contact')") == [{"n": len(l.CONTACT_COLUMNS)}]


def test_parameters_may_be_values_of_python(device: Device) -> None:
    moment = datetime(2026, 11, 23, 15, 35, 8, 862000, tzinfo=UTC)
    query = "select contactid from contact where creditlimit > :least and modifiedon = :moment"
    assert names(device.sql(query, {"least": Decimal("94.50"), "moment": moment})) == ["b"]
    assert names(device.sql("select contactid from contact where birthdate = ?", [date(1980, 2, 29)])) == ["d"]


def test_fractions_of_a_second_sort_behind_the_whole_one(device: Device) -> None:
    dated = device.table("contact").where("modifiedon", "!=", None)
    whole = datetime(2026, 11, 23, 15, 35, 8, tzinfo=UTC)

    assert names(dated.order_by("modifiedon").all()) == ["a", "b", "c"]
    assert names(dated.where("modifiedon", ">", whole).order_by("modifiedon").all()) == ["b", "c"]
    assert names(dated.where("modifiedon", "=", whole).all()) == ["a"]
    assert names(dated.where("modifiedon", "=", "2026-11-23T16:35:08+01:00").all()) == ["a"]
    east = whole.astimezone(timezone(timedelta(hours=9))) + timedelta(milliseconds=862)
    assert names(dated.where("modifiedon", "=", east).all()) == ["b"]


def test_wide_decimals_compare_and_come_back_exactly(device: Device) -> None:
    table = device.table("contact")

    assert names(table.where("exact", ">", 94).order_by("exact").all()) == ["a", "b", "c"]
    assert names(table.where("exact", "in", [Decimal("94.5"), "1000.1"]).order_by("exact").all()) == ["a", "b"]
    assert str(table.get("c")["exact"]) == "12345678901234567890.0123456789"
    assert str(table.get("a")["exact"]) == "94.5000000000"


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("creditlimit", ">", "much"),
        ("creditlimit", "=", True),
        ("donotemail", "=", "yes"),
        ("donotemail", "=", []),
        ("birthdate", "=", datetime(2026, 1, 1, tzinfo=UTC)),
        ("birthdate", "=", "yesterday"),
        ("modifiedon", "<", datetime(2026, 1, 1)),
        ("fullname", "=", 5),
        ("fullname", "in", "Ann"),
        ("fullname", "==", "Ann"),
    ],
)
def test_a_value_that_does_not_fit_its_attribute_is_refused(
    device: Device, name: str, operator: str, value: object
) -> None:
    with pytest.raises(QueryInvalid):
        device.table("contact").where(name, operator, value)


def test_a_guid_may_be_given_in_any_form(tmp_path: Path) -> None:
    guid = "0a1b2c3d-0000-4000-8000-00000000000f"
    with offline_device(tmp_path, l.begin(), l.model(), l.put(l.contact(guid)), l.end("c1")) as device:
        assert device.table("contact").get(UUID(guid)) == device.table("contact").get(guid.upper())
        assert device.table("contact").get(guid) is not None


def test_limits_and_iteration(device: Device) -> None:
    table = device.table("contact").order_by("contactid")

    assert names(list(table.limit(2))) == ["a", "b"]
    assert table.limit(0).all() == []
    assert table.where("fullname", "in", []).first() is None
    with pytest.raises(QueryInvalid):
        table.limit(-1)
    with pytest.raises(QueryInvalid):
        table.get("a", "b")
    with pytest.raises(QueryInvalid, match="many"):
        table.where("fullname", "in", [str(n) for n in range(40_000)]).all()


def typed(kind: T, **more: Any) -> ClientModel:
    attributes = (ClientAttribute(name="id", type=T.GUID), ClientAttribute(name="value", type=kind, **more))
    return ClientModel((ClientEntity(name="thing", key=("id",), attributes=attributes),))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (T.DATETIME, "2026-11-23T15:35:08.1234567Z"),
        (T.DATETIME, "0000-01-01T00:00:00Z"),
        (T.TIME, "15:35:08.1234567"),
        (T.DATE, "12026-01-01"),
    ],
)
def test_what_python_cannot_hold_stays_text(tmp_path: Path, kind: T, text: str) -> None:
    put = {"put": "thing", "columns": ["id", "value"], "rows": [["a", text]]}
    with offline_device(tmp_path, l.begin(), l.model(typed(kind)), put, l.end("c")) as device:
        assert device.table("thing").get("a")["value"] == text


@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.decimals(places=4, min_value=-(10**16), max_value=10**16), min_size=1),
    precision=st.sampled_from([None, 15, 38]),
)
def test_decimals_of_any_length_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[Decimal], precision: int | None
) -> None:
    if precision == 15:
        numbers = [number.scaleb(-5).quantize(Decimal("0.0001")) for number in numbers]
    model = typed(T.MONEY, precision=precision, scale=4)
    rows = [[str(place), f"{number:f}"] for place, number in enumerate(numbers)]
    put = {"put": "thing", "columns": ["id", "value"], "rows": rows}

    with offline_device(tmp_path_factory.mktemp("d"), l.begin(), l.model(model), put, l.end("c")) as device:
        found = {int(row["id"]): row["value"] for row in device.table("thing")}
        least = min(numbers)
        near = device.table("thing").where("value", ">=", least).count()

    assert [found[place] for place in range(len(numbers))] == numbers
    assert near == len(numbers)


def test_a_report_is_readable_by_programs(device: Device) -> None:
    status = json.loads(msgspec.json.encode(device.status()))
    assert status["tables"][0]["columns"]["creditlimit"] == "money"
    assert "the token" not in json.dumps(status)
