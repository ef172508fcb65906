"""FetchXML becomes the filter of a profile's entity; what it cannot say there is refused with its line."""

from __future__ import annotations

import random

import pytest

from satchel.access.dynamics.fetchxml import FetchFilter, fetchxml_to_filter
from satchel.errors import ProfileInvalid
from satchel.model.metadata import AttributeType

ME = "6f1b2c3d-0000-4000-8000-00000000000a"
LOOKUPS = {
    ("account", "primarycontactid"): ("contact",),
    ("account", "parentaccountid"): ("account",),
    ("account", "ownerid"): ("systemuser", "team"),
    ("contact", "parentcustomerid"): ("account", "contact"),
    ("contact", "owninguser"): ("systemuser",),
    ("incident", "customerid"): ("account", "contact"),
    ("incident", "productid"): ("product",),
    ("task", "regardingobjectid"): ("account", "contact", "incident"),
}
TYPES = {
    "accountid": AttributeType.GUID,
    "name": AttributeType.STRING,
    "statecode": AttributeType.CHOICE,
    "revenue": AttributeType.MONEY,
    "createdon": AttributeType.DATETIME,
    "categories": AttributeType.CHOICES,
}


def convert(text: str, entity: str = "account") -> FetchFilter:
    return fetchxml_to_filter(text, entity, lambda e, a: LOOKUPS.get((e, a)), lambda _e, a: TYPES.get(a))


def fetch(inner: str, entity: str = "account") -> str:
    return f'<fetch version="1.0" mapping="logical">\n<entity name="{entity}">\n{inner}\n</entity>\n</fetch>'


def conditions(*texts: str, joiner: str = "and") -> str:
    return f'<filter type="{joiner}">' + "\n".join(f"<condition {text}/>" for text in texts) + "</filter>"


def condition(attribute: str, operator: str, value: str | None) -> str:
    return f'attribute="{attribute}" operator="{operator}"' + (f' value="{value}"' if value is not None else "")


def test_and_and_or_nest() -> None:
    inner = conditions('attribute="name" operator="null"', 'attribute="name" operator="eq" value="x"', joiner="or")
    text = f'<filter><condition attribute="statecode" operator="eq" value="0"/>{inner}<filter/></filter>'

    assert convert(fetch(text)).filter == "statecode eq 0 and (name eq null or name eq 'x')"
    assert convert(text).filter == "statecode eq 0 and (name eq null or name eq 'x')"
    assert convert(fetch('<attribute name="name"/><order attribute="name"/>')).filter == ""


def link(name: str, there: str, here: str, inner: str = "", more: str = "") -> str:
    return f'<link-entity name="{name}" from="{there}" to="{here}" {more}>{inner}</link-entity>'


ACTIVE = conditions('attribute="statecode" operator="eq" value="0"')
NO_NAME = conditions('attribute="name" operator="null"')


