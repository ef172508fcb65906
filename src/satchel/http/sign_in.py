"""The sync endpoint for sign-ins: an issuer's token becomes a device's own, or proves its user anew."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import structlog
from litestar import Controller, Request, get, post

from satchel.errors import NotEntitled, OrganizationUnknown, SignInRefused
from satchel.http.auth import bearer, refuse_barred
from satchel.http.patience import Patience
from satchel.identity.sign_in import SignIn, UserClaim
from satchel.model.openid import MAX_TOKEN_CHARACTERS
from satchel.model.user import User
from satchel.protocol.messages import SignInAnswer, SignInOptions, SignInRequest
from satchel.provisioning.devices import Device, Devices, SignedIn
from satchel.staging.head import read_scope
from satchel.staging.users import find_signed_in, no_user
from satchel.sync.served import ServedOrganizations

log = structlog.get_logger()
AnyRequest = Request[object, object, object]  # type: ignore[type-var]


class SignInServing(msgspec.Struct, frozen=True):
    """What the endpoint works with."""

    sign_in: SignIn | None
    """None: this installation has no issuer."""
    devices: Devices
    served: ServedOrganizations

    async def of(self, organization: str) -> tuple[SignIn, frozenset[str]]:
        """The rules for an organization, and the tenants it is bound to now; one that is unknown is bound to none.

        So the answer tells as little as it can about which organizations there are. Errors: SignInRefused."""
        if self.sign_in is None:
            raise SignInRefused(
                f"Users of {organization} do not sign in here.", hint="Ask your administrator for an enrolment link."
            )
        return self.sign_in, frozenset(await self.served.tenants(organization))


class SignInController(Controller):
    """Version 1 of the protocol."""

    path = "/v1"

    @get("/orgs/{organization:str}/sign-in")
    async def options(
        self, organization: str, request: AnyRequest, signing_in: SignInServing, patience: Patience
    ) -> SignInOptions:
        """Where users sign in. Nothing of it is secret."""
        with patience.attempt(request.client.host if request.client else None, organization):
            rules, bound = await signing_in.of(organization)
            tenants = sorted(rules.tenants_of(bound))
        settings = rules.settings
        ca_pem = await asyncio.to_thread(Path(settings.ca_file).read_text, "ascii") if settings.ca_file else None
        return SignInOptions(
            issuer=settings.issuer,
            client_id=settings.device_client_id,
            scopes=settings.scopes,
            token="id" if rules.takes_id_tokens else "access",
            redirect_uri=settings.redirect_uri,
            resource=settings.resource,
            tenants=tenants,
            ca_pem=ca_pem,
        )

    @post("/orgs/{organization:str}/sign-in", status_code=200)
    async def sign_in(
        self,
        organization: str,
        data: SignInRequest,
        request: AnyRequest,
        signing_in: SignInServing,
        patience: Patience,
    ) -> SignInAnswer:
        """Exchange an issuer's token for a device's own, or prove a device's sign-in anew."""
        with patience.attempt(request.client.host if request.client else None, organization):
            return await _sign_in(signing_in, organization, data, request.headers.get("authorization"))

    @post("/orgs/{organization:str}/sign-out", status_code=204)
    async def sign_out(self, organization: str, request: AnyRequest, signing_in: SignInServing) -> None:
        """End a device's sign-in; again is harmless. One that came in by a link goes on: it has none.

        One that is to be wiped hears of it here too: it may ask for nothing else any more. Errors: WipeOrdered.
        """
        device = await signing_in.devices.by_token(bearer(request.headers.get("authorization")))
        if device.organization != organization:
            raise NotEntitled("This device belongs to another organization.")
        await signing_in.devices.end_sign_in(device)
        if device.must_wipe:
            await signing_in.devices.note_wipe_told(device.id)
            refuse_barred(device, organization)
        log.info("device signed out", organization=organization, device=device.id)


async def _sign_in(
    signing_in: SignInServing, organization: str, data: SignInRequest, authorization: str | None
) -> SignInAnswer:
    rules, bound = await signing_in.of(organization)
    claim = await rules.user(bearer(authorization, MAX_TOKEN_CHARACTERS), bound)
    signed_in = SignedIn(claim.issuer, claim.subject, rules.settings.device_token_hours * 3600)
    if data.device_token is None:
        user = await _user(signing_in, organization, claim)
        device, token = await signing_in.devices.sign_in(organization, user.id, user.name, data.device_name, signed_in)
        log.info("device signed in", organization=organization, device=device.id)
    else:
        device, token = await _known_device(signing_in, organization, claim, data.device_token), data.device_token
        await signing_in.devices.renew(device, signed_in)
    return SignInAnswer(organization, device.id, device.user_id, device.user_name, token, signed_in.seconds)


async def _known_device(signing_in: SignInServing, organization: str, claim: UserClaim, token: str) -> Device:
    """The device that proves its sign-in anew. One that is wiped or blocked does not come back by that.

    Whether its user may still have anything is decided at each sync, as for everyone: so that a user who is disabled
    at the source loses what the device holds.
    """
    device = await signing_in.devices.by_token(token)
    if device.must_wipe:
        await signing_in.devices.note_wipe_told(device.id)
    refuse_barred(device, organization)
    if (device.issuer, device.subject) != (claim.issuer, claim.subject):
        user = await _user(signing_in, organization, claim)
        if user.id != device.user_id:
            raise SignInRefused(
                f"This device belongs to {device.user_name}, and someone else signed in: {claim.name}.",
                hint=f"Sign in as {device.user_name}, or use another folder (--folder).",
            )
    return device


async def _user(signing_in: SignInServing, organization: str, claim: UserClaim) -> User:
    try:
        served = await signing_in.served.get(organization)
    except OrganizationUnknown as error:
        raise no_user() from error
    async with served.staging.connection() as connection:
        scope = await read_scope(connection)
        return await find_signed_in(connection, scope, claim.attribute, claim.value)
