"""The client model is the user's own: their profiles' columns, without secured ones, writable where one says so."""

from __future__ import annotations

from satchel.access.user_model import user_model
from satchel.model.user import User
from tests.support.field_organization import PRINCIPALS, compiled, item, profile

READER = profile(
    item("account", rows=["all"], columns=["name", "secret"], is_read_only=True),
    name="reader", principals=PRINCIPALS, assigned='[assigned]\nroles = ["reader"]',
)  # fmt: skip
WRITER = profile(
    item("account", rows=["all"], columns=["name", "industry"]), item("product", rows=["all"]),
    name="writer", principals="", assigned='[assigned]\nroles = ["writer"]',
)  # fmt: skip


def columns(*profiles: str, readable: frozenset[tuple[str, str]] = frozenset()) -> dict[str, tuple[list[str], bool]]:
    user = User(id="u", profiles=frozenset(profiles), readable=readable)
    model = user_model(compiled(READER, WRITER), user)
    return {e.name: ([a.name for a in e.attributes], e.is_read_only) for e in model.entities}


def test_a_user_has_what_their_profiles_offer() -> None:
    assert columns() == {}
    assert columns("reader") == {"account": (["id", "name"], True)}
    assert columns("writer")["account"] == (["id", "name", "industry"], False)
    both = columns("reader", "writer", readable=frozenset({("account", "secret")}))
    assert both["account"] == (["id", "name", "industry", "secret"], False)
    assert both["product"] == (["code", "size", "name"], False)
