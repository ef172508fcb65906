"""Sources are checked before they are used; Dataverse tells more of its metadata than CSDL does."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from satchel.errors import SourceMisconfigured, SourceUnreachable
from satchel.identity.certificates import ensure_server_certificate
from satchel.model.changes import Source
from satchel.model.metadata import AttributeType, Entity, Option
from satchel.source import Connection, open_source
from tests.unit.source.fake_service import Asked, FakeService, Hours, Reply, fake_service
from tests.unit.source.samples import DATAVERSE

API = "/api/data/v9.2/"


def label(text: str) -> dict[str, Any]:
    return {"LocalizedLabels": [], "UserLocalizedLabel": {"Label": text, "LanguageCode": 1033}}


def attribute(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "LogicalName": name,
        "AttributeType": kind,
        "IsValidForCreate": True,
        "IsValidForUpdate": True,
        "RequiredLevel": {"Value": "None"},
        "DisplayName": label(name.title()),
        **more,
    }


DEFINITIONS = {
    "WhoAmI": {"UserId": "AA-BB", "BusinessUnitId": "1", "OrganizationId": "2"},
    "RetrieveVersion()": {"Version": "9.2.26"},
    "EntityDefinitions": {
        "value": [
            {
                "LogicalName": "account",
                "EntitySetName": "accounts",
                "PrimaryIdAttribute": "accountid",
                "PrimaryNameAttribute": "name",
                "OwnershipType": "UserOwned",
                "ChangeTrackingEnabled": True,
                "DisplayName": label("Account"),
            }
        ]
    },
    "EntityDefinitions(LogicalName='account')/Attributes": {
        "value": [
            attribute("accountid", "Uniqueidentifier", IsValidForUpdate=False),
            attribute("name", "String", RequiredLevel={"Value": "ApplicationRequired"}),
            attribute("industrycode", "Picklist"),
            attribute("revenue", "Money"),
            attribute("description", "Memo"),
            attribute("modifiedon", "DateTime", IsValidForCreate=False, IsValidForUpdate=False),
        ]
    },
    "PicklistAttributeMetadata": {
        "value": [
            {
                "LogicalName": "industrycode",
                "OptionSet": {"Options": [{"Value": 1, "Label": label("Accounting")}, {"Value": 2, "Label": None}]},
                "GlobalOptionSet": None,
            }
        ]
    },
    "MoneyAttributeMetadata": {
        "value": [
            {
                "LogicalName": "revenue",
                "Precision": 2,
                "PrecisionSource": 2,
                "MinValue": -922337203685477.0,
                "MaxValue": 922337203685477.0,
            }
        ]
    },
    "StringAttributeMetadata": {"value": [{"LogicalName": "name", "MaxLength": 160}]},
    "MemoAttributeMetadata": {"value": [{"LogicalName": "description", "MaxLength": 2000}]},
}


def dataverse_of(asked: Asked) -> Reply:
    """A tiny organization."""
    path = asked.path.removeprefix(API)
    if path == "$metadata":
        return Reply(DATAVERSE.encode(), headers={"content-type": "application/xml"})
    body = DEFINITIONS.get(path) or DEFINITIONS.get(path.rpartition("Microsoft.Dynamics.CRM.")[2])
    return Reply(body) if body else Reply(status=404)


@pytest.fixture
async def dataverse(service: FakeService, hours: Hours) -> AsyncIterator[Source]:
    service.respond = dataverse_of
    source = open_source(Connection(kind="dataverse", url=service.root), hours.pace())
    yield source
    await source.aclose()


@pytest.fixture
async def account(dataverse: Source) -> Entity:
    (found,) = (await dataverse.metadata(frozenset({"account", "nonesuch"}))).entities
    return found


async def checked(kind: Any, url: str, hours: Hours, ca_file: str | None = None) -> Any:
    source = open_source(Connection(kind=kind, url=url, ca_file=ca_file), hours.pace())
    try:
        return await source.check()
    finally:
        await source.aclose()


async def test_dataverse_says_who_we_are(dataverse: Source) -> None:
    info = await dataverse.check()
    assert (info.kind, info.description, info.user_id) == ("dataverse", "Dataverse 9.2.26", "aa-bb")


async def test_all_entities_come_without_details(dataverse: Source, service: FakeService) -> None:
    (found,) = (await dataverse.metadata()).entities
    assert found.attribute_by_name["industrycode"].type is AttributeType.INTEGER
    assert len(service.asked) == 2


def test_choice_has_its_options(account: Entity) -> None:
    industry = account.attribute_by_name["industrycode"]
    assert industry.type is AttributeType.CHOICE
    assert industry.options == (Option(1, "Accounting"), Option(2, ""))


def test_money_of_the_currencys_precision_keeps_four_digits(account: Entity) -> None:
    revenue = account.attribute_by_name["revenue"]
    assert (revenue.type, revenue.scale, revenue.precision) == (AttributeType.MONEY, 4, 19)
    assert revenue.maximum == "922337203685477"


def test_text_has_its_length_and_kind(account: Entity) -> None:
    assert account.attribute_by_name["name"].max_length == 160
    assert account.attribute_by_name["description"].type is AttributeType.MEMO


def test_attribute_says_who_may_write_it(account: Entity) -> None:
    assert account.attribute_by_name["name"].is_required
    assert not account.attribute_by_name["modifiedon"].is_creatable
    assert not account.attribute_by_name["accountid"].is_updatable


def test_entity_and_attribute_have_labels(account: Entity) -> None:
    assert (account.label, account.attribute_by_name["name"].label) == ("Account", "Name")


@pytest.mark.parametrize("kind", ["dataverse", "odata"])
async def test_wrong_path_is_said_plainly(service: FakeService, hours: Hours, kind: str) -> None:
    with pytest.raises(SourceMisconfigured, match="at this address") as caught:
        await checked(kind, service.root, hours)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["dataverse", "odata"])
async def test_web_page_is_no_source(service: FakeService, hours: Hours, kind: str) -> None:
    service.script(Reply(b"<html>Welcome</html>"))
    with pytest.raises(SourceMisconfigured, match="at this address"):
        await checked(kind, service.root, hours)


async def test_odata_v2_is_said_plainly(service: FakeService, hours: Hours) -> None:
    service.script(Reply(b"<service/>", headers={"DataServiceVersion": "2.0"}))
    with pytest.raises(SourceMisconfigured, match="v2"):
        await checked("odata", service.root, hours)


async def test_unknown_host_is_said_plainly(hours: Hours) -> None:
    with pytest.raises(SourceMisconfigured, match=r"no host named nonesuch\.invalid"):
        await checked("odata", "https://nonesuch.invalid/", hours)


async def test_source_that_is_down_is_unreachable_not_wrong(hours: Hours) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(SourceUnreachable):
        await checked("dataverse", f"http://127.0.0.1:{port}", hours)


async def test_plain_http_at_a_tls_port_is_no_hang(service: FakeService, hours: Hours) -> None:
    with pytest.raises(SourceUnreachable, match="TLS"):
        await checked("odata", service.root.replace("http:", "https:"), hours)


async def test_certificate_authority_must_be_known(tmp_path: Path, hours: Hours) -> None:
    certificate = ensure_server_certificate(tmp_path, [])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    with fake_service(context) as secure:
        secure.script(Reply({"@odata.context": "$metadata", "value": []}))
        url = secure.root.replace("http:", "https:")
        with pytest.raises(SourceMisconfigured, match=r"certificate of 127\.0\.0\.1 is not trusted"):
            await checked("odata", url, hours)
        assert (await checked("odata", url, hours, ca_file=str(certificate.ca_file))).kind == "odata"


async def test_right_service_is_described(service: FakeService, hours: Hours) -> None:
    service.script(
        Reply(
            {"@odata.context": "$metadata", "value": [{"name": "Books", "url": "Books"}]},
            headers={"OData-Version": "4.0"},
        )
    )
    assert (await checked("odata", service.root, hours)).description == "OData 4.0 with 1 entity sets"
