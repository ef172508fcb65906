"""Filters are read and typed against the metadata; what is wrong is refused with its place; nothing is ever pasted."""

from __future__ import annotations

import random

import pytest

from satchel.access.filters.typing import compile_filter
from satchel.buckets.expressions import Expressions
from satchel.errors import ProfileInvalid
from satchel.model.condition import Condition, is_static
from tests.support.field_organization import ACCOUNT, CONTACT, DIRECTORY, METADATA

USER = DIRECTORY[0]


def compile_text(text: str, *, ignores_case: bool = False) -> Condition:
    return compile_filter(text, METADATA, CONTACT, user=USER, ignores_case=ignores_case)


def as_sql(text: str, *, ignores_case: bool = False) -> str:
    condition = compile_text(text, ignores_case=ignores_case)
    return Expressions(METADATA.entity_by_name).condition(condition, CONTACT, "t").as_string(None)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("status eq 1", "coalesce(\"t\".\"status\" in ('1'::integer), false)"),
        ("status ne 1", "\"t\".\"status\" is distinct from '1'::integer"),
        ("1 lt status", "coalesce(\"t\".\"status\" > '1'::integer, false)"),
        ("name eq null", '"t"."name" is null'),
        ("contains(name,'a''b')", "coalesce(strpos(\"t\".\"name\", 'a''b'::text) > 0, false)"),
        ("not status in (1,2)", "not coalesce(\"t\".\"status\" in ('1'::integer, '2'::integer), false)"),
        ("status eq 1 and (name eq 'x' or name eq 'y')",
         "(coalesce(\"t\".\"status\" in ('1'::integer), false) and (coalesce(\"t\".\"name\" in ('x'::text), false)"
         " or coalesce(\"t\".\"name\" in ('y'::text), false)))"),
        ("due ge 2026-11-23", "coalesce(\"t\".\"due\" >= '2026-11-23'::date, false)"),
        ("account eq 1F2E3D4C-0000-4000-8000-000000000001",
         "coalesce(\"t\".\"account\" in ('1f2e3d4c-0000-4000-8000-000000000001'::uuid), false)"),
    ],
)  # fmt: skip
def test_a_filter_becomes_typed_sql(text: str, written: str) -> None:
    assert as_sql(text) == written


def test_text_is_compared_as_dataverse_does() -> None:
    assert as_sql("name eq 'Ann'", ignores_case=True) == (
        'coalesce(lower("t"."name") in (lower(\'Ann\'::text)), false)'
    )


