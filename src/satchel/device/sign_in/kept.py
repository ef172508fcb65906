"""What a device keeps of a sign-in, inside its encrypted database, and how it proves the sign-in anew.

The device's own token stays the same; what is proved anew is only how long it counts. So a crash at any point, and an
answer that is lost, cost nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import msgspec

from satchel.device.endpoint import end_sign_in, fetch_authority, own_place, post_sign_in, sign_in_options
from satchel.device.sign_in.issuer import Grant, IssuerClient
from satchel.device.store import Enrolment, Store
from satchel.errors import InputInvalid, SatchelError, SignInNeeded, WipeOrdered
from satchel.protocol.enrolment import SignInPlace
from satchel.protocol.messages import SignInOptions, SignInRequest

RENEW_SHARE = 0.5
"""When so much of the time has gone, the sign-in is proved anew with the next sync."""
PAUSE_SECONDS = 300.0
"""Between two tries while the sign-in still counts."""
STATE = "sign_in"

Ask = Callable[[IssuerClient], Grant]
"""Has the user sign in."""


class KeptSignIn(msgspec.Struct, frozen=True):
    """How this device signed in. Times are seconds since 1970, by the device's clock."""

    options: SignInOptions
    refresh_token: str | None
    """None: the user must sign in again when the time is over."""
    renew_at: float
    valid_until: float
    is_ended: bool = False
    """The user signed out: nothing goes to the server before somebody signs in again."""

    def __repr__(self) -> str:
        return f"KeptSignIn(issuer={self.options.issuer!r})"


def read_kept(store: Store) -> KeptSignIn | None:
    """The sign-in; None: the device came in by an enrolment link."""
    text = store.get(STATE)
    return msgspec.json.decode(text, type=KeptSignIn) if text else None


def write_kept(store: Store, kept: KeptSignIn) -> None:
    """Keep it, in a transaction of its own."""
    with store.transaction():
        store.set(STATE, msgspec.json.encode(kept).decode())


def sign_in(
    place: SignInPlace, device_name: str, ask: Ask, now: float, *, ca_pem: str | None, is_encrypted: bool
) -> tuple[Enrolment, KeptSignIn]:
    """Register a device of the user who signs in. A refresh token is kept only where the database is encrypted.

    Errors: SignInRefused, TokenInvalid, IssuerUnreachable,
    ServerUnreachable, NotEntitled (another server answers)."""
    if place.ca_fingerprint and ca_pem is None:
        ca_pem = fetch_authority(place)
    place = own_place(place, ca_pem)
    options = sign_in_options(place, ca_pem)
    with _issuer(options) as client:
        grant = ask(client)
        answer = post_sign_in(place, ca_pem, client.wanted(grant), SignInRequest(device_name))
    enrolment = Enrolment(
        place.server_url, answer.organization, answer.device_id, answer.user_id, answer.user_name, answer.token, ca_pem
    )
    return enrolment, _kept(options, grant.refresh_token if is_encrypted else None, answer.valid_seconds, now)


def sign_in_again(store: Store, enrolment: Enrolment, ask: Ask, now: float, *, is_encrypted: bool) -> None:
    """Have the user prove who they are; nothing else on the device changes. Errors: as `sign_in`."""
    place = SignInPlace(enrolment.server_url, enrolment.organization)
    options = sign_in_options(place, enrolment.ca_pem)
    with _issuer(options) as client:
        grant = ask(client)
        request = SignInRequest(device_token=enrolment.token)
        answer = post_sign_in(place, enrolment.ca_pem, client.wanted(grant), request)
    write_kept(store, _kept(options, grant.refresh_token if is_encrypted else None, answer.valid_seconds, now))


def renew(store: Store, enrolment: Enrolment, now: float, *, is_needed: bool) -> None:
    """Prove the sign-in anew, where it is time or the server asks for it (`is_needed`).

    Order: a new refresh token is kept before it is used, because the issuer forgets the old one.
    Errors: WipeOrdered, SignInNeeded (signed out); and where it is needed SignInNeeded, IssuerUnreachable,
    ServerUnreachable, SignInRefused.
    """
    kept = read_kept(store)
    if kept is not None and kept.is_ended:
        _tell_again(enrolment)
        raise SignInNeeded("You signed out on this device.")
    if kept is None or (now < kept.renew_at and not is_needed):
        if is_needed:
            raise SignInNeeded
        return
    try:
        _renew(store, enrolment, kept, now)
    except WipeOrdered:
        raise
    except SatchelError:
        if is_needed:
            raise
        kept = read_kept(store) or kept
        write_kept(store, msgspec.structs.replace(kept, renew_at=now + PAUSE_SECONDS))


def sign_out(store: Store, enrolment: Enrolment, now: float) -> list[str]:
    """End the sign-in: here first, whatever answers, then at server and issuer.

    Empty: all was done. Else in words what was not. Errors: InputInvalid (this device did not come in by a sign-in),
    WipeOrdered (it is ended all the same).
    """
    kept = read_kept(store)
    if kept is None:
        raise InputInvalid(
            "This device came in by an enrolment link: there is no sign-in to end.",
            hint="Your administrator can block or wipe it.",
        )
    write_kept(store, msgspec.structs.replace(kept, refresh_token=None, renew_at=now, valid_until=now, is_ended=True))
    problems = []
    try:
        end_sign_in(enrolment)
    except WipeOrdered:
        forget_at_issuer(kept)
        raise
    except SatchelError as error:
        problems.append(f"The server was not told yet, the next try to sync tells it: {error.message}")
    return problems + forget_at_issuer(kept)


def _tell_again(enrolment: Enrolment) -> None:
    """That the user signed out, with each try to sync: the server may not have heard it, and may have ordered a wipe.

    Errors: WipeOrdered.
    """
    try:
        end_sign_in(enrolment)
    except WipeOrdered:
        raise
    except SatchelError:
        return


def forget_at_issuer(kept: KeptSignIn) -> list[str]:
    """Have the issuer forget the refresh token (RFC 7009); in words where that did not come about."""
    if kept.refresh_token is None:
        return []
    try:
        with _issuer(kept.options) as client:
            if client.revoke(kept.refresh_token):
                return []
        reason = "The issuer offers no revocation."
    except SatchelError as error:
        reason = error.message
    return [f"The issuer was not told: what this device held of the sign-in is forgotten only here. {reason}"]


def _renew(store: Store, enrolment: Enrolment, kept: KeptSignIn, now: float) -> None:
    if kept.refresh_token is None:
        raise SignInNeeded
    with _issuer(kept.options) as client:
        grant = client.refresh(kept.refresh_token)
        kept = msgspec.structs.replace(kept, refresh_token=grant.refresh_token or kept.refresh_token)
        write_kept(store, kept)
        place = SignInPlace(enrolment.server_url, enrolment.organization)
        request = SignInRequest(device_token=enrolment.token)
        answer = post_sign_in(place, enrolment.ca_pem, client.wanted(grant), request)
    write_kept(store, _kept(kept.options, kept.refresh_token, answer.valid_seconds, now))


def _kept(options: SignInOptions, refresh_token: str | None, valid_seconds: float, now: float) -> KeptSignIn:
    return KeptSignIn(options, refresh_token, now + valid_seconds * RENEW_SHARE, now + valid_seconds)


@contextlib.contextmanager
def _issuer(options: SignInOptions) -> Iterator[IssuerClient]:
    client = IssuerClient(options)
    try:
        yield client
    finally:
        client.close()
