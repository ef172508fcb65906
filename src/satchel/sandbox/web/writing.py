"""Writing: create, update, upsert, delete - conditional, as a user, and each in the audit.

Source: powerapps-docs, webapi/create-entity-web-api.md, update-delete-entities-using-web-api.md,
perform-conditional-operations-using-web-api.md.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import msgspec

from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.schema.kinds import CHOICES, TEXTS, Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_SET
from satchel.sandbox.web.answers import Answer, ODataError, Request, not_found
from satchel.sandbox.web.security import Caller, require

MISMATCH = "0x80060882"
DUPLICATE = "0x80060892"
_BIND = "@odata.bind"
_REFERENCE = re.compile(r"^(?:https?://[^/]+/api/data/v[\d.]+)?/?(\w+)\(([0-9a-fA-F-]{36})\)$")
_GUID = re.compile(r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")


class Writer:
    """Executes writes."""

    def __init__(self, store: Store) -> None:
        """All writes go through here, also the random ones."""
        self._store = store

    def create(self, entity: Entity, request: Request, caller: Caller) -> tuple[str, Answer]:
        """POST: a new row; returns its key too."""
        values = self._values(entity, request.json(), is_new=True)
        key = str(values.pop(entity.key, None) or uuid.uuid4()).lower()
        if self._store.row(entity, key) is not None:
            raise ODataError(412, DUPLICATE, "A record with matching key values already exists.")
        require(self._store, caller, entity, "Create")
        self.insert(entity, key, values, caller, request)
        return key, self._written(entity, key, request)

    def upsert(self, entity: Entity, key: str, request: Request, caller: Caller) -> Answer:
        """PATCH: update, or create under this key unless `If-Match` forbids it."""
        standing = self._store.row(entity, key)
        match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
        if standing is None:
            if match is not None:
                raise not_found(entity.name, key)
            require(self._store, caller, entity, "Create")
            values = self._values(entity, request.json(), is_new=True)
            values.pop(entity.key, None)
            self.insert(entity, key, values, caller, request)
            return self._written(entity, key, request)
        if none_match == "*":
            raise ODataError(412, DUPLICATE, "A record with matching key values already exists.")
        _require_match(match, standing)
        require(self._store, caller, entity, "Write", key)
        values = self._values(entity, request.json(), is_new=False)
        if values.get("ownerid") and values["ownerid"] != standing["ownerid"]:
            require(self._store, caller, entity, "Assign", key)
        self.update(entity, key, values, caller, request)
        return self._written(entity, key, request)

    def delete(self, entity: Entity, key: str, request: Request, caller: Caller) -> Answer:
        """DELETE."""
        standing = self._store.row(entity, key)
        if standing is None:
            raise not_found(entity.name, key)
        _require_match(request.headers.get("if-match"), standing)
        require(self._store, caller, entity, "Delete", key)
        self.remove(entity, key, caller, request)
        return Answer(status=204)

    def insert(self, entity: Entity, key: str, values: Row, caller: Caller, request: Request | None = None) -> None:
        """Add a row with everything that goes with it."""
        now = _now()
        row: Row = {"statecode": 0, "statuscode": 1} if "statecode" in entity.by_name else {}
        row |= {entity.key: key, "createdon": now, "createdby": caller.id}
        if entity.is_user_owned and "ownerid" not in values:
            values |= {"ownerid": caller.id, "ownerid_type": "systemuser"}
        row |= values
        self._complete(entity, row, caller, now)
        names = [name for name in entity.sql_columns if name in row]
        marks, columns = ",".join("?" * len(names)), ",".join(f'"{name}"' for name in names)
        with self._store.transaction():
            self._store.run("delete from _tombstone where entity = ? and key = ?", (entity.name, key))
            self._store.run(f'insert into "{entity.name}" ({columns}) values ({marks})', [row[name] for name in names])
            self._audit(entity, key, "create", values, caller, request)

    def update(self, entity: Entity, key: str, values: Row, caller: Caller, request: Request | None = None) -> None:
        """Change a row."""
        row = dict(values)
        self._complete(entity, row, caller, _now(), key)
        assignments = ", ".join(f'"{name}" = ?' for name in row)
        with self._store.transaction():
            self._store.run(f'update "{entity.name}" set {assignments} where "{entity.key}" = ?', [*row.values(), key])
            self._audit(entity, key, "update", values, caller, request)

    def remove(self, entity: Entity, key: str, caller: Caller, request: Request | None = None) -> None:
        """Delete a row; its tombstone has a version."""
        with self._store.transaction():
            self._store.run(f'delete from "{entity.name}" where "{entity.key}" = ?', (key,))
            tombstone = (entity.name, self._store.next_version(), key)
            self._store.run("insert or replace into _tombstone (entity, version, key) values (?, ?, ?)", tombstone)
            self._audit(entity, key, "delete", {}, caller, request)

    def _complete(self, entity: Entity, row: Row, caller: Caller, now: str, key: str | None = None) -> None:
        """What follows from what was given: owner's unit, full name, who and when, version."""
        if row.get("ownerid"):
            self._own(row)
        if entity.name == "contact" and {"firstname", "lastname"} & row.keys():
            standing = (self._store.row(entity, key) if key else None) or {}
            names = [row.get(part, standing.get(part)) for part in ("firstname", "lastname")]
            row["fullname"] = " ".join(name for name in names if name)
        stamps = {"modifiedon": now, "modifiedby": caller.id, "versionnumber": self._store.next_version()}
        stamps["modifiedonbehalfby"] = caller.application if caller.user else None
        row |= {name: value for name, value in stamps.items() if name in entity.by_name}

    def _own(self, row: Row) -> None:
        is_user = row.get("ownerid_type", "systemuser") == "systemuser"
        table, key = ("systemuser", "systemuserid") if is_user else ("team", "teamid")
        unit = self._store.value(f"select businessunitid from {table} where {key} = ?", (row["ownerid"],))
        if unit is None:
            raise not_found(table, row["ownerid"])
        row |= {
            "owninguser": row["ownerid"] if is_user else None,
            "owningteam": None if is_user else row["ownerid"],
            "owningbusinessunit": unit,
        }

    def _values(self, entity: Entity, body: Mapping[str, Any], *, is_new: bool) -> Row:
        """The body as columns. Errors: ODataError 400."""
        values: Row = {}
        for name, value in body.items():
            if name.endswith(_BIND):
                values |= self._bound(entity, name.removesuffix(_BIND), value)
            elif name in entity.by_navigation and value is None:
                column, _ = entity.by_navigation[name]
                values |= {column.name: None} | ({column.type_column: None} if column.is_polymorphic else {})
            elif not name.startswith("@") and "@" not in name:
                column = self._writable(entity, name, is_new=is_new)
                values[column.name] = _to_column(column, value)
        return values

    def _writable(self, entity: Entity, name: str, *, is_new: bool) -> Column:
        column = entity.by_wire.get(name)
        is_key = column is not None and column.name == entity.key
        if column is None or column.is_lookup:
            raise ODataError(
                400, "0x80048d19",
                f"Error identified in Payload provided by the user for Entity :'{entity.set_name}'; an undeclared "
                f"property '{name[:80]}' which only has property annotations in the payload "
                "but no property value was found.",
            )  # fmt: skip
        if not column.is_writable and not (is_key and is_new):
            raise ODataError(400, "0x80040216", f"Attribute {name} of {entity.name} cannot be set.")
        return column

    def _bound(self, entity: Entity, navigation: str, value: Any) -> Row:
        found = entity.by_navigation.get(navigation)
        if found is None:
            raise ODataError(
                400, "0x80048d19", f"Could not find a property named '{navigation}' on type '{entity.type}'."
            )
        column, targets = found
        match = _REFERENCE.match(value) if isinstance(value, str) else None
        target = BY_SET.get(match[1]) if match else None
        if match is None or target is None or target.name not in targets or not column.is_writable:
            raise ODataError(
                400, "0x80060888", f"The value of {navigation}{_BIND} is not a reference to one of its targets."
            )
        key = match[2].lower()
        if self._store.row(target, key) is None:
            raise not_found(target.name, key)
        return {column.name: key} | ({column.type_column: target.name} if column.is_polymorphic else {})

    def _written(self, entity: Entity, key: str, request: Request) -> Answer:
        headers = {"odata-entityid": f"{request.root}{entity.set_name}({key})"}
        return Answer(status=204, headers=headers)

    def _audit(
        self, entity: Entity, key: str, operation: str, values: Row, caller: Caller, request: Request | None
    ) -> None:
        attributes = msgspec.json.encode(values).decode()
        request_id = request.headers.get("x-ms-client-request-id") or request.content_id if request else None
        self._store.run(
            "insert into _audit (time, user, entity, key, operation, attributes, request) values (?, ?, ?, ?, ?, ?, ?)",
            (datetime.now(UTC).isoformat(), caller.id, entity.name, key, operation, attributes, request_id),
        )