@pytest.mark.parametrize(
    ("entity", "inner", "expected"),
    [
        ("account", link("contact", "contactid", "primarycontactid", ACTIVE), "primarycontactid/statecode eq 0"),
        ("account", link("contact", "contactid", "primarycontactid"), "primarycontactid/contactid ne null"),
        (
            "account",
            link("contact", "contactid", "primarycontactid", NO_NAME),
            "primarycontactid/contactid ne null and primarycontactid/name eq null",
        ),
        ("incident", link("account", "accountid", "customerid", ACTIVE), "customerid_account/statecode eq 0"),
        (
            "account",
            link("incident", "customerid", "accountid", ACTIVE),
            "incident.customerid/any(r: r/statecode eq 0)",
        ),
        ("account", link("incident", "customerid", "accountid"), "incident.customerid/any(r: r/customerid ne null)"),
        (
            "account",
            link("account", "parentaccountid", "accountid"),
            "account.parentaccountid/any(r: r/parentaccountid ne null)",
        ),
        ("account", link("account", "accountid", "parentaccountid", ACTIVE), "parentaccountid/statecode eq 0"),
        (
            "account",
            ACTIVE
            + link(
                "contact", "contactid", "primarycontactid", link("systemuser", "systemuserid", "owninguser", ACTIVE)
            ),
            "statecode eq 0 and primarycontactid/owninguser/statecode eq 0",
        ),
        (
            "account",
            link(
                "incident", "customerid", "accountid", ACTIVE + link("task", "regardingobjectid", "incidentid", ACTIVE)
            ),
            "incident.customerid/any(r: r/statecode eq 0 and r/task.regardingobjectid/any(r2: r2/statecode eq 0))",
        ),
        (
            "systemuser",
            link(
                "teammembership",
                "systemuserid",
                "systemuserid",
                link("team", "teamid", "teamid", conditions('attribute="name" operator="eq" value="x"')),
                'intersect="true"',
            ),
            "teammembership.systemuserid/any(r: r/teamid/name eq 'x')",
        ),
        (
            "account",
            conditions(
                'attribute="statecode" operator="eq" value="0" entityname="c"',
                'attribute="name" operator="null"',
                joiner="or",
            )
            + link("contact", "contactid", "primarycontactid", more='link-type="outer" alias="c"'),
            "primarycontactid/statecode eq 0 or name eq null",
        ),
        (
            "account",
            ACTIVE + link("thing", "oddkey", "oddcolumn", ACTIVE, 'link-type="outer" alias="a"'),
            "statecode eq 0",
        ),
    ],
)
def test_a_join_is_a_path_or_any(entity: str, inner: str, expected: str) -> None:
    assert convert(fetch(inner, entity), entity).filter == expected


def test_what_is_not_the_same_is_noted() -> None:
    months = convert(fetch(conditions(condition("createdon", "last-x-months", "2")))).notes
    looks = convert(fetch(conditions(condition("unknown", "eq", "5")))).notes
    limited = convert(fetch(ACTIVE).replace("<fetch ", '<fetch top="50" ')).notes

    assert any("30 days" in note for note in months)
    assert any("by their looks" in note for note in looks)
    assert any("top, count, page" in note for note in limited)


@pytest.mark.parametrize(
    ("inner", "message", "hint"),
    [
        (conditions(condition("createdon", "today", None)), "line 3: the operator 'today'", "last-x-hours"),
        (conditions(condition("languageid", "eq-userlanguage", None)), "'eq-userlanguage'", "@my.<attribute>"),
        (conditions(condition("createdon", "last-x-fiscal-years", "1")), "'last-x-fiscal-years'", "Fiscal"),
        (conditions(condition("revenue", "between", None)), "'between'", "ge and le"),
        (conditions(condition("accountid", "eq-or-under", ME)), "'eq-or-under'", "Hierarchies"),
        (conditions(condition("name", "frobnicate", "1")), "'frobnicate'", "by hand"),
        (conditions(condition("name", "like", "a%b")), "wildcard", "contains"),
        (conditions(condition("name", "like", "a_b%")), "wildcard", "contains"),
        (conditions(condition("name", "not-like", "%")), "no row at all", ""),
        (conditions(condition("name", "eq", None)), "needs one value", ""),
        (conditions(condition("name", "null", "x")), "takes no value", ""),
        (conditions(condition("name", "in", None)), "no values", "<value>"),
        (conditions(condition("statecode", "eq", "1 or 1 eq 1")), "not a whole number", ""),
        (conditions(condition("statecode", "like", "1%")), "needs a text column", ""),
        (conditions(condition("name", "eq-userid", None)), "needs a lookup", ""),
        (conditions(condition("createdon", "eq", "2026-13-40")), "is not a date", ""),
        (conditions(condition("createdon", "on-or-before", "9999-12-31")), "last day", ""),
        (conditions(condition("createdon", "last-x-days", "-1")), "whole number from 1", ""),
        (conditions(condition("createdon", "last-x-days", "²")), "whole number from 1", ""),
        (conditions(condition("categories", "eq", "1")), "'choices'", "null and not-null"),
        (conditions(condition("name eq 1 or name", "eq", "1")), "is not a name", ""),
        (conditions('attribute="name" operator="eq" valueof="other"'), "valueof", "Two columns"),
        (conditions('attribute="name" operator="eq" value="x" entityname="zz"'), "entityname='zz'", "<link-entity>"),
        (conditions(joiner="xor"), "neither and nor or", ""),
        ("<filter>" * 4 + "</filter>" * 4, "deeper than 3 levels", "three levels"),
        ('<filter isquickfindfields="1"/>', "isquickfindfields", "quick search"),
        ("<filter>" + link("contact", "contactid", "primarycontactid") + "</filter>", "within a filter", "inner"),
        (link("contact", "contactid", "primarycontactid", more='link-type="any"'), "link-type='any'", "inner"),
        (link("contact", "fullname", "name"), "not a lookup", "along a lookup"),
        (link("contact", "parentcustomerid", "primarycontactid"), "not a lookup", ""),
        ("<having/>", "<having>", ""),
    ],
)
def test_what_cannot_be_carried_over_is_refused_with_its_place(inner: str, message: str, hint: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        convert(fetch(inner))

    assert message in str(caught.value)
    assert "line 3" in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not well-formed"),
        ("<fetch>", "not well-formed"),
        ("<sql/>", "not a FetchXML query"),
        ("<fetch/>", "one <entity>"),
        ("<filter>statecode eq 0</filter>", "only elements belong"),
        (fetch("", "contact"), "reads 'contact', not 'account'"),
        (fetch("").replace("<fetch ", '<fetch aggregate="true" '), "aggregates"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + fetch(""), "document type"),
        ('\n\n<!DOCTYPE x SYSTEM "file:///etc/passwd"><fetch/>', "line 3: a document type"),
        (fetch(conditions(condition("name", "eq", "&a;"))), "not well-formed"),
        ("<a>" * 50 + "</a>" * 50, "nested deeper"),
        ("<filter>" + "<condition/>" * 30_000 + "</filter>", "more than 20,000 elements"),
        (fetch(conditions(*[condition("name", "null", None)] * 501)), "more than 500 conditions"),
        (fetch(link("contact", "contactid", "primarycontactid") * 16), "more than 15 joins"),
        (fetch("x" * 1_100_000), "longer than"),
        ("<fetch>\ud800</fetch>", "characters that XML does not allow"),
    ],
)
def test_a_text_that_is_no_query_is_refused(text: str, message: str) -> None:
    with pytest.raises(ProfileInvalid, match=message.replace("(", r"\(")):
        convert(text)


