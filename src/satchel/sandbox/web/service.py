"""The Web API below its service root: which request means what. Knows no sockets; a part of a batch comes here too."""

from __future__ import annotations

import re

import msgspec

from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import Answer, ODataError, Request
from satchel.sandbox.odata.csdl import metadata_document
from satchel.sandbox.odata.definitions import answer_definitions
from satchel.sandbox.rows.history import FUNCTION, answer_history
from satchel.sandbox.rows.reading import Reader
from satchel.sandbox.rows.security import Caller, caller_of
from satchel.sandbox.rows.writing import Writer
from satchel.sandbox.schema.kinds import Entity
from satchel.sandbox.schema.organization import BY_SET, ENTITIES
from satchel.sandbox.web.batch import answer_batch

VERSION = "9.2.26101.00150"
ORGANIZATION = "00000000-0000-4000-8000-00000c047050"
_ROW = re.compile(r"^(\w+)\((?:\w+=)?'?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})'?\)$")
_REFERENCE = re.compile(r"^(.+\))/(\w+)/\$ref$")


class Service:
    """Answers requests of the Web API."""

    def __init__(self, store: Store, application: str, reader: Reader, writer: Writer) -> None:
        """`application` is the application user's id."""
        self._store, self._application, self._reader, self._writer = store, application, reader, writer

    def execute(self, request: Request) -> Answer:
        """Answer a request, also each part of a batch. Order: a write and its audit in one transaction."""
        if request.path == "$batch" and request.method == "POST":
            return answer_batch(self._store, request, self.execute)
        caller = caller_of(self._store, self._application, request)
        if request.method == "GET":
            return self._read(request, caller)
        with self._store.transaction():
            return self._write(request, caller)

    def _write(self, request: Request, caller: Caller) -> Answer:
        reference = _REFERENCE.match(request.path)
        if reference:
            return self._refer(request, caller, reference[1], reference[2])
        entity, key = _writable(request.path)
        match request.method, key:
            case "POST", None:
                made, answer = self._writer.create(entity, request, caller)
                return self._represented(request, answer, entity, made, caller)
            case "PATCH", str():
                answer = self._writer.upsert(entity, key, request, caller)
                return self._represented(request, answer, entity, key, caller)
            case "DELETE", str():
                return self._writer.delete(entity, key, request, caller)
        raise ODataError(405, "0x80060888", f"The method {request.method[:20]} is not supported here.")

    def _refer(self, request: Request, caller: Caller, path: str, navigation: str) -> Answer:
        """`PUT` and `DELETE` of a lookup's `$ref`: an update with, or without, a reference.

        Source: powerapps-docs, webapi/associate-disassociate-entities-using-web-api.md.
        """
        entity, key = _writable(path)
        if request.method not in {"PUT", "DELETE"} or key is None:
            raise ODataError(405, "0x80060888", f"The method {request.method[:20]} is not supported here.")
        target = request.json().get("@odata.id", "") if request.method == "PUT" else None
        body = msgspec.json.encode({f"{navigation}@odata.bind": target})
        headers = {"if-match": "*", **request.headers}
        update = msgspec.structs.replace(request, method="PATCH", path=path, body=body, headers=headers)
        self._writer.upsert(entity, key, update, caller)
        return Answer(status=204)

    def _read(self, request: Request, caller: Caller) -> Answer:
        match request.path:
            case "":
                sets = [{"name": e.set_name, "kind": "EntitySet", "url": e.set_name} for e in ENTITIES]
                return Answer.json({"@odata.context": f"{request.root}$metadata", "value": sets})
            case "$metadata":
                has_annotations = request.query.get("annotations") == "true"
                document = metadata_document(has_annotations=has_annotations)
                return Answer(body=document, headers={"content-type": "application/xml"})
            case "WhoAmI" | "WhoAmI()":
                return Answer.json(self._who_am_i(request, caller))
            case "RetrieveVersion()" | "RetrieveVersion":
                context = f"{request.root}$metadata#Microsoft.Dynamics.CRM.RetrieveVersionResponse"
                return Answer.json({"@odata.context": context, "Version": VERSION})
        if request.path.startswith(FUNCTION):
            return answer_history(self._store, request)
        definitions = answer_definitions(request)
        return definitions if definitions is not None else self._read_rows(request, caller)

    def _read_rows(self, request: Request, caller: Caller) -> Answer:
        path, _, tail = request.path.partition("/")
        entity, key = _target(path)
        if tail not in {"", "$count"} or (tail and key):
            raise _no_segment(tail)
        if key is not None:
            return self._reader.row(entity, key, request, caller)
        if tail:
            return self._reader.count(entity, request, caller)
        return self._reader.collection(entity, request, caller)

    def _represented(self, request: Request, answer: Answer, entity: Entity, key: str, caller: Caller) -> Answer:
        """The answer with the row, where it is wanted: 201 of a new one, 200 of a changed one."""
        if request.preferences.get("return") != "representation":
            return answer
        headers = {"prefer": request.headers.get("prefer", "")}
        path = f"{entity.set_name}({key})"
        read = Request(method="GET", path=path, query=request.query, headers=headers, base=request.base)
        shown = self._reader.row(entity, key, read, caller)
        return Answer(
            status=201 if request.method == "POST" else 200,
            body=shown.body,
            headers={**shown.headers, **answer.headers, "preference-applied": "return=representation"},
        )

    def _who_am_i(self, request: Request, caller: Caller) -> dict[str, str]:
        unit = self._store.value("select businessunitid from systemuser where systemuserid = ?", (caller.id,))
        context = f"{request.root}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse"
        return {"@odata.context": context, "BusinessUnitId": unit, "UserId": caller.id, "OrganizationId": ORGANIZATION}


def _target(path: str) -> tuple[Entity, str | None]:
    """The entity and the key in a path. Errors: ODataError 404."""
    match = _ROW.match(path)
    name, key = (match[1], match[2].lower()) if match else (path, None)
    if name not in BY_SET:
        raise _no_segment(path)
    return BY_SET[name], key


def _writable(path: str) -> tuple[Entity, str | None]:
    entity, key = _target(path)
    if entity.is_read_only:
        raise ODataError(400, "0x80040800", f"Rows of {entity.name} cannot be written.")
    return entity, key


def _no_segment(path: str) -> ODataError:
    name = re.split(r"[(/]", path)[0]
    return ODataError(404, "0x8006088a", f"Resource not found for the segment '{name[:100]}'.")
