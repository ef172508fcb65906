"""OpenID Connect as both sides read it: what an issuer tells of itself, and what a token must be to count. Pure.

Source: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; OpenID Connect Discovery 1.0; RFC 7519; RFC 8725.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from joserfc import jws, jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import import_key
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry

from satchel.errors import TokenInvalid

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""Signatures with a private key only: nobody who can check one can make one, and `none` is none of them."""
MAX_TOKEN_CHARACTERS = 32 * 1024
MAX_DISCOVERY_BYTES = 256 * 1024
MAX_KEYS = 100
TENANT_TEMPLATE = "{tenantid}"
_KEY_TYPES = {"RSA", "EC", "OKP"}
_REGISTRY = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)  # unknown header fields are to be ignored


class Discovery(msgspec.Struct, frozen=True):
    """An issuer's metadata, as far as it is used."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    revocation_endpoint: str = ""


class TokenHead(msgspec.Struct, frozen=True):
    """What a token says of its own signature; nothing of it is proved."""

    algorithm: str
    key_id: str | None


class Expected(msgspec.Struct, frozen=True):
    """What a token must say to count."""

    issuer: str
    """Exactly; with `{tenantid}` in it, the token's `tid` stands there, and must be one of `tenants`."""
    audiences: frozenset[str]
    """It must be made for one of these."""
    clients: frozenset[str] = frozenset()
    """The application it was given to must be one of these; empty: any."""
    tenants: frozenset[str] = frozenset()
    """Entra tenants (`tid`); empty: as the issuer says."""
    skew_seconds: float = 60.0
    nonce: str | None = None


class Claims(msgspec.Struct, frozen=True):
    """What a token that was checked says."""

    issuer: str
    subject: str
    values: Mapping[str, Any]

    def text(self, name: str) -> str | None:
        """A claim that is a text."""
        value = self.values.get(name)
        return value if isinstance(value, str) and value else None

    def texts(self, *names: str) -> frozenset[str]:
        """Claims that are lists of texts, or one text with blanks between (`scp`, `scope`)."""
        found: set[str] = set()
        for name in names:
            value = self.values.get(name)
            found.update(value.split() if isinstance(value, str) else _texts(value))
        return frozenset(found)

    @property
    def client(self) -> str | None:
        """The application it was given to: `azp`; in access tokens `client_id`, in Entra's older ones `appid`."""
        return self.text("azp") or self.text("client_id") or self.text("appid")

    @property
    def has_too_many_groups(self) -> bool:
        """The person is in more groups than a token can list. Source: Entra's groups overage claim."""
        names = self.values.get("_claim_names")
        return self.values.get("hasgroups") in (True, "true") or (isinstance(names, Mapping) and "groups" in names)

    @property
    def is_of_service(self) -> bool:
        """It speaks for an application, not for a person. Source: RFC 9068, section 2.2; Entra's `idtyp`, `oid`."""
        if self.values.get("idtyp") == "app" or self.subject == self.client:
            return True
        return "scp" not in self.values and self.text("oid") == self.subject


def read_head(token: str) -> TokenHead:
    """The head of a token, bounded. Errors: TokenInvalid - too large, no token, or an algorithm that never counts."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise TokenInvalid("The token is too large.")
    try:
        head = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY).headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TokenInvalid("This is not a token of the issuer.") from error
    algorithm, key_id = head.get("alg"), head.get("kid")
    if algorithm not in ALGORITHMS or not isinstance(key_id, str | None):
        raise TokenInvalid("The token is not signed in a way that counts.")
    return TokenHead(algorithm, key_id)


def usable_keys(keys: object) -> list[Mapping[str, Any]]:
    """The public keys of a key set that check signatures, at most 100; what cannot is left out."""
    if not isinstance(keys, list):
        return []
    found: list[Mapping[str, Any]] = [each for each in keys if isinstance(each, dict)]
    return [each for each in found if _is_usable(each)][:MAX_KEYS]


def find_key(keys: list[Mapping[str, Any]], head: TokenHead) -> Mapping[str, Any] | None:
    """The key that a token names. One that names none is checked with the only key there is."""
    if head.key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((each for each in keys if each.get("kid") == head.key_id), None)


def verify(token: str, head: TokenHead, key: Mapping[str, Any], expected: Expected, now: float) -> Claims:
    """What the token says, once signature, issuer, audience, times, tenant and application are proved.

    Units: `now` in seconds since 1970. Errors: TokenInvalid, which never says more than which check it was.
    """
    if key.get("alg") not in {None, head.algorithm} or not expected.audiences:
        raise TokenInvalid("The token is not signed in a way that counts.")
    registry = JWTClaimsRegistry(
        now=int(now),
        leeway=int(expected.skew_seconds),
        exp={"essential": True},
        sub={"essential": True},
        iss={"essential": True},
        aud={"essential": True, "values": sorted(expected.audiences)},
    )
    try:
        values = jwt.decode(token, import_key(dict(key)), algorithms=[head.algorithm], registry=_REGISTRY).claims
        registry.validate(values)
    except ExpiredTokenError as error:
        raise TokenInvalid("The token has expired.") from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise TokenInvalid("The token is not one that this server takes.") from error
    claims = Claims(str(values["iss"]), str(values["sub"]), values)
    _check_rest(claims, expected)
    _check_owner(key, claims)
    return claims


def is_safe_address(url: str) -> bool:
    """An https address, or http on this machine: nothing secret goes over a network in clear text."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.username or not host:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_rest(claims: Claims, expected: Expected) -> None:
    tenant = claims.text("tid")
    if expected.tenants and tenant not in expected.tenants:
        raise TokenInvalid("The token is of another tenant.")
    is_template = TENANT_TEMPLATE in expected.issuer
    if is_template and not (expected.tenants and tenant):
        raise TokenInvalid("The token is of another tenant.")
    if claims.issuer != (expected.issuer.replace(TENANT_TEMPLATE, tenant or "") if is_template else expected.issuer):
        raise TokenInvalid("The token is of another issuer.")
    # Several audiences: then only `azp` says whom it is for.
    must_name_client = len(_texts(claims.values["aud"])) > 1
    if expected.clients and (claims.client or must_name_client) and claims.client not in expected.clients:
        raise TokenInvalid("The token was given to another application.")
    if expected.nonce is not None and claims.text("nonce") != expected.nonce:
        raise TokenInvalid("The token does not belong to this sign-in.")
    if not claims.subject:
        raise TokenInvalid("The token names no one.")


def _check_owner(key: Mapping[str, Any], claims: Claims) -> None:
    """A key in a set that several tenants share may say for which of them it signs (Entra's `issuer`)."""
    owner = key.get("issuer")
    if owner is not None and str(owner).replace(TENANT_TEMPLATE, claims.text("tid") or "") != claims.issuer:
        raise TokenInvalid("The token is signed with another tenant's key.")


def _is_usable(key: Mapping[str, Any]) -> bool:
    """A key as import takes it; symmetric ones have no place in a public key set."""
    operations = key.get("key_ops")
    is_for_checking = key.get("use", "sig") == "sig" and (not isinstance(operations, list) or "verify" in operations)
    if not is_for_checking or key.get("kty") not in _KEY_TYPES or key.get("alg", ALGORITHMS[0]) not in ALGORITHMS:
        return False
    try:
        import_key(dict(key))
    except (JoseError, ValueError, TypeError):
        return False
    return True


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
