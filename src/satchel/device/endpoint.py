"""The sync endpoint as the device calls it: TLS against the right authority, refusals turned into errors."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import httpx
import msgspec

from satchel import errors
from satchel.device.discovery import discovered
from satchel.device.store import Enrolment
from satchel.errors import (
    EnrolmentRefused,
    InputInvalid,
    NotEntitled,
    ProtocolBroken,
    RequestInvalid,
    SatchelError,
    ServerUnreachable,
    TokenInvalid,
)
from satchel.protocol.enrolment import EnrolmentLink, SignInPlace
from satchel.protocol.images import IMAGE_MEDIA_TYPE
from satchel.protocol.messages import (
    JOURNAL_HEADER,
    PROBLEM_MEDIA_TYPE,
    EditsAnswer,
    EditsRequest,
    EnrollAnswer,
    EnrollRequest,
    Problem,
    SignInAnswer,
    SignInOptions,
    SignInRequest,
    SyncRequest,
)

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
CONFIRM_SECONDS = 10.0
_ACCEPT = f"{IMAGE_MEDIA_TYPE}, {PROBLEM_MEDIA_TYPE}, */*"
_MAX_SMALL_ANSWER_BYTES = 256 * 1024
T = TypeVar("T")
Place = TypeVar("Place", EnrolmentLink, SignInPlace)
_CLASS_BY_CODE = {
    value.code: value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, SatchelError)
}


def enroll(link: EnrolmentLink, device_name: str) -> Enrolment:
    """Exchange a link for a token. Errors: EnrolmentRefused, ServerUnreachable, NotEntitled (another authority)."""
    body = msgspec.json.encode(EnrollRequest(link.code, device_name))
    try:
        ca_pem = fetch_authority(link) if link.ca_fingerprint else None
        link = own_place(link, ca_pem)
        with _client(link.server_url, ca_pem) as client, _readable_failures(link.server_url, untrusted=NotEntitled):
            answer = client.post(f"/v1/orgs/{link.organization}/enroll", content=body)
    except ServerUnreachable as error:
        error.hint = "Check the network and the address in the link, then enroll again with the same link."
        raise
    except (httpx.InvalidURL, UnicodeError) as error:
        raise InputInvalid(f"The enrolment link is damaged: {link.server_url} is not an address.") from error
    if answer.status_code != httpx.codes.OK:
        raise _refusal(answer)
    try:
        known = msgspec.json.decode(answer.content, type=EnrollAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolmentRefused(f"{link.server_url} is not the sync endpoint of this link.") from error
    return Enrolment(
        link.server_url, known.organization, known.device_id, known.user_id, known.user_name, known.token, ca_pem
    )


def sign_in_options(place: SignInPlace, ca_pem: str | None) -> SignInOptions:
    """Where and how an organization's users sign in. Errors: as `error_of`, ServerUnreachable."""
    with _client(place.server_url, ca_pem) as client, _readable_failures(place.server_url, untrusted=NotEntitled):
        answer = client.get(f"/v1/orgs/{place.organization}/sign-in")
    return _small(answer, SignInOptions)


def post_sign_in(place: SignInPlace, ca_pem: str | None, issuer_token: str, request: SignInRequest) -> SignInAnswer:
    """Exchange an issuer's token for a device's own, or prove a sign-in anew. Errors: as `error_of`,
    ServerUnreachable."""
    with _client(place.server_url, ca_pem, issuer_token) as client, _readable_failures(place.server_url):
        answer = client.post(f"/v1/orgs/{place.organization}/sign-in", content=msgspec.json.encode(request))
    return _small(answer, SignInAnswer)


def end_sign_in(enrolment: Enrolment) -> None:
    """Have the server let this device in no more before somebody signs in again. Errors: as `error_of`,
    ServerUnreachable."""
    url = enrolment.server_url
    with _client(url, enrolment.ca_pem, enrolment.token) as client, _readable_failures(url):
        answer = client.post(f"/v1/orgs/{enrolment.organization}/sign-out", timeout=CONFIRM_SECONDS)
    if answer.status_code != httpx.codes.NO_CONTENT:
        raise _refusal(answer)


def _small(answer: httpx.Response, kind: type[T]) -> T:
    if answer.status_code != httpx.codes.OK:
        raise _refusal(answer)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProtocolBroken("The server's answer to a sign-in cannot be read.") from error


def own_place(place: Place, ca_pem: str | None) -> Place:
    """At the organization's own address, where the server tells one that answers here. Errors: ServerUnreachable,
    NotEntitled (another authority), ProtocolBroken."""
    with _client(place.server_url, ca_pem) as client, _readable_failures(place.server_url, untrusted=NotEntitled):
        own = discovered(client, place.server_url, place.organization)
    if own != place.server_url:
        with _client(own, ca_pem) as client, contextlib.suppress(httpx.HTTPError):
            client.get("/health/live")
            return msgspec.structs.replace(place, server_url=own)
    return place


def fetch_authority(link: EnrolmentLink | SignInPlace) -> str:
    """The server's development certificate authority, believed because the link carries its fingerprint."""
    unverified = httpx.Client(
        base_url=link.server_url,
        verify=False,  # noqa: S501 - the fingerprint is what counts
        timeout=CONNECT_SECONDS,
        trust_env=False,
    )
    with unverified as client, _readable_failures(link.server_url):
        answer = client.get("/v1/ca.pem")
    if answer.status_code != httpx.codes.OK or len(answer.content) > _MAX_SMALL_ANSWER_BYTES:
        raise EnrolmentRefused(f"{link.server_url} is not the sync endpoint of this link.")
    try:
        der = ssl.PEM_cert_to_DER_cert(answer.text)
    except ValueError as error:
        raise EnrolmentRefused(f"{link.server_url} is not the sync endpoint of this link.") from error
    if hashlib.sha256(der).hexdigest() != link.ca_fingerprint:
        raise NotEntitled(
            "The server is not the one that the link was made for: its certificate authority is another one.",
            hint="Do not go on in this network; ask your administrator for a new link.",
        )
    return ssl.DER_cert_to_PEM_cert(der)  # not the text itself: more authorities could stand in it than were checked


