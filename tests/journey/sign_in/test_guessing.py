"""Whoever guesses codes or names of organizations learns nothing and has to wait; who sits beside them does not."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from satchel.errors import EnrolmentRefused, TooManyAttempts
from satchel.http.patience import REFUSALS_AT_ORGANIZATION
from tests.support.processes import Sandbox, Satchel

pytestmark = pytest.mark.node
WRONG = "AAAA-AAAA-AAAA-AAAA-AAAA"
From = Callable[[str], httpx.Client]


@pytest.fixture
def client(running: Satchel) -> Iterator[From]:
    """A client at an address of its own."""
    with ExitStack() as stack:

        def at(address: str) -> httpx.Client:
            transport = httpx.HTTPTransport(
                verify=ssl.create_default_context(cafile=str(running.folder / "tls" / "ca.pem")), local_address=address
            )
            base = f"https://127.0.0.1:{running.sync_port}/v1/orgs"
            return stack.enter_context(httpx.Client(base_url=base, transport=transport))

        yield at


def enroll(client: httpx.Client, code: str, organization: str = "contoso") -> httpx.Response:
    return client.post(f"/{organization}/enroll", json={"code": code, "device_name": "x"})


def test_a_wrong_code_and_an_unknown_organization_have_one_answer(client: From) -> None:
    guessing = client("127.0.0.7")
    answers = [enroll(guessing, WRONG, name) for name in ("contoso", "nobody", "con'toso--", "x" * 200)]
    assert {(each.status_code, each.content) for each in answers} == {(403, answers[0].content)}
    assert answers[0].json()["code"] == EnrolmentRefused.code


def test_who_guesses_waits_and_who_sits_beside_does_not(client: From, running: Satchel, source: Sandbox) -> None:
    guessing, beside = client("127.0.0.8"), client("127.0.0.9")
    code = parse_qs(urlsplit(running.invite(source.users[0]["id"])).fragment)["code"][0]
    answers = [enroll(guessing, WRONG).status_code]
    while answers[-1] != 429 and len(answers) < 200:  # while that goes on, some are forgiven
        answers.append(enroll(guessing, WRONG).status_code)

    refused = enroll(guessing, code)  # a right one is not looked at either

    assert len(answers) > REFUSALS_AT_ORGANIZATION.at_once
    assert set(answers[:-1]) == {403}
    assert (refused.status_code, refused.json().get("code")) == (429, TooManyAttempts.code)
    assert int(refused.headers["retry-after"]) >= 1
    assert guessing.get("/contoso/sign-in").status_code == 429
    assert enroll(beside, code).status_code == 200


def test_tokens_are_tried_only_so_often(client: From) -> None:
    trying = client("127.0.0.10")
    headers = {"Authorization": "Bearer no.token.at-all"}
    tries = [trying.post("/contoso/sign-in", json={"device_name": "x"}, headers=headers).status_code for _ in range(80)]
    assert set(tries[: REFUSALS_AT_ORGANIZATION.at_once]) == {401}
    assert 429 in tries[REFUSALS_AT_ORGANIZATION.at_once :]
