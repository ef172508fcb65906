"""Makes the sample organization: the same seed and number of rows give the same rows, keys included."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from satchel.sandbox.data.business_rows import BusinessRows, Keys
from satchel.sandbox.data.catalog_rows import PRICE_LISTS, Catalog
from satchel.sandbox.data.directory_rows import Directory, make_directory, new_guid
from satchel.sandbox.data.offline_rows import make_offline_profile
from satchel.sandbox.data.shared_rows import make_shares
from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.schema.customers import ACCOUNT, CONTACT, INCIDENT, TASK

MIN_ROWS, MAX_ROWS = 1_000, 1_000_000
_REPORT_EVERY = 5_000

Progress = Callable[[int], None]
"""Told how many rows more there are."""


def generate(store: Store, rows: int, seed: int, progress: Progress = lambda _: None) -> Directory:
    """Fill an empty store with so many business rows and the directory they belong to."""
    chance = random.Random(f"{seed}/{rows}")
    directory = make_directory(store, chance, rows)
    products = max(10, min(2_000, rows // 100))
    prices = products * len(PRICE_LISTS) // 2
    catalog = Catalog(store, chance, products, prices, directory.application)
    left = rows - products - prices - len(PRICE_LISTS)
    accounts, incidents, tasks = left * 16 // 100, left * 22 // 100, left * 12 // 100
    keys = Keys(
        accounts=[new_guid(chance) for _ in range(accounts)],
        contacts=[new_guid(chance) for _ in range(left - accounts - incidents - tasks)],
        incidents=[new_guid(chance) for _ in range(incidents)],
        products=catalog.products,
        currencies=catalog.currencies,
    )
    business = BusinessRows(chance, directory, keys)
    progress(rows - left)
    for entity, made in (
        (ACCOUNT, business.accounts()),
        (CONTACT, business.contacts()),
        (INCIDENT, business.incidents()),
        (TASK, business.tasks(tasks)),
    ):
        store.load(entity, _told(made, progress))
    make_offline_profile(store, chance, directory)
    make_shares(store, chance, directory, {ACCOUNT: keys.accounts, CONTACT: keys.contacts, INCIDENT: keys.incidents})
    return directory


def _told(rows: Iterator[Row], progress: Progress) -> Iterator[Row]:
    count = 0
    for count, row in enumerate(rows, 1):
        yield row
        if count % _REPORT_EVERY == 0:
            progress(_REPORT_EVERY)
    progress(count % _REPORT_EVERY)
