"""Signing out ends what a token is worth at once; a device that is to be wiped hears of it there too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from litestar.testing import RequestFactory

from satchel.database.pool import Database
from satchel.errors import NotEntitled, SignInNeeded, TokenInvalid, WipeOrdered
from satchel.http.auth import admit
from satchel.http.sign_in import SignInController, SignInServing
from satchel.provisioning.devices import Devices, SignedIn
from satchel.provisioning.organizations import Organizations

INSERT = """
insert into satchel.organization (name, source_kind, source_url, connection, database_name, state)
values ('contoso', 'odata', 'https://x.example', '', 'd', 'active')
"""


async def sign_out(devices: Devices, token: str, organization: str = "contoso") -> None:
    request = RequestFactory().post("/", headers={"Authorization": f"Bearer {token}"})
    serving = SignInServing(sign_in=None, devices=devices, served=cast(Any, None))
    await SignInController.sign_out.fn(None, organization=organization, request=request, signing_in=serving)


async def test_a_token_counts_no_more_and_a_wipe_is_told(control: Database) -> None:
    await control.fetch(INSERT)
    devices, contoso = Devices(control), await Organizations(control).get("contoso")
    device, token = await devices.sign_in("contoso", "u", "Ann", "phone", SignedIn("https://i.example", "s", 3600))
    admit(device, "contoso", datetime.now(UTC))
    with pytest.raises(NotEntitled):
        await sign_out(devices, token, "fabrikam")

    for _ in range(2):
        await sign_out(devices, token)
        with pytest.raises(SignInNeeded):
            admit(await devices.by_token(token), "contoso", datetime.now(UTC))

    await devices.block(contoso, device.id, is_blocked=True)
    await sign_out(devices, token)  # a block erases nothing
    await devices.wipe(contoso, device.id)
    with pytest.raises(WipeOrdered):
        await sign_out(devices, token)
    [row] = await devices.of_organization(contoso)
    assert row.wipe_told_at is not None
    with pytest.raises(TokenInvalid):
        await sign_out(devices, token + "x")
