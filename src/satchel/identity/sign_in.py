"""What an issuer's tokens count for: a user at a device, a service or an administrator at the management endpoint.

One issuer serves the installation; `SignIn` holds all that depends on it, so that organizations could have others.
Where it speaks for several tenants (Entra's `organizations`), each organization is bound to its own.
"""

from __future__ import annotations

import msgspec

from satchel.errors import NotEntitled, SettingInvalid, SignInRefused, TokenInvalid
from satchel.identity.issuer import Issuer
from satchel.model.openid import TENANT_TEMPLATE, Claims, Expected, is_safe_address
from satchel.settings.schema import SignIn as SignInSettings

READ = "satchel.read"
"""Look at organizations and client models; at the console: at every page."""
ANNOUNCE = "satchel.announce"
"""Tell a sync server that an organization came, changed or went."""
PROVISION = "satchel.provision"
"""Have organizations provisioned and deprovisioned; at the console: change anything."""
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
        self.tenants = _split(settings.tenants.lower())
        self._management_tenants = _split(settings.management_tenants.lower())
        self._audiences = _split(settings.audience)
        self._administrators = _split(settings.administrators)
        self.issuer = issuer or Issuer(settings.issuer, settings.ca_file or None)

    @property
    def takes_id_tokens(self) -> bool:
        """Devices send their ID token, because there is no audience of our own."""
        return not self._audiences

    def tenants_of(self, bound: frozenset[str]) -> frozenset[str]:
        """Whose users an organization lets in, that is bound to some tenants or none; empty: as the issuer says.

        Where the installation knows several, an organization that is bound to none lets in nobody: they may be
        different customers'. Errors: SignInRefused.
        """
        allowed = self.tenants & bound if bound and self.tenants else self.tenants
        if self.tenants and (not allowed or (not bound and len(allowed) > 1)):
            raise SignInRefused(
                "This organization is not bound to a tenant whose users may sign in.",
                hint="Ask your administrator: `satchel org tenants`.",
            )
        return allowed

    async def user(self, token: str, bound: frozenset[str] = frozenset()) -> UserClaim:
        """Who signed in on a device of an organization that is `bound` to these tenants.

        Errors: TokenInvalid, SignInRefused, IssuerUnreachable.
        """
        devices, tenants = frozenset({self.settings.device_client_id}), self.tenants_of(bound)
        expected = await self._expected(self._audiences or devices, tenants, clients=devices)
        claims = await self.issuer.check(token, expected)
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
        tenants = self._management_tenants or self.tenants
        if len(tenants) > 1 and not self._management_tenants:
            # Whoever administers one of them could give any role to anyone there.
            raise NotEntitled("Set [sign_in] management_tenants: there are several tenants, and roles of none count.")
        claims = await self.issuer.check(token, await self._expected(self._audiences, tenants))
        permissions = self._permissions(claims)
        if not permissions:
            hint = "It lists no groups, being in too many: assign an app role." if claims.has_too_many_groups else ""
            raise NotEntitled("This caller has no permission here.", hint=hint)
        application = claims.client if claims.is_of_service else None
        return Caller(claims.text("preferred_username") or application or claims.subject, permissions)

    def _permissions(self, claims: Claims) -> frozenset[str]:
        """Of a service: its scopes or app roles. Of a person only by role: a scope would be the application's."""
        if claims.is_of_service:
            return claims.texts("roles", "scope") & PERMISSIONS
        return PERMISSIONS if claims.texts("roles", "groups") & self._administrators else frozenset()

    async def _expected(
        self, audiences: frozenset[str], tenants: frozenset[str], clients: frozenset[str] = frozenset()
    ) -> Expected:
        discovery = await self.issuer.discovery()
        return Expected(
            issuer=discovery.issuer,
            audiences=audiences,
            clients=clients,
            tenants=tenants,
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
