"""The sample organization as an ASGI application: sign-in, routing, faults, headers."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
import time
import zlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import structlog

from satchel.sandbox.data.store import Store
from satchel.sandbox.schema.organization import BY_SET, ENTITIES
from satchel.sandbox.web.answers import API, Answer, ODataError, Request, parse_path, parse_query
from satchel.sandbox.web.batch import answer_batch
from satchel.sandbox.web.control import Control
from satchel.sandbox.web.csdl import metadata_document
from satchel.sandbox.web.definitions import answer_definitions
from satchel.sandbox.web.faults import Faults, Limits
from satchel.sandbox.web.reading import Reader
from satchel.sandbox.web.security import Caller, caller_of
from satchel.sandbox.web.writing import Writer

MAX_BODY_BYTES = 64 * 1024 * 1024
TOKEN_SECONDS = 3600
VERSION = "9.2.26101.00150"
_TOKEN_PATH = re.compile(r"^/[^/]+/oauth2/(?:v2\.0/)?token$")
_ROW = re.compile(r"^(\w+)\((?:\w+=)?'?([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})'?\)$")
_GZIP_FROM_BYTES = 1400
log = structlog.get_logger()

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Sandbox:
    """One organization, served."""

    def __init__(
        self,
        store: Store,
        application: str,
        *,
        client_id: str,
        client_secret: str,
        delta_expiry_seconds: float,
        limits: Limits,
    ) -> None:
        """`application` is the application user's id."""
        self._store = store
        self._application = application
        self._client = (client_id, client_secret)
        self._key = secrets.token_bytes(32)
        self._limits = limits
        self.faults = Faults()
        self._reader = Reader(store, self.faults, delta_expiry_seconds)
        self._writer = Writer(store)
        self._control = Control(store, self._writer, self.faults, Caller(application))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _body(receive)
        path = scope["path"]
        if path.startswith(API) and self.faults.switches.latency_seconds:
            await asyncio.sleep(self.faults.switches.latency_seconds)
        try:
            answer = self._answer(scope, path, headers, body)
        except ODataError as error:
            answer = error.answer()
        except Exception:
            log.exception("request failed", path=path)
            answer = ODataError(500, "0x80040216", "An unexpected error occurred.").answer()
        await self._send(send, answer, headers, is_api=path.startswith(API))

    def _answer(self, scope: Scope, path: str, headers: dict[str, str], body: bytes | None) -> Answer:
        if body is None:
            raise ODataError(413, "0x80060888", "The request is too large.")
        if _TOKEN_PATH.match(path):
            return self._token(scope["method"], body)
        self._require_token(headers.get("authorization", ""))
        area = API if path.startswith(API) else "/sandbox/" if path.startswith("/sandbox/") else None
        if area is None:
            raise ODataError(404, "0x8006088a", f"Resource not found for the segment '{path[:100]}'.")
        host = headers.get("host") or ":".join(str(part) for part in scope["server"])
        request = Request(
            method=scope["method"],
            path=parse_path(path.removeprefix(area)).rstrip("/"),
            query=parse_query(scope["query_string"].decode("latin-1")),
            headers=headers,
            body=body,
            base=f"{scope['scheme']}://{host}",
        )
        if area != API:
            return self._control.answer(request)
        self.faults.roll()
        left = self._limits.enter()
        try:
            answer = self.execute(request)
        finally:
            self._limits.leave()
        answer.headers = answer.headers | left
        return answer

    def execute(self, request: Request) -> Answer:
        """Answer a request of the Web API; also each part of a batch. Errors: ODataError."""
        if request.path == "$batch" and request.method == "POST":
            return answer_batch(self._store, request, self.execute)
        caller = caller_of(self._store, self._application, request)
        if request.method == "GET":
            return self._read(request, caller)
        name, key = _target(request.path)
        entity = BY_SET.get(name)
        if entity is None:
            raise _no_segment(request.path)
        with self._store.transaction():
            match request.method, key:
                case "POST", None:
                    made, answer = self._writer.create(entity, request, caller)
                    return self._represented(request, answer, f"{name}({made})", caller, status=201)
                case "PATCH", str():
                    answer = self._writer.upsert(entity, key, request, caller)
                    return self._represented(request, answer, request.path, caller, status=200)
                case "DELETE", str():
                    return self._writer.delete(entity, key, request, caller)
        raise ODataError(405, "0x80060888", f"The method {request.method} is not supported here.")

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
        definitions = answer_definitions(request)
        if definitions is not None:
            return definitions
        return self._read_rows(request, caller)

    def _read_rows(self, request: Request, caller: Caller) -> Answer:
        path, _, tail = request.path.partition("/")
        name, key = _target(path)
        entity = BY_SET.get(name)
        if entity is None or tail not in {"", "$count"}:
            raise _no_segment(request.path)
        if key is not None:
            return self._reader.row(entity, key, request, caller)
        if tail:
            return self._reader.count(entity, request, caller)
        return self._reader.collection(entity, request, caller)

    def _represented(self, request: Request, answer: Answer, path: str, caller: Caller, *, status: int) -> Answer:
        if request.preferences.get("return") != "representation":
            return answer
        entity, key = BY_SET[_target(path)[0]], _target(path)[1] or ""
        read = Request(
            method="GET",
            path=path,
            query=request.query,
            headers={"prefer": request.headers.get("prefer", "")},
            base=request.base,
        )
        shown = self._reader.row(entity, key, read, caller)
        return Answer(
            status=status,
            body=shown.body,
            headers={**shown.headers, **answer.headers, "preference-applied": "return=representation"},
        )

    def _who_am_i(self, request: Request, caller: Caller) -> dict[str, str]:
        unit = self._store.value("select businessunitid from systemuser where systemuserid = ?", (caller.id,))
        organization = "00000000-0000-4000-8000-00000c047050"
        context = f"{request.root}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse"
        return {"@odata.context": context, "BusinessUnitId": unit, "UserId": caller.id, "OrganizationId": organization}

    def _token(self, method: str, body: bytes) -> Answer:
        """Client credentials. Source: RFC 6749, section 4.4."""
        form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if method != "POST" or form.get("grant_type") != "client_credentials":
            return Answer.json({"error": "unsupported_grant_type", "error_description": "Use client_credentials."}, 400)
        given = (form.get("client_id", ""), form.get("client_secret", ""))
        if not all(hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(given, self._client, strict=True)):
            description = "AADSTS7000215: Invalid client secret provided."
            return Answer.json({"error": "invalid_client", "error_description": description}, 401)
        expires = int(time.time()) + TOKEN_SECONDS
        token = f"{expires}.{self._signature(expires)}"
        return Answer.json({"token_type": "Bearer", "expires_in": TOKEN_SECONDS, "access_token": token})

    def _require_token(self, authorization: str) -> None:
        expires, _, signature = authorization.removeprefix("Bearer ").partition(".")
        is_good = expires.isdigit() and hmac.compare_digest(signature, self._signature(int(expires)))
        if not is_good or int(expires) < time.time():
            raise ODataError(
                401, "0x80048306", "HTTP Error 401 - Unauthorized: Access is denied",
                WWW_Authenticate='Bearer authorization_uri="/contoso/oauth2/v2.0/authorize"',
            )  # fmt: skip

    def _signature(self, expires: int) -> str:
        return hmac.new(self._key, str(expires).encode(), "sha256").hexdigest()

    async def _send(self, send: Send, answer: Answer, headers: dict[str, str], *, is_api: bool) -> None:
        body = answer.body
        fields = (
            {"odata-version": "4.0", "cache-control": "no-cache", **answer.headers} if is_api else dict(answer.headers)
        )
        if len(body) > _GZIP_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            body = await asyncio.to_thread(_gzipped, body)
            fields |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}
        if answer.status not in {204, 304}:
            fields["content-length"] = str(len(body))
        listed = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": listed})
        if is_api and len(body) > 1 and self.faults.drops:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise ConnectionResetError("broken off on demand")
        await send({"type": "http.response.body", "body": body, "more_body": False})


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None where it is too large."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks) if size <= MAX_BODY_BYTES else None


def _target(path: str) -> tuple[str, str | None]:
    match = _ROW.match(path)
    return (match[1], match[2].lower()) if match else (path, None)


def _no_segment(path: str) -> ODataError:
    name = re.split(r"[(/]", path)[0]
    return ODataError(404, "0x8006088a", f"Resource not found for the segment '{name[:100]}'.")


def _gzipped(body: bytes) -> bytes:
    return zlib.compress(body, level=1, wbits=31)