def test_what_looks_like_sql_stays_text() -> None:
    assert as_sql("name eq 'x''); drop table staging.contact; --'").count("drop table") == 1
    assert "'x''); drop table staging.contact; --'::text" in as_sql("name eq 'x''); drop table staging.contact; --'")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("statu eq 1", 1, "Did you mean status"),
        ("status eq 'one'", 11, "status is integer, and this is text"),
        ("status eq 99999999999", 11, "too large"),
        ("status eq 1.5", 11, "integer"),
        ("name eq 5", 9, "name is string, and this is a number"),
        ("owner gt @me", 10, "eq and ne only"),
        ("name eq @me", 9, "an id is guid"),
        ("owner in (@my.teams, @me)", 1, "fixed values only"),
        ("status eq @my.name", 11, "@my.name is string"),
        ("due lt 2026-11-23T12:00:00Z", 8, "is a date"),
        ("due ge now()" + " sub duration'P36500D'" * 3, 8, "100 years"),
        ("name eq 'a\x00b'", 9, "control characters"),
        ("status eq " + "9" * 200, 11, "too long"),
        ("owner eq @my.teams", 10, "in @my.teams"),
        ("name eq @my.colour", 9, "no attribute 'colour'"),
        ("name eq @you", 9, "@you is not known"),
        ("status eq", 10, "value or an attribute is missing"),
        ("status = 1", 8, "'=' is not part of the language"),
        ("status eq 1 and", 16, "missing"),
        ("(status eq 1", 13, "')' is missing"),
        ("status eq 1)", 12, "not expected"),
        ("status eq 1; drop table x", 12, "';'"),
        ('name eq "x"', 9, "single quotes"),
        ("name eq 'x", 9, "single quotes"),
        ("contains(status,'1')", 1, "not text"),
        ("due eq now()", 1, "gt, ge, lt and le only"),
        ("name lt now()", 1, "is not a time"),
        ("due lt now() add 5", 18, "a duration is missing"),
        ("due lt now() add duration'P99999999D'", 18, "100 years"),
        ("due eq 2026-02-30", 8, "no such time"),
        ("account/contact.account/name eq 'x'", 1, "any("),
        ("account/any(a: a/name eq 'x')", 1, "is one row"),
        ("task.contact/all(t: t/due ge now())", 1, "Only any()"),
        ("task.contact/any(t: subject eq 'x')", 21, "is not of t"),
        ("task.contact/any(t: t/owner eq @me or t/subject eq 'x')", 1, "compared once"),
        ("task.contact/any(t: t/owner ne @me)", 1, "compared once"),
        ("account/parent/parent/parent/name eq 'x'", 1, "4 steps"),
        ("status eq owner", 1, "two attributes"),
        ("tolower(name) eq 'x'", 1, "leave tolower() out"),
        ("status in (1,null)", 1, "eq and ne only"),
        ("name/x eq 1", 1, "does not lead to one entity"),
        ("not " * 60 + "status eq 1", 161, "deep"),
        ("x" * 120_000, None, "longer than"),
        ("(" * 12_000, None, "words"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(text: str, position: int | None, message: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compile_text(text)

    assert message in f"{caught.value.message} {caught.value.hint}"
    place = "its end" if position is not None and position > len(text) else f"position {position},"
    assert position is None or place in caught.value.message, caught.value.message


WORDS = ["status", "name", "owner", "account", "due", "eq", "ne", "gt", "in", "and", "or", "not", "(", ")", ",", "/",
         "1", "-7", "'x'", "''", "null", "true", "@me", "@my.teams", "@my.region", "now()", "add", "sub",
         "duration'P1D'", "2026-01-01", "task.contact", "any(t:", "t/", "any()", "contains(", ".", ":", "é", "\x00",
         "1F2E3D4C-0000-4000-8000-000000000001", "'", "--", ";", "%s", "{}"]  # fmt: skip
SOUND = ["status eq 1 and name ne 'x'", "account/parent/name eq 'x' or owner eq @me", "due ge now() sub duration'P3D'",
         "task.contact/any(t: t/owner eq @me and t/due ge now())",
         "not (status in (1,2)) and account/owner in @my.teams"]  # fmt: skip


def test_any_text_is_a_condition_or_refused() -> None:
    r = random.Random(20261123)
    understood = 0
    for _ in range(6000):
        if r.random() < 0.5:
            text = r.choice(["", " "]).join(r.choice(WORDS) for _ in range(r.randint(1, 12)))
        else:
            words = r.choice(SOUND).split(" ")
            for _ in range(r.randint(1, 3)):
                words[r.randrange(len(words))] = r.choice(WORDS)
            text = " ".join(words)
        try:
            condition = compile_text(text)
        except ProfileInvalid as error:
            assert len(error.message) < 600  # noqa: PT017
            continue
        understood += 1
        if is_static(condition):
            Expressions(METADATA.entity_by_name).condition(condition, CONTACT, "t").as_string(None)
    assert understood > 40


def test_every_entity_on_a_path_is_known() -> None:
    condition = compile_filter("contact.account/any(c: c/watch.contact/any(w: w/account ne null))", METADATA, ACCOUNT,
                               user=None, ignores_case=False)  # fmt: skip
    text = Expressions(METADATA.entity_by_name).condition(condition, ACCOUNT, "t").as_string(None)
    assert text.count("_live") == 2
