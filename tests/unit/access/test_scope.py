"""Profiles are compiled into what is staged, how it is partitioned and who is bound to it; what is wrong is named."""

from __future__ import annotations

import pytest

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profiles, entity_names
from satchel.errors import ProfileInvalid
from satchel.model.condition import Either, Operator, PartFlag, PartGranted, PartUser, Place
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata, Ownership
from satchel.model.scope import Family, Part, PartKind
from tests.support.field_organization import PRINCIPALS, compiled, item, profile

GUID = AttributeType.GUID
OWNER, UNIT = Part(PartKind.VALUE, Place("owner")), Part(PartKind.VALUE, Place("unit"))


def test_ways_in_share_one_family_so_that_a_row_stands_in_one_bucket() -> None:
    scope = compiled(profile(item("contact", rows=["own", "team", "unit"])))

    (binding,) = scope.bindings
    assert binding.family == Family("contact", (OWNER, UNIT))


def test_a_filter_that_holds_for_all_alike_keeps_other_rows_out_of_every_bucket() -> None:
    scope = compiled(profile(item("contact", rows=["own"], filter="status eq 1")))

    (binding,) = scope.bindings
    assert binding.family.parts == (OWNER,)
    assert binding.family.where is not None
    assert binding.condition == PartUser(0, Operator.EQ, "id")


def test_a_filter_as_one_of_several_ways_in_is_a_part_of_the_key() -> None:
    scope = compiled(profile(item("contact", rows=["own", "custom"], filter="status eq 1")))

    (binding,) = scope.bindings
    assert [part.kind for part in binding.family.parts] == [PartKind.VALUE, PartKind.FLAG]
    assert binding.family.where is None
    assert binding.condition == Either((PartUser(0, Operator.EQ, "id"), PartFlag(1)))


def test_security_needs_no_parts_of_its_own_where_the_profile_has_them() -> None:
    scope = compiled(profile(item("contact", rows=["own", "unit"]), principals=PRINCIPALS))

    (binding,) = scope.bindings
    assert binding.family.parts[:2] == (OWNER, UNIT)
    assert binding.family.parts[2].kind is PartKind.VALUES  # the principals it is shared with
    assert PartGranted("contact", 0, 1, 2) in binding.condition.terms  # type: ignore[union-attr]


def test_related_rows_hold_the_buckets_of_the_rows_they_are_related_to() -> None:
    scope = compiled(
        profile(item("task", related=["contact"]), item("contact", related=["account"]), item("account", rows=["own"]))
    )

    account, contact, task = scope.families
    assert [family.entity for family in scope.families] == ["account", "contact", "task"]
    assert contact.sources == (account.name,)
    assert task.sources == (contact.name,)


def test_what_conditions_need_is_staged_and_not_offered() -> None:
    scope = compiled(profile(item("contact", rows=["own"], columns=["name"], filter="account/parent/industry eq 1")))

    assert [a.name for a in scope.client_model.entity_by_name["contact"].attributes] == ["id", "name"]
    assert {a.name for a in scope.entity_by_name["contact"].attributes} == {"id", "name", "owner", "account"}
    assert {a.name for a in scope.entity_by_name["account"].attributes} == {"id", "parent", "industry"}
    assert "account" not in scope.client_model.entity_by_name


def test_secured_columns_and_assignments_are_kept_for_the_user_to_be_judged_by() -> None:
    scope = compiled(
        profile(item("account", rows=["all"]), principals=PRINCIPALS),
        profile(item("product", rows=["all"]), name="two", principals="", assigned='[assigned]\nroles = ["manager"]'),
    )

    assert scope.secured == {"account": ("secret",)}
    assert [a.is_for_everyone for a in scope.assignments] == [True, False]


def test_dataverse_knows_its_principals_and_fails_closed() -> None:
    text = 'name = "p"\n[[entity]]\nname = "thing"\nrows = ["all"]'
    thing = Entity(
        name="thing", set_name="things", key=("thingid",), ownership=Ownership.USER,
        attributes=(Attribute(name="thingid", wire_name="thingid", type=GUID),),
    )  # fmt: skip
    assert {"systemuser", "teammembership", "roleprivileges"} <= entity_names([parse_profile(text)], "dataverse")
    with pytest.raises(ProfileInvalid, match="no entity 'systemuser'"):
        compile_profiles([parse_profile(text)], Metadata((thing,)), "dataverse")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item("contcat", rows=["all"])], "Did you mean contact"),
        ([item("contact", columns=["nme"])], "Did you mean name"),
        ([item("product", rows=["own"])], "belong to no one"),
        ([item("contact", related=["account"])], "no profile offers"),
        ([item("contact", related=["status"]), item("account")], "along lookups only"),
        ([item("contact", related=["account/parent/parent/parent"]), item("account")], "4 steps"),
        ([item("contact", related=["account"]), item("account", related=["contact.account"])], "in a circle"),
        ([item("contact", related=["task.name"]), item("task")], "no attribute 'name'"),
        ([item("contact", related=["watch.account"]), item("watch", rows=["all"])], "does not point to contact"),
    ],
)
def test_what_a_profile_asks_in_vain_is_named(items: list[str], message: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compiled(profile(*items))

    assert message in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows": ["custom"]}, "no filter"),
        ({"rows": ["related"]}, "no path"),
        ({"rows": []}, "no row would go offline"),
        ({"combine": "and"}, "needs related paths"),
        ({"related": ["account"], "filter": "status eq 1", "rows": ["related"]}, "nothing to narrow"),
        ({"sync_interval_minutes": 0}, "between 1 and 1440"),
        ({"rows": ["mine"]}, "not usable"),
        ({"colums": ["x"]}, "not usable"),
        ({"columns": []}, "columns is empty"),
        ({"filter": " "}, "the filter is empty"),
    ],
)
def test_an_item_that_contradicts_itself_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ProfileInvalid, match=message):
        parse_profile(profile(item("contact", **settings)))


@pytest.mark.parametrize("text", ["not toml", 'name = "empty"\nentity = []', "", "x" * 2_000_000, "[" * 5000])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(ProfileInvalid):
        parse_profile(text)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([profile(item("account", rows=["all"]), assigned="[assigned]\nusers = []")], "names nobody"),
        (
            [profile(item("account", rows=["all"]), principals="", assigned='[assigned]\nroles = ["x"]')],
            "known of roles",
        ),
        ([profile(item("account", filter="not (owner in @my.teams)"), principals="")], "nothing is known of @my.teams"),
        ([profile(item("account", filter="owner in @my.reports"))], "nothing is known of @my.reports"),
        (
            [profile(item("account"), principals=PRINCIPALS.replace('"depth"', '"entity"'))],
            "privilege.entity is string",
        ),
        ([profile(item("account"), principals=PRINCIPALS.replace("depth = 2", "depth = 1000"))], "not usable"),
        (
            [profile(item("account")), profile(item("account", conflicts="ask"), name="b", principals="")],
            "of conflicts",
        ),
        ([profile(item("account"), name=" ")], "name cannot be used"),
        ([profile(item("account"), name="a" * 300)], "name cannot be used"),
    ],
)
def test_what_would_hand_out_more_than_meant_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compiled(*texts)
    assert message in caught.value.message


def test_secured_columns_stay_where_nothing_is_known_of_permissions() -> None:
    scope = compiled(profile(item("account", rows=["all"])))
    assert scope.secured == {"account": ("secret",)}


def test_two_profiles_of_one_name_are_refused() -> None:
    text = profile(item("product", rows=["all"]))
    with pytest.raises(ProfileInvalid, match="two profiles"):
        compiled(text, text)
