"""The sync endpoint for edits: durable in the journal before the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from litestar import Controller, Request, post

from satchel.errors import JournalLost, RequestInvalid, SatchelError
from satchel.http.auth import DeviceAuth
from satchel.journal.receive import receive
from satchel.protocol.messages import JOURNAL_HEADER, MAX_EDITS_REQUEST_BYTES, EditsAnswer, EditsRequest
from satchel.staging.head import Head, read_head, read_scope
from satchel.sync.served import ServedOrganizations
from satchel.telemetry.trace import current_traceparent

log = structlog.get_logger()
AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class EditsServing(msgspec.Struct, frozen=True):
    """What the endpoint works with."""

    auth: DeviceAuth
    served: ServedOrganizations
    max_unsettled: int
    """Edit sets of one device that may wait."""
    begin_playback: Callable[[str], Awaitable[None]]
    """Puts a work item for the organization into the queue."""
    notify: Callable[[str, Head], Awaitable[None]]
    """Tells all sync servers that an organization's head moved."""


class EditsController(Controller):
    """Version 1 of the protocol."""

    path = "/v1"

    @post("/orgs/{organization:str}/edits", status_code=200, request_max_body_size=MAX_EDITS_REQUEST_BYTES)
    async def edits(self, organization: str, request: AnyRequest, edits: EditsServing) -> EditsAnswer:
        """Take edit sets of this device in, in order. What was taken is durable; sending it again is harmless."""
        device = await edits.auth.device(request.headers.get("authorization"), organization)
        served = await edits.served.get(organization)
        data = _decoded(await request.body())
        async with served.staging.connection() as connection:
            journal = _journal_name((await read_head(connection)).epoch)
            if request.headers.get(JOURNAL_HEADER, journal) != journal:
                raise JournalLost  # later edits must not overtake those that went with it
            model = (await read_scope(connection)).client_model
        received = await receive(
            served.staging,
            data.sets,
            model,
            device=device.id,
            user_id=device.user_id,
            max_unsettled=edits.max_unsettled,
            trace=current_traceparent(),
        )
        try:
            if received.has_verdicts:
                async with served.staging.connection() as connection:
                    await edits.notify(organization, await read_head(connection))
            if received.has_work:
                await edits.begin_playback(organization)
        except SatchelError as error:  # they are durable; the recurring work finds them
            log.warning("playback begins later", organization=organization, reason=error.code)
        return EditsAnswer(received.receipts, journal)


def _journal_name(epoch: str) -> str:
    """The journal lives and dies with the staging database."""
    return hashlib.sha256(f"journal/{epoch}".encode()).hexdigest()[:16]


def _decoded(body: bytes) -> EditsRequest:
    """The request; each set is still to be read. Errors: RequestInvalid."""
    try:
        return msgspec.json.decode(body, type=EditsRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RequestInvalid(f"The request is not usable: {str(error)[:200]}.") from error