def _require_match(match: str | None, standing: Row) -> None:
    if match not in {None, "*"} and match != f'W/"{standing["versionnumber"]}"':
        raise ODataError(
            412, MISMATCH, "The version of the existing record doesn't match the RowVersion property provided."
        )


def _to_column(column: Column, value: Any) -> Any:
    """A JSON value as it is stored. Errors: ODataError 400."""
    if value is None:
        return None
    try:
        return _converted(column, value)
    except (ValueError, TypeError, InvalidOperation) as error:
        raise ODataError(
            400, "0x80048d19",
            f"Error identified in Payload provided by the user: cannot convert the value of '{column.wire}' to the "
            f"expected type '{column.kind.edm}'.",
        ) from error  # fmt: skip


def _converted(column: Column, value: Any) -> Any:
    match column.kind:
        case Kind.MONEY | Kind.DECIMAL | Kind.DOUBLE:
            return _number(column, value)
        case Kind.BOOLEAN:
            return int(_of(bool, value))
        case Kind.INTEGER | Kind.BIGINT:
            return _whole(column, value)
        case kind if kind in CHOICES:
            return _chosen(column, value)
        case Kind.GUID:
            return _matching(_GUID, value).lower()
        case Kind.DATETIME:
            moment = datetime.fromisoformat(_of(str, value))
            return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case Kind.DATE:
            return datetime.fromisoformat(_of(str, value)[:10]).date().isoformat()
    text = _of(str, value)
    if column.kind in TEXTS and len(text) > column.max_length:
        raise ODataError(
            400, "0x80044331", f"A validation error occurred. The length of the '{column.name}' attribute exceeded the "
            f"maximum allowed length of '{column.max_length}'.",
        )  # fmt: skip
    return text


def _number(column: Column, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    number = Decimal(str(value))
    if not Decimal(str(column.minimum)) <= number <= Decimal(str(column.maximum)):
        raise ODataError(
            400, "0x80044331", f"A validation error occurred. The value of '{column.name}' is outside its range."
        )
    if column.kind is Kind.MONEY:
        return int((number * 100).to_integral_value(ROUND_HALF_EVEN))
    return float(number) if column.kind is Kind.DOUBLE else f"{number:.{column.precision}f}"


def _whole(column: Column, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    number = int(_of(int, value))
    if column.kind is Kind.INTEGER and not column.minimum <= number <= column.maximum:
        raise ODataError(
            400, "0x80044331", f"A validation error occurred. The value of '{column.name}' is outside its range."
        )
    return number


def _chosen(column: Column, value: Any) -> int:
    number = int(_of(int, value))
    if number not in dict(column.options):
        raise ODataError(
            400,
            "0x80048408",
            f"A validation error occurred. The value {number} of '{column.name}' is outside the valid range.",
        )
    return number


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    text = str(_of(str, value))
    if not pattern.match(text):
        raise ValueError
    return text


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
