"""Sessions end by themselves, links count once, and nothing that is kept opens anything."""

from __future__ import annotations

import asyncio

from satchel.database.pool import Database
from satchel.identity.sign_in import PROVISION, READ, Caller
from satchel.provisioning.console import ConsoleSessions, Lifetimes

GRACE = Caller("grace", frozenset({READ, PROVISION}))
LONG = Lifetimes(3600, 3600, 3600)


async def test_a_link_counts_once_even_for_two_at_once(control: Database) -> None:
    sessions = ConsoleSessions(control, LONG)
    code = await sessions.make_link(60)
    assert sorted(await asyncio.gather(*(sessions.use_link(code) for _ in range(4)))) == [False, False, False, True]
    late = await sessions.make_link(0)
    assert not await sessions.use_link(late)
    assert not await sessions.use_link("made up")


async def test_a_session_is_found_by_its_token_until_it_ends(control: Database) -> None:
    sessions = ConsoleSessions(control, LONG)
    token = await sessions.begin(GRACE, proof_seconds=60)
    found = await sessions.find(token)
    assert found is not None
    assert (found.caller, found.must_be_proved) == (GRACE, False)
    assert await sessions.find(token + "x") is None
    await sessions.end(found)
    assert await sessions.find(token) is None


async def test_a_session_lives_only_so_long(control: Database) -> None:
    for lifetimes in (Lifetimes(0, 3600, 60), Lifetimes(3600, 0, 60)):
        sessions = ConsoleSessions(control, lifetimes)
        assert await sessions.find(await sessions.begin(GRACE, proof_seconds=60)) is None
    await ConsoleSessions(control, LONG).begin(GRACE, proof_seconds=60)  # tidies
    rows = await control.fetch("select count(*) from satchel.console_session where expires_at < now()")
    assert rows[0][0] == 0


async def test_one_of_several_requests_proves_a_session_anew(control: Database) -> None:
    sessions = ConsoleSessions(control, LONG)
    token = await sessions.begin(GRACE, proof_seconds=0, sealed_refresh=b"sealed")
    found = await sessions.find(token)
    assert found is not None
    assert (found.must_be_proved, found.sealed_refresh) == (True, b"sealed")
    assert sorted(await asyncio.gather(*(sessions.claim(found) for _ in range(4)))) == [False, False, False, True]
    await sessions.note_proved(found, Caller("grace", frozenset({READ})), b"next")
    again = await sessions.find(token)
    assert again is not None
    assert (again.caller.permissions, again.must_be_proved, again.sealed_refresh) == ({READ}, False, b"next")


async def test_what_is_kept_is_neither_token_nor_code(control: Database) -> None:
    sessions = ConsoleSessions(control, LONG)
    token, code = await sessions.begin(GRACE, proof_seconds=60), await sessions.make_link(60)
    kept = await control.fetch("select row_to_json(s)::text from satchel.console_session s union all"
                               " select row_to_json(l)::text from satchel.console_link l")  # fmt: skip
    text = str(kept)
    for secret in (token, code):
        assert secret not in text
        assert secret.encode().hex() not in text
