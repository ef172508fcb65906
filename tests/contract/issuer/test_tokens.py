"""Tokens against a certified provider: its own pass, and whatever is forged, stale or meant for others does not."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey, import_key

from satchel.errors import IssuerUnreachable, NotEntitled, SignInRefused, TokenInvalid
from satchel.identity.issuer import FRESH_SECONDS, UNKNOWN_KEY_SECONDS, Issuer
from satchel.identity.sign_in import PERMISSIONS, PROVISION, READ, SignIn
from satchel.settings.schema import SignIn as Settings
from tests.contract.issuer.fixture import TENANT, RunningIssuer, running_issuer
from tests.support.processes import free_port

pytestmark = pytest.mark.node
AUDIENCE = "api://satchel"
OTHER_TENANT = "99999999-2222-3333-4444-555555555555"
SERVICES = {"erp": {"secret": "erp-secret", "scope": f"{READ} {PROVISION} profile.other"}}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    with running_issuer(tmp_path_factory.mktemp("issuer"), audience=AUDIENCE, services=SERVICES) as running:
        yield running


def rules(url: str, issuer: Issuer | None = None, **changes: Any) -> SignIn:
    settings = {"issuer": url, "device_client_id": "satchel-device", "audience": AUDIENCE, "tenants": TENANT}
    return SignIn(Settings(**(settings | {"administrators": "Satchel.Administrator, group-1"} | changes)), issuer)


def claims(url: str, **changes: Any) -> dict[str, Any]:
    """What a user's access token says; None leaves a claim out."""
    now = int(time.time())
    usual = {"iss": url, "aud": AUDIENCE, "sub": "ann", "oid": "oid-ann", "tid": TENANT, "azp": "satchel-device"}
    all_of_it = usual | {"iat": now, "nbf": now, "exp": now + 300, "scp": "access"} | changes
    return {name: value for name, value in all_of_it.items() if value is not None}


def made(issuer: RunningIssuer, head: dict[str, Any] | None = None, key: Any = None, **changes: Any) -> str:
    """A token signed with the issuer's real key, unless told otherwise."""
    real = issuer.control("keys")[0]
    signed_with = key or import_key({name: value for name, value in real.items() if name not in {"use", "alg"}})
    return jwt.encode({"alg": "RS256", "kid": real["kid"]} | (head or {}), claims(issuer.url, **changes), signed_with)


def _with_hmac(issuer: RunningIssuer, secret: bytes) -> str:
    signed = f"{_part({'alg': 'HS256', 'kid': issuer.control('keys')[0]['kid']})}.{_part(claims(issuer.url))}"
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


async def test_the_issuers_own_token_tells_who_the_user_is(issuer: RunningIssuer) -> None:
    user = await rules(issuer.url).user(made(issuer))

    assert (user.issuer, user.subject, user.value) == (issuer.url, "ann", "oid-ann")


LONG_AGO, FAR_AHEAD = 1_600_000_000, 4_000_000_000
"""Seconds since 1970. Fixed, so that the cases have the same names in every process."""


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": LONG_AGO},
        {"exp": None},
        {"exp": "tomorrow"},
        {"nbf": FAR_AHEAD},
        {"iat": FAR_AHEAD},
        {"aud": "api://another"},
        {"aud": None},
        {"aud": []},
        {"aud": [AUDIENCE, "api://another"], "azp": None},
        {"iss": "https://login.example.com/v2.0"},
        {"iss": None},
        {"iss": ["x"]},
        {"sub": None},
        {"sub": ""},
        {"azp": "another-application"},
        {"tid": OTHER_TENANT},
        {"tid": None},
        {"filler": "x" * 40_000},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
async def test_a_signed_token_that_is_not_for_us_is_refused(issuer: RunningIssuer, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenInvalid) as refused:
        await rules(issuer.url).user(made(issuer, **changes))
    assert "ann" not in refused.value.message
    assert "eyJ" not in refused.value.message


async def test_clocks_may_differ_a_little(issuer: RunningIssuer) -> None:
    now = int(time.time())
    for changes in ({"exp": now - 30}, {"nbf": now + 30}):
        assert (await rules(issuer.url).user(made(issuer, **changes))).subject == "ann"
        with pytest.raises(TokenInvalid):
            await rules(issuer.url, clock_skew_seconds=0.0).user(made(issuer, **changes))


