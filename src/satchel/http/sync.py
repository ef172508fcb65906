"""The sync endpoint: what devices call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
from litestar import Controller, Request, Response, get, post
from litestar.params import Parameter
from litestar.response import Stream

from satchel.errors import CursorExpired
from satchel.http.auth import DeviceAuth
from satchel.protocol.compression import choose_encoding, compressor
from satchel.protocol.lease import LEASE_HEADER, format_lease, with_lease
from satchel.protocol.messages import MAX_WAIT_SECONDS, MEDIA_TYPE, EnrollAnswer, EnrollRequest, Lease, SyncRequest
from satchel.provisioning.devices import Device, Devices
from satchel.sync.cursor import CursorSeal, CursorState
from satchel.sync.download import Caller, StepLimits, download, is_current
from satchel.sync.served import ServedOrganizations

log = structlog.get_logger()
AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class SyncServing(msgspec.Struct, frozen=True):
    """What the sync endpoint works with."""

    auth: DeviceAuth
    devices: Devices
    served: ServedOrganizations
    cursor_key: bytes
    limits: StepLimits
    compression_level: int
    lease: Lease
    """What every answer tells devices."""
    ca_file: Path | None
    """The development certificate authority, where one is in use."""


class SyncController(Controller):
    """Version 1 of the protocol."""

    path = "/v1"

    @get("/ca.pem", media_type="application/x-pem-file")
    async def certificate_authority(self, serving: SyncServing) -> Response[bytes]:
        """The certificate authority that signed this server's certificate, for a device that checks its fingerprint."""
        if serving.ca_file is None:
            return Response(b"", status_code=404)
        return Response(await asyncio.to_thread(serving.ca_file.read_bytes), media_type="application/x-pem-file")

    @post("/orgs/{organization:str}/enroll", status_code=200)
    async def enroll(self, organization: str, data: EnrollRequest, serving: SyncServing) -> EnrollAnswer:
        """Exchange a one-time code for a device token."""
        await serving.served.get(organization)
        device, token = await serving.devices.enroll(organization, data.code, data.device_name)
        log.info("device enrolled", organization=organization, device=device.id)
        return EnrollAnswer(organization, device.id, device.user_id, device.user_name, token)

    @post("/orgs/{organization:str}/sync", status_code=200)
    async def sync(
        self,
        organization: str,
        data: SyncRequest,
        request: AnyRequest,
        serving: SyncServing,
        wait: Annotated[float, Parameter(ge=0, le=MAX_WAIT_SECONDS)] = 0,
    ) -> Response[bytes] | Stream:
        """What is new for this device; with `?wait=SECONDS`, as soon as there is something new."""
        device = await serving.auth.device(request.headers.get("authorization"), organization)
        seal = CursorSeal(serving.cursor_key, organization, device.id)
        state = _open(seal, data.cursor)
        if state is not None and not await _is_something_new(serving, organization, state, data.model, wait):
            return Response(b"", status_code=204, headers={LEASE_HEADER: format_lease(serving.lease)})
        lines = await _first_batch(serving, device, state, data.model, seal)
        encoding = choose_encoding(request.headers.get("accept-encoding", ""))
        headers = {"Content-Encoding": encoding} if encoding != "identity" else {}
        return Stream(_compressed(lines, encoding, serving.compression_level), media_type=MEDIA_TYPE, headers=headers)

    @post("/orgs/{organization:str}/wiped", status_code=204)
    async def wiped(self, organization: str, request: AnyRequest, serving: SyncServing) -> None:
        """A device that was told to erase all it holds says that it is done."""
        device = await serving.auth.wiped_device(request.headers.get("authorization"), organization)
        await serving.devices.note_wiped(device.id)
        log.info("device wiped", organization=organization, device=device.id)


def _open(seal: CursorSeal, token: str | None) -> CursorState | None:
    """The cursor's state. One that is too old to be read becomes a reset, as one of another staging database does."""
    if token is None:
        return None
    try:
        return seal.open(token)
    except CursorExpired:
        return CursorState(epoch="")


async def _is_something_new(
    serving: SyncServing, organization: str, state: CursorState, model: str | None, wait_seconds: float
) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_seconds
    while is_current(state, await serving.served.head(organization), model):
        remaining = deadline - loop.time()
        if remaining <= 0 or not await serving.served.heads.wait_for_change(organization, remaining):
            return False
    return True


async def _first_batch(
    serving: SyncServing, device: Device, state: CursorState | None, model: str | None, seal: CursorSeal
) -> AsyncIterator[bytes]:
    """Start the download before the answer begins: what fails here is still a readable refusal."""
    served = await serving.served.get(device.organization)
    batches = download(
        served.staging,
        served.users,
        Caller(device.user_id, device.id),
        state,
        model,
        limits=serving.limits,
        seal=seal.seal,
    )
    first = await anext(batches)

    async def lines() -> AsyncIterator[bytes]:
        yield with_lease(first, serving.lease)
        async for batch in batches:
            yield batch

    return lines()


async def _compressed(lines: AsyncIterator[bytes], encoding: str, level: int) -> AsyncIterator[bytes]:
    """Compress batch by batch, each flushed, so that the device can commit what has arrived."""
    compress = compressor(encoding, level)
    async for batch in lines:
        yield compress.compress(batch) + compress.flush()
    yield compress.finish()
