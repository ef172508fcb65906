"""Plays the writes of an edit set at one service, and reads from its answer what was executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from satchel.errors import DeltaLinkExpired, RequestRefused, SatchelError, SourceUnreachable
from satchel.model.edits import Action
from satchel.model.metadata import Entity
from satchel.model.writes import Abilities, Execution, Played, Write
from satchel.source.answers import error_of
from satchel.source.client import Client
from satchel.source.transport import Collect, Request
from satchel.source.writing.batch import BatchPart, change_set, parts_of, reading_batch
from satchel.source.writing.requests import WriteRequest, request_of, row_path

_NOT_FOUND, _CONFLICT, _GONE, _PRECONDITION, _NO_PRECONDITION = 404, 409, 410, 412, 428
_NO_BATCH = {404, 405, 406, 415, 501}
NO_BATCH = Played(
    execution=Execution.REFUSED,
    code="satchel/no-batch",
    message="This service cannot change several rows as a whole; make one change a transaction.",
)


class Player:
    """Writes to one service. What it finds out about it on the way is in `abilities`."""

    def __init__(self, client: Client, *, creates_by_key: bool, abilities: Abilities) -> None:
        """`creates_by_key`: as `request_of`."""
        self._client = client
        self._creates_by_key = creates_by_key
        self.abilities = abilities

    async def play(self, writes: Sequence[Write], headers: Mapping[str, str], name: str) -> Played:
        """Execute all or none. `headers` go with each write; `name` tells this set from others."""
        requests = [request_of(write, creates_by_key=self._creates_by_key) for write in writes]
        if len(requests) == 1:
            return await self._single(writes[0], requests[0], headers)
        if self.abilities.has_batch is False:
            return NO_BATCH
        return await self._batch(writes, requests, headers, name)

    async def _single(self, write: Write, request: WriteRequest, headers: Mapping[str, str]) -> Played:
        try:
            answer = await self._client.send(
                Request(
                    url=self._client.absolute(request.path),
                    sink=Collect,
                    method=request.method,
                    headers={**headers, **request.headers, **_content_type(request)},
                    content=request.body,
                    is_repeatable=False,
                )
            )
        except (RequestRefused, DeltaLinkExpired) as error:
            return await self._refused(write, 0, error)
        self.note(has_etags=_has_etag(answer.body) or None)
        return Played(execution=Execution.DONE, rows=(_row(write, answer.body),))

    async def _batch(
        self, writes: Sequence[Write], requests: Sequence[WriteRequest], headers: Mapping[str, str], name: str
    ) -> Played:
        root = self._client.root if self._creates_by_key else ""
        inner = {"accept": "application/json", **headers}
        content_type, body = change_set(requests, name, inner, root)
        try:
            answer = await self._client.send(
                Request(
                    url=self._client.absolute("$batch"),
                    sink=Collect,
                    method="POST",
                    headers={**headers, "content-type": content_type, "accept": "multipart/mixed"},
                    content=body,
                    is_repeatable=False,
                )
            )
            parts = parts_of(answer.headers.get("content-type", ""), answer.body)
        except RequestRefused as error:
            parts = _parts_of_refusal(error)
            if not parts:
                if error.facts.get("status") in _NO_BATCH and not self.abilities.has_batch:
                    self.note(has_batch=False)
                    return NO_BATCH
                if error.facts.get("status") in _NO_BATCH and not error.facts.get("source_code"):
                    raise SourceUnreachable("The source answers no batches just now.") from error
                return Played(execution=Execution.REFUSED, **_told(error))
        self.note(has_batch=True)
        failed = next((part for part in parts if part.status >= 400), None)
        if failed is not None:
            return await self._part_refused(writes, failed)
        if len(parts) != len(writes):
            raise SourceUnreachable("The source's answer to a batch has another number of parts.")
        if {part.place for part in parts} == set(range(len(parts))):
            parts.sort(key=lambda part: part.place or 0)
        rows = tuple(_row(write, part.body) for write, part in zip(writes, parts, strict=True))
        return Played(execution=Execution.DONE, rows=rows)

    async def _part_refused(self, writes: Sequence[Write], part: BatchPart) -> Played:
        error: SatchelError | None = error_of(part.status, part.headers, part.body, now=datetime.now(UTC))
        if error is None:
            raise SourceUnreachable("The source's answer to a batch makes no sense.")
        if not isinstance(error, RequestRefused):
            if part.status != _GONE:
                raise error
            gone = RequestRefused(error.message)
            gone.facts = error.facts
            error = gone
        place = part.place if part.place is not None and part.place < len(writes) else None
        if place is None:
            place = await self._find(writes, part)
        return await self._refused(writes[place], place, error)

    async def _find(self, writes: Sequence[Write], part: BatchPart) -> int:
        """Which write a refusal without a name is about."""
        text = part.body.decode("utf-8", "replace").lower()
        named = [number for number, write in enumerate(writes) if write.key[0].lower() in text]
        if named:
            return named[0]
        if part.status in {_PRECONDITION, _NOT_FOUND}:
            for number, write in enumerate(writes):
                etag = await self._etag_now(write)
                is_met = (
                    etag is None
                    if write.action is Action.CREATE
                    else etag is not None and (write.etag is None or etag == write.etag)
                )
                if not is_met:
                    return number
        return 0

    async def _refused(self, write: Write, place: int, error: SatchelError) -> Played:
        """What a refusal means. A 404 may be about the row or about one it refers to: the row itself tells."""
        status = error.facts.get("status")
        execution = Execution.REFUSED
        if status == _NO_PRECONDITION:
            self.note(requires_etags=True)
        if write.action is Action.CREATE:
            if status == _PRECONDITION or (not self._creates_by_key and await self._is_there(write)):
                execution = Execution.EXISTS
        elif status == _PRECONDITION:
            execution = Execution.CHANGED
        elif status in {_NOT_FOUND, _GONE} and await self._is_there(write) is False:
            execution = Execution.MISSING
        return Played(execution=execution, place=place, **_told(error))

    async def _is_there(self, write: Write) -> bool | None:
        """None: the source lets nobody look."""
        try:
            return await self._etag_now(write) is not None
        except RequestRefused:
            return None

    async def _etag_now(self, write: Write) -> str | None:
        """The row's version; empty where the service has none; None: it is not there."""
        try:
            key = write.entity.attribute_by_name[write.entity.key[0]].wire_name
            answer = await self._client.get(f"{row_path(write)}?$select={key}")
        except (RequestRefused, DeltaLinkExpired) as error:
            if error.facts.get("status") in {_NOT_FOUND, _GONE}:
                return None
            raise
        return _etag(answer.body) or answer.headers.get("etag", "")

    async def find_out(self, entities: Sequence[Entity]) -> None:
        """Try, by reading only, what is not known yet: whether a batch is answered, whether rows have versions."""
        for entity in entities:
            if self.abilities.has_etags is not None:
                break
            key = entity.attribute_by_name[entity.key[0]].wire_name
            try:
                answer = await self._client.get(f"{entity.set_name}?$select={key}&$top=1")
                rows = msgspec.json.decode(answer.body, type=_TaggedRows).value
            except (RequestRefused, msgspec.MsgspecError):
                continue
            if rows:
                self.note(has_etags=bool(rows[0].etag))
        if entities and self.abilities.has_batch is None:
            await self._try_batch(entities[0])

    async def _try_batch(self, entity: Entity) -> None:
        content_type, body = reading_batch(f"{entity.set_name}?$top=1")
        headers = {"content-type": content_type, "accept": "multipart/mixed"}
        request = Request(
            url=self._client.absolute("$batch"), sink=Collect, method="POST", headers=headers, content=body
        )
        try:
            answer = await self._client.send(request)
            parts_of(answer.headers.get("content-type", ""), answer.body)
        except RequestRefused as error:
            if error.facts.get("status") in _NO_BATCH:
                self.note(has_batch=False)
        except SourceUnreachable:
            return  # no such answer: a first edit will tell
        else:
            self.note(has_batch=True)

    def note(self, **found: bool | None) -> None:
        """Keep what was found out."""
        known = {name: value for name, value in found.items() if value is not None}
        self.abilities = msgspec.structs.replace(self.abilities, **known)


