"""Currencies, price lists, products and their prices."""

from __future__ import annotations

import random

from satchel.sandbox.data.directory_rows import FOUNDED, new_guid
from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.data.words import COMPANY_STEMS, PRODUCT_SERIES, PRODUCT_STEMS
from satchel.sandbox.schema.catalog import CURRENCY, PRICE_LEVEL, PRODUCT, PRODUCT_PRICE_LEVEL

PRICE_LISTS = ("Retail", "Wholesale", "Service contracts", "Retail 2022")
_CURRENCIES = (
    ("Euro", "EUR", "€", "1.0000000000"), ("Pound Sterling", "GBP", "£", "0.8412500000"),
    ("Schweizer Franken", "CHF", "CHF", "0.9387100000"),
)  # fmt: skip


class Catalog:
    """The catalog as far as other rows point to it."""

    def __init__(self, store: Store, chance: random.Random, products: int, prices: int, by: str) -> None:
        """Fill the catalog's tables. `by`: the user who made them."""
        self._chance = chance
        self._trail = {"createdon": FOUNDED, "modifiedon": FOUNDED, "createdby": by, "modifiedby": by}
        self.currencies = [new_guid(chance) for _ in _CURRENCIES]
        self.products = [new_guid(chance) for _ in range(products)]
        self._lists = [new_guid(chance) for _ in PRICE_LISTS]
        store.load(CURRENCY, [self._currency(i) for i in range(len(_CURRENCIES))])
        store.load(PRICE_LEVEL, [self._list(i) for i in range(len(PRICE_LISTS))])
        store.load(PRODUCT, [self._product(i) for i in range(products)])
        store.load(PRODUCT_PRICE_LEVEL, [self._price(i) for i in range(prices)])

    def _currency(self, place: int) -> Row:
        name, code, symbol, rate = _CURRENCIES[place]
        return {
            "transactioncurrencyid": self.currencies[place],
            "currencyname": name,
            "isocurrencycode": code,
            "currencysymbol": symbol,
            "currencyprecision": 2,
            "exchangerate": rate,
            "statecode": 0,
            "statuscode": 1,
            **self._trail,
        }

    def _list(self, place: int) -> Row:
        is_old = place == len(PRICE_LISTS) - 1
        return {
            "pricelevelid": self._lists[place],
            "name": PRICE_LISTS[place],
            "description": "Prices without tax.",
            "begindate": "2022-01-01" if is_old else "2023-01-01",
            "enddate": "2022-12-31" if is_old else None,
            "transactioncurrencyid": self.currencies[0],
            "statecode": int(is_old),
            "statuscode": 100002 if is_old else 100001,
            **self._trail,
        }

    def _product(self, place: int) -> Row:
        chance = self._chance
        stem, series = chance.choice(PRODUCT_STEMS), chance.choice(PRODUCT_SERIES)
        price = chance.randrange(500, 500_000)
        is_retired = place % 23 == 22
        return {
            "productid": self.products[place],
            "name": f"{stem} {series} {100 + place}",
            "productnumber": _number(place),
            "description": f"{stem} of the {series} series.",
            "productstructure": 1,
            "vendorname": chance.choice(COMPANY_STEMS),
            "price": price,
            "currentcost": price * 6 // 10,
            "stockweight": f"{chance.randrange(50, 90_000) / 1000:.3f}",
            "quantityonhand": f"{chance.randrange(0, 500)}.00",
            "isstockitem": 1,
            "pricelevelid": self._lists[0],
            "transactioncurrencyid": self.currencies[0],
            "statecode": int(is_retired),
            "statuscode": 2 if is_retired else 1,
            **self._trail,
        }

    def _price(self, place: int) -> Row:
        product = place % len(self.products)
        return {
            "productpricelevelid": new_guid(self._chance),
            "productnumber": _number(product),
            "pricelevelid": self._lists[place // len(self.products) % len(self._lists)],
            "productid": self.products[product],
            "transactioncurrencyid": self.currencies[0],
            "amount": self._chance.randrange(500, 500_000),
            "percentage": None,
            "pricingmethodcode": 1,
            "quantitysellingcode": 1,
            **self._trail,
        }


def _number(place: int) -> str:
    return f"P-{10_000 + place}"
