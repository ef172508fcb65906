"""Sessions of administrators at the console, and the one-time links that begin one without an issuer."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import msgspec

from satchel.database.pool import Database
from satchel.database.queries import load_queries
from satchel.identity.sign_in import Caller
from satchel.identity.tokens import token_hash

_SQL = load_queries(__file__)
_PREFIX = "sats_"
CLAIM_SECONDS = 30.0
"""So long nobody else proves a session anew while one request does."""


class Lifetimes(msgspec.Struct, frozen=True):
    """How long a session lasts, in seconds."""

    session_seconds: float
    idle_seconds: float
    proof_seconds: float


class Session(msgspec.Struct, frozen=True):
    """An administrator's session."""

    token_hash: bytes
    caller: Caller
    must_be_proved: bool
    """The issuer is to be asked whether its user still has the role."""
    sealed_refresh: bytes | None


class ConsoleSessions:
    """The register of sessions and links."""

    def __init__(self, control: Database, lifetimes: Lifetimes) -> None:
        """Keep the control database."""
        self._control = control
        self.lifetimes = lifetimes

    async def make_link(self, lifetime_seconds: float) -> str:
        """A code that begins one session; only its hash is kept."""
        code = secrets.token_urlsafe(32)
        await self._control.fetch(_SQL["add_link"], {"code_hash": token_hash(code), "seconds": lifetime_seconds})
        return code

    async def use_link(self, code: str) -> bool:
        """Use a code up; whether it counts."""
        rows = await self._control.fetch(_SQL["use_link"], {"code_hash": token_hash(code)})
        return bool(rows and rows[0][0])

    async def begin(self, caller: Caller, *, proof_seconds: float, sealed_refresh: bytes | None = None) -> str:
        """Begin a session: its token, which is not kept. `proof_seconds`: until the issuer must be asked again."""
        token = _PREFIX + secrets.token_urlsafe(32)
        await self._control.fetch(_SQL["tidy"], {"idle_seconds": self.lifetimes.idle_seconds})
        parameters = {
            "token_hash": token_hash(token),
            "seconds": self.lifetimes.session_seconds,
            "proof_seconds": proof_seconds,
            "sealed_refresh": sealed_refresh,
            **_of(caller.name, caller.permissions),
        }
        await self._control.fetch(_SQL["begin"], parameters)
        return token

    async def find(self, token: str) -> Session | None:
        """The session of a token; None where there is none, or no longer."""
        parameters = {"token_hash": token_hash(token), "idle_seconds": self.lifetimes.idle_seconds}
        rows = await self._control.fetch(_SQL["find"], parameters)
        if not rows:
            return None
        key, name, permissions, must_be_proved, refresh = rows[0]
        return Session(bytes(key), Caller(name, frozenset(permissions)), must_be_proved, bytes(refresh or b"") or None)

    async def claim(self, session: Session) -> bool:
        """Whether it is this request that proves the session anew."""
        parameters = {"token_hash": session.token_hash, "seconds": CLAIM_SECONDS}
        return bool(await self._control.fetch(_SQL["claim"], parameters))

    async def note_proved(self, session: Session, caller: Caller, sealed_refresh: bytes | None) -> None:
        """The issuer vouched for its user anew."""
        parameters = {
            "token_hash": session.token_hash,
            "proof_seconds": self.lifetimes.proof_seconds,
            "sealed_refresh": sealed_refresh,
            **_of(caller.name, caller.permissions),
        }
        await self._control.fetch(_SQL["proved"], parameters)

    async def end(self, session: Session) -> None:
        """Nothing counts of it any more."""
        await self._control.fetch(_SQL["end"], {"token_hash": session.token_hash})


def _of(name: str, permissions: Iterable[str]) -> dict[str, object]:
    return {"name": name[:200], "permissions": sorted(permissions)}
