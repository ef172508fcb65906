"""The console in a topology: for administrators' addresses, and for nobody else."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from satchel.deploy.check import differences_of, problems_of
from satchel.deploy.flows import flows_of
from satchel.deploy.parse import parse
from satchel.deploy.render import render
from satchel.deploy.topology import Topology
from satchel.settings.load import load
from tests.unit.deploy.test_rendering import KUBERNETES

HOST = '[hosts.admin1]\nsubnet = "services"\naddress = "10.77.2.41"\nroles = ["console"]\n'
BLOCK = '[administration]\nblock = "192.0.2.0/24"\n'
SIGN_IN = 'administrators = "Satchel.Administrator"\nconsole_client_id = "satchel-console"\n'


@pytest.fixture
def topology(text: str) -> Topology:
    return parse(text.replace('audience = "api://satchel"\n', f'audience = "api://satchel"\n{SIGN_IN}') + HOST + BLOCK)


def test_administrators_reach_it_and_nobody_else(topology: Topology) -> None:
    found = {(flow.origin, flow.port) for flow in flows_of(topology) if flow.target == "admin1"}
    assert found == {("192.0.2.0/24", 8445), ("192.0.2.0/24", 22)}


def test_it_reaches_databases_sources_and_the_issuer(topology: Topology) -> None:
    found = {(flow.target, flow.port) for flow in flows_of(topology) if flow.origin == "admin1"}
    assert found >= {("db1", 5432), ("db2", 5432), ("198.51.100.10", 443), ("id1", 443), ("ns1", 53)}
    assert not {target for target, _ in found} & {"sync1", "lb1"}


def test_its_host_has_settings_and_a_unit(topology: Topology, tmp_path: Path) -> None:
    assert problems_of(topology) == []
    files = render(topology, "x")
    assert differences_of(topology, files) == []
    file = tmp_path / "satchel.toml"
    file.write_text(files["hosts/admin1/etc/satchel/satchel.toml"])
    found = load(file, {}, {})
    assert (found.console.host, found.console.port) == ("10.77.2.41", 8445)
    assert found.console.public_url == "https://admin1.field.example:8445"
    assert (found.console.client_id, found.sign_in.administrators) == ("satchel-console", "Satchel.Administrator")
    unit = files["hosts/admin1/etc/systemd/system/satchel-console.service"]
    for words in ("run console", "host.key:/etc", "console.secret:/etc", "CLIENT_SECRET_FILE=%d/console.secret"):
        assert words in unit
    assert "console" not in files["hosts/sync1/etc/satchel/satchel.toml"]


def test_its_manifests_are_valid_and_closed(topology: Topology) -> None:
    files = render(topology, "x")
    for path in ("30-console.yaml", "41-console-service.yaml", "20-network.yaml"):
        for document in yaml.safe_load_all(files[f"kubernetes/{path}"]):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
    service = yaml.safe_load(files["kubernetes/41-console-service.yaml"])
    assert service["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24"]
    policies = list(yaml.safe_load_all(files["kubernetes/20-network.yaml"]))
    (own,) = [each for each in policies if each["metadata"]["name"] == "satchel-console"]
    assert own["spec"]["ingress"] == [
        {"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"protocol": "TCP", "port": 8445}]}
    ]


def test_one_that_nobody_reaches_or_may_enter_is_told(text: str) -> None:
    assert any("nobody could reach it" in each for each in problems_of(parse(text + HOST)))
    without = text.replace('audience = "api://satchel"\n', 'console_client_id = "satchel-console"\n')
    assert any("console_client_id" in each for each in problems_of(parse(without)))
