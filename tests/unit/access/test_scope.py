"""A profile is compiled into what is staged and who is bound to it; what it asks for in vain is named."""

from __future__ import annotations

import pytest

from satchel.access.profiles import parse_profile
from satchel.access.scope import compile_profile, entity_names
from satchel.errors import ProfileInvalid
from satchel.model.metadata import Attribute, AttributeType, Entity, Metadata
from satchel.model.scope import Binding, BoundBy, Family

GUID, STRING = AttributeType.GUID, AttributeType.STRING


def attribute(name: str, kind: AttributeType = STRING, **more: object) -> Attribute:
    return Attribute(name=name, wire_name=name, type=kind, **more)  # type: ignore[arg-type]


CONTACT = Entity(
    name="contact",
    set_name="contacts",
    key=("contactid",),
    attributes=(
        attribute("contactid", GUID),
        attribute("fullname"),
        attribute("secret"),
        attribute("ownerid", GUID, targets=("systemuser", "team"), type_attribute="owneridtype"),
        attribute("owneridtype"),
        attribute("owningbusinessunit", GUID),
    ),
)
PRODUCT = Entity(name="product", set_name="products", key=("productid",), attributes=(attribute("productid", GUID),))
USER = Entity(
    name="systemuser",
    set_name="systemusers",
    key=("systemuserid",),
    attributes=(
        attribute("systemuserid", GUID),
        attribute("fullname"),
        attribute("businessunitid", GUID),
        attribute("isdisabled", AttributeType.BOOLEAN),
        attribute("password"),
    ),
)
MEMBERSHIP = Entity(
    name="teammembership",
    set_name="teammemberships",
    key=("teammembershipid",),
    attributes=(attribute("teammembershipid", GUID), attribute("systemuserid", GUID), attribute("teamid", GUID)),
)
METADATA = Metadata((CONTACT, PRODUCT, USER, MEMBERSHIP))


def profile(*entities: str) -> str:
    return 'name = "test"\n' + "\n".join(f"[[entity]]\n{text}" for text in entities)


def test_own_and_team_share_the_family_by_owner() -> None:
    scope = compile_profile(parse_profile(profile('name = "contact"\nrows = ["own", "team"]')), METADATA, "dataverse")

    by_owner = Family("contact", "ownerid")
    assert scope.bindings == (Binding(by_owner, BoundBy.USER), Binding(by_owner, BoundBy.TEAMS))
    assert scope.families == (by_owner,)


def test_a_device_gets_the_chosen_columns_and_staging_what_scopes_need_besides() -> None:
    text = profile('name = "contact"\nrows = ["unit"]\ncolumns = ["fullname", "ownerid"]')

    scope = compile_profile(parse_profile(text), METADATA, "dataverse")

    offered = [a.name for a in scope.client_model.entity_by_name["contact"].attributes]
    assert offered == ["contactid", "fullname", "ownerid", "owneridtype"]
    staged = [a.name for a in scope.entity_by_name["contact"].attributes]
    assert staged == [*offered, "owningbusinessunit"]


def test_principals_are_staged_but_not_offered() -> None:
    scope = compile_profile(parse_profile(profile('name = "product"\nrows = ["all"]')), METADATA, "dataverse")

    assert set(scope.entity_by_name) == {"product", "systemuser", "teammembership"}
    assert [e.name for e in scope.client_model.entities] == ["product"]
    assert "password" not in scope.entity_by_name["systemuser"].attribute_by_name


def test_another_source_has_the_principals_its_profile_names() -> None:
    text = profile('name = "contact"\nrows = ["own"]') + '\n[principals]\nuser = "systemuser"\nuser_name = "fullname"\n'

    scope = compile_profile(parse_profile(text), METADATA, "odata")

    assert entity_names(parse_profile(text), "odata") == {"contact", "systemuser"}
    assert scope.principals is not None
    assert scope.principals.membership_entity is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('name = "contcat"\nrows = ["all"]', "no entity 'contcat'", "Did you mean contact?"),
        ('name = "contact"\nrows = ["all"]\ncolumns = ["fulname"]', "no attribute 'fulname'", "fullname"),
        ('name = "product"\nrows = ["own"]', "belong to no one", 'rows = ["all"]'),
        ('name = "contact"\nrows = ["mine"]', "mine", "all, own, team, unit"),
        ('name = "contact"\ncolums = ["fullname"]', "colums", "An entity has"),
        ('name = "contact"\nrows = ["all"]\n[[entity]]\nname = "contact"', "more than once", ""),
        ("name = ", "not valid TOML", ""),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(text: str, message: str, hint: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        compile_profile(parse_profile(profile(text)), METADATA, "dataverse")

    assert message in str(caught.value)
    assert hint in caught.value.hint


def test_a_profile_without_entities_is_refused() -> None:
    with pytest.raises(ProfileInvalid, match="offers no entity"):
        parse_profile('name = "empty"\nentity = []')
