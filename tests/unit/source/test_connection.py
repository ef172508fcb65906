"""Addresses as people give them."""

from __future__ import annotations

import pytest

from satchel.errors import SourceMisconfigured
from satchel.source import Connection


@pytest.mark.parametrize(
    "url",
    [
        "https://contoso.crm.dynamics.com",
        "https://contoso.crm.dynamics.com/",
        " https://contoso.crm.dynamics.com/api/data/v9.2",
        "https://contoso.crm.dynamics.com/api/data/v9.2/",
        "https://contoso.crm.dynamics.com/main.aspx",
    ],
)
def test_organization_of_dataverse_leads_to_its_web_api(url: str) -> None:
    connection = Connection(kind="dataverse", url=url)
    assert connection.service_root == "https://contoso.crm.dynamics.com/api/data/v9.2/"
    assert connection.sign_in_scope == "https://contoso.crm.dynamics.com/.default"


def test_other_service_root_stays_as_given() -> None:
    assert Connection(kind="odata", url="https://x.example/odata/v4/shop").service_root.endswith("/odata/v4/shop/")


def test_tenant_stands_for_the_token_url_of_entra() -> None:
    connection = Connection(kind="dataverse", url="https://x.crm.dynamics.com", tenant="contoso.com", client_id="a")
    assert connection.sign_in_url == "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"


def test_client_id_without_a_place_to_sign_in_is_refused() -> None:
    with pytest.raises(SourceMisconfigured, match="no place to sign in"):
        _ = Connection(kind="dataverse", url="https://x.crm.dynamics.com", client_id="a").sign_in_url


@pytest.mark.parametrize("url", ["contoso.crm.dynamics.com", "ftp://x", "", "https://a:b@x.example/", "https://x/?a=1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(SourceMisconfigured):
        _ = Connection(kind="odata", url=url).service_root


def test_secret_goes_nowhere_in_clear_text() -> None:
    with pytest.raises(SourceMisconfigured, match="clear text"):
        Connection(
            kind="odata", url="http://x.example/", token_url="https://t.example/", client_secret="s"
        ).require_safe()


def test_secret_may_go_to_this_machine() -> None:
    Connection(
        kind="odata", url="http://127.0.0.1:1/", token_url="http://localhost:2/", client_secret="s"
    ).require_safe()


def test_secret_is_not_shown() -> None:
    assert "hush" not in repr(Connection(kind="odata", url="https://x.example/", client_secret="hush"))
