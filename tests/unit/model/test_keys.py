"""A key's text: one form for one value, whoever writes it."""

from __future__ import annotations

import pytest

from satchel.model.keys import key_text, row_key
from satchel.model.metadata import Attribute, AttributeType, Entity

D, M, F, T = AttributeType.DATETIME, AttributeType.DECIMAL, AttributeType.DOUBLE, AttributeType.TIME


def attribute(kind: AttributeType, precision: int | None = None) -> Attribute:
    return Attribute(name="k", wire_name="k", type=kind, precision=precision)


@pytest.mark.parametrize(
    ("kind", "written", "text"),
    [
        (D, "2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
        (D, "2024-01-02T03:04:05.000Z", "2024-01-02T03:04:05Z"),
        (D, "2024-01-02T03:04:05.5000000Z", "2024-01-02T03:04:05.5Z"),
        (D, "2024-01-02T03:04:05+02:00", "2024-01-02T01:04:05Z"),
        (D, "2024-01-02T03:04Z", "2024-01-02T03:04:00Z"),
        (D, "no moment", "no moment"),
        (T, "10:00", "10:00:00"),
        (T, "10:00:00.2500000", "10:00:00.25"),
        (M, "1.50", "1.5"),
        (M, "1E2", "100"),
        (M, "-0.00", "0"),
        (M, "12345678901234567890123456789012.10", "12345678901234567890123456789012.1"),
        (F, "1.0", "1"),
        (F, "1E20", "1e+20"),
        (F, "0.00001", "1e-05"),
        (F, "0.0001", "0.0001"),
        (F, "1234567890123456.0", "1.234567890123456e+15"),
        (AttributeType.GUID, "2E451703-C686-E711-80E5-00155DB19E6D", "2e451703-c686-e711-80e5-00155db19e6d"),
        (AttributeType.STRING, "Ab ", "Ab "),
    ],
)
def test_one_value_has_one_form(kind: AttributeType, written: str, text: str) -> None:
    assert key_text(attribute(kind), written) == text
    assert key_text(attribute(kind), text) == text


def test_a_fine_moment_stays_as_it_is_written() -> None:
    assert key_text(attribute(D, 9), "2024-01-02T03:04:05.100Z") == "2024-01-02T03:04:05.100Z"


def test_each_part_by_its_type() -> None:
    attributes = (Attribute(name="a", wire_name="a", type=M), Attribute(name="b", wire_name="b", type=D))
    entity = Entity(name="e", set_name="es", key=("a", "b"), attributes=attributes)
    assert row_key(entity, ("2.0", "2024-01-01T00:00:00.0Z")) == ("2", "2024-01-01T00:00:00Z")