@pytest.mark.parametrize("value", ["x' or 1 eq 1 or name eq 'y", "''", "'", "x'';--", "@me", "null", "now()", "a\\'b"])
def test_a_value_never_leaves_its_quotes(value: str) -> None:
    text = convert(fetch(conditions(condition("name", "eq", value)))).filter

    assert text.startswith("name eq '")
    assert text.endswith("'")
    assert text[len("name eq '") : -1].replace("''", "").count("'") == 0
    assert text[len("name eq '") : -1].replace("''", "'") == value


SEED = fetch(
    ACTIVE
    + conditions(
        condition("name", "like", "%a%"),
        condition("createdon", "last-x-days", "7"),
        condition("ownerid", "eq-useroruserteams", None),
        condition("unknown", "on-or-before", "2026-11-23T10:00:00Z"),
        joiner="or",
    )
    + '<filter><condition attribute="statecode" operator="in"><value>0</value><value>1</value></condition></filter>'
    + link("contact", "contactid", "primarycontactid", ACTIVE, 'alias="c" link-type="inner"')
    + link("incident", "customerid", "accountid", NO_NAME + link("product", "productid", "productid"))
)
PIECES = [
    "'",
    '"',
    "<",
    ">",
    "/",
    "&",
    "&#0;",
    "&#39;",
    "\ud800",
    "\x00",
    "%",
    "999999999999",
    "outer",
    "ne",
    "é",
    "filter",
]


@pytest.mark.parametrize("seed", range(8))
def test_a_changed_query_is_converted_or_refused_and_nothing_else(seed: int) -> None:
    chance = random.Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(400):
        text = SEED
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            piece = chance.choice([chance.choice(PIECES), chr(chance.randrange(32, 0x2FFF)), text[at : at + 20], ""])
            text = text[:at] + piece + text[at + chance.randint(0, 8) :]
        try:
            outcomes[isinstance(convert(text), FetchFilter)] += 1
        except ProfileInvalid:
            outcomes[False] += 1

    assert outcomes[True]
    assert outcomes[False]
