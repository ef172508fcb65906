"""The contacts that everything is measured with: the same rows on each run and for Satchel as for its peers.

Shape: 15 columns, two random GUIDs a row (its own, and one of its account: one account for 20 contacts). About 369 B a
row as JSON objects; blocks of 5,000 rows: 98 B gzip, 77 B as arrays sorted by key under zstd-9.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from functools import lru_cache

import msgspec

COLUMNS = (
    "id", "firstname", "lastname", "email", "phone", "jobtitle", "account", "city", "zip", "owner", "statecode",
    "credit", "modified", "ver", "optout",
)  # fmt: skip
CONTACTS_IN_ACCOUNT = 20
OWNERS = 200
_FIRST_NAMES = (
    "Anna", "Bruno", "Carmen", "Dora", "Elisa", "Franz", "Gertrud", "Hana", "Ignacio", "Jan",
    "Katarina", "Leo", "Lena", "Nikos", "Olivia", "Pedro", "Rosalind", "Sven", "Tae", "Ursula", "Valentina",
    "Wim", "Yusuf",
)  # fmt: skip
_LAST_NAMES = (
    "Andersson", "Bianchi", "Costa", "Dubois", "Esposito", "Ferrer", "Greco", "Horvath", "Ivanov", "Jensen",
    "Kowalska", "Lindqvist", "Moreau", "Nakamura", "Okafor", "Petit", "Rossi", "Schneider", "Thomsen", "Vogel",
)  # fmt: skip
_CITIES = ("Aarhus", "Bilbao", "Coimbra", "Dresden", "Eindhoven", "Florence", "Ghent", "Helsinki", "Izmir", "Kyoto")
_JOBS = (
    "Electrician", "Head of Purchase", "Managing Director", "Plant Supervisor", "Quality Inspector",
    "Regional Sales Lead", "Service Technician",
)  # fmt: skip
_STATES = (0, 0, 0, 1)
Value = str | int | float | bool


class Contact(msgspec.Struct, frozen=True, array_like=False):
    """One row, its attributes in the order of `COLUMNS`."""

    id: str
    firstname: str
    lastname: str
    email: str
    phone: str
    jobtitle: str
    account: str
    city: str
    zip: str
    owner: str
    statecode: int
    credit: float
    modified: str
    ver: int
    optout: bool

    def values(self) -> tuple[Value, ...]:
        """The row as a tuple."""
        return msgspec.structs.astuple(self)


def contacts(count: int, seed: int = 20261128) -> Iterator[Contact]:
    """So many contacts; the same ones for the same count and seed."""
    choice = random.Random(seed)
    accounts = [guid(choice) for _ in range(max(1, count // CONTACTS_IN_ACCOUNT))]
    owners = [f"u{number}" for number in choice.sample(range(1000, 10000), OWNERS)]
    for number in range(count):
        yield _contact(choice, number, choice.choice(accounts), choice.choice(owners))


@lru_cache(maxsize=2)
def sorted_contacts(count: int) -> tuple[Contact, ...]:
    """The same rows, all of them in memory, in the order of their keys."""
    return tuple(sorted(contacts(count), key=lambda contact: contact.id))


def guid(choice: random.Random) -> str:
    """A random GUID (version 4) of a seeded source."""
    return str(uuid.UUID(int=choice.getrandbits(128), version=4))


def _contact(choice: random.Random, number: int, account: str, owner: str) -> Contact:
    first, last = choice.choice(_FIRST_NAMES), choice.choice(_LAST_NAMES)
    return Contact(
        id=guid(choice),
        firstname=first,
        lastname=last,
        email=f"{first[0]}.{last}{number}@example.com".lower(),
        phone=f"+49-{choice.randint(200, 999)}-{choice.randint(200, 999)}-{choice.randint(1000, 9999)}",
        jobtitle=choice.choice(_JOBS),
        account=account,
        city=choice.choice(_CITIES),
        zip=str(choice.randint(10000, 99999)),
        owner=owner,
        statecode=choice.choice(_STATES),
        credit=round(choice.uniform(0, 100_000), 2),
        modified=_time(choice),
        ver=number + 1,
        optout=choice.random() < 0.2,
    )


def _time(choice: random.Random) -> str:
    day = f"2026-{choice.randint(1, 11):02d}-{choice.randint(1, 28):02d}"
    return f"{day}T{choice.randint(0, 23):02d}:{choice.randint(0, 59):02d}:{choice.randint(0, 59):02d}Z"
