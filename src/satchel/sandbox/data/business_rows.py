"""Accounts, contacts, cases and tasks: made one after the other, without a look back into the tables."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from satchel.sandbox.data import words
from satchel.sandbox.data.directory_rows import Directory, Owner, new_guid
from satchel.sandbox.data.store import Row
from satchel.sandbox.schema.customers import INDUSTRIES

_T = TypeVar("_T")

_FIRST_DAY = datetime(2023, 1, 2, tzinfo=UTC)
_DAYS = 1095
_TEAM_SHARE = 0.15
_FIELD_WEIGHT = 4
_MANY_USERS = 50


class Keys(msgspec.Struct):
    """The keys that rows point to, made before the rows."""

    accounts: list[str]
    contacts: list[str]
    incidents: list[str]
    products: Sequence[str]
    currencies: Sequence[str]


class BusinessRows:
    """Makes rows from one seeded sequence."""

    def __init__(self, chance: random.Random, directory: Directory, keys: Keys) -> None:
        """Nothing is made yet."""
        self._chance = chance
        self._random = chance.random
        self._keys = keys
        users, teams = _weighted(directory), directory.teams
        self._users = [(owner.id, owner.columns()) for owner in users]
        self._teams = [(chance.choice(users).id, team.columns()) for team in teams]
        days = [_FIRST_DAY + timedelta(days=day) for day in range(_DAYS + 1)]
        self._days = [f"{day:%Y-%m-%d}T" for day in days]
        self._times = [f"{6 + s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}Z" for s in range(0, 43200, 7)]

    def accounts(self) -> Iterator[Row]:
        """Companies; half of them know their main contact."""
        pick, keys = self._pick, self._keys
        for number, key in enumerate(keys.accounts, 100_001):
            stem = pick(words.COMPANY_STEMS)
            host = stem.partition(" ")[0].replace("'", "").lower()
            city, country, code, latitude, longitude = pick(words.PLACES)
            yield {
                "accountid": key,
                "name": f"{stem} {pick(words.COMPANY_TRADES)} {pick(words.COMPANY_FORMS)}",
                "accountnumber": f"A-{number}",
                "telephone1": self._phone(),
                "emailaddress1": f"office{number}@{host}.example",
                "websiteurl": f"https://{host}{number}.example",
                "address1_line1": f"{pick(words.STREETS)} {1 + number % 140}",
                "address1_city": city,
                "address1_postalcode": code,
                "address1_country": country,
                "address1_latitude": latitude,
                "address1_longitude": longitude,
                "creditlimit": int(self._random() * 400) * 25_000,
                "revenue": int(self._random() * 9e9) if number % 3 else None,
                "numberofemployees": 1 + int(self._random() ** 3 * 5000),
                "industrycode": 1 + int(self._random() * len(INDUSTRIES)),
                "accountcategorycode": 1 + number % 2,
                "creditonhold": int(number % 31 == 0),
                "description": pick(words.NOTES),
                "primarycontactid": pick(keys.contacts) if number % 2 else None,
                "parentaccountid": pick(keys.accounts) if number % 9 == 0 else None,
                "transactioncurrencyid": pick(keys.currencies),
                "statecode": 0,
                "statuscode": 1,
                **self._owned(),
            }

    def contacts(self) -> Iterator[Row]:
        """People; most of them work for an account."""
        pick, keys = self._pick, self._keys
        nobody: list[str | None] = [None]
        about: list[tuple[str | None, Sequence[str | None]]] = [
            *[("account", keys.accounts)] * 16, ("contact", keys.contacts), (None, nobody), (None, nobody)
        ]  # fmt: skip
        for number, key in enumerate(keys.contacts, 1):
            first, last = pick(words.FIRST_NAMES), pick(words.LAST_NAMES)
            city, country, *_ = pick(words.PLACES)
            target, candidates = about[int(self._random() * len(about))]
            is_inactive = int(number % 29 == 0)
            yield {
                "contactid": key,
                "fullname": f"{first} {last}",
                "firstname": first,
                "lastname": last,
                "emailaddress1": f"{first}.{number}@mail.example".lower(),
                "telephone1": self._phone(),
                "mobilephone": self._phone() if number % 3 == 0 else None,
                "jobtitle": pick(words.JOB_TITLES),
                "birthdate": self._birthday() if number % 4 else None,
                "gendercode": 1 + number % 2 if number % 5 else None,
                "creditlimit": int(self._random() * 2_000_000) if number % 2 else None,
                "donotemail": int(number % 7 == 0),
                "interests": ("1,3", "2", "1,4,5")[number % 3] if number % 6 == 0 else None,
                "address1_city": city,
                "address1_country": country,
                "description": pick(words.NOTES),
                "parentcustomerid": pick(candidates),
                "parentcustomerid_type": target,
                "transactioncurrencyid": keys.currencies[0],
                "statecode": is_inactive,
                "statuscode": 1 + is_inactive,
                **self._owned(),
            }

    def incidents(self) -> Iterator[Row]:
        """Cases of accounts and contacts."""
        pick, keys = self._pick, self._keys
        states = ((0, 1), (0, 2), (0, 4), (1, 5), (1, 5), (1, 1000), (2, 6))
        for number, key in enumerate(keys.incidents, 1):
            is_account = self._random() < 0.6
            state, status = pick(states)
            yield {
                "incidentid": key,
                "title": f"{pick(words.PRODUCT_STEMS)} {pick(words.PRODUCT_SERIES)} {pick(words.CASE_SUBJECTS)}",
                "ticketnumber": f"CAS-{number:06}-{key[:5].upper()}",
                "description": pick(words.NOTES),
                "customerid": pick(keys.accounts if is_account else keys.contacts),
                "customerid_type": "account" if is_account else "contact",
                "primarycontactid": pick(keys.contacts) if is_account and number % 2 else None,
                "productid": pick(keys.products),
                "prioritycode": 1 + number % 3,
                "caseorigincode": 1 + int(self._random() * 3),
                "casetypecode": 1 + int(self._random() * 3),
                "isescalated": int(number % 17 == 0),
                "followupby": self._moment() if number % 3 else None,
                "resolveby": None,
                "statecode": state,
                "statuscode": status,
                **self._owned(),
            }

    def tasks(self, count: int) -> Iterator[Row]:
        """Tasks about accounts, contacts and cases."""
        pick, keys = self._pick, self._keys
        about = (("account", keys.accounts), ("contact", keys.contacts), ("incident", keys.incidents), (None, [None]))
        states = ((0, 2), (0, 2), (0, 3), (0, 4), (1, 5), (2, 6))
        for number in range(count):
            target, candidates = about[number % 4]
            state, status = pick(states)
            due = self._moment()
            yield {
                "activityid": new_guid(self._chance),
                "subject": pick(words.TASK_SUBJECTS),
                "description": pick(words.NOTES),
                "regardingobjectid": pick(candidates),
                "regardingobjectid_type": target,
                "prioritycode": number % 3,
                "scheduledstart": None,
                "scheduledend": due,
                "actualdurationminutes": 15 * (number % 9) or None,
                "percentcomplete": 100 if state == 1 else 10 * (number % 9),
                "statecode": state,
                "statuscode": status,
                **self._owned(),
            }

    def _owned(self) -> Row:
        """Owner and trail of a row."""
        is_team = self._random() < _TEAM_SHARE
        user, columns = self._pick(self._teams if is_team else self._users)
        made = int(self._random() * _DAYS)
        changed = made + 1 + int(self._random() * (_DAYS - made))
        return {
            **columns,
            "createdon": self._days[made] + self._pick(self._times),
            "modifiedon": self._days[changed] + self._pick(self._times),
            "createdby": user,
            "modifiedby": user,
        }

    def _pick(self, values: Sequence[_T]) -> _T:
        return values[int(self._random() * len(values))]

    def _moment(self) -> str:
        return self._pick(self._days) + self._pick(self._times)

    def _phone(self) -> str:
        digits = int(self._random() * 1e9)
        return f"+49 {30 + digits % 60} {digits // 1000}"

    def _birthday(self) -> str:
        day = int(self._random() * 18_000)
        return f"{1955 + day // 360}-{1 + day // 30 % 12:02}-{1 + day % 28:02}"


def _weighted(directory: Directory) -> list[Owner]:
    """Users as often as they own rows; those who try out offline work have plenty."""
    weight = _FIELD_WEIGHT if len(directory.users) > _MANY_USERS else 1
    fields = [user for user in directory.users if user.id in directory.field_users]
    return [*directory.users, *fields * weight]
