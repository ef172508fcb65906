"""A sample organization, an issuer with people of it, and a Satchel set up as the page on signing in says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from satchel.identity.sign_in import PROVISION, READ
from tests.contract.issuer.fixture import TENANT, RunningIssuer, running_issuer
from tests.support.processes import Sandbox, Satchel, sandbox, satchel

OTHER_TENANT = "99999999-2222-3333-4444-555555555555"
TOKEN_HOURS = 0.002
"""7.2 seconds: long enough for a sync, short enough to see it end."""


@pytest.fixture(scope="package")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sandbox(tmp_path_factory.mktemp("source"), 1000) as running:
        yield running


@pytest.fixture(scope="package")
def issuer(tmp_path_factory: pytest.TempPathFactory, source: Sandbox) -> Iterator[RunningIssuer]:
    people = [each["azureactivedirectoryobjectid"] for each in source.users[:2]]
    accounts: dict[str, Any] = {
        name: {"oid": oid.upper(), "tid": TENANT, "name": name}
        for name, oid in zip(("ann", "bob"), people, strict=True)
    }
    accounts["eve"] = {"oid": "00000000-0000-0000-0000-00000000000e", "tid": TENANT}
    accounts["admin"] = {"oid": people[0], "tid": TENANT, "roles": ["Satchel.Administrator"]}
    # Another customer's administrator can give their own users any name, and most claims any value.
    accounts["mallory"] = {**accounts["ann"], "tid": OTHER_TENANT, "roles": ["Satchel.Administrator"]}
    services = {"erp": {"secret": "erp-secret", "scope": f"{READ} {PROVISION}"}}
    folder = tmp_path_factory.mktemp("issuer")
    with running_issuer(folder, accounts=accounts, services=services) as running:
        yield running


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory, source: Sandbox, issuer: RunningIssuer) -> Iterator[Satchel]:
    folder = tmp_path_factory.mktemp("satchel") / "data"
    folder.mkdir()
    (folder / "satchel.toml").write_text(documented(issuer.url))
    settings = {
        "SATCHEL_SIGN_IN__DEVICE_TOKEN_HOURS": str(TOKEN_HOURS),
        "SATCHEL_SIGN_IN__TENANTS": f"{TENANT}, {OTHER_TENANT}",
        "SATCHEL_SIGN_IN__MANAGEMENT_TENANTS": TENANT,
    }
    with satchel(folder, **settings) as started:
        started.add(source)
        started.run("org", "tenants", "contoso", TENANT)
        yield started


def documented(url: str) -> str:
    """The settings of the page on signing in, with the ids of this issuer."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "how-to" / "sign-in-with-entra-id.md").read_text()
    text = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    for word, value in (
        ("https://login.microsoftonline.com/TENANT/v2.0", url),
        ("TENANT", TENANT),
        ("DEVICE-APPLICATION", "satchel-device"),
        ("api://SATCHEL-APPLICATION/access", "access"),
        ("SATCHEL-APPLICATION", "api://satchel"),
    ):
        assert word in text
        text = text.replace(word, value)
    return str(text)


@pytest.fixture(scope="package")
def link(running: Satchel) -> str:
    return str(running.json("org", "invite", "contoso", "--sign-in")["link"])
