"""Clients that others wrote for Dataverse work with the sample organization as they would with Dataverse."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient

from satchel.identity.certificates import ensure_server_certificate
from tests.support.processes import Sandbox, sandbox

HERE = Path(__file__).parent
PLACE = HERE.parents[2] / ".node" / "sandbox"


def install() -> Path:
    """The npm packages, once; returns the folder the check runs in."""
    mark, wanted = PLACE / ".installed", (HERE / "package-lock.json").read_text()
    if not mark.exists() or mark.read_text() != wanted:
        PLACE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(HERE / name, PLACE / name)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=PLACE, check=True, timeout=300)
        mark.write_text(wanted)
    shutil.copyfile(HERE / "check.mjs", PLACE / "check.mjs")
    return PLACE


@pytest.mark.node
def test_dynamics_web_api(tmp_path: Path) -> None:
    folder = install()
    with sandbox(tmp_path, 1000) as source:
        arguments = [source.url, source.token(), source.users[0]["azureactivedirectoryobjectid"]]
        done = subprocess.run(
            ["node", "check.mjs", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)

    assert set(found["who"]) >= {"UserId", "BusinessUnitId", "OrganizationId"}
    assert found["pages"][:2] == [10, 10]
    assert found["names"] == sorted(found["names"], reverse=True)
    assert found["created"] == ["Made elsewhere", 94.5]
    assert found["lookup"] == ["Ann Kim", True, "account"]
    assert found["expanded"] == "Ann Kim"
    statuses = {name: found[name] for name in ("updated", "stale", "preventCreate", "preventUpdate", "upserted")}
    assert statuses == {"updated": 0, "stale": False, "preventCreate": None, "preventUpdate": None, "upserted": 0}
    assert found["kept"] == "B"
    assert sorted(found["delta"]) == ["Tracked", "deleted"]
    assert found["batch"] == 2
    assert found["batched"] == [True]
    assert found["failedBatch"] == [400]
    assert found["rolledBack"] == 0
    assert found["entity"] == ["contact", "UserOwned", True]
    assert found["attributes"] is True
    assert found["impersonated"] is True
    assert (found["deleted"], found["gone"]) == (0, 404)


class Credential:
    """What azure-identity would be: a token from the token endpoint."""

    def __init__(self, source: Sandbox, ca_file: Path) -> None:
        self._source, self._ca_file = source, ca_file

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Client credentials."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._source.client_id,
            "client_secret": self._source.client_secret,
            "scope": " ".join(scopes),
        }
        answer = requests.post(self._source.token_url, data=form, verify=str(self._ca_file), timeout=10).json()
        return AccessToken(answer["access_token"], int(time.time()) + answer["expires_in"])


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DataverseClient]:
    certificate = ensure_server_certificate(tmp_path / "tls", [])
    assert certificate.ca_file is not None
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.ca_file))
    tls = ["--tls-cert", str(certificate.cert_file), "--tls-key", str(certificate.key_file)]
    with (
        sandbox(tmp_path, 1000, *tls) as source,
        DataverseClient(source.url, Credential(source, certificate.ca_file)) as opened,
    ):
        yield opened


def test_powerplatform_dataverse_client(client: DataverseClient) -> None:
    key = client.records.create("account", {"name": "From Python", "creditlimit": 12.5})
    assert client.records.retrieve("account", key, select=["name", "creditlimit"])["creditlimit"] == 12.5

    client.records.update("account", key, {"name": "Changed"})
    named = client.records.list("account", select=["name"], filter="name eq 'Changed'")
    assert [record["name"] for record in named] == ["Changed"]

    pages = list(client.records.list_pages("contact", select=["fullname"], page_size=100))
    assert len(pages) > 2
    assert len({record["contactid"] for page in pages for record in page}) == sum(len(page) for page in pages)

    table = client.tables.get("contact")
    assert table is not None
    assert table["table_logical_name"] == "contact"
    client.records.delete("account", key)
    assert not client.records.list("account", select=["name"], filter="name eq 'Changed'")
