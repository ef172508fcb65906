"""Requests are repeated, paced and signed; what cannot be helped becomes an error a person understands."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from satchel.errors import DeltaLinkExpired, RequestRefused, SourceBusy, SourceMisconfigured, SourceUnreachable
from satchel.source import Connection
from satchel.source.answers import error_of, retry_after_seconds
from satchel.source.client import Client
from satchel.source.transport import Collect, unreachable
from tests.unit.source.fake_service import Asked, FakeService, Hours, Reply

OK = Reply({"value": []})
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
async def client(service: FakeService, hours: Hours) -> AsyncIterator[Client]:
    opened = Client(Connection(kind="odata", url=service.root), hours.pace())
    yield opened
    await opened.aclose()


@pytest.fixture
async def signed(service: FakeService, hours: Hours) -> AsyncIterator[Client]:
    connection = Connection(
        kind="odata", url=service.root, token_url=service.root + "token", client_id="me", client_secret="mine"
    )
    opened = Client(connection, hours.pace())
    yield opened
    await opened.aclose()


def tokens_and(service: FakeService, answer: Reply, lifetime_seconds: int = 3600) -> None:
    """Hand out tokens t1, t2, ... and answer everything else the same."""

    def respond(asked: Asked) -> Reply:
        if asked.path != "/token":
            return answer
        count = sum(a.path == "/token" for a in service.asked)
        return Reply({"access_token": f"t{count}", "expires_in": lifetime_seconds})

    service.respond = respond


async def test_failure_is_asked_again_with_growing_waits(client: Client, service: FakeService, hours: Hours) -> None:
    service.script(Reply(status=500), Reply(status=502), OK)
    assert (await client.get("Books")).status == 200
    assert hours.slept == [0.5, 1.0]


async def test_broken_connection_is_asked_again(client: Client, service: FakeService) -> None:
    service.script(Reply(is_dropped=True), OK)
    assert (await client.get("Books")).status == 200


async def test_source_that_stays_down_is_unreachable(client: Client, service: FakeService, hours: Hours) -> None:
    service.script(Reply(status=503))
    with pytest.raises(SourceUnreachable):
        await client.get("Books")
    assert 10 < sum(hours.slept) <= 30


async def test_retry_after_is_obeyed(client: Client, service: FakeService, hours: Hours) -> None:
    service.script(Reply(status=429, headers={"retry-after": "7"}), OK)
    await client.get("Books")
    assert sum(hours.slept) == 7


async def test_long_retry_after_becomes_the_work_items_wait(client: Client, service: FakeService, hours: Hours) -> None:
    service.script(Reply(status=429, headers={"retry-after": "120"}))
    with pytest.raises(SourceBusy) as caught:
        await client.get("Books")
    assert caught.value.wait_seconds == 120
    assert hours.slept == []


async def test_storm_of_push_backs_ends_in_patience(client: Client, service: FakeService, hours: Hours) -> None:
    service.script(Reply(status=429, headers={"retry-after": "10"}))
    with pytest.raises(SourceBusy):
        await client.get("Books")
    assert sum(hours.slept) <= 30


async def test_post_that_may_have_been_executed_is_not_repeated(client: Client, service: FakeService) -> None:
    from satchel.source.transport import Request

    service.script(Reply(status=500), OK)
    with pytest.raises(SourceUnreachable):
        await client.send(
            Request(url=service.root + "Books", method="POST", sink=Collect, content=b"{}", is_repeatable=False)
        )
    assert len(service.asked) == 1


async def test_token_is_asked_for_once_by_many(signed: Client, service: FakeService) -> None:
    tokens_and(service, OK)
    await asyncio.gather(*(signed.get("Books") for _ in range(6)))
    assert sum(a.path == "/token" for a in service.asked) == 1
    assert {a.headers["authorization"] for a in service.asked if a.path != "/token"} == {"Bearer t1"}


async def test_token_is_renewed_before_it_expires(signed: Client, service: FakeService, hours: Hours) -> None:
    tokens_and(service, OK, lifetime_seconds=3600)
    await signed.get("Books")
    hours.seconds += 3400
    await signed.get("Books")
    assert service.asked[-1].headers["authorization"] == "Bearer t2"


async def test_refused_token_is_renewed_once(signed: Client, service: FakeService) -> None:
    def respond(asked: Asked) -> Reply:
        if asked.path == "/token":
            return Reply({"access_token": f"t{len(service.asked)}", "expires_in": "3600"})
        return OK if asked.headers["authorization"] == "Bearer t3" else Reply(status=401)

    service.respond = respond
    assert (await signed.get("Books")).status == 200


async def test_sign_in_that_stays_refused_is_a_matter_of_configuration(signed: Client, service: FakeService) -> None:
    tokens_and(service, Reply(status=401))
    with pytest.raises(SourceMisconfigured):
        await signed.get("Books")


@pytest.mark.parametrize("status", [400, 401])
async def test_wrong_secret_is_said_plainly(signed: Client, service: FakeService, status: int) -> None:
    service.script(Reply({"error": "invalid_client", "error_description": "AADSTS7000215"}, status=status))
    with pytest.raises(SourceMisconfigured, match="client id or the secret is wrong"):
        await signed.get("Books")


async def test_token_url_that_is_none_is_said_plainly(signed: Client, service: FakeService) -> None:
    service.script(Reply(b"<html>", status=404))
    with pytest.raises(SourceMisconfigured, match="nothing at the token URL"):
        await signed.get("Books")


async def test_link_to_another_origin_is_refused(signed: Client, service: FakeService) -> None:
    tokens_and(service, OK)
    with pytest.raises(RequestRefused, match="leads to evil"):
        await signed.get("https://evil.example/steal")
    assert service.asked == []


async def test_redirection_is_not_followed(client: Client, service: FakeService) -> None:
    service.script(Reply(status=302, headers={"location": "https://evil.example/"}))
    with pytest.raises(SourceMisconfigured, match="redirection"):
        await client.get("Books")


def test_body_beyond_the_bound_is_refused() -> None:
    sink = Collect(max_bytes=10)
    sink.feed(b"12345678")
    with pytest.raises(RequestRefused, match="larger"):
        sink.feed(b"90123")


async def test_delta_link_stays_byte_for_byte(client: Client, service: FakeService) -> None:
    seen: list[str] = []
    service.respond = lambda asked: seen.append(asked.options["$deltatoken"]) or OK  # type: ignore[func-returns-value]
    await client.get(service.root + "accounts?$select=a,b&$deltatoken=919042%2108%2f22%2f2017%2008%3a10%3a44")
    assert seen == ["919042!08/22/2017 08:10:44"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"code": "0x80044352", "message": "Version stamp has expired."}}, DeltaLinkExpired),
        (410, {}, DeltaLinkExpired),
        (400, {"error": {"code": "0x0", "message": "no such property"}}, RequestRefused),
        (403, {"error": {"code": "0x80048306", "message": "prvReadAccount"}}, RequestRefused),
        (404, {}, RequestRefused),
        (501, {}, RequestRefused),
        (500, {}, SourceUnreachable),
        (429, {}, SourceBusy),
        (401, {}, SourceMisconfigured),
    ],
)
def test_status_becomes_an_error(status: int, body: object, kind: type[Exception]) -> None:
    assert type(error_of(status, {}, json.dumps(body).encode(), now=NOW)) is kind


def test_good_status_is_no_error() -> None:
    assert error_of(200, {}, b"", now=NOW) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("17", 17.0),
        (format_datetime(NOW.replace(minute=1), usegmt=True), 60.0),
        ("-5", 0.0),
        ("soon", None),
        ("nan", None),
        ("", None),
        ("1e9", 3600.0),
    ],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": text}, NOW) == seconds


def test_untrusted_certificate_is_a_matter_of_configuration() -> None:
    cause = ssl.SSLCertVerificationError("certificate verify failed")
    cause.verify_message = "self-signed certificate"
    error = httpx.ConnectError("tls")
    error.__cause__ = cause
    found = unreachable(error, "https://crm.example/")
    assert isinstance(found, SourceMisconfigured)
    assert "certificate of crm.example" in found.message


def test_missing_certificate_file_is_a_matter_of_configuration(hours: Hours, tmp_path: Path) -> None:
    connection = Connection(kind="odata", url="https://crm.example/", ca_file=str(tmp_path / "none.pem"))
    with pytest.raises(SourceMisconfigured):
        Client(connection, hours.pace())
