"""The audit as a client reads it: `RetrieveRecordChangeHistory`, of rows that are gone too.

Source: powerapps-docs, developer/data-platform/auditing/retrieve-audit-data.md.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import msgspec

from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import Answer, ODataError, Request
from satchel.sandbox.schema.kinds import Column, Entity, Kind
from satchel.sandbox.schema.organization import BY_SET

FUNCTION = "RetrieveRecordChangeHistory"
_CALL = re.compile(rf"^{FUNCTION}\(Target=@(\w+)(?:,PagingInfo=@\w+)?\)$")
_TARGET = re.compile(r"'@odata\.id'\s*:\s*'(?:.*/)?(\w+)\(([0-9a-fA-F-]{36})\)'")
_OPERATIONS = {"create": 1, "update": 2, "delete": 3}
_CRM = "Microsoft.Dynamics.CRM"
_TYPE = "@odata.type"


def answer_history(store: Store, request: Request) -> Answer:
    """Every audited change of one row, newest first. Errors: ODataError 400."""
    call = _CALL.match(request.path)
    target = _TARGET.search(request.query.get(f"@{call[1]}", "")) if call else None
    if target is None or target[1] not in BY_SET:
        raise ODataError(400, "0x80060888", f"{FUNCTION} takes Target=@target with an @odata.id.")
    entity, key = BY_SET[target[1]], target[2].lower()
    rows = store.rows(
        "select n, time, user, application, operation, attributes from _audit where entity = ? and key = ?"
        " order by n desc",
        (entity.name, key),
    )
    collection = {
        "MoreRecords": False,
        "PagingCookie": "",
        "TotalRecordCount": len(rows),
        "AuditDetails": [_detail(entity, key, row) for row in rows],
    }
    context = f"{request.root}$metadata#{_CRM}.{FUNCTION}Response"
    return Answer.json({"@odata.context": context, "AuditDetailCollection": collection})


def _detail(entity: Entity, key: str, row: tuple[Any, ...]) -> dict[str, Any]:
    number, time, user, application, operation, attributes = row
    new = _values(entity, msgspec.json.decode(attributes))
    record = {
        "auditid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{entity.name}/{number}")),
        "action": _OPERATIONS[operation],
        "operation": _OPERATIONS[operation],
        "createdon": time.replace("+00:00", "Z"),
        "objecttypecode": entity.name,
        "_objectid_value": key,
        "_userid_value": user,
        "_callinguserid_value": application if application != user else None,
    }
    return {
        _TYPE: f"#{_CRM}.AttributeAuditDetail",
        "InvalidNewValueAttributes": [],
        "LocLabelLanguageCode": 0,
        "DeletedAttributes": {"Count": 0, "Keys": [], "Values": []},
        "OldValue": {_TYPE: f"#{_CRM}.{entity.name}", **{n: None for n, v in new.items() if v is None}},
        "NewValue": {_TYPE: f"#{_CRM}.{entity.name}", **{n: v for n, v in new.items() if v is not None}},
        "AuditRecord": record,
    }


def _values(entity: Entity, stored: dict[str, Any]) -> dict[str, Any]:
    columns = entity.by_name
    return {columns[name].wire: _shown(columns[name], value) for name, value in stored.items() if name in columns}


def _shown(column: Column, value: Any) -> Any:
    if value is None:
        return None
    match column.kind:
        case Kind.MONEY:
            return value / 100
        case Kind.DECIMAL:
            return float(value)
        case Kind.BOOLEAN:
            return bool(value)
    return value
