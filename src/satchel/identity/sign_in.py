"""What an issuer's tokens count for: a user at a device, a service or an administrator at the management endpoint.

One issuer serves the installation; `SignIn` holds all that depends on it, so that organizations could have others.
"""

from __future__ import annotations

import msgspec

from satchel.errors import NotEntitled, SettingInvalid, SignInRefused, TokenInvalid
from satchel.identity.issuer import Issuer
from satchel.model.openid import TENANT_TEMPLATE, Claims, Expected, is_safe_address
from satchel.settings.schema import SignIn as SignInSettings

READ = "satchel.read"
"""Look at organizations and client models."""
ANNOUNCE = "satchel.announce"
"""Tell a sync server that an organization came, changed or went."""
PROVISION = "satchel.provision"
"""Have organizations provisioned and deprovisioned."""
PERMISSIONS = frozenset({READ, ANNOUNCE, PROVISION})


class Caller(msgspec.Struct, frozen=True):
    """Who calls the management endpoint, and what they may."""

    name: str
    permissions: frozenset[str]

    def require(self, permission: str) -> None:
        """Errors: NotEntitled."""
        if permission not in self.permissions:
            raise NotEntitled(f"This caller has no permission {permission}.")


class UserClaim(msgspec.Struct, frozen=True):
    """Who signed in, as the issuer knows them and as the source is asked for them."""

    issuer: str
    subject: str
    attribute: str
    value: str
    name: str


class SignIn:
    """The rules of one issuer."""

    def __init__(self, settings: SignInSettings, issuer: Issuer | None = None) -> None:
        """Errors: SettingInvalid."""
        _check(settings)
        self.settings = settings
        self.tenants = _split(settings.tenants)
        self._audiences = _split(settings.audience)
        self._administrators = _split(settings.administrators)
        self.issuer = issuer or Issuer(settings.issuer, settings.ca_file or None)

    @property
    def takes_id_tokens(self) -> bool:
        """Devices send their ID token, because there is no audience of our own."""
        return not self._audiences

    async def user(self, token: str) -> UserClaim:
        """Who signed in on a device. Errors: TokenInvalid, SignInRefused, IssuerUnreachable."""
        devices = frozenset({self.settings.device_client_id})
        claims = await self.issuer.check(token, await self._expected(self._audiences or devices, clients=devices))
        if claims.is_of_service:
            raise SignInRefused("An application signed in where a user is needed.")
        claim = self.settings.user_claim
        value = claims.text(claim)
        if value is None:
            raise SignInRefused(f"The sign-in does not tell the claim {claim!r}.", hint="Ask your administrator.")
        if claim == "email" and not any(claims.values.get(each) in (True, "true", "1") for each in _VERIFIED):
            raise SignInRefused("The sign-in tells an e-mail address that its issuer has not verified.")
        name = claims.text("preferred_username") or claims.text("name") or value
        return UserClaim(claims.issuer, claims.subject, self.settings.user_attribute, value, name)

    async def caller(self, token: str) -> Caller:
        """Who calls the management endpoint. Errors: TokenInvalid, NotEntitled, IssuerUnreachable."""
        if not self._audiences:
            raise TokenInvalid("This endpoint takes service tokens only.")
        claims = await self.issuer.check(token, await self._expected(self._audiences))
        permissions = self._permissions(claims)
        if not permissions:
            raise NotEntitled("This caller has no permission here.")
        return Caller(claims.text("preferred_username") or claims.client or claims.subject, permissions)

    def _permissions(self, claims: Claims) -> frozenset[str]:
        """Of a service: its scopes or app roles. Of a person only by role: a scope would be the application's."""
        if claims.is_of_service:
            return claims.texts("roles", "scope") & PERMISSIONS
        return PERMISSIONS if claims.texts("roles", "groups") & self._administrators else frozenset()

    async def _expected(self, audiences: frozenset[str], clients: frozenset[str] = frozenset()) -> Expected:
        discovery = await self.issuer.discovery()
        return Expected(
            issuer=discovery.issuer,
            audiences=audiences,
            clients=clients,
            tenants=self.tenants,
            skew_seconds=self.settings.clock_skew_seconds,
        )


def sign_in_of(settings: SignInSettings) -> SignIn | None:
    """The rules, where an issuer is set. Errors: SettingInvalid."""
    return SignIn(settings) if settings.issuer else None


_VERIFIED = ("email_verified", "xms_edov")


def _check(settings: SignInSettings) -> None:
    if not is_safe_address(settings.issuer):
        raise SettingInvalid("[sign_in] issuer must be an https address.")
    if not settings.device_client_id:
        raise SettingInvalid("[sign_in] device_client_id is missing.", hint="Register an application for devices.")
    is_shared = settings.issuer.rstrip("/").endswith(("/common/v2.0", "/organizations/v2.0"))
    if (is_shared or TENANT_TEMPLATE in settings.issuer) and not settings.tenants:
        raise SettingInvalid("[sign_in] tenants is missing: anyone's tenant could sign in with this issuer.")


def _split(text: str) -> frozenset[str]:
    return frozenset(each.strip() for each in text.split(",") if each.strip())
