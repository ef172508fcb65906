"""Lines of answers for device tests, in the form of the wire."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from satchel.model.client_model import ClientAttribute, ClientEntity, ClientModel
from satchel.model.metadata import AttributeType as T
from satchel.protocol.messages import Line

CONTACT = ClientEntity(
    name="contact",
    key=("contactid",),
    attributes=(
        ClientAttribute(name="contactid", type=T.GUID),
        ClientAttribute(name="fullname", type=T.STRING),
        ClientAttribute(name="creditlimit", type=T.MONEY, precision=14, scale=2),
        ClientAttribute(name="exact", type=T.DECIMAL, precision=30, scale=10),
        ClientAttribute(name="donotemail", type=T.BOOLEAN),
        ClientAttribute(name="birthdate", type=T.DATE),
        ClientAttribute(name="modifiedon", type=T.DATETIME),
        ClientAttribute(name="parentcustomerid", type=T.GUID, targets=("account",)),
    ),
)
PRICE = ClientEntity(
    name="price",
    key=("product", "list"),
    attributes=(
        ClientAttribute(name="product", type=T.STRING),
        ClientAttribute(name="list", type=T.INTEGER),
        ClientAttribute(name="amount", type=T.MONEY, precision=10, scale=2),
    ),
)
MODEL = ClientModel((CONTACT, PRICE))
CONTACT_COLUMNS = [a.name for a in CONTACT.attributes]


def contact(key: str, name: str = "Ann", credit: str | None = "94.50", **more: Any) -> list[Any]:
    """A contact as an array."""
    row = {"contactid": key, "fullname": name, "creditlimit": credit, "exact": None, "donotemail": False,
           "birthdate": None, "modifiedon": "2026-11-23T15:35:08Z", "parentcustomerid": None} | more  # fmt: skip
    return [row[name] for name in CONTACT_COLUMNS]


def begin(*, reset: bool = False, model: ClientModel = MODEL, lease: dict[str, Any] | None = None) -> dict[str, Any]:
    told = {} if lease is None else {"lease": lease}
    return {"begin": {"checkpoint": 1, "model": model.digest, "reset": reset, **told}}


def model(value: ClientModel = MODEL) -> dict[str, Any]:
    return {"model": msgspec.to_builtins(value)}


def put(*rows: Sequence[Any]) -> dict[str, Any]:
    return {"put": "contact", "columns": CONTACT_COLUMNS, "rows": [list(row) for row in rows]}


def remove(*keys: str) -> dict[str, Any]:
    return {"remove": "contact", "keys": list(keys)}


def cursor(value: str) -> dict[str, Any]:
    return {"cursor": value}


def end(value: str, checkpoint: int = 1) -> dict[str, Any]:
    return {"end": {"checkpoint": checkpoint, "cursor": value}}


def encoded(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def decoded(lines: Iterable[dict[str, Any]]) -> list[Line]:
    return [msgspec.json.decode(json.dumps(line).encode(), type=Line) for line in lines]
