"""Tokens as Entra ID makes them, against documents of the shape it publishes, served over TLS with keys of our own.

Source: Microsoft identity platform, "OpenID Connect on the Microsoft identity platform" (the documents of `common`,
`organizations` and a tenant), "Access tokens" (validate the signing key's issuer), "Configure group claims" (overage).
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from satchel.errors import IssuerUnreachable, NotEntitled, SettingInvalid, SignInRefused, TokenInvalid
from satchel.identity.certificates import ensure_server_certificate
from satchel.identity.sign_in import PERMISSIONS, PROVISION, READ, SignIn
from satchel.settings.schema import SignIn as Settings

CONTOSO = "11111111-2222-3333-4444-555555555555"
FABRIKAM = "99999999-2222-3333-4444-555555555555"
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of personal Microsoft accounts, whose keys stand in the documents of `common` as well."""
DOMAIN = "contoso.onmicrosoft.com"
API, DEVICE, ERP = ("a0000000-0000-0000-0000-00000000000" + each for each in "123")
KEYS = {name: RSAKey.generate_key(2048, {"kid": name}) for name in ("shared", "personal", "fabrikams")}


class Entra:
    """What stands at the addresses of the identity platform."""

    def __init__(self, url: str, ca_file: str) -> None:
        self.url = url
        self.ca_file = ca_file

    def document(self, place: str) -> dict[str, Any]:
        """The metadata of `common`, `organizations` or a tenant."""
        tenant = {"common": "{tenantid}", "organizations": "{tenantid}", DOMAIN: CONTOSO}.get(place, place)
        address = f"{self.url}/{place}"
        return {
            "token_endpoint": f"{address}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{address}/discovery/v2.0/keys",
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": f"{self.url}/{tenant}/v2.0",
            "request_uri_parameter_supported": False,
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": f"{address}/oauth2/v2.0/authorize",
            "device_authorization_endpoint": f"{address}/oauth2/v2.0/devicecode",
            "http_logout_supported": True,
            "frontchannel_logout_supported": True,
            "end_session_endpoint": f"{address}/oauth2/v2.0/logout",
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "tid", "ver", "email", "name", "oid"],
            "kerberos_endpoint": f"{address}/kerberos",
            "tenant_region_scope": None,
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
            "rbac_url": "https://pas.windows.net",
        }

    def keys(self) -> dict[str, Any]:
        """The key set: without `alg`, with certificates, and with the issuer that each key may sign for."""
        owners = {"shared": "{tenantid}", "personal": PERSONAL, "fabrikams": FABRIKAM}
        found = []
        for name, owner in owners.items():
            public = KEYS[name].as_dict(private=False)
            more = {
                "use": "sig",
                "x5t": name,
                "x5c": ["MIIC/TCCAeWgAwIBAgI"],
                "cloud_instance_name": "microsoftonline.com",
            }
            found.append(public | more | {"issuer": f"{self.url}/{owner}/v2.0"})
        return {"keys": found}

    def token(self, key: str = "shared", **changes: Any) -> str:
        """An access token (v2.0) of a user of Contoso; None leaves a claim out."""
        now, tenant = int(time.time()), changes.get("tid", CONTOSO)
        usual = {
            "aud": API, "iss": f"{self.url}/{tenant}/v2.0", "iat": now, "nbf": now, "exp": now + 4000,
            "aio": "AYQAe/8WAAAA", "azp": DEVICE, "azpacr": "0", "name": "Ann", "oid": "oid-of-ann",
            "preferred_username": "ann@contoso.com", "rh": "0.AX", "scp": "access", "sub": "pairwise-ann",
            "tid": CONTOSO, "uti": "x", "ver": "2.0",
        }  # fmt: skip
        claims = {name: value for name, value in (usual | changes).items() if value is not None}
        return jwt.encode({"typ": "JWT", "alg": "RS256", "kid": key}, claims, KEYS[key])

    def service(self, **changes: Any) -> str:
        """A token by client credentials: the service principal is subject and object."""
        own = {"azp": ERP, "azpacr": "1", "oid": "oid-of-erp", "sub": "oid-of-erp", "scp": None, "name": None}
        return self.token(**own | {"preferred_username": None} | changes)

    def rules(self, place: str = "common", tenants: str = f"{CONTOSO}, {FABRIKAM}", **more: str) -> SignIn:
        """Set up as the page says."""
        usual = {"device_client_id": DEVICE, "audience": API, "administrators": "Satchel.Administrator, group-1"}
        address = {"issuer": f"{self.url}/{place}/v2.0", "ca_file": self.ca_file, "tenants": tenants}
        return SignIn(Settings(**(usual | address | more)))