async def test_a_token_signed_by_others_is_refused(issuer: RunningIssuer) -> None:
    real = issuer.control("keys")[0]
    public = import_key({name: real[name] for name in ("kty", "n", "e")})
    stranger = RSAKey.generate_key(2048)
    pem = public.as_pem(private=False)
    good = made(issuer)
    unsigned = f"{_part({'alg': 'none'})}.{_part(claims(issuer.url))}."
    named = f"{_part({'alg': 'none', 'kid': real['kid']})}.{_part(claims(issuer.url))}.{good.split('.')[2]}"
    forged = [
        made(issuer, key=stranger),
        made(issuer, {"kid": "unknown"}, stranger),
        made(issuer, {"jwk": stranger.as_dict(private=False)}, stranger),
        _with_hmac(issuer, pem),  # the public key as a shared secret
        _with_hmac(issuer, pem.strip()),
        _with_hmac(issuer, json.dumps({name: real[name] for name in ("kty", "n", "e")}).encode()),
        unsigned,
        named,
        good.rsplit(".", 1)[0] + ".",
        good[:-8] + "AAAAAAAA",
        ".".join([good.split(".")[0], made(issuer, oid="oid-bob").split(".")[1], good.split(".")[2]]),
        "", "a.b", "a.b.c", "é.é.é", "satd_" + "x" * 43, "x" * 100_000, good + "." + good,
    ]  # fmt: skip
    for token in forged:
        for ask in (rules(issuer.url).user, rules(issuer.url).caller):
            with pytest.raises(TokenInvalid):
                await ask(token)


async def test_a_user_is_known_by_the_configured_claim(issuer: RunningIssuer) -> None:
    by_mail = rules(issuer.url, user_claim="email", user_attribute="internalemailaddress")

    user = await by_mail.user(made(issuer, email="Ann@contoso.example", email_verified=True))
    assert (user.attribute, user.value) == ("internalemailaddress", "Ann@contoso.example")
    for changes in ({"email": "ann@contoso.example"}, {"email": "a@b.example", "email_verified": [1]}, {}):
        with pytest.raises(SignInRefused):
            await by_mail.user(made(issuer, **changes))


async def test_without_an_audience_of_our_own_id_tokens_count_and_nobody_manages(issuer: RunningIssuer) -> None:
    by_id = rules(issuer.url, audience="")

    assert (await by_id.user(made(issuer, aud="satchel-device", azp=None))).value == "oid-ann"
    with pytest.raises(TokenInvalid):
        await by_id.user(made(issuer))
    with pytest.raises(TokenInvalid):
        await by_id.caller(made(issuer, aud="satchel-device", roles=["Satchel.Administrator"]))


async def test_services_have_their_scopes_and_people_only_roles(issuer: RunningIssuer) -> None:
    ours = rules(issuer.url)

    erp = await ours.caller(issuer.service_token("erp", "erp-secret", f"{READ} {PROVISION}"))
    assert (erp.name, erp.permissions) == ("erp", {READ, PROVISION})
    assert (await ours.caller(issuer.service_token("erp", "erp-secret", READ))).permissions == {READ}
    entra = made(issuer, sub="app", oid="app", azp="app", scp=None, idtyp="app", roles=[READ])
    assert (await ours.caller(entra)).permissions == {READ}
    for changes in ({"roles": ["Satchel.Administrator"]}, {"groups": ["group-1"]}):
        assert (await ours.caller(made(issuer, **changes))).permissions == PERMISSIONS
    for changes in ({}, {"roles": [READ]}, {"scp": f"access {PROVISION}"}, {"scope": PROVISION}, {"groups": "group-2"}):
        with pytest.raises(NotEntitled):
            await ours.caller(made(issuer, **changes))
    with pytest.raises(TokenInvalid):  # it was not given to the devices' application
        await ours.user(issuer.service_token("erp", "erp-secret", READ))


async def test_keys_are_rotated_and_withdrawn_and_an_issuer_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    clock = [1000.0]
    with running_issuer(tmp_path, audience=AUDIENCE) as running:
        url = running.url
        ours = rules(url, Issuer(url, monotonic=lambda: clock[0]))
        old = made(running)
        assert (await ours.user(old)).subject == "ann"
        running.control("rotate")
        new = made(running)
        with pytest.raises(TokenInvalid):  # keys were fetched just now: made-up names must not cause fetches
            await ours.user(new)
        clock[0] += UNKNOWN_KEY_SECONDS
        assert (await ours.user(new)).subject == "ann"
        assert (await ours.user(old)).subject == "ann"
        running.control("rotate", keep=False)
        newest = made(running)
        clock[0] += FRESH_SECONDS
        assert (await ours.user(newest)).subject == "ann"
        with pytest.raises(TokenInvalid):
            await ours.user(new)

    clock[0] += 10 * FRESH_SECONDS
    assert (await ours.user(newest)).subject == "ann"
    with pytest.raises(IssuerUnreachable):
        await rules(url).user(newest)


async def test_an_issuer_that_says_it_is_another_is_not_believed(tmp_path: Path) -> None:
    port = free_port()
    with running_issuer(tmp_path, port=port) as running:
        elsewhere = running.url.replace("127.0.0.1", "localhost")
        with pytest.raises(IssuerUnreachable, match="another issuer"):
            await rules(elsewhere).user(made(running))
