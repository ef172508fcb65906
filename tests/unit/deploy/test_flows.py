"""Who may talk to whom follows from roles, and from nothing else."""

from __future__ import annotations

from satchel.deploy.flows import flows_of
from satchel.deploy.parse import parse
from satchel.deploy.topology import Topology


def test_from_anywhere_only_sync_port_and_names_can_be_reached(topology: Topology) -> None:
    found = {(flow.target, flow.protocol, flow.port) for flow in flows_of(topology) if flow.origin == "anywhere"}
    assert found == {("lb1", "tcp", 443), ("id1", "tcp", 443), ("ns1", "tcp", 53), ("ns1", "udp", 53)}


def test_databases_are_reached_by_services_alone(topology: Topology) -> None:
    origins = {flow.origin for flow in flows_of(topology) if flow.target in {"db1", "db2"}}
    assert origins == {"sync1", "sync2", "worker1", "worker2", "control1"}


def test_management_is_reached_by_those_who_announce(topology: Topology) -> None:
    origins = {flow.origin for flow in flows_of(topology) if flow.port == topology.ports.management}
    assert origins == {"worker1", "worker2", "control1"}


def test_the_balancer_reaches_sync_servers_and_names_only(topology: Topology) -> None:
    found = {(flow.target, flow.port) for flow in flows_of(topology) if flow.origin == "lb1"}
    assert found == {("sync1", 8443), ("sync2", 8443), ("ns1", 53)}


def test_sources_are_reached_by_workers_and_provisioning(topology: Topology) -> None:
    origins = {flow.origin for flow in flows_of(topology) if flow.target == "198.51.100.10"}
    assert origins == {"worker1", "worker2", "control1"}


def test_a_source_without_addresses_is_anywhere_outside(text: str) -> None:
    changed = parse(text.replace('addresses = ["198.51.100.10"]', ""))
    assert [flow.target for flow in flows_of(changed) if flow.why == "source contoso"] == ["outside"] * 3


def test_an_issuer_outside_is_reached(text: str) -> None:
    changed = parse(
        text.replace("id1.field.example", "login.example").replace('"identity"', '"objects"')
        + "[ports]\nobjects = 9000\n"
    )
    found = {(flow.origin, flow.port) for flow in flows_of(changed) if flow.target == "outside" and flow.port != 53}
    assert found == {(name, 443) for name in ("sync1", "sync2", "worker1", "worker2", "control1")}


def test_more_is_allowed_where_the_file_says_so(text: str) -> None:
    more = "[[allow]]\norigin = '192.0.2.0/24'\ntarget = 'worker'\nport = 9100\nwhy = 'metrics'\n"
    found = [flow for flow in flows_of(parse(text + more)) if flow.port == 9100]
    assert [(flow.origin, flow.target) for flow in found] == [
        ("192.0.2.0/24", "worker1"),
        ("192.0.2.0/24", "worker2"),
    ]


def test_metrics_are_served_to_who_reads_them_and_else_to_nobody(text: str) -> None:
    flows = flows_of(parse(text + "[monitoring]\nblock = '10.77.9.9'\n"))
    assert {(flow.target, flow.port) for flow in flows if flow.origin == "10.77.9.9"} == {
        ("sync1", 9464), ("sync2", 9464), ("worker1", 9465), ("worker2", 9465), ("control1", 9466),
    }  # fmt: skip
    assert not [flow for flow in flows_of(parse(text)) if 9464 <= flow.port <= 9466]