@pytest.fixture(scope="module")
def entra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Entra]:
    certificate = ensure_server_certificate(tmp_path_factory.mktemp("entra"), ["localhost"])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place, _, rest = self.path.removeprefix("/").partition("/")
            known = {"v2.0/.well-known/openid-configuration": lambda: running.document(place),
                     "discovery/v2.0/keys": running.keys}  # fmt: skip
            body = json.dumps(known[rest]()).encode() if rest in known else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    running = Entra(f"https://localhost:{server.server_address[1]}", str(certificate.ca_file))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield running
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("place", ["common", "organizations", CONTOSO])
async def test_a_user_is_known_by_the_object_id(entra: Entra, place: str) -> None:
    rules = entra.rules(place, CONTOSO)

    user = await rules.user(entra.token())

    assert (user.value, user.attribute) == ("oid-of-ann", "azureactivedirectoryobjectid")
    assert (user.issuer, user.subject) == (f"{entra.url}/{CONTOSO}/v2.0", "pairwise-ann")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tid": "77777777-2222-3333-4444-555555555555"}, "another tenant"),
        ({"tid": None}, "another tenant"),
        ({"tid": FABRIKAM, "iss": "CONTOSO"}, "another issuer"),
        ({"iss": "TEMPLATE"}, "another issuer"),
        ({"iss": f"https://sts.windows.net/{CONTOSO}/", "ver": "1.0", "aud": f"api://{API}"}, "not one that"),
        ({"iss": f"https://sts.windows.net/{CONTOSO}/"}, "another issuer"),
        ({"aud": f"api://{API}"}, "not one that"),
        ({"aud": "00000003-0000-0000-c000-000000000000"}, "not one that"),
        ({"azp": ERP}, "another application"),
        ({"key": "fabrikams"}, "another tenant's key"),
        ({"key": "personal"}, "another tenant's key"),
        ({"key": "personal", "tid": PERSONAL}, "another tenant"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_of_another_tenant_issuer_or_api_is_refused(
    entra: Entra, changes: dict[str, Any], why: str
) -> None:
    words = {"CONTOSO": f"{entra.url}/{CONTOSO}/v2.0", "TEMPLATE": f"{entra.url}/{{tenantid}}/v2.0"}
    given = {name: words.get(str(value), value) for name, value in changes.items()}
    with pytest.raises(TokenInvalid, match=why):
        await entra.rules().user(entra.token(**given), frozenset({CONTOSO, FABRIKAM}))


async def test_a_key_of_one_tenant_signs_for_that_tenant(entra: Entra) -> None:
    rules = entra.rules()
    assert (await rules.user(entra.token("fabrikams", tid=FABRIKAM), frozenset({FABRIKAM}))).subject == "pairwise-ann"


async def test_an_organization_takes_users_of_its_own_tenants_only(entra: Entra) -> None:
    rules = entra.rules(tenants=f"{CONTOSO},{FABRIKAM.upper()}")
    contosos, fabrikams = frozenset({CONTOSO}), frozenset({FABRIKAM})

    assert (await rules.user(entra.token(), contosos)).value == "oid-of-ann"
    assert (await rules.user(entra.token(tid=FABRIKAM), contosos | fabrikams)).value == "oid-of-ann"
    with pytest.raises(TokenInvalid, match="another tenant"):
        await rules.user(entra.token(), fabrikams)
    with pytest.raises(SignInRefused, match="not bound"):  # several tenants, and nobody said whose it is
        await rules.user(entra.token())
    with pytest.raises(SignInRefused, match="not bound"):
        await rules.user(entra.token(tid=PERSONAL), frozenset({PERSONAL}))


async def test_with_one_tenant_nothing_needs_to_be_bound(entra: Entra) -> None:
    rules = entra.rules(tenants=CONTOSO)
    assert (await rules.user(entra.token())).value == "oid-of-ann"
    with pytest.raises(SignInRefused, match="not bound"):
        await rules.user(entra.token(), frozenset({FABRIKAM}))


async def test_roles_of_a_customers_directory_give_nothing_at_the_management_endpoint(entra: Entra) -> None:
    """Whoever administers a tenant gives its users and services any role there."""
    for_all = entra.rules(management_tenants=CONTOSO)
    roles = {"roles": ["Satchel.Administrator", READ, PROVISION]}

    assert (await for_all.caller(entra.token(**roles))).permissions == PERMISSIONS
    assert (await for_all.caller(entra.service(**roles))).permissions == {READ, PROVISION}
    for token in (entra.token(tid=FABRIKAM, **roles), entra.service(tid=FABRIKAM, **roles)):
        with pytest.raises(TokenInvalid, match="another tenant"):
            await for_all.caller(token)
        with pytest.raises(NotEntitled, match="management_tenants"):  # several tenants, and nobody said whose count
            await entra.rules().caller(token)


async def test_groups_count_and_too_many_of_them_are_told(entra: Entra) -> None:
    rules = entra.rules(tenants=CONTOSO)
    elsewhere = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.x/y"}}}

    assert (await rules.caller(entra.token(groups=["group-1"]))).permissions == PERMISSIONS
    with pytest.raises(NotEntitled) as few:
        await rules.caller(entra.token(groups=["group-2"]))
    assert "app role" not in few.value.hint
    for too_many in (elsewhere, {"hasgroups": True}):
        with pytest.raises(NotEntitled) as many:
            await rules.caller(entra.token(**too_many))
        assert "app role" in many.value.hint
    # A role beside them is enough.
    assert (await rules.caller(entra.token(roles=["Satchel.Administrator"], **elsewhere))).permissions == PERMISSIONS


async def test_a_service_is_no_user_and_a_users_scope_no_permission(entra: Entra) -> None:
    rules = entra.rules(tenants=CONTOSO)
    with pytest.raises(SignInRefused, match="An application signed in"):
        await rules.user(entra.service(azp=DEVICE))
    with pytest.raises(NotEntitled):
        await rules.caller(entra.token(scp=f"access {PROVISION}"))


@pytest.mark.parametrize("place", ["common", "organizations"])
def test_everybodys_address_needs_tenants(entra: Entra, place: str) -> None:
    with pytest.raises(SettingInvalid, match="tenants is missing"):
        entra.rules(place, "")


async def test_a_domain_in_place_of_the_tenants_id_is_told(entra: Entra) -> None:
    with pytest.raises(IssuerUnreachable, match="another issuer") as told:
        await entra.rules(DOMAIN, CONTOSO).user(entra.token())
    assert "[sign_in] issuer" in told.value.hint
