"""Writing: create, update, upsert, delete - conditional, as a user, and each in the audit.

Source: powerapps-docs, webapi/create-entity-web-api.md, update-delete-entities-using-web-api.md,
perform-conditional-operations-using-web-api.md.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import msgspec

from satchel.sandbox.data.store import Row, Store
from satchel.sandbox.odata.answers import Answer, ODataError, Request, not_found
from satchel.sandbox.rows.security import Caller, require
from satchel.sandbox.rows.values import values_of
from satchel.sandbox.schema.kinds import Entity

MISMATCH = "0x80060882"
DUPLICATE = "0x80060892"
_EXISTS = "A record with matching key values already exists."
AUDIT = ("n", "time", "user", "application", "entity", "key", "operation", "attributes", "request", "content_id")
"""What is kept of a write: whose name stands on it, who sent it, what it was, and the request it came with."""


class Writer:
    """Executes writes."""

    def __init__(self, store: Store) -> None:
        """All writes go through here, also the random ones."""
        self._store = store

    def create(self, entity: Entity, request: Request, caller: Caller) -> tuple[str, Answer]:
        """POST: a new row; returns its key too."""
        values = values_of(self._store, entity, request.json(), is_new=True)
        key = str(values.pop(entity.key, None) or uuid.uuid4()).lower()
        if self._store.row(entity, key) is not None:
            raise ODataError(412, DUPLICATE, _EXISTS)
        return key, self._created(entity, key, values, request, caller)

    def upsert(self, entity: Entity, key: str, request: Request, caller: Caller) -> Answer:
        """PATCH: update, or create under this key unless `If-Match` forbids it."""
        standing = self._store.row(entity, key)
        match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
        if standing is None and match is not None:
            raise not_found(entity.name, key)
        if standing is not None and none_match == "*":
            raise ODataError(412, DUPLICATE, _EXISTS)
        values = values_of(self._store, entity, request.json(), is_new=standing is None)
        values.pop(entity.key, None)
        if standing is None:
            return self._created(entity, key, values, request, caller)
        _require_match(match, standing)
        require(self._store, caller, entity, "Write", key)
        if values.get("ownerid") and values["ownerid"] != standing["ownerid"]:
            require(self._store, caller, entity, "Assign", key)
        self.update(entity, key, values, caller, request)
        return _written(entity, key, request)

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
        row: Row = {}
        if "statecode" in entity.by_name:
            row = {"statecode": 0, "statuscode": entity.by_name["statuscode"].options[0][0]}
        row |= {entity.key: key, "createdon": now, "createdby": caller.id}
        row["createdonbehalfby"] = caller.application if caller.user else None
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

    def _created(self, entity: Entity, key: str, values: Row, request: Request, caller: Caller) -> Answer:
        """Add a row; the caller must be allowed to have such a one where it is, or the transaction is undone."""
        require(self._store, caller, entity, "Create")
        self.insert(entity, key, values, caller, request)
        require(self._store, caller, entity, "Create", key)
        return _written(entity, key, request)

    def _audit(
        self, entity: Entity, key: str, operation: str, values: Row, caller: Caller, request: Request | None
    ) -> None:
        """Keep that a write was executed; in the transaction of the write."""
        headers, content_id = (request.headers, request.content_id) if request else ({}, None)
        who = (datetime.now(UTC).isoformat(), caller.id, caller.application)
        what = (entity.name, key, operation, msgspec.json.encode(values).decode())
        whence = (headers.get("x-ms-client-request-id") or headers.get("request-id"), content_id)
        self._store.run(f"insert into _audit ({', '.join(AUDIT[1:])}) values (?{', ?' * 8})", (*who, *what, *whence))


def _written(entity: Entity, key: str, request: Request) -> Answer:
    address = f"{request.root}{entity.set_name}({key})"
    return Answer(status=204, headers={"location": address, "odata-entityid": address})


def _require_match(match: str | None, standing: Row) -> None:
    if match not in {None, "*"} and match != f'W/"{standing["versionnumber"]}"':
        raise ODataError(
            412, MISMATCH, "The version of the existing record doesn't match the RowVersion property provided."
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
