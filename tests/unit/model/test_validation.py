"""What can be a value: the same check stands on the device and, against hostile ones, at the server."""

from __future__ import annotations

from typing import Any

import pytest

from satchel.model.client_model import ClientAttribute, ClientEntity, Option
from satchel.model.edits import Action
from satchel.model.metadata import AttributeType as T
from satchel.model.validation import misfit, problems

PRICE = ClientAttribute(name="price", type=T.MONEY, scale=2, precision=8, minimum="0")
COLOURS = ClientAttribute(name="colours", type=T.CHOICES, options=(Option(1, "red"), Option(2, "blue")))


def attribute(kind: T) -> ClientAttribute:
    return ClientAttribute(name="a", type=kind)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (T.STRING, "\U0001f9f0 \u202eZürich\u0301"),
        (T.DATETIME, "2026-11-23T15:35:08.123456789Z"),
        (T.DATE, "2026-02-28"),
        (T.TIME, "15:35:08.5"),
        (T.DOUBLE, -1.5e300),
        (T.DOUBLE, 3),
        (T.DECIMAL, "-0.50"),
        (T.DECIMAL, "12345678901234567890.5"),
        (T.BIGINT, -(2**63)),
        (T.BINARY, "AAE="),
    ],
)
def test_what_fits(kind: T, value: object) -> None:
    assert misfit(attribute(kind), value) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (T.STRING, "half of a pair: \ud83e"),
        (T.STRING, "nothing: \0"),
        (T.STRING, b"bytes"),
        (T.STRING, 5),
        (T.MEMO, "x" * 2_000_001),
        (T.INTEGER, True),
        (T.INTEGER, 2**31),
        (T.INTEGER, 10**400),
        (T.BIGINT, 2**63),
        (T.DOUBLE, 10**400),
        (T.DOUBLE, float("nan")),
        (T.DOUBLE, float("inf")),
        (T.DECIMAL, "007"),
        (T.DECIMAL, "1."),
        (T.DECIMAL, "1e5"),
        (T.DECIMAL, "\u0661"),
        (T.DECIMAL, "1\n"),
        (T.DECIMAL, "sNaN"),
        (T.DATE, "2026-W48-6"),
        (T.DATE, "2026-02-30"),
        (T.DATE, "2026-2-3"),
        (T.TIME, "15:35:08+02:00"),
        (T.TIME, "15:35:08,5"),
        (T.TIME, "25:00:00"),
        (T.DATETIME, "2026-11-23T15:35:08+01:00Z"),
        (T.DATETIME, "2026-11-23T15:35:08Z\n"),
        (T.GUID, "00000000-0000-4000-8000-00000000000A"),
        (T.GUID, "00000000-0000-4000-8000-00000000000a\n"),
        (T.BINARY, "A"),
        (T.BINARY, "AA\ud800="),
        (T.CHOICES, "1,,2"),
        (T.CHOICE, 1.0),
        (T.BOOLEAN, 1),
        (T.TEXT, "x"),
    ],
)
def test_what_does_not_fit(kind: T, value: Any) -> None:
    assert misfit(attribute(kind), value)


@pytest.mark.parametrize(
    ("value", "fits"), [("999999.99", True), ("9999999.99", False), ("0.001", False), ("-1", False)]
)
def test_numbers_are_bounded_by_scale_precision_and_range(value: str, fits: bool) -> None:
    assert (misfit(PRICE, value) is None) is fits


@pytest.mark.parametrize(("value", "fits"), [("1,2", True), ("2", True), ("1,3", False), ("1,1", False)])
def test_choices_are_those_that_there_are(value: str, fits: bool) -> None:
    assert (misfit(COLOURS, value) is None) is fits


def test_an_attribute_may_be_set_where_the_model_says_so() -> None:
    name = ClientAttribute(name="name", type=T.STRING, is_required=True, is_creatable=True, is_updatable=True)
    number = ClientAttribute(name="number", type=T.STRING, is_creatable=True)
    entity = ClientEntity(
        name="thing",
        key=("id",),
        attributes=(ClientAttribute(name="id", type=T.GUID), name, number),
        is_read_only=False,
    )

    def wrong(action: Action, **values: Any) -> list[str]:
        return [problem.attribute for problem in problems(entity, action, values)]

    assert wrong(Action.CREATE, name="n", number="1") == []
    assert wrong(Action.CREATE, number="1") == ["name"]
    assert wrong(Action.UPDATE, number="2") == ["number"]
    assert wrong(Action.UPDATE, name=None) == ["name"]
    assert wrong(Action.UPDATE, id="other") == ["id"]
    assert wrong(Action.UPDATE, unknown=1) == ["unknown"]
    assert wrong(Action.UPDATE) == [""]
    assert wrong(Action.DELETE, name="n") == ["name"]
