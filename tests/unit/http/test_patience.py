"""Guessing has an end, for those who guess only; and costs a bounded memory."""

from __future__ import annotations

import pytest

from satchel.errors import EnrolmentRefused, TooManyAttempts
from satchel.http import patience
from satchel.http.patience import QUESTIONS, REFUSALS_AT_ORGANIZATION, REFUSALS_OF_ADDRESS, Patience

HERE = "192.0.2.1"


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def refused(counted: Patience, address: str = HERE, organization: str = "contoso") -> bool:
    """Whether a wrong code was looked at; False: it was not."""
    try:
        with counted.attempt(address, organization):
            raise EnrolmentRefused
    except EnrolmentRefused:
        return True
    except TooManyAttempts:
        return False


def test_who_guesses_waits_and_others_do_not(clock: Clock) -> None:
    counted = Patience(clock)
    assert sum(refused(counted) for _ in range(100)) == REFUSALS_AT_ORGANIZATION.at_once

    assert refused(counted, organization="fabrikam")
    assert refused(counted, "192.0.2.2")
    with pytest.raises(TooManyAttempts) as told, counted.attempt(HERE, "contoso"):
        pass  # a right code is not looked at either
    clock.now += told.value.wait_seconds
    assert refused(counted)
    assert not refused(counted)


def test_names_of_organizations_are_not_guessed_one_after_another() -> None:
    counted = Patience(Clock())
    assert sum(refused(counted, organization=f"o{n}") for n in range(500)) == REFUSALS_OF_ADDRESS.at_once


def test_what_succeeds_or_fails_by_our_own_fault_costs_nothing() -> None:
    counted = Patience(Clock())
    for _ in range(1000):
        with counted.attempt(HERE, "contoso"):
            pass
        with pytest.raises(OSError), counted.attempt(HERE, "contoso"):
            raise OSError
    assert refused(counted)


def test_attempts_under_way_count() -> None:
    """Guesses that are sent all at once are no more than those sent one by one."""
    counted = Patience(Clock())
    under_way = [counted.attempt(HERE, "contoso") for _ in range(REFUSALS_AT_ORGANIZATION.at_once)]
    for each in under_way:
        each.__enter__()
    assert not refused(counted)
    under_way[0].__exit__(None, None, None)
    assert refused(counted)


def test_memory_is_bounded_and_who_guesses_now_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MAX_COUNTED", 50)
    counted = Patience(Clock())
    for number in range(REFUSALS_OF_ADDRESS.at_once + 10):
        refused(counted, organization=f"o{number}")
    assert len(counted._spent) <= 50
    assert not refused(counted, organization="another")


def test_questions_have_a_limit_of_their_own(clock: Clock) -> None:
    counted = Patience(clock)
    for _ in range(QUESTIONS.at_once):
        counted.question(HERE)
    with pytest.raises(TooManyAttempts):
        counted.question(HERE)
    assert refused(counted)


@pytest.mark.parametrize(
    ("address", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        (None, "", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_an_address_is_who_has_it(address: str | None, other: str, is_same: bool) -> None:
    assert (patience.block_of(address) == patience.block_of(other)) is is_same
