"""Tokens: random ones for devices and enrolment, kept only as hashes; signed ones between our own services (JWT)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from satchel.errors import TokenInvalid
from satchel.identity.sign_in import ANNOUNCE, PERMISSIONS, Caller

SERVICE_TOKEN_LIFETIME = timedelta(minutes=5)
_ISSUER = "satchel"
_AUDIENCE = "satchel-management"
_DEVICE_PREFIX = "satd_"
_LEEWAY_SECONDS = 30
_ALGORITHM = "HS256"
_NOT_OURS = "This endpoint takes service tokens only."


def new_device_token() -> str:
    """A token for a device, 256 random bits."""
    return _DEVICE_PREFIX + secrets.token_urlsafe(32)


def new_enrolment_code() -> str:
    """A one-time code, 100 random bits in groups a person can read out: `K3MQ-7XPA-...`."""
    text = base64.b32encode(secrets.token_bytes(13)).decode()[:20]
    return "-".join(text[i : i + 4] for i in range(0, 20, 4))


def token_hash(token: str) -> bytes:
    """What is stored of a random token. The token has full entropy, so a plain hash is enough."""
    return hashlib.sha256(token.strip().encode()).digest()


def make_service_token(key: bytes, service: str, now: datetime, permissions: Iterable[str] = (ANNOUNCE,)) -> str:
    """A short-lived token with which one of our services calls another's management endpoint."""
    claims = {"iss": _ISSUER, "aud": _AUDIENCE, "sub": service, "iat": int(now.timestamp())}
    claims |= {"exp": int((now + SERVICE_TOKEN_LIFETIME).timestamp()), "scope": " ".join(sorted(permissions))}
    return jwt.encode({"alg": _ALGORITHM}, claims, OctKey.import_key(key))


def is_service_token(token: str) -> bool:
    """Whether a token says that it is one of ours; nothing of it is proved."""
    try:
        return jws.extract_compact(token.encode("ascii")).headers().get("alg") == _ALGORITHM
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError):
        return False


def check_service_token(keys: Sequence[bytes], token: str, now: datetime) -> Caller:
    """The service that calls. Errors: TokenInvalid - forged, expired, for another audience, or a device's token."""
    registry = JWTClaimsRegistry(
        now=lambda: int(now.timestamp()),
        leeway=_LEEWAY_SECONDS,
        iss={"essential": True, "value": _ISSUER},
        aud={"essential": True, "value": _AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
    )
    claims = _signed_with_any(keys, token)
    try:
        registry.validate(claims)
    except (JoseError, ValueError) as error:
        raise TokenInvalid(_NOT_OURS) from error
    # One of an older version, during an upgrade, tells no permissions: those services only announce.
    told = str(claims.get("scope", ANNOUNCE)).split()
    return Caller(str(claims["sub"]), PERMISSIONS & frozenset(told))


def _signed_with_any(keys: Sequence[bytes], token: str) -> dict[str, Any]:
    for key in keys:
        try:
            return jwt.decode(token, OctKey.import_key(key), algorithms=[_ALGORITHM]).claims
        except BadSignatureError:
            continue
        except (JoseError, ValueError) as error:
            raise TokenInvalid(_NOT_OURS) from error
    raise TokenInvalid(_NOT_OURS)
