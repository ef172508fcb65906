"""Since when a user is the same: only versions that were read count, and only on the same ground."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from satchel.model.scope import ProfileAssignment, Scope
from satchel.staging.head import Head
from satchel.staging.users import Users
from tests.support.field_organization import compiled, item, profile

PRINCIPALS_OF_OTHERS: Any = None
"""A connection: without a user entity nothing is read."""
HEAD = Head("e", 1, 1, "m")


@pytest.fixture
def scope() -> Scope:
    made = compiled(profile(item("product", rows=["all"]), principals=""))
    assert made.principals is None
    return made


def joined(scope: Scope, user: str) -> Scope:
    """The same, where one user takes part in another profile as well."""
    return msgspec.structs.replace(scope, assignments=(*scope.assignments, ProfileAssignment("more", (user,))))


async def settle(users: Users, scope: Scope, binding: int, *wanted: str, ground: str = "g", epoch: str = "e") -> None:
    head = msgspec.structs.replace(HEAD, binding=binding, epoch=epoch)
    await users.settle(PRINCIPALS_OF_OTHERS, head, scope, ground, wanted)


async def test_who_did_not_change_is_the_same(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a", "b")
    await settle(users, joined(scope, "b"), 4)
    await settle(users, joined(scope, "b"), 5)
    assert users.is_same("a", 3, 5)
    assert users.is_same("a", 4, 5)
    assert not users.is_same("b", 3, 5)
    assert users.is_same("b", 4, 5)
    assert users.known("b", 5) is not None


async def test_what_was_in_between_two_looks_is_not_known(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a")
    await settle(users, scope, 5)
    assert users.is_same("a", 3, 5)
    assert not users.is_same("a", 4, 5)
    assert not users.is_same("a", 2, 5)
    assert not users.is_same("a", 3, 6)


async def test_on_another_ground_nobody_is_the_same(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a")
    await settle(users, scope, 4, ground="another")
    assert not users.is_same("a", 3, 4)


async def test_who_comes_later_is_known_since_then(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a")
    await settle(users, scope, 4, "b")
    await settle(users, scope, 4, "c")
    await settle(users, scope, 5)
    assert not users.is_same("b", 3, 5)
    assert users.is_same("b", 4, 5)
    assert users.is_same("c", 4, 5)
    assert not users.is_same("stranger", 4, 5)


async def test_in_another_epoch_nobody_is_known(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a")
    await settle(users, scope, 3, epoch="another")
    assert not users.knows("a", 3)


async def test_a_look_at_an_older_state_changes_nothing(scope: Scope) -> None:
    users = Users()
    await settle(users, scope, 3, "a")
    await settle(users, scope, 4)
    await settle(users, joined(scope, "a"), 3, "a")
    assert users.is_same("a", 3, 4)