class _Tagged(msgspec.Struct):
    etag: str = msgspec.field(default="", name="@odata.etag")


class _TaggedRows(msgspec.Struct):
    value: list[_Tagged]


def _etag(body: bytes) -> str:
    try:
        return msgspec.json.decode(body, type=_Tagged).etag
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _has_etag(body: bytes) -> bool:
    return bool(_etag(body))


def _row(write: Write, body: bytes) -> bytes | None:
    """The row in the answer; None where there is none, or not all that was asked for."""
    if write.action is Action.DELETE or not body.strip():
        return None
    try:
        row: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    names = {a.wire_name for a in write.entity.attributes if "@" not in a.wire_name}
    return body if isinstance(row, dict) and names <= row.keys() else None


def _content_type(request: WriteRequest) -> dict[str, str]:
    return {} if request.body is None else {"content-type": "application/json"}


def _told(error: SatchelError) -> dict[str, Any]:
    facts = error.facts
    return {
        "status": int(str(facts.get("status") or 0)),
        "code": str(facts.get("source_code") or ""),
        "message": str(facts.get("source_message") or error.message),
    }


def _parts_of_refusal(error: RequestRefused) -> list[BatchPart]:
    """Dataverse answers a batch with the status of the request that failed, and the answers as its body."""
    content_type, body = error.facts.get("content_type"), error.facts.get("body")
    if not isinstance(body, bytes) or "multipart" not in str(content_type):
        return []
    return parts_of(str(content_type), body)
