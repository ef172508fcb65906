"""The table of FetchXML operators and what each is in a filter."""

from __future__ import annotations

import pytest

from satchel.access.dynamics.fetchxml import fetchxml_to_filter
from satchel.access.filters.typing import compile_filter
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata

ME = "6f1b2c3d-0000-4000-8000-00000000000a"
TYPES = {
    "primarycontactid": AttributeType.GUID,
    "ownerid": AttributeType.GUID,
    "name": AttributeType.STRING,
    "statecode": AttributeType.CHOICE,
    "revenue": AttributeType.MONEY,
    "donotemail": AttributeType.BOOLEAN,
    "createdon": AttributeType.DATETIME,
    "openedon": AttributeType.DATE,
}

METADATA = Metadata(
    (
        Entity(
            name="account", set_name="accounts", key=("accountid",),
            attributes=tuple(
                Attribute(name=name, wire_name=name, type=kind)
                for name, kind in {**TYPES, "accountid": AttributeType.GUID,
                                   "owningbusinessunit": AttributeType.GUID}.items()
            ),
        ),
    )
)  # fmt: skip


def converted(condition: str) -> str:
    text = f'<fetch><entity name="account"><filter>{condition}</filter></entity></fetch>'
    return fetchxml_to_filter(text, "account", lambda _e, _a: None, lambda _e, a: TYPES.get(a)).filter


@pytest.mark.parametrize(
    ("attribute", "operator", "value", "expected"),
    [
        ("statecode", "eq", "0", "statecode eq 0"),
        ("name", "eq", "0", "name eq '0'"),
        ("name", "eq", "O'Brien", "name eq 'O''Brien'"),
        ("name", "ne", "x", "(name ne 'x' and name ne null)"),
        ("revenue", "gt", "10.50", "revenue gt 10.50"),
        ("revenue", "ge", "-1", "revenue ge -1"),
        ("revenue", "lt", "5", "revenue lt 5"),
        ("revenue", "le", "5", "revenue le 5"),
        ("donotemail", "eq", "1", "donotemail eq true"),
        ("donotemail", "eq", "false", "donotemail eq false"),
        ("primarycontactid", "eq", f"{{{ME.upper()}}}", f"primarycontactid eq {ME}"),
        ("createdon", "ge", "2026-11-23", "createdon ge 2026-11-23T00:00:00Z"),
        ("createdon", "ge", "2026-11-23T10:00:00+02:00", "createdon ge 2026-11-23T08:00:00Z"),
        ("createdon", "lt", "2026-11-23 10:00:00", "createdon lt 2026-11-23T10:00:00Z"),
        ("openedon", "eq", "2026-11-23", "openedon eq 2026-11-23"),
        ("name", "like", "%ab%", "contains(name,'ab')"),
        ("name", "like", "ab%", "startswith(name,'ab')"),
        ("name", "like", "%ab", "endswith(name,'ab')"),
        ("name", "like", "ab", "name eq 'ab'"),
        ("name", "like", "%", "name ne null"),
        ("name", "not-like", "%ab%", "(not contains(name,'ab') and name ne null)"),
        ("name", "not-like", "ab", "(name ne 'ab' and name ne null)"),
        ("name", "begins-with", "ab", "startswith(name,'ab')"),
        ("name", "not-begin-with", "ab", "(not startswith(name,'ab') and name ne null)"),
        ("name", "ends-with", "ab", "endswith(name,'ab')"),
        ("name", "not-end-with", "ab", "(not endswith(name,'ab') and name ne null)"),
        ("name", "null", None, "name eq null"),
        ("name", "not-null", None, "name ne null"),
        ("ownerid", "eq-userid", None, "ownerid eq @me"),
        ("ownerid", "ne-userid", None, "(ownerid ne @me and ownerid ne null)"),
        ("ownerid", "eq-userteams", None, "ownerid in @my.teams"),
        ("ownerid", "eq-useroruserteams", None, "(ownerid eq @me or ownerid in @my.teams)"),
        ("ownerid", "eq-useroruserhierarchy", None, "(ownerid eq @me or ownerid in @my.reports)"),
        (
            "ownerid",
            "eq-useroruserhierarchyandteams",
            None,
            "(ownerid eq @me or ownerid in @my.reports or ownerid in @my.teams)",
        ),
        ("owningbusinessunit", "eq-businessid", None, "owningbusinessunit eq @my.unit"),
        (
            "owningbusinessunit",
            "ne-businessid",
            None,
            "(owningbusinessunit ne @my.unit and owningbusinessunit ne null)",
        ),
        ("createdon", "last-x-days", "30", "(createdon ge now() sub duration'P30D' and createdon le now())"),
        ("createdon", "next-x-days", "14", "(createdon ge now() and createdon le now() add duration'P14D')"),
        ("createdon", "last-x-hours", "6", "(createdon ge now() sub duration'PT6H' and createdon le now())"),
        ("createdon", "next-x-hours", "6", "(createdon ge now() and createdon le now() add duration'PT6H')"),
        ("createdon", "last-x-weeks", "2", "(createdon ge now() sub duration'P14D' and createdon le now())"),
        ("createdon", "next-x-weeks", "2", "(createdon ge now() and createdon le now() add duration'P14D')"),
        ("createdon", "last-x-months", "2", "(createdon ge now() sub duration'P60D' and createdon le now())"),
        ("createdon", "next-x-months", "2", "(createdon ge now() and createdon le now() add duration'P60D')"),
        ("createdon", "older-x-days", "9", "createdon lt now() sub duration'P9D'"),
        ("createdon", "olderthan-x-months", "1", "createdon lt now() sub duration'P30D'"),
        ("createdon", "olderthan-x-hours", "3", "createdon lt now() sub duration'PT3H'"),
        ("createdon", "on-or-after", "2026-11-23", "createdon ge 2026-11-23T00:00:00Z"),
        ("createdon", "on-or-before", "2026-11-23", "createdon lt 2026-11-24T00:00:00Z"),
        ("openedon", "on-or-before", "2026-12-31", "openedon le 2026-12-31"),
        ("unknown", "on-or-before", "2026-12-31", "unknown lt 2027-01-01"),
        ("unknown", "eq", "0", "unknown eq 0"),
        ("unknown", "eq", "0123", "unknown eq '0123'"),
    ],
)
def test_an_operator_is_written_in_the_filters_language(
    attribute: str, operator: str, value: str | None, expected: str
) -> None:
    given = "" if value is None else f'value="{value}"'

    assert converted(f'<condition attribute="{attribute}" operator="{operator}" {given}/>') == expected
    if attribute != "unknown":
        compile_filter(expected, METADATA, METADATA.entities[0], user=None, ignores_case=True)


def test_lists_of_values() -> None:
    def listed(attribute: str, operator: str, *values: str) -> str:
        inner = "".join(f"<value>{value}</value>" for value in values)
        return converted(f'<condition attribute="{attribute}" operator="{operator}">{inner}</condition>')

    assert listed("statecode", "in", "0", "1") == "statecode in (0,1)"
    assert listed("name", "not-in", "a", "b'c") == "(not (name in ('a','b''c')) and name ne null)"
    assert listed("unknown", "in", "7", "x") == "unknown in ('7','x')"
