"""The organization's head: newest op id, binding version, compiled scope - one row of its staging database."""

from __future__ import annotations

from datetime import datetime

import msgspec

from satchel.database.pool import Connection
from satchel.database.queries import load_queries
from satchel.errors import StoreBusy
from satchel.model.ids import OpId
from satchel.model.scope import Scope

_SQL = load_queries(__file__)
_SCOPES_KEPT = 64


class Head(msgspec.Struct, frozen=True):
    """Where an organization's copy stands. Equal heads mean that there is nothing new for anyone."""

    epoch: str
    """Made anew with the staging database."""
    op: OpId
    binding: int
    """Rises when users' buckets may be others."""
    model_digest: str
    verdict: int = 0
    """Number of the newest verdict on an edit set of any device."""
    moved_from: int = -1
    """The op before the last transaction that made ops; -1: not known."""
    moved_buckets: bytes | None = None
    """The buckets (packed) that it touched; None: it made some, or anyone may be concerned."""
    verdicts_from: int = -1
    """The verdict before the last transaction that gave some; -1: not known."""
    verdict_devices: list[str] | None = None
    """The devices that got them; None: anyone may be concerned."""
    floor: int = 0
    """What was removed up to this op is no longer remembered: an older cursor starts over."""
    made_buckets: bytes | None = None
    """The buckets (packed) that the last transaction made; nobody holds them, but someone may be bound to them."""
    touched_buckets: bytes | None = None
    """With them, all that it touched; None: not known, or it made none."""


class Scopes(msgspec.Struct, frozen=True):
    """What devices get now, and what is being prepared."""

    version: int
    """Rises with every change of the two."""
    in_force: Scope
    next: Scope | None
    maintained: Scope
    """What both stage, with the families of both."""


_scopes: dict[tuple[str, int], Scopes] = {}
"""Decoded scopes by epoch and version, newest last: a state never changes, and decoding one costs milliseconds."""


async def make_head(connection: Connection, epoch: str) -> None:
    """Make the head of a new staging database."""
    await connection.execute(_SQL["make"], {"epoch": epoch})


async def read_head(connection: Connection) -> Head:
    """The head as this transaction sees it. Errors: StoreBusy while the organization is being provisioned."""
    row = await (await connection.execute(_SQL["read"])).fetchone()
    if row is None:
        raise StoreBusy("The organization is being provisioned.", hint="Try again in a minute.")
    return Head(*row)


async def read_scopes(connection: Connection) -> Scopes:
    """The compiled profiles, in force and in preparation. Errors: StoreBusy before the first is compiled."""
    row = await (await connection.execute(_SQL["version"])).fetchone()
    known = _scopes.get(tuple(row)) if row else None
    if known is not None:
        return known
    row = await (await connection.execute(_SQL["scope"])).fetchone()
    if row is None or row[2] is None:
        raise StoreBusy("The organization's profiles are being compiled.", hint="Try again in a minute.")
    epoch, version, scope_json, next_json = row
    in_force = msgspec.json.decode(scope_json, type=Scope)
    following = msgspec.json.decode(next_json, type=Scope) if next_json else None
    scopes = Scopes(version, in_force, following, in_force.together_with(following) if following else in_force)
    while len(_scopes) >= _SCOPES_KEPT:
        del _scopes[next(iter(_scopes))]
    _scopes[epoch, version] = scopes
    return scopes


async def read_scope(connection: Connection) -> Scope:
    """The scope in force."""
    return (await read_scopes(connection)).in_force


async def has_scope(connection: Connection) -> bool:
    """A scope was compiled by this version."""
    row = await (await connection.execute(_SQL["scope"])).fetchone()
    return row is not None and row[2] is not None


async def set_next_scope(connection: Connection, scope: Scope | None) -> None:
    """Keep a scope whose families are being filled; None: there is none any more."""
    text = None if scope is None else msgspec.json.encode(scope, order="deterministic").decode()
    await connection.execute(_SQL["set_next"], {"next": text})


async def set_scope(connection: Connection, scope: Scope) -> None:
    """Bring a scope into force."""
    parameters = {
        "scope": msgspec.json.encode(scope, order="deterministic").decode(),
        "model": msgspec.json.encode(scope.client_model).decode(),
        "digest": scope.client_model.digest,
    }
    await connection.execute(_SQL["set_scope"], parameters)


async def read_moment(connection: Connection) -> datetime:
    """The time that conditions on times were last judged by."""
    row = await (await connection.execute(_SQL["moment"])).fetchone()
    assert row is not None  # noqa: S101 - made with the database
    moment: datetime = row[0]
    return moment


async def set_moment(connection: Connection, moment: datetime) -> None:
    """Judge conditions on times by this time from now on."""
    await connection.execute(_SQL["set_moment"], {"moment": moment})