class Endpoint:
    """The sync endpoint of an enrolled device."""

    def __init__(self, enrolment: Enrolment) -> None:
        """Connects when first used."""
        self._organization = enrolment.organization
        self._server_url = enrolment.server_url
        self._client = _client(enrolment.server_url, enrolment.ca_pem, enrolment.token)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def sync(
        self, request: SyncRequest, wait_seconds: float, *, is_following: bool = False
    ) -> Iterator[httpx.Response]:
        """An answer, its body still to be read; 204: nothing new. Following: it may go on after its end with what is
        new then, as long as the wait lasts. Errors: as `error_of`, ServerUnreachable."""
        path = f"/v1/orgs/{self._organization}/sync"
        parameters = {"wait": str(wait_seconds)} if wait_seconds else {}
        if is_following:
            parameters["follow"] = "1"
        timeout = httpx.Timeout(SILENCE_SECONDS + wait_seconds, connect=CONNECT_SECONDS)
        body = msgspec.json.encode(request)
        posted = self._client.stream("POST", path, params=parameters, content=body, timeout=timeout)
        with _readable_failures(self._server_url), posted as answer:
            if answer.status_code in {httpx.codes.OK, httpx.codes.NO_CONTENT}:
                yield answer
            else:
                answer.read()
                raise _refusal(answer)

    def post_edits(self, request: EditsRequest) -> EditsAnswer:
        """Hand over edits; what the answer takes without a refusal is durable.

        Errors: as `error_of`, ServerUnreachable.
        """
        with _readable_failures(self._server_url):
            body = msgspec.json.encode(msgspec.structs.replace(request, journal=None))
            headers = {JOURNAL_HEADER: request.journal} if request.journal else {}
            answer = self._client.post(f"/v1/orgs/{self._organization}/edits", content=body, headers=headers)
        if answer.status_code != httpx.codes.OK:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=EditsAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolBroken("The server's answer to edits cannot be read.") from error

    def confirm_wiped(self) -> None:
        """Tell the server that all is erased. Errors: as `error_of`, ServerUnreachable."""
        with _readable_failures(self._server_url):
            answer = self._client.post(f"/v1/orgs/{self._organization}/wiped", timeout=CONFIRM_SECONDS)
        if answer.status_code != httpx.codes.NO_CONTENT:
            raise _refusal(answer)


def request_id(request: httpx.Request) -> str:
    """The id by which an administrator finds a request in logs and traces (`satchel trace ID`)."""
    return request.headers["traceparent"].split("-")[1]


def _refusal(answer: httpx.Response) -> SatchelError:
    error = error_of(answer.status_code, answer.content)
    error.facts["request"] = request_id(answer.request)
    return error


def _add_trace(request: httpx.Request) -> None:
    """Give each request an id: the time in milliseconds, then random. Source: W3C Trace Context, section 3.2."""
    moment = (time.time_ns() // 1_000_000) & (2**48 - 1)
    request.headers["traceparent"] = f"00-{moment:012x}{secrets.token_hex(10)}-{secrets.token_hex(8)}-01"


def interrupt(answer: httpx.Response) -> None:
    """Make the reading of an answer fail at once, in whatever thread it goes on."""
    stream = answer.extensions.get("network_stream")
    connected = stream.get_extra_info("socket") if stream is not None else None
    if connected is not None:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)


def error_of(status: int, body: bytes) -> SatchelError:
    """A refusal as an error: its class by its code, else by its status. Source: RFC 9457."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(title=f"The server answers with status {status}.", status=status)
    known = _CLASS_BY_CODE.get(problem.code)
    if known is not None and issubclass(known, errors.RetryLater):
        return known(problem.title, hint=problem.hint, wait_seconds=problem.retry_after_seconds or 0.0)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.TOO_MANY_REQUESTS:
        return ServerUnreachable(problem.title, hint=problem.hint, wait_seconds=problem.retry_after_seconds or 0.0)
    if known is not None:
        return known(problem.title, hint=problem.hint)
    if status in {401, 403}:
        return TokenInvalid(problem.title, hint=problem.hint)
    return RequestInvalid(
        f"{problem.title} Is this the sync endpoint?", hint=problem.hint or "Ask your administrator for a new link."
    )


def _client(server_url: str, ca_pem: str | None, token: str | None = None) -> httpx.Client:
    context = ssl.create_default_context(cadata=ca_pem)
    headers = {"Content-Type": "application/json", "Accept-Encoding": "zstd", "Accept": _ACCEPT}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    hooks = {"request": [_add_trace]}
    return httpx.Client(
        base_url=server_url, verify=context, headers=headers, timeout=timeout, trust_env=False, event_hooks=hooks
    )


@contextmanager
def _readable_failures(server_url: str, untrusted: type[SatchelError] = ServerUnreachable) -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise untrusted(
                f"What answers for {server_url} has a certificate that this device does not trust; nothing was sent.",
                hint="Try another network: this one stands in between. If that does not help, your administrator"
                " can give you a new enrolment link.",
            ) from error
        unreachable = ServerUnreachable(f"{server_url} does not answer: {type(error).__name__}.")
        with suppress(RuntimeError, KeyError):  # it never became a request
            unreachable.facts["request"] = request_id(error.request)
        raise unreachable from error
