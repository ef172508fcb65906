"""What is rendered is the same each time, and the programs it is meant for take it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from satchel.deploy.parse import parse
from satchel.deploy.reference import reference_page
from satchel.deploy.render import render
from satchel.deploy.topology import Topology
from satchel.settings.load import load

KUBERNETES = "1.33.0"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="nft wants a network namespace of its own")


@pytest.fixture(scope="module")
def folder(topology: Topology, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered")
    for path, text in render(topology, "topology.toml").items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(text)
    return out


def run(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def test_rendering_is_deterministic_and_says_what_made_it(text: str) -> None:
    first, again = render(parse(text), "t.toml"), render(parse(text), "t.toml")
    assert list(first.items()) == list(again.items())
    for path, content in first.items():
        assert any("Made by `satchel deploy render t.toml`" in line for line in content.splitlines()[:2]), path


def test_no_secret_is_in_what_is_rendered(topology: Topology) -> None:
    for path, content in render(topology, "x").items():
        assert "postgresql://satchel:" not in content, path
        assert "PRIVATE KEY" not in content, path


@needs_root
def test_nft_takes_every_hosts_rules(folder: Path, topology: Topology) -> None:
    for host in topology.hosts:
        run(["unshare", "--net", "nft", "-c", "-f", folder / "hosts" / host / "etc/nftables.conf"])


@pytest.mark.parametrize("file", ["lb1/etc/satchel/balancer.cfg", "sync1/etc/satchel/front.cfg"])
def test_haproxy_takes_its_configuration(folder: Path, file: str) -> None:
    run(["haproxy", "-c", "-f", folder / "hosts" / file])


def test_bind_takes_the_zone(folder: Path, topology: Topology) -> None:
    run(["named-checkzone", topology.installation.domain, folder / "hosts/ns1/etc/bind/satchel.zone"])


def test_systemd_takes_the_units(folder: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    program = folder / "satchel"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for unit in sorted(folder.glob("hosts/*/etc/systemd/system/*.service")):
        unit.write_text(unit.read_text().replace("/opt/satchel/bin/satchel", str(program)))
        run(["systemd-analyze", "verify", "--man=no", unit])


def test_satchel_takes_its_settings(folder: Path) -> None:
    found = load(folder / "hosts/sync1/etc/satchel/satchel.toml", {}, {})
    assert (found.sync.host, found.sync.port, found.management.host) == ("127.0.0.1", 8443, "10.77.2.11")
    assert "db1.field.example" in found.database.url
    assert "db2.field.example" in found.staging.servers["db2"]
    assert (found.dns.zone, found.dns.server) == ("field.example", "")  # only provisioning keeps the names


def test_kubernetes_takes_the_manifests(folder: Path) -> None:
    documents = [
        document
        for file in sorted(folder.glob("kubernetes/*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
    ]
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    kinds = [document["kind"] for document in documents]
    assert {"Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= set(kinds)


def test_no_pod_reaches_a_database_but_the_services(folder: Path, topology: Topology) -> None:
    policies = list(yaml.safe_load_all((folder / "kubernetes/20-network.yaml").read_text()))
    denied = next(one for one in policies if one["metadata"]["name"] == "deny-all")
    assert denied["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in policies:
        text = yaml.safe_dump(policy)
        is_service = policy["metadata"]["name"].startswith("satchel-")
        assert (f"{topology.hosts['db1'].address}/32" in text) == is_service


def test_without_client_addresses_nothing_stands_before_the_sync_server(text: str) -> None:
    files = render(parse(text + "[balancer]\nclient_addresses = false\n"), "x")
    assert not [path for path in files if "front" in path]
    assert "send-proxy" not in files["hosts/lb1/etc/satchel/balancer.cfg"]
    assert 'host = "10.77.2.11"' in files["hosts/sync1/etc/satchel/satchel.toml"]


def test_metrics_follow_from_the_topology(text: str, tmp_path: Path) -> None:
    files = render(parse(text + "[monitoring]\nblock = '10.77.9.9'\n"), "x")
    file = tmp_path / "satchel.toml"
    file.write_text(files["hosts/worker1/etc/satchel/satchel.toml"])
    found = load(file, {}, {}).metrics
    assert (found.host, found.worker_port, found.sync_port) == ("10.77.2.21", 9465, 0)
    for document in yaml.safe_load_all(files["kubernetes/30-sync.yaml"]):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_whose_users_and_administrators_count_follows_from_the_topology(text: str, tmp_path: Path) -> None:
    more = 'tenants = "T1, T2"\nmanagement_tenants = "T1"\n'
    file = tmp_path / "satchel.toml"
    file.write_text(
        render(parse(text.replace("[identity]\n", f"[identity]\n{more}")), "x")["hosts/sync1/etc/satchel/satchel.toml"]
    )
    found = load(file, {}, {}).sign_in
    assert (found.tenants, found.management_tenants) == ("T1, T2", "T1")


def test_nothing_new_starts_on_a_database_of_an_older_version(folder: Path) -> None:
    unit = (folder / "hosts/control1/etc/systemd/system/satchel-provisioning.service").read_text()
    assert " run migrate --pre " in unit  # the older services still run
    for file in folder.glob("kubernetes/3*.yaml"):
        for each in yaml.safe_load_all(file.read_text()):
            if each["kind"] == "Deployment":
                [first] = each["spec"]["template"]["spec"]["initContainers"]
                assert first["args"][:3] == ["run", "migrate", "--pre"]
                assert "startupProbe" not in first


def test_the_reference_page_is_current() -> None:
    page = Path(__file__).resolve().parents[3] / "docs/reference/topology.md"
    assert page.read_text() == reference_page(), (
        "run: .venv/bin/python -m satchel.deploy.reference > docs/reference/topology.md"
    )
