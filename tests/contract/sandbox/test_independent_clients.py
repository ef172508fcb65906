"""Clients that others wrote for Dataverse work with the sample organization as they would with Dataverse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.credentials import AccessToken
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.models.filters import col

from satchel.identity.certificates import ensure_server_certificate
from tests.contract.sandbox.node_client import check
from tests.support.processes import Sandbox, sandbox


@pytest.mark.node
def test_dynamics_web_api(tmp_path: Path) -> None:
    with sandbox(tmp_path, 1000) as source:
        found = check(source.url, source.token(), source.users[0]["azureactivedirectoryobjectid"])

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
    assert found["notModified"] == 304
    assert {"account", "contact", "incident", "task"} <= set(found["entities"])
    assert found["entity"] == ["contact", "UserOwned", True]
    assert found["attributes"] is True
    everybodys, users_own, caller = found["impersonated"]
    assert 0 < users_own < everybodys
    assert caller not in {None, found["who"]["UserId"]}
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


def test_powerplatform_queries_are_built_and_paged(client: DataverseClient) -> None:
    wanted = client.query.builder("account").select("name", "creditlimit", "statecode")
    wanted = wanted.where((col("statecode") == 0) & (col("creditlimit") > 1000))
    wanted = wanted.order_by("creditlimit", descending=True)
    records = [record for page in wanted.page_size(10).execute_pages() for record in page]
    limits = [record["creditlimit"] for record in records]
    assert len(records) > 10
    assert limits == sorted(limits, reverse=True)
    assert min(limits) > 1000
    assert {record["statecode"] for record in records} == {0}

    some = "contains(name,'a') or name eq 'O''Hara'"
    assert len(list(client.records.list("account", filter=some, top=3, expand=["createdby"]))) == 3


def test_powerplatform_tables_are_listed(client: DataverseClient) -> None:
    tables = client.tables.list(filter="LogicalName eq 'contact' or LogicalName eq 'task'", select=["LogicalName"])
    assert {table["LogicalName"] for table in tables} == {"contact", "task"}
    assert len(client.tables.list()) > 10


def test_powerplatform_tables_are_described(client: DataverseClient) -> None:
    columns = client.tables.list_columns("contact", select=["LogicalName", "AttributeType"])
    assert {"parentcustomerid": "Customer", "creditlimit": "Money"}.items() <= {
        column["LogicalName"]: column["AttributeType"] for column in columns
    }.items()
    texts = client.tables.list_columns("contact", filter="AttributeType eq 'String'")
    assert {column["AttributeType"] for column in texts} == {"String"}
    relationships = client.tables.list_table_relationships("contact")
    ends = {(one["ReferencingEntity"], one["ReferencingAttribute"], one["ReferencedEntity"]) for one in relationships}
    assert {("contact", "parentcustomerid", "account"), ("account", "primarycontactid", "contact")} <= ends
    assert client.tables.get("nosuchtable") is None


def test_powerplatform_change_sets_are_all_or_nothing(client: DataverseClient) -> None:
    good = client.batch.new()
    with good.changeset() as changes:
        contact = changes.records.create("contact", {"lastname": "Batch"})
        account = changes.records.create("account", {"name": "Good", "primarycontactid@odata.bind": contact})
        changes.records.update("account", account, {"creditlimit": 5})
    done = good.execute()
    assert [one.status_code for one in done.responses] == [204, 204, 204]
    named = client.records.list("account", filter="name eq 'Good'", select=["creditlimit", "_primarycontactid_value"])
    assert [(record["creditlimit"], record["_primarycontactid_value"]) for record in named] == [(5, done.entity_ids[0])]

    bad = client.batch.new()
    with bad.changeset() as changes:
        changes.records.create("account", {"name": "Bad"})
        changes.records.create("account", {"nosuchcolumn": 1})
    assert [one.status_code for one in bad.execute().failed] == [400]
    assert not client.records.list("account", filter="name eq 'Bad'", select=["name"])
