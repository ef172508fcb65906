"""Several writes as one change set of a `$batch`: all of them or none. Pure.

Source: OData Version 4.01 Part 1: Protocol, section 11.7.7 (multipart batch format);
powerapps-docs, webapi/execute-batch-operations-using-web-api.md.
"""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Mapping, Sequence
from email.message import Message

import msgspec

from satchel.errors import SourceUnreachable
from satchel.source.writing.requests import WriteRequest

_LINE = b"\r\n"


class BatchPart(msgspec.Struct, frozen=True):
    """The answer to one request of a batch."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: int | None
    """Which request it answers, from 0, where the answer says so."""


def change_set(requests: Sequence[WriteRequest], name: str, headers: Mapping[str, str], root: str) -> tuple[str, bytes]:
    """Content type and body of a batch with one change set. `name` is not found in any of the requests."""
    batch, changes = f"batch_{name}", f"changeset_{name}"
    out = [f"--{batch}", f"Content-Type: multipart/mixed; boundary={changes}", ""]
    lines: list[bytes] = [line.encode() for line in out]
    for number, request in enumerate(requests, 1):
        head = [
            f"--{changes}",
            "Content-Type: application/http",
            "Content-Transfer-Encoding: binary",
            f"Content-ID: {number}",
            "",
            f"{request.method} {root}{request.path} HTTP/1.1",
            *(f"{key}: {value}" for key, value in {**headers, **request.headers}.items()),
        ]
        if request.body is not None:
            head.append("content-type: application/json; type=entry")
        lines += [*(line.encode() for line in head), b"", request.body or b""]
    lines += [f"--{changes}--".encode(), f"--{batch}--".encode(), b""]
    return f"multipart/mixed; boundary={batch}", _LINE.join(lines)


def reading_batch(path: str) -> tuple[str, bytes]:
    """Content type and body of a batch that only reads."""
    lines = (
        "--batch_read",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        f"GET {path} HTTP/1.1",
        "accept: application/json",
        "",
        "",
        "--batch_read--",
        "",
    )
    return "multipart/mixed; boundary=batch_read", _LINE.join(line.encode() for line in lines)


def parts_of(content_type: str, body: bytes) -> list[BatchPart]:
    """The answers in a batch's answer. Errors: SourceUnreachable where it is cut off or no such answer."""
    parser = email.parser.BytesParser(policy=email.policy.HTTP)
    message = parser.parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    boundary = message.get_boundary()
    if not message.is_multipart() or not boundary or f"--{boundary}--".encode() not in body:
        raise SourceUnreachable("The source's answer to a batch is cut off.")
    found: list[BatchPart] = []
    for part in message.walk():
        if part.get_content_type() == "application/http":
            found.append(_part(part))
        elif part.is_multipart() and f"--{part.get_boundary()}--".encode() not in body:
            raise SourceUnreachable("The source's answer to a batch is cut off.")
    if not found:
        raise SourceUnreachable("The source's answer to a batch is empty.")
    return found


def _part(part: Message) -> BatchPart:
    payload = part.get_payload(decode=True)
    content = payload if isinstance(payload, bytes) else b""
    head, _, body = content.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    words = lines[0].split(" ")
    if len(words) < 2 or not words[1].isdigit():
        raise SourceUnreachable("The source's answer to a batch cannot be read.")
    fields = (line.partition(":") for line in lines[1:])
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    content_id = str(part.get("Content-ID") or headers.get("content-id") or "")
    place = int(content_id) - 1 if content_id.isdigit() else None
    return BatchPart(int(words[1]), headers, body.strip(), place)
