"""The sync endpoint: what devices call besides `polls`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog
from litestar import Controller, Request, Response, get, post

from satchel.errors import EnrolmentRefused, OrganizationUnknown
from satchel.http.auth import DeviceAuth
from satchel.http.patience import Patience
from satchel.identity.keys import PurposeKeys
from satchel.protocol.messages import EnrollAnswer, EnrollRequest, Lease
from satchel.provisioning.devices import Devices
from satchel.sync.images import Images
from satchel.sync.served import ServedOrganizations
from satchel.sync.step import StepLimits

log = structlog.get_logger()
AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class SyncServing(msgspec.Struct, frozen=True):
    """What the sync endpoint works with."""

    auth: DeviceAuth
    devices: Devices
    served: ServedOrganizations
    cursor_keys: PurposeKeys
    limits: StepLimits
    compression_level: int
    lease: Lease
    """What every answer tells devices."""
    images: Images
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
    async def enroll(
        self, organization: str, data: EnrollRequest, request: AnyRequest, serving: SyncServing, patience: Patience
    ) -> EnrollAnswer:
        """Exchange a one-time code for a device token. Whether code or name is wrong is not told."""
        with patience.attempt(request.client.host if request.client else None, organization):
            try:
                await serving.served.get(organization)
            except OrganizationUnknown as error:
                raise EnrolmentRefused from error
            device, token = await serving.devices.enroll(organization, data.code, data.device_name)
        log.info("device enrolled", organization=organization, device=device.id)
        return EnrollAnswer(organization, device.id, device.user_id, device.user_name, token)

    @post("/orgs/{organization:str}/wiped", status_code=204)
    async def wiped(self, organization: str, request: AnyRequest, serving: SyncServing) -> None:
        """A device that was told to erase all it holds says that it is done."""
        device = await serving.auth.wiped_device(request.headers.get("authorization"), organization)
        await serving.devices.note_wiped(device.id)
        log.info("device wiped", organization=organization, device=device.id)
