"""`$batch`: several requests in one, change sets all or nothing.

Source: powerapps-docs, webapi/execute-batch-operations-using-web-api.md; OData Version 4.01 Part 1, section 11.7.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from satchel.sandbox.data.store import Store
from satchel.sandbox.odata.answers import API, Answer, ODataError, Request, parse_path, parse_query

MAX_REQUESTS = 1000
_BOUNDARY = re.compile(r'boundary="?([^";,]+)"?', re.IGNORECASE)
_REASONS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified", 400: "Bad Request", 403: "Forbidden",
            404: "Not Found", 412: "Precondition Failed"}  # fmt: skip
_REFERRED = re.compile(rb'("[^"]+@odata\.(?:bind|id)"\s*:\s*|"@odata\.id"\s*:\s*)"/?\$(\w+)"')
_INHERITED = ("callerobjectid", "mscrmcallerid", "x-ms-client-request-id")

Execute = Callable[[Request], Answer]
Part = tuple[Mapping[str, str], bytes]


class _ChangeSetFailed(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def answer_batch(store: Store, request: Request, execute: Execute) -> Answer:
    """Execute the parts in order; the answer has theirs in the same order. Errors: ODataError 400."""
    boundary = f"batchresponse_{uuid.uuid4()}"
    goes_on = "odata.continue-on-error" in request.preferences or "continue-on-error" in request.preferences
    out: list[bytes] = []
    count, status = 0, 200
    for headers, content in _parts(request.headers.get("content-type", ""), request.body):
        kind = headers.get("content-type", "")
        is_set = kind.lower().startswith("multipart/mixed")
        inner = _parts(kind, content) if is_set else [(headers, content)]
        count += len(inner)
        if count > MAX_REQUESTS:
            raise ODataError(400, "0x80060888", f"Number of batch requests exceeds the limit of {MAX_REQUESTS}.")
        text, is_good = _change_set(store, request, inner, execute) if is_set else _single(request, inner[0], execute)
        out.append(f"--{boundary}\r\n".encode() + text)
        if not is_good and not goes_on:
            status = 400  # The batch's error is that of the request that failed.
            break
    body = b"".join(out) + f"--{boundary}--\r\n".encode()
    return Answer(status=status, body=body, headers={"content-type": f"multipart/mixed; boundary={boundary}"})


def _single(outer: Request, part: Part, execute: Execute) -> tuple[bytes, bool]:
    try:
        answer = _executed(_request(outer, part, {}), execute)
    except ODataError as error:
        answer = error.answer()
    return _encoded(answer, part[0].get("content-id")), answer.status < 400


def _change_set(store: Store, outer: Request, parts: list[Part], execute: Execute) -> tuple[bytes, bool]:
    boundary = f"changesetresponse_{uuid.uuid4()}"
    head = f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode()
    answers: list[tuple[Answer, str | None]] = []
    references: dict[str, str] = {}
    try:
        with store.transaction():
            for part in parts:
                request = _request(outer, part, references)
                if request.method == "GET":
                    raise _ChangeSetFailed(
                        ODataError(400, "0x80060888", "A change set cannot contain GET requests.").answer()
                    )
                answer = _executed(request, execute)
                if answer.status >= 400:
                    raise _ChangeSetFailed(answer)
                content_id = part[0].get("content-id")
                answers.append((answer, content_id))
                if content_id and "odata-entityid" in answer.headers:
                    references[content_id] = answer.headers["odata-entityid"]
    except _ChangeSetFailed as failed:
        return _encoded(failed.answer, None), False
    inner = b"".join(f"--{boundary}\r\n".encode() + _encoded(answer, content_id) for answer, content_id in answers)
    return head + inner + f"--{boundary}--\r\n".encode(), True


def _executed(request: Request, execute: Execute) -> Answer:
    try:
        return execute(request)
    except ODataError as error:
        return error.answer()


def _request(outer: Request, part: Part, references: Mapping[str, str]) -> Request:
    headers, content = part
    start, fields, body = _split_http(content)
    words = start.split(" ")
    if len(words) < 2:
        raise ODataError(400, "0x80060888", "A part of the batch is no HTTP request.")
    url = _resolved(words[1], references)
    body = _REFERRED.sub(lambda found: _referred(found, references), body)
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise ODataError(400, "0x80060888", "A part of the batch has no usable URL.") from error
    path = split.path.rpartition(API)[2] if API in split.path else split.path.lstrip("/")
    if path == "$batch":
        raise ODataError(400, "0x80060888", "A batch cannot contain a batch.")
    kept = {name: value for name, value in outer.headers.items() if name in _INHERITED}
    return Request(
        method=words[0].upper(),
        path=parse_path(path),
        query=parse_query(split.query),
        headers={**kept, **fields},
        body=body,
        base=outer.base,
        content_id=headers.get("content-id"),
    )


def _resolved(url: str, references: Mapping[str, str]) -> str:
    match = re.match(r"^/?\$(\w+)", url)
    if match is None:
        return url
    if match[1] not in references:
        raise _undeclared(match[1])
    return references[match[1]] + url[match.end() :]


def _referred(found: re.Match[bytes], references: Mapping[str, str]) -> bytes:
    """A reference in a body, whole or with the leading slash some clients put before it."""
    content_id = found[2].decode()
    if content_id not in references:
        raise _undeclared(content_id)
    return found[1] + f'"{references[content_id]}"'.encode()


def _undeclared(content_id: str) -> ODataError:
    return ODataError(
        400, "0x80060888", f"Content-ID Reference: '${content_id[:50]}' does not exist in the batch context."
    )


def _parts(content_type: str, body: bytes) -> list[Part]:
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ODataError(400, "0x80060888", "The batch has no boundary in its content type.")
    pieces = re.split(rb"(?:^|\r?\n)--" + re.escape(match[1].encode()) + rb"(?:--)?[ \t]*(?:\r?\n|$)", body)
    parts: list[Part] = []
    for piece in pieces[1:]:
        if piece.strip():
            fields, content = _split_fields(piece)
            parts.append((fields, content))
    return parts


def _split_http(content: bytes) -> tuple[str, dict[str, str], bytes]:
    start, _, rest = content.lstrip(b"\r\n").partition(b"\n")
    if rest.startswith((b"\r\n", b"\n")):
        return start.decode("utf-8", "replace").strip(), {}, rest.lstrip(b"\r\n")
    fields, body = _split_fields(rest)
    return start.decode("utf-8", "replace").strip(), fields, body.strip(b"\r\n")


def _split_fields(piece: bytes) -> tuple[dict[str, str], bytes]:
    match = re.search(rb"\r?\n\r?\n", piece)
    head, body = (piece[: match.start()], piece[match.end() :]) if match else (piece, b"")
    fields = {}
    for line in head.decode("utf-8", "replace").splitlines():
        name, separator, value = line.partition(":")
        if separator:
            fields[name.strip().lower()] = value.strip()
    return fields, body


def _encoded(answer: Answer, content_id: str | None) -> bytes:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Answer')}"]
    names = {"odata-entityid": "OData-EntityId", "content-type": "Content-Type", "etag": "ETag", "location": "Location"}
    lines += [f"{names.get(name, name)}: {value}" for name, value in answer.headers.items()]
    lines.append("OData-Version: 4.0")
    return "\r\n".join([*lines, "", ""]).encode() + answer.body + b"\r\n"
