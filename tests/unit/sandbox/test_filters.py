"""`$filter`: precedence, literals, refusals, and that nothing but usable SQL comes out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import ODataError
from satchel.sandbox.odata.filters import MAX_CHARACTERS, filter_sql
from satchel.sandbox.schema.customers import ACCOUNT
from satchel.sandbox.schema.kinds import Entity
from satchel.sandbox.schema.organization import ENTITIES
from tests.unit.sandbox.service import Service

GUID = "0a0b0c0d-0000-4000-8000-000000000001"


def _store() -> Store:
    """One account for each way three truth values can fall: a, b, c."""
    store = Store()
    for place in range(8):
        store.run(
            "insert into account (accountid, name, creditonhold, statecode, numberofemployees, creditlimit,"
            " versionnumber, createdon) values (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                f"{place:08x}-0000-4000-8000-000000000000",
                f"N{place}",
                place & 1,
                place >> 1 & 1,
                place >> 2 & 1,
                place * 150,
                place,
                f"2024-01-0{place + 1}T10:00:00Z",
            ),
        )
    return store


STORE = _store()


def chosen(text: str) -> set[int]:
    """Which accounts a filter lets through."""
    condition, values = filter_sql(ACCOUNT, text)
    return {row[0] for row in STORE.rows(f"select t.versionnumber from account t where {condition}", values)}


A, B, C = "creditonhold eq true", "statecode eq 1", "numberofemployees eq 1"


def _bits(place: int) -> tuple[bool, bool, bool]:
    return bool(place & 1), bool(place >> 1 & 1), bool(place >> 2 & 1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"{A} or {B} and {C}", lambda a, b, c: a or (b and c)),
        (f"({A} or {B}) and {C}", lambda a, b, c: (a or b) and c),
        (f"{A} and {B} or {C}", lambda a, b, c: (a and b) or c),
        (f"not ({A}) and {B}", lambda a, b, c: (not a) and b),
        (f"not ({A} and {B})", lambda a, b, c: not (a and b)),
        (f"{A} or {B} or {C} and {A}", lambda a, b, c: a or b or (c and a)),
        (f"not (not ({C}))", lambda a, b, c: c),
    ],
)
def test_precedence(text: str, wanted: object) -> None:
    assert callable(wanted)
    assert chosen(text) == {place for place in range(8) if wanted(*_bits(place))}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("name eq 'N3'", {3}),
        ("name ne 'N3'", {0, 1, 2, 4, 5, 6, 7}),
        ("creditlimit eq 4.50", {3}),
        ("creditlimit gt 4.5", {4, 5, 6, 7}),
        ("creditlimit ge 4.5 and creditlimit lt 9", {3, 4, 5}),
        ("accountid eq 00000005-0000-4000-8000-000000000000", {5}),
        ("accountid eq '00000005-0000-4000-8000-000000000000'", {5}),
        ("createdon ge 2024-01-07T00:00:00Z", {6, 7}),
        ("createdon lt 2024-01-02", {0}),
        ("creditonhold eq false and statecode in (1)", {2, 6}),
        ("name in ('N1','N7', 'nobody')", {1, 7}),
        ("telephone1 eq null", set(range(8))),
        ("telephone1 ne null", set()),
        ("telephone1 ne 'x'", set(range(8))),
        ("creditlimit gt null", set()),
        ("contains(name,'3')", {3}),
        ("startswith(name,'N') and endswith(name,'0')", {0}),
        ("contains(name,'%')", set()),
        ("contains(name,'_')", set()),
        ("name eq 'it''s' or name eq 'N0'", {0}),
        ("name eq '''; drop table account; --'", set()),
        ("  name   eq   'N1'  ", {1}),
    ],
)
def test_literals_and_functions(text: str, wanted: set[int]) -> None:
    assert chosen(text) == wanted


def test_values_are_bound_not_pasted() -> None:
    condition, values = filter_sql(ACCOUNT, "name eq 'O''Hara' and contains(telephone1,'50%')")
    assert "Hara" not in condition
    assert values == ["O'Hara", "%50\\%%"]


REFUSED = [
    "",
    "   ",
    "name",
    "name eq",
    "name eq 'x",
    "name is 'x'",
    "eq eq eq",
    "(name eq 'x'",
    "name eq 'x')",
    "name eq 'x' 'y'",
    "name eq 'x' and",
    "and name eq 'x'",
    "not",
    "name eq 5",
    "statecode eq 'x'",
    "statecode eq 1.5",
    "creditonhold eq 1",
    "creditlimit eq 'x'",
    "nosuch eq 1",
    "accountid eq 7",
    "createdon eq 5",
    "name in ()",
    "name in 'x'",
    "name in ('x',)",
    "contains(name)",
    "contains(name,5)",
    "contains('x',name)",
    "contains(nosuch,'x')",
    "length(name) eq 3",
    "primarycontactid/nosuch eq 1",
    "ownerid/fullname eq 'x'",
    "name/x eq 1",
    "name eq 'x'; select 1",
    "\x00",
    "'",
    "))",
    "name eq 'x' AND name eq 'y'",
    "(" * 5000,
    "not " * 5000 + A,
    "name eq '" + "x" * MAX_CHARACTERS + "'",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: repr(text[:30]))
def test_refusals(text: str) -> None:
    with pytest.raises(ODataError) as refused:
        filter_sql(ACCOUNT, text)
    assert refused.value.status == 400
    assert refused.value.message


async def test_a_refusal_is_400_on_the_wire(service: Service) -> None:
    for text in ("name eq", "nosuch eq 1", "name eq 5"):
        answer = await service.http.get("accounts", params={"$filter": text})
        assert answer.status_code == 400, text
        assert set(answer.json()["error"]) >= {"code", "message"}
    assert (await service.http.get("accounts/$count", params={"$filter": "name eq"})).status_code == 400


LITERALS = st.one_of(
    st.text(max_size=8).map(lambda text: "'" + text.replace("'", "''") + "'"),
    st.integers(-(2**31), 2**31).map(str),
    st.decimals(-(10**9), 10**9, places=3).map(str),
    st.sampled_from(
        ["null", "true", "false", GUID, "2024-02-29", "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.5+02:00"]
    ),
)
ENTITY = st.sampled_from(ENTITIES)


def _names(entity: Entity) -> list[str]:
    single = [name for name, (_, targets) in entity.by_navigation.items() if len(targets) == 1]
    return [*entity.by_wire, *(f"{name}/createdon" for name in single)]


@st.composite
def _plausible(draw: st.DrawFn) -> tuple[Entity, str]:
    """A filter that is well formed, though its values need not fit."""
    entity = draw(ENTITY)
    names = st.sampled_from(_names(entity))
    compared = st.tuples(names, st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"]), LITERALS).map(" ".join)
    listed = st.tuples(names, st.lists(LITERALS, min_size=1, max_size=3)).map(lambda p: f"{p[0]} in ({','.join(p[1])})")
    called = st.tuples(st.sampled_from(["contains", "startswith", "endswith"]), names, LITERALS).map(
        lambda p: f"{p[0]}({p[1]},{p[2]})"
    )
    leaf = st.one_of(compared, listed, called)
    tree = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map("".join),
            inner.map(lambda text: f"not ({text})"),
            inner.map(lambda text: f"({text})"),
        ),
        max_leaves=6,
    )
    return entity, draw(tree)


WORDS = st.sampled_from(
    [
        "name",
        "statecode",
        "eq",
        "ne",
        "in",
        "and",
        "or",
        "not",
        "(",
        ")",
        ",",
        "'",
        "''",
        "null",
        "true",
        "1",
        "-1.5",
        "%",
        GUID,
        "2024-02-29",
        "contains",
        "primarycontactid/fullname",
        "--",
        ";",
        "?",
        '"',
        "\\",
        "/",
        "$",
        "@",
        " ",
    ]
)


def _runs_or_refuses(entity: Entity, text: str) -> bool:
    try:
        condition, values = filter_sql(entity, text)
    except ODataError as refused:
        assert refused.status == 400  # noqa: PT017 - a refusal is one of two right answers
        return False
    STORE.rows(f'select count(*) from "{entity.name}" t where {condition}', values)
    return True


@given(_plausible())
def test_fuzz_well_formed(case: tuple[Entity, str]) -> None:
    _runs_or_refuses(*case)


@given(ENTITY, st.lists(WORDS, max_size=14).map(" ".join))
def test_fuzz_of_words(entity: Entity, text: str) -> None:
    _runs_or_refuses(entity, text)


@given(ENTITY, st.text(max_size=60))
def test_fuzz_of_characters(entity: Entity, text: str) -> None:
    _runs_or_refuses(entity, text)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    STORE.close()
