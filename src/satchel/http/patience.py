"""How often one address may be refused: for what can be guessed (codes, tokens, names of organizations).

What succeeds costs nothing, so an office behind one address enrolls all its devices at once. Each process counts for
itself, in bounded memory.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from satchel.errors import Denied, TooManyAttempts

MAX_COUNTED = 20_000
"""Addresses, and addresses with organizations; those that were quiet for longest are forgotten first."""


class Limit(msgspec.Struct, frozen=True):
    """So many at once, then so many a second."""

    at_once: int
    per_second: float


REFUSALS_OF_ADDRESS = Limit(at_once=100, per_second=2.0)
REFUSALS_AT_ORGANIZATION = Limit(at_once=30, per_second=0.5)
QUESTIONS = Limit(at_once=60, per_second=6.0)


class Patience:
    """Counts attempts of each address, and of each address at each organization."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nobody came yet."""
        self._monotonic = monotonic
        self._spent: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()
        """How much is spent, and as of when."""

    @contextmanager
    def attempt(self, address: str | None, organization: str) -> Iterator[None]:
        """Around what may be refused; given back where it is not. Errors: TooManyAttempts."""
        block = block_of(address)
        taken = [((block, ""), REFUSALS_OF_ADDRESS), ((block, organization), REFUSALS_AT_ORGANIZATION)]
        for key, limit in taken:
            self._require(key, limit)
        for key, limit in taken:
            self._spend(key, limit, 1.0)
        is_refused = False
        try:
            yield
        except Denied:
            is_refused = True
            raise
        finally:
            for key, limit in taken:
                self._spend(key, limit, 0.0 if is_refused else -1.0)

    def question(self, address: str | None) -> None:
        """A question that is answered without asking anybody. Errors: TooManyAttempts."""
        key = (block_of(address), "?")
        self._require(key, QUESTIONS)
        self._spend(key, QUESTIONS, 1.0)

    def _require(self, key: tuple[str, str], limit: Limit) -> None:
        over = self._standing(key, limit) + 1.0 - limit.at_once
        if over > 0:
            raise TooManyAttempts(wait_seconds=over / limit.per_second)

    def _spend(self, key: tuple[str, str], limit: Limit, amount: float) -> None:
        self._spent[key] = (max(0.0, self._standing(key, limit) + amount), self._monotonic())
        self._spent.move_to_end(key)
        if len(self._spent) > MAX_COUNTED:
            self._spent.popitem(last=False)

    def _standing(self, key: tuple[str, str], limit: Limit) -> float:
        spent, since = self._spent.get(key, (0.0, 0.0))
        return max(0.0, spent - (self._monotonic() - since) * limit.per_second)


def block_of(address: str | None) -> str:
    """An IPv4 address; of an IPv6 one the /64, which one subscriber has whole."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
